package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/weft-mesh/weft/streams/deadletter"
)

// rejectLine is one record as it is printed.
type rejectLine struct {
	Seq uint64 `json:"seq"` // in the region's REJECTS
	*deadletter.Record
}

// rejectPrinter writes records one by one.
type rejectPrinter struct {
	out    *bufio.Writer
	format string
	some   bool // something was written
}

func newRejectPrinter(w io.Writer, format string) *rejectPrinter {
	return &rejectPrinter{out: bufio.NewWriterSize(w, 64<<10), format: format}
}

func (p *rejectPrinter) flush() error { return p.out.Flush() }

// end writes what was printed; a table has its head although nothing is in it.
func (p *rejectPrinter) end() error {
	p.head()
	return p.flush()
}

func (p *rejectPrinter) head() {
	if p.format == formatTable && !p.some {
		fmt.Fprintf(p.out, rejectRow, "RECEIVED", "CAUSE", "CODE", "KID", "PRODUCER", "EVENT OR REQUEST", "N", "DETAIL")
	}
	p.some = true
}

const rejectRow = "%-23s  %-9s  %-22s  %-14s  %-12s  %-28s  %6s  %s\n"

func (p *rejectPrinter) print(l *rejectLine) error {
	first := !p.some
	p.head()
	switch p.format {
	case formatJSON:
		raw, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = p.out.Write(append(raw, '\n'))
		return err
	case formatYAML:
		if !first {
			fmt.Fprintln(p.out, "---")
		}
		return printValue(p.out, formatYAML, l)
	}
	_, err := fmt.Fprintf(p.out, rejectRow, l.ReceivedAt.Local().Format("2006-01-02 15:04:05.000"), l.Cause, l.Code, dash(l.Kid), dash(l.Producer),
		dash(l.what()), fmt.Sprint(l.Count+l.Suppressed), l.words())
	return err
}

// what names the event, or the request where no event is named.
func (l *rejectLine) what() string {
	if l.EventID != "" {
		return l.EventID
	}
	return l.RequestID
}

// words is the detail, with where it is and what else the record stands for.
func (l *rejectLine) words() string {
	s := l.Detail
	if l.Pointer != "" {
		s += " (at " + l.Pointer + ")"
	}
	if l.Suppressed > 0 {
		if s != "" {
			s += "; "
		}
		s += counted(l.Suppressed, "refusal") + " before it not recorded"
	}
	return s
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
