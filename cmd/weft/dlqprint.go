package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/weft-mesh/weft/streams/deadletter"
)

// dlqLine is one dead letter as it is printed.
type dlqLine struct {
	Seq uint64 `json:"seq"` // in the region's DLQ
	*deadletter.Letter
	event []byte
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

const dlqRow = "%6s  %-19s  %-9s  %-16s  %-36s  %5s  %s\n"

func (p *dlqPrinter) print(l *dlqLine) error {
	first := !p.some
	p.some = true
	switch p.format {
	case formatJSON:
		return json.NewEncoder(p.out).Encode(l)
	case formatYAML:
		if !first {
			fmt.Fprintln(p.out, "---")
		}
		return printValue(p.out, formatYAML, l)
	}
	if first {
		fmt.Fprintf(p.out, dlqRow, "SEQ", "PARKED", "CAUSE", "CONSUMER", "EVENT", "CALLS", "LAST ERROR")
	}
	_, err := fmt.Fprintf(p.out, dlqRow, fmt.Sprint(l.Seq), l.ParkedAt.Local().Format("2006-01-02 15:04:05"), l.Cause, l.Consumer, l.EventID,
		fmt.Sprint(l.Attempts), strings.Join(strings.Fields(l.LastError), " "))
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
