package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
	"github.com/weft-mesh/weft/relay/client"
)

// maxListed is how many refused events are listed; the rest is counted.
const maxListed = 20

// sendSummary is what became of the events.
type sendSummary struct {
	Sent        int     `json:"sent"`
	Stored      int     `json:"stored"`
	Duplicates  int     `json:"duplicates"`
	Forwarded   int     `json:"forwarded"`     // stored in their key's home region
	DeadLetters int     `json:"dead_lettered"` // kept where no consumer sees them, because their type has no schema
	Rejected    int     `json:"rejected"`      // never stored as they are
	Unknown     int     `json:"unknown"`       // not known to be stored
	LastLine    int     `json:"last_line"`     // of the input, taken up
	Seconds     float64 `json:"seconds"`
	PerSecond   float64 `json:"per_second"`
}

// sendReport counts results, lists refused events, and shows how far a send is on a terminal.
type sendReport struct {
	w        io.Writer
	terminal bool
	now      func() time.Time
	begin    time.Time
	lastLine int // owned by the sending goroutine

	mu      sync.Mutex // held for what follows, and while writing to w
	sum     sendSummary
	listed  int
	unsaid  int  // refused, but not listed
	painted bool // the terminal shows a progress line

	firstUnknown, lastUnknown int // lines, when sum.Unknown > 0
}

func newSendReport(w io.Writer, now func() time.Time) *sendReport {
	return &sendReport{w: w, terminal: telemetry.IsTerminal(w) && os.Getenv("TERM") != "dumb", now: now, begin: now()}
}

// refused counts a line that was not sent because no relay would take it.
func (r *sendReport) refused(line inputLine) {
	r.result(line, client.Result{
		EventID: line.id, Status: client.Rejected,
		Code: line.refused.Code, Detail: line.refused.Detail, Pointer: line.refused.Pointer,
	})
}

// result counts what became of a line.
func (r *sendReport) result(line inputLine, res client.Result) {
	r.lastLine = max(r.lastLine, line.number)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Sent++
	switch res.Status {
	case client.Duplicate:
		r.sum.Duplicates++
	case client.Forwarded:
		r.sum.Forwarded++
	case client.DeadLettered:
		r.sum.DeadLetters++
	case client.Rejected:
		r.sum.Rejected++
		r.list(line, res)
	case client.Unknown:
		if r.sum.Unknown++; r.sum.Unknown == 1 {
			r.firstUnknown = line.number
		}
		r.firstUnknown, r.lastUnknown = min(r.firstUnknown, line.number), max(r.lastUnknown, line.number)
	default:
		r.sum.Stored++
	}
}

// warn writes what the relay says about events that it took.
func (r *sendReport) warn(w client.Warning) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.erase()
	fmt.Fprintf(r.w, "warning: %s: %s\n", w.Code, w.Detail)
}

// list writes "line 17: gh_abc: missing_field: /payload: …".
func (r *sendReport) list(line inputLine, res client.Result) {
	if r.listed == maxListed {
		r.unsaid++
		return
	}
	r.listed++
	parts := []string{fmt.Sprintf("line %d", line.number)}
	id := res.EventID
	if id == "" {
		id = line.id
	}
	for _, p := range []string{id, res.Code, res.Pointer, res.Detail} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	r.erase()
	fmt.Fprintln(r.w, strings.Join(parts, ": "))
}

// progress repaints a status line on a terminal until the returned function is called.
func (r *sendReport) progress() (stop func()) {
	if !r.terminal {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.paint()
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-ended }
}

func (r *sendReport) paint() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.erase()
	s := r.sum
	took := r.now().Sub(r.begin).Seconds()
	fmt.Fprintf(r.w, "%d sent, %.0f/s: %s", s.Sent, float64(s.Sent)/max(took, 0.001), s.outcome())
	r.painted = true
}

// erase takes the status line away; mu is held.
func (r *sendReport) erase() {
	if r.painted {
		fmt.Fprint(r.w, "\r\x1b[K")
		r.painted = false
	}
}

// outcome is "449 stored, 0 duplicates, 0 rejected"; what is rare is only said when it occurs.
func (s *sendSummary) outcome() string {
	text := fmt.Sprintf("%d stored, %d duplicates, %d rejected", s.Stored, s.Duplicates, s.Rejected)
	if s.Forwarded > 0 {
		text += fmt.Sprintf(", %d forwarded", s.Forwarded)
	}
	if s.DeadLetters > 0 {
		text += fmt.Sprintf(", %d kept among the dead letters, for their types have no schema", s.DeadLetters)
	}
	if s.Unknown > 0 {
		text += fmt.Sprintf(", %d not known to be stored", s.Unknown)
	}
	return text
}

// missing is the error of a run that ended by itself without everything being stored.
func (r *sendReport) missing() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lost := r.sum.Rejected + r.sum.Unknown; lost > 0 {
		return fmt.Errorf("%d of %s not stored", lost, counted(r.sum.Sent, "event"))
	}
	return nil
}

// finish writes the summary: a line for people, and the figures on out when a format asks for them.
func (r *sendReport) finish(out io.Writer, format string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.erase()
	if r.unsaid > 0 {
		fmt.Fprintf(r.w, "… and %d more\n", r.unsaid)
	}
	if r.sum.Unknown > 0 {
		where := fmt.Sprintf("line %d", r.firstUnknown)
		if r.lastUnknown > r.firstUnknown {
			where = fmt.Sprintf("lines %d to %d", r.firstUnknown, r.lastUnknown)
		}
		fmt.Fprintf(r.w, "%s: %s not known to be stored\n", where, counted(r.sum.Unknown, "event"))
	}
	took := r.now().Sub(r.begin)
	r.sum.Seconds, r.sum.LastLine = took.Seconds(), r.lastLine
	r.sum.PerSecond = float64(r.sum.Sent) / max(took.Seconds(), 0.001)
	fmt.Fprintf(r.w, "%d sent: %s in %.1fs\n", r.sum.Sent, r.sum.outcome(), took.Seconds())
	if format == formatTable {
		return nil
	}
	return printValue(out, format, r.sum)
}
