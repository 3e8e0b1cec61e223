package bench

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/cmd/weft/internal/bench/report"
	"github.com/weft-mesh/weft/streams/fault"
)

func manyTenants(o *Options) []string {
	names := make([]string, o.Tenants)
	for i := range names {
		names[i] = fmt.Sprintf("t%04d", i)
	}
	return names
}

// tenants compares the rate of one tenant with the rate of the same load spread over many.
func tenants(b *bench) error {
	region := b.m.file.Regions[0].Name
	names := b.m.names()
	if len(names) < 2 {
		return fault.New("bench.tenants", fault.Invalid, "tenants", "the mesh has %s, a comparison needs two", plural(len(names), "tenant"))
	}
	idle := usageOf(b.m.pid).rss
	all, err := b.perTenant(region, names)
	if err != nil {
		return err
	}
	one, err := b.senders(region, names[0], b.o.Connections, b.o.Batch)
	if err != nil {
		return err
	}
	for i, s := range one { // numbers of their own: the first tenant has a sender in both
		s.sender = len(all) + i
	}
	defer closeAll(append(slices.Clone(all), one...))
	b.out.Load = fmt.Sprintf("%d-byte events, %s in a request, spread over %d tenants by %d producers at a time", b.o.EventBytes, plural(b.o.Batch, "event"), len(names), b.o.Connections)
	b.out.Baseline = fmt.Sprintf("the same load of one of the %d tenants", len(names))
	groups := rotate(all, b.o.Connections)
	b.rec.begin("warm-up")
	closedGroups(b.ctx, groups, 2*warmUp) // every tenant's connection to the broker is made at its first request
	closed(b.ctx, one, warmUp)
	wide := time.Duration(float64(b.o.Span) / float64(2*b.o.Rounds))
	for n := range b.o.Rounds {
		r := report.Round{}
		both := []func(){
			func() {
				r.PerSecond, r.CPUPerEvent = b.spell("many tenants", func() { closedGroups(b.ctx, groups, wide) })
			},
			func() { r.Baseline, r.BaselineCPU = b.spell("one tenant", func() { closed(b.ctx, one, wide) }) },
		}
		if n%2 == 1 {
			slices.Reverse(both)
		}
		for _, measure := range both {
			measure()
		}
		if r.Baseline > 0 {
			r.Ratio = r.PerSecond / r.Baseline
		}
		b.out.Rounds = append(b.out.Rounds, r)
		b.say("round %d: %d tenants %.0f/s, one %.0f/s, ratio %.3f", n+1, len(names), r.PerSecond, r.Baseline, r.Ratio)
	}
	b.summarize()
	b.note("memory of the mesh with %d tenants: %.0f MB idle, %.0f MB at most", len(names), idle, b.rec.most())
	closeAll(all)
	closeAll(one)
	return b.checkTenants(names, all, one)
}

// perTenant makes one sender for each tenant.
func (b *bench) perTenant(region string, names []string) ([]*sender, error) {
	out := make([]*sender, len(names))
	for i, name := range names {
		e, err := b.m.endpoint(region, name)
		if err != nil {
			return nil, err
		}
		out[i] = newSender(e, b.tag, i, max(b.o.Keys/len(names), 1), b.o.EventBytes, b.o.Batch, b.rec)
	}
	return out, nil
}

// readTogether is how many tenants' streams are read back at a time.
const readTogether = 8

// checkTenants reads back every tenant's streams.
func (b *bench) checkTenants(names []string, all, one []*sender) error {
	b.say("reading back every event of %d tenants", len(names))
	s := &b.out.Summary
	s.Errors = b.rec.failed()
	read := 0
	var sum sync.Mutex
	readers, ctx := errgroup.WithContext(b.ctx)
	readers.SetLimit(readTogether)
	for i, name := range names {
		mine := []*sender{all[i]}
		if i == 0 {
			mine = append(mine, one...)
		}
		readers.Go(func() error {
			t, err := b.m.verify(ctx, name, b.tag, mine)
			sum.Lock()
			defer sum.Unlock()
			read += t.read
			s.Lost, s.Duplicated, s.Reordered = s.Lost+t.lost, s.Duplicated+t.duplicated, s.Reordered+t.reordered
			return err
		})
	}
	if err := readers.Wait(); err != nil {
		return err
	}
	b.note("%d events read back from %s", read, plural(len(b.m.file.Regions), "region"))
	for code, n := range codes(append(slices.Clone(all), one...)) {
		b.note("%d answers were %s", n, code)
	}
	return nil
}

// spell measures one stretch of closed load.
func (b *bench) spell(phase string, load func()) (perSecond, cpu float64) {
	b.rec.begin(phase)
	before, began := usageOf(b.m.pid), time.Now()
	load()
	acked, _ := b.rec.state()
	return float64(acked) / time.Since(began).Seconds(), perEvent(usageOf(b.m.pid).cpu-before.cpu, acked)
}

// rotate deals the senders to n groups.
func rotate(senders []*sender, n int) [][]*sender {
	groups := make([][]*sender, min(n, len(senders)))
	for i, s := range senders {
		groups[i%len(groups)] = append(groups[i%len(groups)], s)
	}
	return groups
}
