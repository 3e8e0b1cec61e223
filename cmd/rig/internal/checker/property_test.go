package checker

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawer(t *rapid.T) func(int) int {
	return func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }
}

func TestCorrectHistoryPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := drawer(t)
		h := generate(draw, 1+draw(2), 1+draw(40))
		if v := Check(h); !v.OK() || len(v.Findings) > 0 {
			t.Fatalf("a correct history: %+v", v)
		}
	})
}

// What a generated history must contain now and then, or the property above says nothing.
func TestCorrectHistoriesAreRich(t *testing.T) {
	var sum Verdict
	repaired := 0
	for seed := range uint64(40) {
		h := generate(random(seed), 2, 60)
		sum.Add(Check(h))
		for _, c := range h.Copies {
			for _, e := range c.Events {
				if e.Repaired {
					repaired++
				}
			}
		}
	}
	if sum.Acknowledged == 0 || sum.Refused == 0 || sum.UnknownStored == 0 || sum.UnknownAbsent == 0 || sum.CrossDuplicates == 0 ||
		sum.LostWithRegion == 0 || sum.RPOms == 0 || repaired == 0 {
		t.Errorf("%+v, %d repaired", sum, repaired)
	}
}

// mutations break one promise each, in a way that has one name.
func mutations() map[string]func(h *History, draw func(int) int) (broken bool) {
	entry := func(h *History, draw func(int) int) (*Copy, int) {
		c := &h.Copies[draw(len(h.Copies))]
		if len(c.Events) == 0 {
			return c, -1
		}
		return c, draw(len(c.Events))
	}
	m := map[string]func(*History, func(int) int) bool{
		KindUnexpected + ": a foreign id": func(h *History, draw func(int) int) bool {
			c, i := entry(h, draw)
			c.Events = slices.Insert(c.Events, i+1, Stored{ID: "foreign", Origin: "eu_1", OriginSeq: 1 << 40})
			return true
		},
		KindUnexpected + ": another body": func(h *History, draw func(int) int) bool {
			c, i := entry(h, draw)
			if i >= 0 {
				c.Events[i].Body ^= 1
			}
			return i >= 0
		},
		KindUnexpected + ": refused, but there": func(h *History, draw func(int) int) bool {
			c, i := entry(h, draw)
			for n := range h.Attempts {
				if i >= 0 && h.Attempts[n].ID == c.Events[i].ID {
					h.Attempts[n].Outcome = Refused
				}
			}
			return i >= 0
		},
		KindUnexpected + ": poison": func(h *History, draw func(int) int) bool {
			c, i := entry(h, draw)
			for n := range h.Attempts {
				if i >= 0 && h.Attempts[n].ID == c.Events[i].ID {
					h.Attempts[n].Poison = true
				}
			}
			return i >= 0
		},
		KindMissingEffect + ": none": func(h *History, draw func(int) int) bool {
			l := &h.Ledgers[draw(len(h.Ledgers))]
			if len(l.Effects) == 0 {
				return false
			}
			i := draw(len(l.Effects))
			l.Effects = slices.Delete(l.Effects, i, i+1)
			return true
		},
	}
	for kind, finding := range Plants() {
		m[finding+": plant "+kind] = func(h *History, draw func(int) int) bool {
			return Plant(h, kind, uint64(draw(1000))) == nil
		}
	}
	return m
}

func TestMutationsAreNamed(t *testing.T) {
	for name, mutate := range mutations() {
		t.Run(name, func(t *testing.T) {
			found := 0
			rapid.Check(t, func(t *rapid.T) {
				draw := drawer(t)
				h := withProbes(generate(draw, 1+draw(2), 2+draw(30)))
				if !mutate(h, draw) {
					return
				}
				found++
				v := Check(h)
				if v.OK() {
					t.Fatal("not found")
				}
				if !slices.ContainsFunc(v.Findings, func(f Finding) bool { return name[:len(f.Kind)] == f.Kind && name[len(f.Kind)] == ':' }) {
					t.Fatalf("found as something else: %+v", v.Findings)
				}
			})
			if found < 20 {
				t.Errorf("only %d histories were changed", found)
			}
		})
	}
}

// mess changes anything to anything: what no mesh would do, so that both judges meet every corner.
func mess(h *History, draw func(int) int) {
	switch kind := draw(3); {
	case kind == 0 && len(h.Attempts) > 0:
		messAttempt(h, draw)
	case kind == 1 && len(h.Ledgers) > 0:
		l := &h.Ledgers[draw(len(h.Ledgers))]
		switch draw(4) {
		case 0:
			l.Effects = append(l.Effects, fmt.Sprintf("t0-%d", draw(9)))
		case 1:
			l.Effects = l.Effects[:draw(len(l.Effects)+1)]
		case 2:
			h.Ledgers = append(h.Ledgers, Ledger{l.Tenant, l.Region, l.Group, slices.Clone(l.Effects)})
		case 3:
			l.Group = "h"
		}
	case kind == 2:
		messCopy(h, draw)
	}
}

func messAttempt(h *History, draw func(int) int) {
	a := &h.Attempts[draw(len(h.Attempts))]
	switch draw(9) {
	case 0:
		a.Outcome = Outcome(draw(3))
	case 1:
		a.Region = []string{"eu", "us", ""}[draw(3)]
	case 2:
		a.Regional = !a.Regional
	case 3:
		a.AckedAt = int64(draw(60))
	case 4:
		a.Sends = nil
	case 5:
		a.Key = fmt.Sprintf("k%d", draw(2))
	case 6:
		a.Sends = append(a.Sends, Send{int64(draw(200)), []string{"eu", "us"}[draw(2)]})
	case 7:
		h.Attempts = append(h.Attempts, *a)
	case 8:
		switch draw(3) {
		case 0:
			delete(h.Regions, a.Tenant)
		case 1:
			h.Regions[a.Tenant] = []string{"us"}
		case 2:
			h.Losses = append(h.Losses, Loss{Region: a.Region, From: int64(draw(20)), At: int64(20 + draw(40))})
		}
	}
}

func messCopy(h *History, draw func(int) int) {
	c := &h.Copies[draw(len(h.Copies))]
	if len(c.Events) == 0 {
		h.Copies = append(h.Copies, Copy{Tenant: c.Tenant, Region: "us", Events: []Stored{{ID: "t0-1", Origin: "us_1"}}})
		return
	}
	i, j := draw(len(c.Events)), draw(len(c.Events))
	e := &c.Events[i]
	switch draw(9) {
	case 0:
		c.Events = slices.Delete(c.Events, i, i+1)
	case 1:
		c.Events = slices.Insert(c.Events, j, *e)
	case 2:
		c.Events[i], c.Events[j] = c.Events[j], c.Events[i]
	case 3:
		e.OriginSeq = uint64(draw(20))
	case 4:
		e.Origin = []string{"eu_1", "eu_2", "us_1", "none"}[draw(4)]
	case 5:
		e.Repaired = !e.Repaired
	case 6:
		e.Regional = !e.Regional
	case 7:
		e.Body = uint64(draw(2))
	case 8:
		e.ID = []string{"t0-1", "t0-2", "foreign"}[draw(3)]
	}
}

func TestAgreesWithNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := drawer(t)
		h := generate(draw, 1+draw(2), 1+draw(15))
		for range draw(12) {
			mess(h, draw)
		}
		fast, slow := Check(h), naive(h)
		findings := fast.Findings
		fast.Findings = nil
		if !reflect.DeepEqual(fast, slow) {
			t.Fatalf("Check %+v\nnaive %+v\n%+v\n%+v", fast, slow, findings, h)
		}
	})
}
