package group

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/streams/subject"
)

// Registry is what the members of a group agree by. It is shared by all of them, in every region, and goes by one clock
// of its own: members need no common time. Marks and fences live in the same place (package idempotency/postgres), so
// that who owns a durable and who may commit cannot disagree.
//
// Without an error what a method says is so, and survives what the marks survive. With one nothing is known, and the
// caller asks again at its next beat.
type Registry interface {
	// Beat says that a member lives and prolongs what it holds; the view says what is so right after it. What it
	// holds no longer (somebody claimed it) is not prolonged, and nothing is recorded of it.
	// The first beat of all founds the group; later ones that disagree with it are refused: kind Conflict, CodeDisagree.
	Beat(ctx context.Context, b Beat) (View, error)

	// Claim makes a member the owner of a durable that nobody holds, under an epoch above all before: no transaction
	// fenced by a lower one commits after Claim has returned. It waits for one that is under way, for a second at most. It
	// refuses with kind Conflict and code CodeHeld where somebody holds it, or where the member's region is not active.
	Claim(ctx context.Context, c Claiming) (Lease, error)

	// Switch makes another region active, if the turn is the one that the caller has seen: kind Conflict, CodeTurned
	// otherwise. The members over there claim what the others give back, or what lapses.
	Switch(ctx context.Context, region string, turn uint64) error

	// Reached is how far the durables have come, in no order.
	Reached(ctx context.Context) ([]Position, error)
}

// The codes of a Registry's refusals.
const (
	CodeHeld     = "durable_held"
	CodeTurned   = "region_turned"
	CodeDisagree = "group_disagrees"
)

// Beat is what a member says.
type Beat struct {
	Group  string
	Width  int
	Member string
	Region string
	TTL    time.Duration // for how long this is to hold
	Held   []Held
	Leave  bool // the member is gone with this beat
}

// Held is a durable that the member holds.
type Held struct {
	Durable string
	Epoch   uint64
	Moved   []Position // recorded with the beat; their Durable is this one
	Release bool       // it is given back: whoever comes may claim it at once
}

// Claiming is who claims what.
type Claiming struct {
	Durable, Member, Region string
	TTL                     time.Duration
}

// Lease is who has a durable.
type Lease struct {
	Durable string
	Member  string // "" when it was given back
	Region  string // of the last owner
	Epoch   uint64
	Left    time.Duration // until it lapses; at most zero when anybody may claim it

	// Before is what Claim found: Epoch and Region of the owner before, zero for the first one.
	Before *Lease
}

// View is what members see.
type View struct {
	Store   string        // names the registry; another one's view has another
	Region  string        // the active one
	Turn    uint64        // how often that was set
	Ago     time.Duration // since it was set
	Members []Peer
	Leases  []Lease
}

// Peer is a member as the registry sees it.
type Peer struct {
	Member, Region string
	Ago            time.Duration // since its last beat
	Lives          bool          // what it said last still holds
}

// Position says how far a durable has come in the events of an origin, those that replicate and those that stay in their
// region each by themselves: all up to Seq are dealt with.
type Position struct {
	Durable string
	Origin  subject.Origin
	Scope   subject.Scope
	Seq     uint64 // at the origin; 0 where it is not known, because only a copy with other sequences was seen
	EventID string // of the event at Seq
}

// silent is for how long no member of the active region has lived: zero while one does. A region that was just made
// active has time to begin.
func (v *View) silent() time.Duration {
	least := v.Ago
	for _, p := range v.Members {
		switch {
		case p.Region != v.Region:
		case p.Lives:
			return 0
		default:
			least = min(least, p.Ago)
		}
	}
	return least
}
