package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/consumers"
)

// eventPrinter writes events one by one; each is flushed before print returns, because the event is
// acknowledged then.
type eventPrinter struct {
	out    *bufio.Writer
	format string
	line   []byte
	header bool // the table's first line was written
}

func newEventPrinter(out *bufio.Writer, format string) *eventPrinter {
	return &eventPrinter{out: out, format: format}
}

func (p *eventPrinter) print(m *consumers.Message) error {
	p.line = p.line[:0]
	switch p.format {
	case formatRaw:
		p.line = append(append(p.line, m.Raw...), '\n')
	case formatJSON:
		if err := p.appendJSON(m); err != nil {
			return err
		}
	default:
		p.appendRow(m)
	}
	if _, err := p.out.Write(p.line); err != nil {
		return err
	}
	return p.out.Flush()
}

// eventMeta is what -o json says of an event beside the event itself.
type eventMeta struct {
	EventID    string     `json:"event_id"`
	Origin     string     `json:"origin"`     // the region and epoch that accepted it
	Seq        uint64     `json:"seq"`        // in the origin's stream: with origin the same in all regions
	StreamSeq  uint64     `json:"stream_seq"` // in this region's stream
	Subject    string     `json:"subject"`
	Topic      string     `json:"topic"`
	Partition  int        `json:"partition"`
	IngestedAt *time.Time `json:"ingested_at,omitempty"`
	StoredAt   time.Time  `json:"stored_at"`
	Deliveries int        `json:"deliveries"`
}

// appendJSON puts the producer's bytes in as they are: no JSON library touches them.
func (p *eventPrinter) appendJSON(m *consumers.Message) error {
	meta := eventMeta{
		EventID: m.EventID, Origin: m.Origin.String(), Seq: m.OriginSeq, StreamSeq: m.Sequence,
		Subject: m.Subject.String(), Topic: m.Subject.Topic, Partition: m.Subject.Partition,
		StoredAt: m.StoredAt.UTC(), Deliveries: m.Deliveries,
	}
	if !m.IngestedAt.IsZero() {
		at := m.IngestedAt.UTC()
		meta.IngestedAt = &at
	}
	rest, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	p.line = append(p.line, `{"event":`...)
	for _, b := range m.Raw {
		if b == '\n' || b == '\r' { // within JSON these are white space between members, never part of a value
			b = ' '
		}
		p.line = append(p.line, b)
	}
	p.line = append(p.line, ',')
	p.line = append(p.line, rest[1:]...)
	p.line = append(p.line, '\n')
	return nil
}

const rowFormat = "%-12s  %-10s  %8s  %-16s  %-32s  %-28s  %6s\n"

func (p *eventPrinter) appendRow(m *consumers.Message) {
	if !p.header {
		p.header = true
		p.line = fmt.Appendf(p.line, rowFormat, "INGESTED", "ORIGIN", "SEQ", "TOPIC", "TYPE", "EVENT ID", "BYTES")
	}
	at := m.IngestedAt
	if at.IsZero() {
		at = m.StoredAt
	}
	p.line = fmt.Appendf(p.line, rowFormat, at.Local().Format("15:04:05.000"), m.Origin, strconv.FormatUint(m.OriginSeq, 10),
		m.Subject.Topic, m.Subject.Type, m.EventID, strconv.Itoa(len(m.Raw)))
}
