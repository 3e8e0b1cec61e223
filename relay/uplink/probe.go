package uplink

import (
	"context"

	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/original"
)

// MaxProbes are sent of one Probe: their originals are told in one answer of a hub.
const MaxProbes = original.MaxSeqs

// probeShare is the part of the window that all probes of a tenant may take, so that they never keep its events out.
const probeShare = 4

// Probe is Uplink.Probe over the tenant's uplink, which it opens if it must and can soon.
func (p *Pool) Probe(ctx context.Context, tenant string, msgs []Message, results []Result) {
	dial, cancel := context.WithTimeout(ctx, p.shared.ProbeTimeout)
	defer cancel()
	u, err := p.get(dial, tenant)
	if err != nil {
		fill(results, probed(notLinked))
		return
	}
	u.Probe(ctx, msgs, results)
}

// Probe finds out which of the messages are stored, and stores none: no message's Data leaves the relay. When it
// returns, every one of results, which is as long, is Duplicate, Rejected for a conflict, Unavailable where the id is
// taken and nobody can say by what, or whether another region has it, and else Absent: a stream knows the ids of its window
// for duplicates. What exceeds MaxProbes, or what may be under way at a time, is Unasked.
func (u *Uplink) Probe(ctx context.Context, msgs []Message, results []Result) {
	n := u.reserveProbes(min(len(msgs), MaxProbes))
	defer u.probes.Add(int64(-n))
	fill(results[n:], Result{Status: Unasked})
	if msgs, results = msgs[:n], results[:n]; n == 0 {
		return
	}
	c := u.s.call(msgs, results)
	c.probe, c.patience = true, u.s.ProbeTimeout
	c.set(header.Rollup, header.NoRollup)
	u.exchange(c, &Stamp{})
	for i := range results {
		results[i] = probed(results[i])
	}
	ctx = context.WithoutCancel(ctx)
	u.compare(ctx, msgs, results)
	u.confirm(ctx, msgs, results)
}

// probed is what the result of a probe says about its event.
func probed(r Result) Result {
	switch {
	case r.Status == Duplicate || r.Status == Absent || r == inDoubt:
		return r
	}
	return Result{Status: Absent, Code: r.Code}
}

// reserveProbes takes up to n of the probes that may be under way, and returns how many it took.
func (u *Uplink) reserveProbes(n int) int {
	most := int64(max(u.s.Window/probeShare, 1))
	for {
		before := u.probes.Load()
		take := min(int64(n), most-before)
		if take <= 0 {
			return 0
		}
		if u.probes.CompareAndSwap(before, before+take) {
			return int(take)
		}
	}
}
