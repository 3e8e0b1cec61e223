package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Kinds of damage that Plant does.
const (
	PlantLose    = "lose"    // an acknowledged event goes, from one region or all
	PlantDup     = "dup"     // an event is stored a second time, by the origin that has it
	PlantReorder = "reorder" // two events of one key and origin change places in one region
	PlantDiverge = "diverge" // a replicated event goes from one region, or has another body there
	PlantEffect  = "effect"  // a consumer group acts twice on one event
	PlantAdmit   = "admit"   // a request was accepted whose credential had ended
	PlantReplay  = "replay"  // a copy of a request was stored
)

// Plants are all kinds of damage, each with the kind of finding that it must lead to.
func Plants() map[string]string {
	return map[string]string{
		PlantLose: KindLost, PlantDup: KindDuplicated, PlantReorder: KindReordered,
		PlantDiverge: KindDiverged, PlantEffect: KindDoubleEffect,
		PlantAdmit: KindAdmitted, PlantReplay: KindReplayed,
	}
}

// Plant damages h behind the checker's back, in a place that seed chooses, so that a rig can show that its judge
// would see it. The slices of h are changed in place. It fails when h has nothing that could be damaged this way so
// that it shows, and h is unchanged then.
func Plant(h *History, kind string, seed uint64) error {
	p := &planter{h: h, dice: rand.New(rand.NewPCG(seed, 0))}
	var done bool
	switch kind {
	case PlantLose:
		done = p.lose()
	case PlantDup:
		done = p.dup()
	case PlantReorder:
		done = p.reorder()
	case PlantDiverge:
		done = p.diverge()
	case PlantEffect:
		done = p.effect()
	case PlantAdmit, PlantReplay:
		done = p.accept(kind == PlantReplay)
	default:
		return fmt.Errorf("plant: no kind %q", kind)
	}
	if !done {
		return fmt.Errorf("plant %s: nothing in this history can be damaged so", kind)
	}
	return nil
}

type planter struct {
	h    *History
	dice *rand.Rand
}

// spot is one event and the tenant that it belongs to.
type spot struct {
	s  *scope
	it *item
}

// choose picks one of the events that qualify.
func (p *planter) choose(qualifies func(*scope, *item) bool) (spot, bool) {
	var found []spot
	for _, s := range split(p.h) {
		for i := range s.items {
			if it := &s.items[i]; it.attempt != nil && qualifies(s, it) {
				found = append(found, spot{s, it})
			}
		}
	}
	return pick(p.dice, found)
}

func pick[T any](dice *rand.Rand, from []T) (one T, ok bool) {
	if len(from) == 0 {
		return one, false
	}
	return from[dice.IntN(len(from))], true
}

// remove takes an event out of the copies of the regions.
func (s *scope) remove(id string, regions ...string) {
	for _, c := range s.copies {
		if slices.Contains(regions, c.Region) {
			c.Events = slices.DeleteFunc(c.Events, func(e Stored) bool { return e.ID == id })
		}
	}
}

// everywhere is whether all regions that must hold the event do.
func (s *scope) everywhere(it *item) bool { return len(it.missing(promised(s, it.attempt))) == 0 }

func (p *planter) lose() bool {
	at, ok := p.choose(func(s *scope, it *item) bool {
		if _, excused := excuse(p.h.Losses, it.attempt); excused {
			return false
		}
		return it.attempt.Outcome == Acked && s.everywhere(it)
	})
	if !ok {
		return false
	}
	gone := promised(at.s, at.it.attempt)
	if p.dice.IntN(2) == 0 {
		one, _ := pick(p.dice, gone)
		gone = []string{one}
	}
	at.s.remove(at.it.id, gone...)
	return true
}

func (p *planter) dup() bool {
	at, ok := p.choose(func(_ *scope, it *item) bool {
		if len(it.held) == 0 {
			return false
		}
		one := it.held[0] // as if its origin had taken it in again
		other := holding{one.region, &Stored{ID: one.ID, Origin: one.Origin, OriginSeq: one.OriginSeq + 1}}
		return copied(it, []holding{one, other}, p.h.Window) != "" && !it.doubled()
	})
	if !ok {
		return false
	}
	second, _ := pick(p.dice, at.it.held)
	more := *second.Stored
	more.Seq, more.OriginSeq, more.Repaired = 0, 0, false
	var end *Copy
	for _, c := range at.s.copies {
		for _, e := range c.Events {
			if e.Origin == more.Origin {
				more.OriginSeq = max(more.OriginSeq, e.OriginSeq+1)
			}
			if c.Region == second.region {
				more.Seq = max(more.Seq, e.Seq+1)
			}
		}
		if c.Region == second.region {
			end = c
		}
	}
	end.Events = append(end.Events, more)
	return true
}

// doubled is whether a region holds the event more than once.
func (it *item) doubled() bool {
	for _, entries := range it.byRegion() {
		if len(entries) > 1 {
			return true
		}
	}
	return false
}

func (p *planter) reorder() bool {
	type pair struct {
		c    *Copy
		i, j int
	}
	var found []pair
	for _, s := range split(p.h) {
		for _, c := range s.copies {
			last := map[lane]int{}
			for j, e := range c.Events {
				a := s.items[s.index[e.ID]].attempt
				if a == nil || e.Repaired {
					continue
				}
				at := lane{e.Origin, a.Key}
				if i, some := last[at]; some && c.Events[i].OriginSeq < e.OriginSeq && c.Events[i].ID != e.ID {
					found = append(found, pair{c, i, j})
				}
				last[at] = j
			}
		}
	}
	at, ok := pick(p.dice, found)
	if !ok {
		return false
	}
	one, two := &at.c.Events[at.i], &at.c.Events[at.j]
	*one, *two = *two, *one
	one.Seq, two.Seq = two.Seq, one.Seq // the stream itself counts on
	return true
}

// diverge prefers events whose producer has no clear answer: nothing but the other regions can tell of those.
func (p *planter) diverge() bool {
	shared := func(s *scope, it *item) bool {
		return !it.attempt.Regional && len(s.regions) > 1 && s.everywhere(it) && it.uniform()
	}
	if p.dice.IntN(2) == 0 {
		at, ok := p.choose(shared)
		if ok {
			where, _ := pick(p.dice, at.it.held)
			where.Body ^= 1
		}
		return ok
	}
	at, ok := p.choose(func(s *scope, it *item) bool { return it.attempt.Outcome == Unknown && shared(s, it) })
	if !ok {
		at, ok = p.choose(shared)
	}
	if !ok {
		return false
	}
	where, _ := pick(p.dice, at.s.regions)
	at.s.remove(at.it.id, where)
	return true
}

// uniform is whether all entries agree on the body.
func (it *item) uniform() bool {
	return !slices.ContainsFunc(it.held, func(h holding) bool { return h.Body != it.held[0].Body })
}

func (p *planter) effect() bool {
	type place struct {
		l *Ledger
		i int
	}
	var found []place
	for i := range p.h.Ledgers {
		l := &p.h.Ledgers[i]
		times := map[string]int{}
		for _, id := range l.Effects {
			times[id]++
		}
		for i, id := range l.Effects {
			if times[id] == 1 {
				found = append(found, place{l, i})
			}
		}
	}
	at, ok := pick(p.dice, found)
	if !ok {
		return false
	}
	behind := at.i + 1 + p.dice.IntN(len(at.l.Effects)-at.i)
	at.l.Effects = slices.Insert(at.l.Effects, behind, at.l.Effects[at.i])
	return true
}

// accept turns the refusal of a copy, or of what its credential did not open any more, into its opposite.
func (p *planter) accept(copies bool) bool {
	j := &judge{h: p.h}
	var found []*Probe
	for i := range p.h.Probes {
		one := &p.h.Probes[i]
		if one.Answer == Barred && !one.Calm && one.Copy == copies && (copies || one.At > j.barredFrom(one.BadFrom)) {
			found = append(found, one)
		}
	}
	one, ok := pick(p.dice, found)
	if ok {
		one.Answer = Accepted
	}
	return ok
}
