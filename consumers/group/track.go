package group

import (
	"sync"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/subject"
)

// stream is one sequence of events: those of an origin that replicate, or those that stay in its region.
type stream struct {
	origin subject.Origin
	scope  subject.Scope
}

// place is an event that was settled.
type place struct {
	local uint64 // its sequence in this region
	Position
}

// tracker knows how far an owner has come: in each stream up to the last event before which all are settled. Events arrive
// in the order of the region's stream, so in that of each origin as well; they are settled in any. What it keeps grows with the
// events that are not settled, not with those that were settled past them.
type tracker struct {
	durable string
	home    subject.Origin                // of the region: what it has of its own earlier epochs is a copy, with other sequences
	dealt   func(*consumers.Message) bool // with which events owners before have dealt

	mu      sync.Mutex
	first   arrival // before all of them: what was settled right after it is what was reached
	last    *arrival
	by      map[uint64]*arrival
	reached map[stream]uint64 // local sequences, so that what comes again does not lead back
}

// arrival is an event that is not settled, in a list by the order of arrival.
type arrival struct {
	before, after *arrival
	place
	passed map[stream]place // settled, and between this one and the next
}

func newTracker(durable string, home subject.Origin) *tracker {
	t := &tracker{durable: durable, home: home, dealt: func(*consumers.Message) bool { return false }, by: make(map[uint64]*arrival), reached: make(map[stream]uint64)}
	t.last = &t.first
	return t
}

// Arrived implements consumers.Tracker.
func (t *tracker) Arrived(m *consumers.Message) bool {
	if t.dealt(m) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[m.Sequence] != nil {
		return true
	}
	p := Position{Durable: t.durable, Origin: m.Origin, Scope: m.Subject.Scope, Seq: m.OriginSeq, EventID: m.EventID}
	if recopied(t.home, m.Origin) {
		p.Seq = 0
	}
	a := &arrival{before: t.last, place: place{m.Sequence, p}}
	if m.Repaired {
		a.place = place{} // it comes later than its place, which was passed
	}
	t.last.after, t.last = a, a
	t.by[m.Sequence] = a
	return true
}

// Settled implements consumers.Tracker.
func (t *tracker) Settled(m *consumers.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.by[m.Sequence]
	if a == nil {
		return
	}
	delete(t.by, m.Sequence)
	a.before.after = a.after
	if a.after != nil {
		a.after.before = a.before
	} else {
		t.last = a.before
	}
	t.pass(a.before, a.place)
	for _, p := range a.passed {
		t.pass(a.before, p)
	}
}

// pass notes that an event behind another one is settled.
func (t *tracker) pass(behind *arrival, p place) {
	at := stream{p.Origin, p.Scope}
	if p.local <= max(t.reached[at], behind.passed[at].local) {
		return
	}
	if behind == &t.first {
		t.reached[at] = p.local
	}
	if behind.passed == nil {
		behind.passed = make(map[stream]place)
	}
	behind.passed[at] = p
}

// recopied says whether a region has the events of an origin with sequences that are not the origin's: those of its own
// earlier epochs, which it took back from a peer after it had lost them.
func recopied(home, of subject.Origin) bool { return of.Region == home.Region && of.Epoch < home.Epoch }

// take returns what has moved since it was last called. Whoever cannot record it gives it back.
func (t *tracker) take() []Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	ps := make([]Position, 0, len(t.first.passed))
	for _, p := range t.first.passed {
		ps = append(ps, p.Position)
	}
	clear(t.first.passed)
	return ps
}

// giveBack takes back what could not be recorded, where nothing newer is known.
func (t *tracker) giveBack(ps []Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range ps {
		at := stream{p.Origin, p.Scope}
		if _, newer := t.first.passed[at]; newer {
			continue
		}
		if t.first.passed == nil {
			t.first.passed = make(map[stream]place)
		}
		t.first.passed[at] = place{t.reached[at], p}
	}
}
