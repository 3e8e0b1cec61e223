// Package event is the envelope: what an event is, how its bytes are read and what is refused.
//
// Relays, hubs and consumers read events with this one decoder, so no hop sees in them what another does
// not. It is strict (RFC 7493 and more): duplicate member names, invalid UTF-8, nesting deeper than MaxDepth
// and numbers beyond float64 are refused. It never changes or copies what it reads: Raw is the producer's
// bytes, and what the mesh adds travels in headers.
//
// An event is a JSON object. These members mean something, all others are kept and ignored:
//
//	event_id        required  [A-Za-z0-9_.:-]{1,128}
//	event_type      required  [a-z0-9_]+(\.[a-z0-9_]+)*, at most 128 bytes
//	schema_version  required  Semantic Versioning 2.0.0, at most 64 bytes
//	occurred_at     required  RFC 3339 in UTC: ends in Z or +00:00
//	key             required  object; key.user_id: string of 1 to 256 bytes without control characters
//	payload         required  object
//	ctx             optional  object
//	source_seq      optional  integer, 0 to 2^64-1
//	source_epoch    optional  integer, 0 to 2^64-1
//
// All functions are safe for concurrent use. An Event may be used for as long as its input is unchanged.
package event

import "time"

// Limits of the grammar, in bytes unless said otherwise.
const (
	MaxDepth         = 64 // levels of nesting, the event's own object included
	MaxIDLen         = 128
	MaxVersionLen    = 64
	MaxOccurredAtLen = 64
	MaxUserIDLen     = 256
)

// Event is what the mesh reads of an event.
type Event struct {
	ID            string
	Type          string
	SchemaVersion string
	OccurredAt    time.Time // UTC
	UserID        string
	SourceSeq     uint64 // counts per user and source; meaningful when HasSourceSeq
	HasSourceSeq  bool
	SourceEpoch   uint64 // rises when a source starts its count again
	Raw           []byte // the producer's bytes of this event's JSON value, aliasing the input
	Key           []byte // those of its key, as far as it is an object
	Payload       []byte // those of its payload, as far as it is an object
}

// Limits bound a batch; zero means the default.
type Limits struct {
	MaxEventBytes int // of one event
	MaxEvents     int // in one batch
}

// DefaultLimits are 512 KiB for one event and 10,000 events for one batch.
func DefaultLimits() Limits { return Limits{MaxEventBytes: 512 << 10, MaxEvents: 10_000} }

func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	if l.MaxEventBytes <= 0 {
		l.MaxEventBytes = d.MaxEventBytes
	}
	if l.MaxEvents <= 0 {
		l.MaxEvents = d.MaxEvents
	}
	return l
}

// Result is one event of a batch, or why it is refused. With an error, Event holds the members that could be
// read and are valid, so that an answer can name the event.
type Result struct {
	Event Event
	Err   *Error
}

// Decode reads one event: raw must be one JSON value with nothing but white space around it. A refusal is an
// *Error; then e holds the members that could be read and are valid.
func Decode(raw []byte, e *Event) error { return Reader{}.Decode(raw, e) }

// Decode is Decode with those who look on.
func (r Reader) Decode(raw []byte, e *Event) error {
	d := acquire(raw)
	defer d.release()
	d.visitor, d.watcher = r.Visitor, r.Watcher
	d.spans = append(d.spans, spans{})
	fatal := d.event(e, &d.spans[0])
	if fatal == nil {
		fatal = d.end()
	}
	d.spans[0].bind(string(d.text), e)
	switch {
	case fatal != nil:
		*e = Event{}
		return fatal
	case d.content != nil:
		return d.content
	}
	return nil
}
