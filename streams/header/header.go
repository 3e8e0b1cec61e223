// Package header names the headers that travel with a stored event: those that weft writes and those
// of NATS that weft reads or sets.
//
// The relay writes them, consumers and the hub read them. Everything here is constant or pure and safe
// for concurrent use. No header of a client's request is ever copied into one of these.
package header

import (
	"strconv"
	"strings"
)

// Headers of a stored event.
const (
	// MsgID carries the event id: JetStream's deduplication key.
	MsgID = "Nats-Msg-Id"
	// TTL lets a message expire before its stream's limit; whole seconds.
	TTL = "Nats-TTL"
	// StreamSource marks a message that another stream sourced; the server refuses to store a client's.
	StreamSource = "Nats-Stream-Source"

	// IngestedAt is when the relay accepted the event: RFC 3339 with nanoseconds, UTC.
	IngestedAt = "Weft-Ingested-At"
	// Relay is the id of the relay that accepted the event.
	Relay = "Weft-Relay"
	// Kid is the id of the key that signed the request.
	Kid = "Weft-Kid"
	// Source is the producer that sent the event: one counter of source_seq belongs to each source.
	Source = "Weft-Source"
	// Schema is the schema version that the event was checked against.
	Schema = "Weft-Schema"
	// Home is the home region of the event's key, present where another region stored it.
	Home = "Weft-Home"
	// Replayed names the replay that published this copy.
	Replayed = "Weft-Replayed"
	// Runbook is the page that tells what to do about a parked event.
	Runbook = "Weft-Runbook"
	// DerivedFrom is the id of the event that this one was computed from.
	DerivedFrom = "Weft-Derived-From"
	// TraceParent is the W3C Trace Context of the producer's request, re-encoded by the relay.
	TraceParent = "traceparent"
)

// SourceSeq reads from the value of StreamSource the sequence that the message has in the stream that it came from.
func SourceSeq(value string) (uint64, bool) {
	f := strings.Fields(value)
	if len(f) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(f[1], 10, 64)
	return n, err == nil
}

// natsPrefix starts every header that belongs to the server, in any case of letters.
const natsPrefix = "nats-"

// IsNats says whether a header belongs to the NATS server.
func IsNats(name string) bool {
	return len(name) >= len(natsPrefix) && strings.EqualFold(name[:len(natsPrefix)], natsPrefix)
}

// StripNats removes every header of the NATS server. A re-publish (dead letter, replay) needs it: the
// server refuses messages that carry another stream's source, and an old message id would be taken for
// a duplicate.
func StripNats(h map[string][]string) {
	for name := range h {
		if IsNats(name) {
			delete(h, name)
		}
	}
}
