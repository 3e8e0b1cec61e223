package gate

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/schema"
)

// Tally is what one version has judged at this relay since it started. It only grows.
type Tally struct {
	Tenant, Subject string
	Version         schema.Version
	Hash            string // of the content
	Judged          Count  // events that it judged: those that failed were refused
	Shadow          Count  // events on which it was tried as a canary: none was refused for it
}

// Count is of events.
type Count struct {
	Checked, Failed uint64
	Regressed       uint64  // of those that failed: refused by an active version, and taken were it rolled back
	First           []Fault // the first different ones
}

// Fault is what a schema was broken by: nothing of the event is in it.
type Fault struct {
	Rule   string // the keyword
	Schema string // where it stands: RFC 6901, from the schema's root
}

// maxFaults are kept of one Count.
const maxFaults = 5

// tally is a Tally that is counted.
type tally struct {
	tenant, subject string
	version         schema.Version
	hash            string
	judged, shadow  counter
}

type counter struct {
	checked, failed, regressed atomic.Uint64

	mu    sync.Mutex
	first []Fault
}

func (c *counter) fault(found []Violation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range found {
		f := Fault{Rule: v.Rule, Schema: v.Schema}
		if v.Code == CodeViolation && len(c.first) < maxFaults && !slices.Contains(c.first, f) {
			c.first = append(c.first, f)
		}
	}
}

func (c *counter) count() Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	// in this order: none exceeds what it is of
	regressed, failed := c.regressed.Load(), c.failed.Load()
	return Count{Checked: c.checked.Load(), Failed: failed, Regressed: regressed, First: slices.Clone(c.first)}
}

// Tallies are those of every version that is canary, active or deprecated, by tenant, type and version.
func (g *Gates) Tallies() []Tally {
	g.mu.Lock()
	out := make([]Tally, 0, len(g.tallies))
	for _, t := range g.tallies {
		out = append(out, Tally{Tenant: t.tenant, Subject: t.subject, Version: t.version, Hash: t.hash, Judged: t.judged.count(), Shadow: t.shadow.count()})
	}
	g.mu.Unlock()
	slices.SortFunc(out, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Subject, b.Subject), a.Version.Compare(b.Version))
	})
	return out
}

// count is what one request adds to a counter.
type count struct {
	of                         *counter
	checked, failed, regressed uint64
}

// add counts one event. A request's events name few versions.
func (p *Pass) add(c *counter, failed, regressed bool) {
	at := -1
	for i := range p.counts {
		if p.counts[i].of == c {
			at = i
			break
		}
	}
	if at < 0 {
		at = len(p.counts)
		p.counts = append(p.counts, count{of: c})
	}
	p.counts[at].checked++
	if failed {
		p.counts[at].failed++
	}
	if regressed {
		p.counts[at].regressed++
	}
}

// count takes note of a verdict, and tries the canaries on what passes.
func (p *Pass) count(v *Verdict, e *event.Event) {
	p.kinds[kindOf(v)]++
	if v.Version != nil {
		judged := v.Refusal == nil || v.Refusal.Code == CodeViolation
		failed := v.Refusal != nil
		if judged {
			p.add(&v.Version.tally.judged, failed, failed && v.Version.regresses(e.Payload))
		}
		if judged && failed {
			v.Version.tally.judged.fault(v.Refusal.Violations)
		}
	}
	if v.Refusal != nil || v.named == nil {
		return
	}
	for _, c := range v.named.kind.canaries {
		if c.unit.err != nil || c.Number.NewMajor(v.named.Number) || !c.tries(e.UserID) {
			continue
		}
		found := c.Check(e.Payload)
		p.add(&c.tally.shadow, len(found) > 0, false)
		if len(found) > 0 {
			c.tally.shadow.fault(found)
		}
	}
}

// regresses says of a payload that the version refused whether it would be taken were the version rolled back.
func (v *Version) regresses(payload []byte) bool {
	return v.Status == schema.Active && (v.back == nil || v.back.unit.err == nil && len(v.back.Check(payload)) == 0)
}

// Done adds what the request's events were to the tallies and metrics.
func (p *Pass) Done() {
	for i := range p.counts {
		c := &p.counts[i]
		c.of.checked.Add(c.checked)
		c.of.failed.Add(c.failed)
		c.of.regressed.Add(c.regressed)
	}
	p.counts = p.counts[:0]
	for k, n := range p.kinds {
		if n > 0 && p.gate.counters != nil { // a gate that asks for nothing yet has none
			p.gate.counters.of[k].Add(float64(n))
		}
	}
	p.kinds = [kinds]int{}
}
