package checker

import (
	"cmp"
	"math"
	"slices"
)

// lane is where order is promised: one routing key, taken in by one origin.
type lane struct{ origin, key string }

// streamOrder finds, in each region, events that stand behind a later one of their lane. What a repair put back
// stands where it can.
func (j *judge) streamOrder(s *scope) {
	var last map[lane]uint64
	for i, c := range s.copies {
		if i == 0 || c.Region != s.copies[i-1].Region {
			last = map[lane]uint64{}
		}
		for k := range c.Events {
			e := &c.Events[k]
			a := s.items[s.index[e.ID]].attempt
			if a == nil || e.Repaired {
				continue
			}
			at := lane{e.Origin, a.Key}
			before, some := last[at]
			if some && e.OriginSeq <= before {
				j.find(Finding{Kind: KindReordered, Tenant: s.tenant, Region: c.Region, ID: e.ID},
					"seq %d: %s %d of key %q stands behind %s %d", e.Seq, e.Origin, e.OriginSeq, a.Key, e.Origin, before)
				continue
			}
			last[at] = e.OriginSeq
		}
	}
}

// placed is an event with one place in one origin's stream.
type placed struct {
	*Attempt
	seq uint64
}

// realTimeOrder finds events that were sent after an earlier one of their lane was acknowledged and yet stand
// before it at their origin. Each lane is swept once in the order of first sends, with the highest place among what
// was acknowledged by then.
func (j *judge) realTimeOrder(s *scope) {
	lanes := map[lane][]placed{}
	var names []lane // findings must not depend on the order of a map
	for i := range s.items {
		it := &s.items[i]
		origin, seq, ok := it.place()
		if !ok || it.attempt == nil || len(it.attempt.Sends) == 0 {
			continue
		}
		at := lane{origin, it.attempt.Key}
		if lanes[at] == nil {
			names = append(names, at)
		}
		lanes[at] = append(lanes[at], placed{it.attempt, seq})
	}
	for _, at := range names {
		j.sweep(at, lanes[at])
	}
}

func (j *judge) sweep(at lane, events []placed) {
	acked := slices.DeleteFunc(slices.Clone(events), func(p placed) bool { return p.answered() == math.MaxInt64 })
	slices.SortFunc(acked, func(a, b placed) int { return cmp.Compare(a.AckedAt, b.AckedAt) })
	slices.SortStableFunc(events, func(a, b placed) int { return cmp.Compare(a.Sends[0].At, b.Sends[0].At) })
	var highest placed
	for _, b := range events {
		for len(acked) > 0 && acked[0].AckedAt < b.Sends[0].At {
			if highest.Attempt == nil || acked[0].seq > highest.seq {
				highest = acked[0]
			}
			acked = acked[1:]
		}
		if highest.Attempt != nil && highest.seq >= b.seq {
			j.find(Finding{Kind: KindReordered, Tenant: b.Tenant, ID: b.ID},
				"%s %d of key %q was sent after %s (%s %d) had been acknowledged", at.origin, b.seq, at.key, highest.ID, at.origin, highest.seq)
		}
	}
}

// answered is when the producer knew that the event is stored; never, for an answer that came before its question.
func (p placed) answered() int64 {
	if p.Outcome != Acked || p.AckedAt < p.Sends[0].At {
		return math.MaxInt64
	}
	return p.AckedAt
}

// place is where the origin has the event; not ok when it has no place, several ones, or is known from repairs alone.
func (it *item) place() (origin string, seq uint64, ok bool) {
	for _, h := range it.held {
		if h.Origin != it.held[0].Origin || h.OriginSeq != it.held[0].OriginSeq {
			return "", 0, false
		}
		ok = ok || !h.Repaired
	}
	if !ok {
		return "", 0, false
	}
	return it.held[0].Origin, it.held[0].OriginSeq, true
}
