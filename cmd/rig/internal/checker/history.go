// Package checker is the pure judge of the fault rig, in the manner of Jepsen's set checker: given what producers
// were told, what every region holds after the heal, and what consumers did, it says what was lost, duplicated,
// reordered or made up.
//
// Only cmd/rig uses it. It touches neither network nor disk nor clock, so that what it says can be tested
// without the faults that it judges.
//
// # Concurrency
//
// Functions share no state. A History must not change while Check reads it; a Verdict belongs to one goroutine.
package checker

import "time"

// Outcome is what a producer was told of an event at last.
type Outcome int

// Outcomes.
const (
	Unknown Outcome = iota // no answer, or one that leaves it open: the event may be stored or not
	Acked                  // stored, says a region
	Refused                // definitively not stored
)

// Attempt is one event as its producer knows it. Times are nanoseconds of the rig's monotonic clock.
type Attempt struct {
	ID       string
	Tenant   string
	Key      string // routing key
	Body     uint64 // hash of the bytes that were sent
	Regional bool   // scope l: only in the region that acknowledged it
	Poison   bool   // must be refused; stored = unexpected
	Once     bool   // copies of its request were sent on purpose: it stands once, whatever the window
	Outcome  Outcome
	Region   string // that acknowledged it ("" else)
	Sends    []Send // every request that carried it, in order
	AckedAt  int64
}

// Send is one request that carried an event.
type Send struct {
	At     int64
	Region string // of the relay that was asked
}

// Stored is one event as it stands in one region's stream.
type Stored struct {
	ID        string
	Origin    string // such as "eu_1", of the original for a repaired copy
	OriginSeq uint64 // in the origin's stream
	Seq       uint64 // in this region's stream
	At        int64  // when this region stored it, nanoseconds of its clock; 0 if it is not known
	Body      uint64 // hash of the bytes that are stored
	Regional  bool
	Repaired  bool // put back later by a repair: it stands where it can, not where it stood
}

// Copy is everything that a region holds of a tenant after the heal, in stream order.
type Copy struct {
	Tenant, Region string
	Events         []Stored
}

// Ledger is the effects of one idempotent consumer group, in the order in which they were committed.
type Ledger struct {
	Tenant, Region, Group string
	Effects               []string // event ids
}

// Loss excuses: a region whose data were destroyed on purpose. Its store was set back to its state of From at time
// At; nothing that it acknowledged in (From, At] is promised unless another region had it.
type Loss struct {
	Region   string
	From, At int64
	Back     int64 // when the region was started again, if later than At: an answer given before At may be heard until then
}

// History is all that is known of one run after the heal.
type History struct {
	Attempts []Attempt
	Copies   []Copy
	Ledgers  []Ledger
	Losses   []Loss
	Probes   []Probe
	// Disturbed is when relays could not hear of changes to credentials, or had a wrong clock.
	Disturbed []Span
	Window    time.Duration       // dedupe window
	Regions   map[string][]string // tenant -> regions that must hold it
}
