package checker

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/weft-mesh/weft/streams/subject"
)

// scope is one tenant's part of a history. Event ids mean something within a tenant only.
type scope struct {
	tenant  string
	regions []string // that must hold what replicates
	copies  []*Copy  // by region
	ledgers []*Ledger
	items   []item         // in the order of the attempts, then what nobody attempted
	index   map[string]int // id -> item
}

// item is all that is known of one event id.
type item struct {
	id      string
	attempt *Attempt  // nil: nobody sent it
	again   bool      // the history has a second attempt of this id, which no producer may make
	held    []holding // by region, then in stream order
}

// holding is one entry of a region's stream.
type holding struct {
	region string
	*Stored
}

// split groups a history by tenant, in the order of their names.
func split(h *History) []*scope {
	scopes := map[string]*scope{}
	of := func(tenant string) *scope {
		s, ok := scopes[tenant]
		if !ok {
			s = &scope{tenant: tenant, regions: slices.Clone(h.Regions[tenant]), index: map[string]int{}}
			scopes[tenant] = s
		}
		return s
	}
	for i := range h.Attempts {
		a := &h.Attempts[i]
		of(a.Tenant).attempted(a)
	}
	for i := range h.Copies {
		s := of(h.Copies[i].Tenant)
		s.copies = append(s.copies, &h.Copies[i])
	}
	for i := range h.Ledgers {
		s := of(h.Ledgers[i].Tenant)
		s.ledgers = append(s.ledgers, &h.Ledgers[i])
	}
	for _, s := range scopes {
		s.settle()
	}
	return slices.SortedFunc(maps.Values(scopes), func(a, b *scope) int { return cmp.Compare(a.tenant, b.tenant) })
}

func (s *scope) attempted(a *Attempt) {
	if i, ok := s.index[a.ID]; ok {
		s.items[i].again = true
		return
	}
	s.index[a.ID] = len(s.items)
	s.items = append(s.items, item{id: a.ID, attempt: a})
}

// settle fills in what needs all copies.
func (s *scope) settle() {
	slices.SortStableFunc(s.copies, func(a, b *Copy) int { return cmp.Compare(a.Region, b.Region) })
	if len(s.regions) == 0 { // unnamed: whoever has a copy; "" keeps an acknowledgement from being due nowhere
		for _, c := range s.copies {
			if !slices.Contains(s.regions, c.Region) {
				s.regions = append(s.regions, c.Region)
			}
		}
		if len(s.regions) == 0 {
			s.regions = []string{""}
		}
	}
	for _, c := range s.copies {
		for i := range c.Events {
			e := &c.Events[i]
			n, ok := s.index[e.ID]
			if !ok {
				n = len(s.items)
				s.index[e.ID] = n
				s.items = append(s.items, item{id: e.ID})
			}
			s.items[n].held = append(s.items[n].held, holding{c.Region, e})
		}
	}
}

// byRegion is what each region holds of the item.
func (it *item) byRegion() iter.Seq2[string, []holding] {
	return func(yield func(string, []holding) bool) {
		for rest := it.held; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].region == rest[0].region {
				n++
			}
			if !yield(rest[0].region, rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// missing are the regions of a list that hold nothing of the item.
func (it *item) missing(regions []string) []string {
	var absent []string
	for _, r := range regions {
		if !slices.ContainsFunc(it.held, func(h holding) bool { return h.region == r }) {
			absent = append(absent, r)
		}
	}
	return absent
}

// replicated is whether the event belongs into every region.
func (it *item) replicated() bool {
	if it.attempt != nil {
		return !it.attempt.Regional
	}
	return slices.ContainsFunc(it.held, func(h holding) bool { return !h.Regional })
}

// regionOf is the region of an origin: "eu" of "eu_1", "" of what is no origin.
func regionOf(origin string) string {
	o, err := subject.ParseOrigin(origin)
	if err != nil {
		return ""
	}
	return o.Region
}
