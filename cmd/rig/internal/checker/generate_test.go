package checker

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const testWindow = 100 * time.Nanosecond

// mesh makes correct histories: what producers, regions and consumers would do that keep every promise.
type mesh struct {
	draw    func(n int) int // from [0,n)
	h       *History
	tenant  string
	regions []string
	now     int64
	logs    map[string][]logged // by origin
}

// logged is an event as an origin took it in.
type logged struct {
	at int64
	a  int // attempt
	Stored
}

// generate is a correct history with so many attempts of each of its tenants.
func generate(draw func(n int) int, tenants, attempts int) *History {
	h := &History{Window: testWindow, Regions: map[string][]string{}}
	regions := []string{"eu", "us", "ap"}[:2+draw(2)]
	for t := range tenants {
		m := &mesh{draw: draw, h: h, tenant: fmt.Sprintf("t%d", t), regions: regions, logs: map[string][]logged{}}
		h.Regions[m.tenant] = regions
		for i := range attempts {
			m.attempt(fmt.Sprintf("%s-%d", m.tenant, i), 1+attempts/8)
		}
		m.number()
		m.destroy()
		for _, r := range regions {
			m.replicate(r)
		}
	}
	return h
}

// attempt is one producer's work on one event.
func (m *mesh) attempt(id string, keys int) {
	m.now += int64(m.draw(4))
	a := Attempt{ID: id, Tenant: m.tenant, Key: fmt.Sprintf("k%d", m.draw(keys)), Body: uint64(m.draw(1000)), Regional: m.draw(8) == 0}
	first := m.regions[m.draw(len(m.regions))]
	a.Sends = []Send{{m.now, first}}
	n := len(m.h.Attempts)
	stored := m.now + int64(m.draw(10))
	switch m.draw(10) {
	case 0:
		a.Poison, a.Outcome = true, Refused
	case 1:
		a.Outcome = Refused
	case 2: // the request never arrived
	case 3: // the answer never arrived
		m.take(n, first, stored, a)
	case 4: // it came to the next request, in time
		m.take(n, first, stored, a)
		a.Sends = append(a.Sends, Send{stored + 1, first})
		a.Outcome, a.Region, a.AckedAt = Acked, first, stored+2
	case 5: // or too late
		m.take(n, first, stored, a)
		again := stored + int64(testWindow) + 1
		m.take(n, first, again+1, a)
		a.Sends = append(a.Sends, Send{again, first})
		a.Outcome, a.Region, a.AckedAt = Acked, first, again+2
	case 6: // or elsewhere, while regions were cut off from each other
		second := m.regions[m.draw(len(m.regions))]
		m.take(n, first, stored, a)
		if second != first {
			m.take(n, second, stored+2, a)
		}
		a.Sends = append(a.Sends, Send{stored + 1, second})
		a.Outcome, a.Region, a.AckedAt = Acked, second, stored+3
	default:
		m.take(n, first, stored, a)
		a.Outcome, a.Region, a.AckedAt = Acked, first, stored+int64(m.draw(10))
	}
	m.h.Attempts = append(m.h.Attempts, a)
}

func (m *mesh) take(n int, region string, at int64, a Attempt) {
	origin := region + "_1"
	m.logs[origin] = append(m.logs[origin], logged{at, n, Stored{ID: a.ID, Origin: origin, Body: a.Body, Regional: a.Regional}})
}

// number gives every event its place in its origin's stream.
func (m *mesh) number() {
	for _, log := range m.logs {
		slices.SortStableFunc(log, func(a, b logged) int { return cmp.Compare(a.at, b.at) })
		seq := uint64(0)
		for i := range log {
			seq += 1 + uint64(log[i].at%3) // the sequence has holes, where events of the region itself or markers are
			log[i].OriginSeq = seq
		}
	}
}

// destroy lets a region lose its latest acknowledged events.
func (m *mesh) destroy() {
	if m.draw(3) > 0 || m.now == 0 {
		return
	}
	l := Loss{Region: m.regions[m.draw(len(m.regions))], At: m.now}
	l.From = l.At - int64(m.draw(int(min(m.now, 30))))
	m.h.Losses = append(m.h.Losses, l)
	for n, a := range m.h.Attempts {
		if a.Tenant == m.tenant && a.Outcome == Acked && a.Region == l.Region && l.From < a.AckedAt && a.AckedAt <= l.At && m.draw(2) == 0 {
			for origin, log := range m.logs {
				m.logs[origin] = slices.DeleteFunc(log, func(e logged) bool { return e.a == n })
			}
		}
	}
}

// replicate makes a region's copy, some of it by repair, and the effects of its consumers.
func (m *mesh) replicate(region string) {
	c := Copy{Tenant: m.tenant, Region: region}
	rest := map[string][]logged{}
	for origin, log := range m.logs {
		rest[origin] = log
	}
	has := map[string]string{} // id -> origin
	var repaired []Stored
	put := func(e logged) {
		from, some := has[e.ID]
		switch {
		case e.Regional && e.Origin != region+"_1":
			return
		case some && from != e.Origin && m.draw(2) == 0: // skipped as a duplicate
			return
		case !some && e.Origin != region+"_1" && m.draw(10) == 0:
			e.Stored.Repaired = true
			repaired = append(repaired, e.Stored)
		default:
			c.Events = append(c.Events, e.Stored)
		}
		has[e.ID] = e.Origin
	}
	for len(rest) > 0 {
		r := m.regions[m.draw(len(m.regions))] + "_1"
		if log := rest[r]; len(log) > 0 {
			put(log[0])
			rest[r] = log[1:]
		}
		if len(rest[r]) == 0 {
			delete(rest, r)
		}
	}
	c.Events = append(c.Events, repaired...)
	ledger := Ledger{Tenant: m.tenant, Region: region, Group: "g"}
	done := map[string]bool{}
	for i := range c.Events {
		c.Events[i].Seq = uint64(i + 1)
		if id := c.Events[i].ID; !done[id] {
			ledger.Effects = append(ledger.Effects, id)
			done[id] = true
		}
	}
	m.h.Copies = append(m.h.Copies, c)
	m.h.Ledgers = append(m.h.Ledgers, ledger)
}
