// Package original is the question that a relay asks its hub about a duplicate: which event is stored
// at this sequence, and what does it say?
//
// When the server calls an event a duplicate it compares ids alone. The relay compares contents too,
// but may read nothing of a tenant's stream; so the hub serves digests on subject.Digest(region) in
// every tenant's account, and the relay asks there. Types only; values are not safe for concurrent
// change.
package original

// MaxSeqs is how many sequences one request may name; a service refuses more.
const MaxSeqs = 500

// NotFound is the Error of a sequence at which no event is stored: expired, deleted or never written.
const NotFound = "not_found"

// Unavailable is the Error of a sequence that could not be read now.
const Unavailable = "unavailable"

// Request asks for the digests of the events at these sequences of EVENTS in the region's domain.
type Request struct {
	Seqs []uint64 `json:"seqs"`
}

// Response answers a Request, one entry for each sequence asked for, in any order.
type Response struct {
	Digests []Digest `json:"digests"`
}

// Digest describes the event at a sequence, or says in Error why there is none.
type Digest struct {
	Seq     uint64 `json:"seq"`
	EventID string `json:"event_id,omitempty"`
	Digest  string `json:"digest,omitempty"`  // lower-case hex of event.Digest
	Origin  string `json:"origin,omitempty"`  // that wrote it, when the other regions are given it from here
	Sourced bool   `json:"sourced,omitempty"` // it came from another region, which has stored it as well
	Error   string `json:"error,omitempty"`
}
