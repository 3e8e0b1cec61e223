package checker

import (
	"cmp"
	"maps"
	"slices"
)

// group is a consumer group of a region.
type group struct{ region, name string }

// effects finds what a consumer group did twice, and what it did not do though its region has the event. Ledgers
// of one group are one ledger.
func (j *judge) effects(s *scope) {
	groups := map[group][]*Ledger{}
	for _, l := range s.ledgers {
		g := group{l.Region, l.Group}
		groups[g] = append(groups[g], l)
	}
	order := slices.SortedFunc(maps.Keys(groups), func(a, b group) int {
		return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.name, b.name))
	})
	for _, g := range order {
		times := map[string]int{}
		for _, l := range groups[g] {
			for _, id := range l.Effects {
				if times[id]++; times[id] == 2 {
					j.find(Finding{Kind: KindDoubleEffect, Tenant: s.tenant, Region: g.region, ID: id}, "group %s", g.name)
				}
			}
		}
		j.missing(s, g, times)
	}
}

func (j *judge) missing(s *scope, g group, times map[string]int) {
	for i := range s.items {
		it := &s.items[i]
		if times[it.id] > 0 || it.attempt != nil && it.attempt.Poison || len(it.missing([]string{g.region})) > 0 {
			continue
		}
		j.find(Finding{Kind: KindMissingEffect, Tenant: s.tenant, Region: g.region, ID: it.id}, "group %s", g.name)
	}
}
