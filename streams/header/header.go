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
	// Rollup asks a stream to keep the message in place of what it holds; see NoRollup.
	Rollup = "Nats-Rollup"
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
	// Class is the class of the event's topic when the relay accepted it, where that is ClassOptional; absent otherwise.
	Class = "Weft-Class"
	// Replayed names the replay that published this copy.
	Replayed = "Weft-Replayed"
	// Runbook is the page that tells what to do about a parked event.
	Runbook = "Weft-Runbook"
	// DerivedFrom is the id of the event that this one was computed from.
	DerivedFrom = "Weft-Derived-From"
	// DerivedDigest is the digest of that event, hex, where the two say the same in two versions: whoever keeps marks of
	// what was handled compares it instead of the copy's own.
	DerivedDigest = "Weft-Derived-Digest"
	// Mapping names what carried the payload over into another major version: <type>:<low>-<high>@<hash>.
	Mapping = "Weft-Mapping"
	// Repaired marks a copy that a region took from another one because its own was lost; see Repair.
	Repaired = "Weft-Repaired"
	// DeadLetter says of an event in the dead letters why it is there: JSON, see package deadletter.
	DeadLetter = "Weft-Dead-Letter"
	// Position is where an event was accepted, "<origin> <sequence>", on a copy in a stream that is not the mesh's.
	Position = "Weft-Position"
	// TraceParent is the W3C Trace Context of the producer's request, re-encoded by the relay.
	TraceParent = "traceparent"
)

// NoRollup is a value of Rollup that no stream knows, whether it allows roll-ups or not. A stream reads it after it has
// looked for the message id among those of its window and before it stores or proposes anything: it answers that the
// message is a duplicate, or refuses it. So it makes a message a question, which is stored nowhere.
const NoRollup = "none"

// ClassOptional is the value of Class of events that may be dropped first.
const ClassOptional = "optional"

// SourceSeq reads from the value of StreamSource the sequence that the message has in the stream that it came from.
func SourceSeq(value string) (uint64, bool) {
	f := strings.Fields(value)
	if len(f) < 2 {
		return 0, false
	}
	n, err := strconv.ParseUint(f[1], 10, 64)
	return n, err == nil
}

// Repair is the value of Repaired: where a copy came from, and what it was before. The copy itself is stored
// under the origin of the region that made it and does not replicate.
type Repair struct {
	From    string // region
	Subject string // of the event as its origin stored it
	Seq     uint64 // of the event in the stream of its origin
	TTL     int64  // seconds that the event was given at first; 0: as long as the stream keeps events
}

// String is the header's value: the four fields with spaces between them.
func (r Repair) String() string {
	return r.From + " " + r.Subject + " " + strconv.FormatUint(r.Seq, 10) + " " + strconv.FormatInt(r.TTL, 10)
}

// ParseRepair reads a value made by Repair.String; false when it is none. It does not look into the subject.
func ParseRepair(value string) (Repair, bool) {
	f := strings.Split(value, " ")
	if len(f) != 4 || f[0] == "" || f[1] == "" {
		return Repair{}, false
	}
	seq, err := strconv.ParseUint(f[2], 10, 64)
	ttl, err2 := strconv.ParseInt(f[3], 10, 64)
	r := Repair{From: f[0], Subject: f[1], Seq: seq, TTL: ttl}
	return r, err == nil && err2 == nil && ttl >= 0 && r.String() == value
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
