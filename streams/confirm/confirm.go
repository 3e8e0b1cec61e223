// Package confirm is the question that a relay asks the hub of the region that stored an event: has another
// region stored it too?
//
// A hub answers it on subject.Remote(region) in every tenant's account, when the answer is yes or when the time
// that the question gives is over. Types only; values are not safe for concurrent change.
package confirm

import "time"

// MaxWait is the longest that a hub lets a question wait.
const MaxWait = time.Minute

// Request asks about everything that an origin wrote into EVENTS up to a sequence.
type Request struct {
	Origin string `json:"origin"`  // of the asked region, as it stands in the events' subjects
	Seq    uint64 `json:"seq"`     // in the stream of that region
	WaitMS int64  `json:"wait_ms"` // how long the hub may take
}

// Response says up to which sequence one other region has stored what the origin wrote: at least the one that was
// asked for, or a lower one when the time is over.
type Response struct {
	Seq    uint64 `json:"seq"`
	Region string `json:"region,omitempty"` // the one that has it; empty: none was heard of
	Error  string `json:"error,omitempty"`  // why nothing is waited for, one of the constants
}

// The errors.
const (
	NoPeers = "no_peers" // the tenant lives in no other region that this one knows
	Moved   = "moved"    // the region writes under another origin
	Busy    = "busy"     // as many questions wait as may
)
