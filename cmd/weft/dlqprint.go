package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/subject"
)

// dlqLine is one dead letter as it is printed.
type dlqLine struct {
	Seq   uint64 `json:"seq"`             // in the region's DLQ
	State string `json:"state,omitempty"` // of a requeued one: waiting or handled
	*deadletter.Letter
	subject subject.DeadLetter
	header  nats.Header
	event   []byte
}

func newDLQLine(seq uint64, subj string, h nats.Header, raw []byte) (*dlqLine, error) {
	letter, err := deadletter.LetterOf(h)
	if err != nil {
		return nil, fmt.Errorf("sequence %d of %s: %w", seq, subject.DeadLettersStream, err)
	}
	s, err := subject.ParseDeadLetter(subj)
	if err != nil {
		return nil, fmt.Errorf("sequence %d of %s: %w", seq, subject.DeadLettersStream, err)
	}
	l := &dlqLine{Seq: seq, Letter: letter, subject: s, header: h, event: raw}
	if l.requeued() {
		l.State = stateWaiting
	}
	return l, nil
}

// States of what was requeued.
const (
	stateWaiting = "waiting" // for its consumer
	stateHandled = "handled" // or given up again, as a letter of its own
)

// requeued says whether the event is there to be handled again.
func (l *dlqLine) requeued() bool { return l.subject.Cause == subject.CauseRequeued }

// what is the cause, or the state of what was requeued.
func (l *dlqLine) what() string {
	if l.requeued() {
		return l.State
	}
	return l.Cause
}

// note is the last error, or who had the event handled again.
func (l *dlqLine) note() string {
	text := l.LastError
	if l.requeued() {
		text = "requeued by " + l.Requeued.By + ": " + l.Requeued.Why
	}
	return strings.Join(strings.Fields(text), " ")
}

// dlqPrinter writes dead letters one by one.
type dlqPrinter struct {
	out    *bufio.Writer
	format string
	some   bool // something was written
}

func newDLQPrinter(w io.Writer, format string) *dlqPrinter {
	return &dlqPrinter{out: bufio.NewWriterSize(w, 64<<10), format: format}
}

func (p *dlqPrinter) flush() error { return p.out.Flush() }

// end writes what was printed; a table has its head although nothing is in it.
func (p *dlqPrinter) end() error {
	p.head()
	return p.flush()
}

func (p *dlqPrinter) head() {
	if p.format == formatTable && !p.some {
		fmt.Fprintf(p.out, dlqRow, "SEQ", "PARKED", "CAUSE", "CONSUMER", "EVENT", "CALLS", "LAST ERROR")
	}
	p.some = true
}

const dlqRow = "%6s  %-19s  %-12s  %-16s  %-36s  %5s  %s\n"

func (p *dlqPrinter) print(l *dlqLine) error {
	first := !p.some
	p.head()
	switch p.format {
	case formatJSON:
		return json.NewEncoder(p.out).Encode(l)
	case formatYAML:
		if !first {
			fmt.Fprintln(p.out, "---")
		}
		return printValue(p.out, formatYAML, l)
	}
	_, err := fmt.Fprintf(p.out, dlqRow, fmt.Sprint(l.Seq), l.ParkedAt.Local().Format("2006-01-02 15:04:05"), l.what(), l.Consumer, l.EventID,
		fmt.Sprint(l.Attempts), l.note())
	return err
}

// show prints one dead letter with its event: as text, so that none of its bytes is read as something else.
func (l *dlqLine) show(w io.Writer, format string) error {
	if format == formatRaw {
		_, err := w.Write(append(l.event, '\n'))
		return err
	}
	whole := struct {
		*dlqLine
		Event string `json:"event"`
	}{l, string(l.event)}
	if format == formatJSON {
		return json.NewEncoder(w).Encode(whole)
	}
	return printValue(w, formatYAML, whole)
}
