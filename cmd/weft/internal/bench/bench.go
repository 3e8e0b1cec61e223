// Package bench measures a mesh as its producers and consumers see it, beside a baseline in the same run, and verifies
// what it sent: every acknowledged event is read back once from each region, in order for each key.
//
// The bench verb uses it. A load generator of one process drives a mesh of another, over TLS; rates come from a closed
// model (the next request follows the answer), latencies from an open one (requests begin at fixed times, and a late
// begin counts). Run uses goroutines and returns when all of them ended.
package bench

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/bench/report"
	"github.com/weft-mesh/weft/streams/fault"
)

// Scenario is one kind of benchmark.
type Scenario struct {
	Name, What string
	tenants    func(o *Options) []string // of the own mesh
	run        func(*bench) error
}

// Tenants of the own mesh: the first one is measured, the second one is the baseline's.
func twoTenants(*Options) []string { return []string{"acme", "globex"} }
func oneTenant(*Options) []string  { return []string{"acme"} }

// Scenarios lists what can be measured.
func Scenarios() []Scenario {
	return []Scenario{
		{"ingest", "batches of signed events through a relay, at full speed and at a fixed rate", twoTenants, ingest},
		{"single", "signed events through a relay, one in each request, at full speed and at a fixed rate", twoTenants, single},
		{"e2e", "events sent into one region at a fixed rate and handled by a durable consumer in another", oneTenant, e2e},
		{"consume", "a durable consumer that reads stored events, beside a bare one", oneTenant, consume},
		{"overload", "three times what a relay can take: what it accepts, how it refuses, and how it recovers", oneTenant, overload},
		{"tenants", "a load spread over many tenants, beside the same load of one", manyTenants, tenants},
		{"reference", "the highest rate that all regions hold together with the shares of errors of real traffic", oneTenant, reference},
		{"growth", "the cost of an event while tenants, stored events, keys, sizes, batches and regions grow", oneTenant, growth},
	}
}

func find(name string) (Scenario, bool) {
	all := Scenarios()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, false
	}
	return all[i], true
}

// bench is one run.
type bench struct {
	ctx      context.Context
	o        *Options
	m        *mesh
	rec      *recorder
	out      *report.Report
	measured string // tenant
	baseline string // tenant; the same where a running mesh has only one

	tag  string // of every id of this run
	tags int    // tags that were derived from it

	refusals map[string]int // of growth: answers by code, but for acknowledgements

	restless int // measured stretches before which the mesh did not come to rest

	intake string // of the reference load: the latencies of ingest alone
}

// Run measures. The report says what was found; the error, why there is none.
func Run(ctx context.Context, o Options) (*report.Report, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // the load generator is not what is measured
	s, _ := find(o.Scenario)
	began := time.Now()
	tenants := s.tenants(&o)
	fmt.Fprintf(o.Say, "starting a mesh\n")
	m, err := open(ctx, &o, tenants)
	if err != nil {
		return nil, err
	}
	defer m.end()
	names := m.names()
	if len(names) == 0 {
		return nil, fault.New("bench", fault.NotFound, "no_tenant", "the mesh at %s has no tenant to send as", m.dir)
	}
	b := &bench{measured: names[0], baseline: names[min(1, len(names)-1)], ctx: ctx, o: &o, m: m, rec: newRecorder(m), refusals: map[string]int{}, tag: "b" + strings.ToLower(rand.Text()[:6])}
	b.out = &report.Report{Scenario: o.Scenario, Title: s.What, Mesh: m.what, Machine: machine(), Began: began}
	sampling, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { b.rec.sample(sampling) })
	err = s.run(b)
	stop()
	wg.Wait()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	b.out.Series, b.out.Summary.RSS, b.out.Took = b.rec.series, b.rec.rss, time.Since(began)
	return b.out, nil
}

// say tells a person how far it is.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.o.Say, "%6.1fs  %s\n", time.Since(b.rec.began).Seconds(), fmt.Sprintf(format, args...))
}

// senders makes n senders of a tenant into a region.
func (b *bench) senders(region, tenant string, n, batch int) ([]*sender, error) {
	e, err := b.m.endpoint(region, tenant)
	if err != nil {
		return nil, err
	}
	out := make([]*sender, n)
	for i := range out {
		out[i] = newSender(e, b.tag, i, b.o.Keys/n, b.o.EventBytes, batch, b.rec)
	}
	return out, nil
}

// check reads back what the senders sent, and notes what went wrong.
func (b *bench) check(tenant string, senders []*sender) error {
	b.say("reading back every event from every region")
	t, err := b.m.verify(b.ctx, tenant, b.tag, senders)
	if err != nil {
		return err
	}
	s := &b.out.Summary
	wrong, misjudged := onPurpose(senders)
	s.Errors, s.Lost, s.Duplicated, s.Reordered = b.rec.failed()-wrong+misjudged, s.Lost+t.lost, s.Duplicated+t.duplicated, s.Reordered+t.reordered
	b.note("%d events read back from %s", t.read, plural(len(b.m.file.Regions), "region"))
	for code, n := range codes(senders) {
		b.note("%d answers were %s", n, code)
	}
	return nil
}

// onPurpose sums what senders had wrong on purpose: events that had to be refused, and requests that were not answered
// as they must be.
func onPurpose(senders []*sender) (events, misjudged int) {
	for _, s := range senders {
		if s.flaws != nil {
			events += s.flaws.events
			misjudged += s.flaws.misjudged
		}
	}
	return events, misjudged
}

func codes(senders []*sender) map[string]int {
	all := map[string]int{}
	for _, s := range senders {
		for code, n := range s.other {
			if code == "no_answer" && s.last != nil {
				code += " (" + s.last.Error() + ")"
			}
			all[code] += n
		}
	}
	return all
}

func (b *bench) note(format string, args ...any) {
	b.out.Notes = append(b.out.Notes, fmt.Sprintf(format, args...))
}
