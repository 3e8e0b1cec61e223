package checker

import (
	"slices"
	"time"
)

// naive judges as Check does, by the rules as they are said, each event against all others, and keeps no findings.
func naive(h *History) *Verdict {
	n := &naiveJudge{h: h, v: &Verdict{}}
	type name struct{ tenant, id string }
	var names []name
	add := func(x name) {
		if !slices.Contains(names, x) {
			names = append(names, x)
		}
	}
	for _, a := range h.Attempts {
		add(name{a.Tenant, a.ID})
	}
	for _, c := range h.Copies {
		for _, e := range c.Events {
			add(name{c.Tenant, e.ID})
		}
	}
	for _, x := range names {
		n.presence(x.tenant, x.id)
	}
	n.streams()
	n.realTime()
	n.ledgers()
	return n.v
}

type naiveJudge struct {
	h *History
	v *Verdict
}

func (n *naiveJudge) attempts(tenant, id string) (found []Attempt) {
	for _, a := range n.h.Attempts {
		if a.Tenant == tenant && a.ID == id {
			found = append(found, a)
		}
	}
	return found
}

// in is the entries of an event in a region.
func (n *naiveJudge) in(tenant, region, id string) (found []Stored) {
	for _, c := range n.h.Copies {
		for _, e := range c.Events {
			if c.Tenant == tenant && c.Region == region && e.ID == id {
				found = append(found, e)
			}
		}
	}
	return found
}

// regions of all copies of a tenant, and those that must hold it.
func (n *naiveJudge) regions(tenant string) (all, must []string) {
	for _, c := range n.h.Copies {
		if c.Tenant == tenant && !slices.Contains(all, c.Region) {
			all = append(all, c.Region)
		}
	}
	if must = n.h.Regions[tenant]; len(must) == 0 {
		must = all
	}
	if len(must) == 0 {
		must = []string{""}
	}
	return all, must
}

func (n *naiveJudge) presence(tenant, id string) {
	all, must := n.regions(tenant)
	var entries []Stored
	at := map[string][]Stored{}
	for _, r := range all {
		at[r] = n.in(tenant, r, id)
		entries = append(entries, at[r]...)
	}
	var a *Attempt
	attempts := n.attempts(tenant, id)
	replicated := slices.ContainsFunc(entries, func(e Stored) bool { return !e.Regional })
	if len(attempts) > 0 {
		a = &attempts[0]
		replicated = !a.Regional
		n.outcome(a, at, must, len(entries))
	}
	wrong := len(attempts) > 1
	for r, entries := range at {
		for _, e := range entries {
			wrong = wrong || n.wrong(a, r, e)
		}
		if len(entries) > 1 {
			if n.allowed(a, entries) {
				n.v.CrossDuplicates++
			} else {
				n.v.Duplicated++
			}
		}
	}
	if wrong {
		n.v.Unexpected++
	}
	places := 0
	for _, r := range all {
		if len(at[r]) > 0 {
			places++
		}
	}
	if a != nil && a.Regional && places > 1 {
		n.v.CrossDuplicates++
	}
	if !replicated || len(entries) == 0 {
		return
	}
	differs := false
	for _, r := range must {
		differs = differs || len(at[r]) == 0
	}
	for _, e := range entries {
		for _, f := range entries {
			differs = differs || e.Body != f.Body
		}
	}
	if differs {
		n.v.Diverged++
	}
}

func (n *naiveJudge) outcome(a *Attempt, at map[string][]Stored, must []string, entries int) {
	switch a.Outcome {
	case Refused:
		n.v.Refused++
	case Unknown:
		if entries > 0 {
			n.v.UnknownStored++
		} else {
			n.v.UnknownAbsent++
		}
	case Acked:
		n.v.Acknowledged++
		excused := false
		for _, l := range n.h.Losses {
			if gone := entries == 0 || a.Regional && len(at[a.Region]) == 0; gone && l.Region == a.Region && a.AckedAt > l.From && a.AckedAt <= max(l.At, l.Back) {
				excused = true
				age := max(0, time.Duration(l.At-a.AckedAt))
				if a.Regional {
					continue
				}
				n.v.RPOms = max(n.v.RPOms, (age + time.Millisecond - 1).Milliseconds())
			}
		}
		lost := a.Regional && len(at[a.Region]) == 0
		for _, r := range must {
			lost = lost || !a.Regional && len(at[r]) == 0
		}
		if excused && a.Regional {
			n.v.RegionalLost++
		} else if excused {
			n.v.LostWithRegion++
		} else if lost {
			n.v.Lost++
		}
	}
}

func (n *naiveJudge) wrong(a *Attempt, region string, e Stored) bool {
	if a == nil || a.Poison || a.Outcome == Refused || a.Body != e.Body || a.Regional != e.Regional {
		return true
	}
	if !a.Regional {
		return false
	}
	if e.Origin != region+"_1" && e.Origin != region+"_2" {
		return true
	}
	if a.Outcome != Acked || a.Region == region {
		return false
	}
	asked := map[string]bool{}
	for _, s := range a.Sends {
		asked[s.Region] = true
	}
	return !asked[region] || len(asked) < 2
}

func (n *naiveJudge) allowed(a *Attempt, entries []Stored) bool {
	origins := map[string]int{}
	for i, e := range entries {
		origins[e.Origin]++
		for j, f := range entries {
			if i != j && e.Origin == f.Origin && e.OriginSeq == f.OriginSeq {
				return false
			}
		}
	}
	if a == nil || len(a.Sends) == 0 {
		return false
	}
	if time.Duration(a.Sends[len(a.Sends)-1].At-a.Sends[0].At) > n.h.Window {
		return true
	}
	asked := map[string]bool{}
	for _, s := range a.Sends {
		asked[s.Region] = true
	}
	return len(asked) > 1 && len(origins) == len(entries)
}

func (n *naiveJudge) streams() {
	type entry struct {
		tenant, region string
		Stored
	}
	var all []entry
	for _, c := range n.h.Copies {
		for _, e := range c.Events {
			all = append(all, entry{c.Tenant, c.Region, e})
		}
	}
	for j, b := range all {
		behind := false
		for _, a := range all[:j] {
			x, y := n.attempts(a.tenant, a.ID), n.attempts(b.tenant, b.ID)
			behind = behind || a.tenant == b.tenant && a.region == b.region && a.Origin == b.Origin &&
				len(x) > 0 && len(y) > 0 && x[0].Key == y[0].Key && !a.Repaired && !b.Repaired && a.OriginSeq >= b.OriginSeq
		}
		if behind {
			n.v.Reordered++
		}
	}
}

// only is the one place of an event.
func (n *naiveJudge) only(a Attempt) (one Stored, ok bool) {
	all, _ := n.regions(a.Tenant)
	places, plain := map[[2]any]Stored{}, false
	for _, r := range all {
		for _, e := range n.in(a.Tenant, r, a.ID) {
			places[[2]any{e.Origin, e.OriginSeq}] = e
			plain = plain || !e.Repaired
		}
	}
	for _, one = range places {
	}
	return one, len(places) == 1 && plain && len(a.Sends) > 0
}

func (n *naiveJudge) realTime() {
	first := func(i int) bool { // of several attempts of an id the first one counts
		return !slices.ContainsFunc(n.h.Attempts[:i], func(x Attempt) bool {
			return x.Tenant == n.h.Attempts[i].Tenant && x.ID == n.h.Attempts[i].ID
		})
	}
	for j, b := range n.h.Attempts {
		q, ok := n.only(b)
		if !ok || !first(j) {
			continue
		}
		behind := false
		for i, a := range n.h.Attempts {
			if a.Tenant != b.Tenant || a.Key != b.Key || a.Outcome != Acked || i == j || !first(i) {
				continue
			}
			p, ok := n.only(a)
			behind = behind || ok && p.Origin == q.Origin && a.Sends[0].At <= a.AckedAt && a.AckedAt < b.Sends[0].At && p.OriginSeq >= q.OriginSeq
		}
		if behind {
			n.v.Reordered++
		}
	}
}

func (n *naiveJudge) ledgers() {
	var groups []Ledger
	for _, l := range n.h.Ledgers {
		i := slices.IndexFunc(groups, func(g Ledger) bool {
			return g.Tenant == l.Tenant && g.Region == l.Region && g.Group == l.Group
		})
		if i < 0 {
			groups = append(groups, Ledger{Tenant: l.Tenant, Region: l.Region, Group: l.Group, Effects: slices.Clone(l.Effects)})
			continue
		}
		groups[i].Effects = append(groups[i].Effects, l.Effects...)
	}
	for _, g := range groups {
		twice, want := map[string]bool{}, map[string]bool{}
		for i, id := range g.Effects {
			if slices.Contains(g.Effects[:i], id) {
				twice[id] = true
			}
		}
		for _, c := range n.h.Copies {
			for _, e := range c.Events {
				a := n.attempts(g.Tenant, e.ID)
				if c.Tenant == g.Tenant && c.Region == g.Region && (len(a) == 0 || !a[0].Poison) && !slices.Contains(g.Effects, e.ID) {
					want[e.ID] = true
				}
			}
		}
		n.v.DoubleEffects += len(twice)
		n.v.MissingEffects += len(want)
	}
}
