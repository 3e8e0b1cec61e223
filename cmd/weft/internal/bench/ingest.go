package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/cmd/weft/internal/bench/report"
)

// warmUp is before the first round, and not measured.
const warmUp = 500 * time.Millisecond

// openShare is the part of the load's time that the open phase gets.
const openShare = 0.4

func ingest(b *bench) error { return b.ingest(b.o.Batch, b.o.Connections) }

// singleConnections is how many producers send events one by one: each waits for its answer.
const singleConnections = 64

func single(b *bench) error { return b.ingest(1, max(b.o.Connections, singleConnections)) }

// ingest alternates rounds of the relay and of raw publishes at full speed, then sends at a fixed rate.
func (b *bench) ingest(batch, connections int) error {
	region := b.m.file.Regions[0].Name
	senders, err := b.senders(region, b.measured, connections, batch)
	if err != nil {
		return err
	}
	defer closeAll(senders)
	p, err := openRaw(b.ctx, b.m, b.o, region, b.baseline, b.tag)
	if err != nil {
		return err
	}
	defer p.end()
	b.out.Load = fmt.Sprintf("%d-byte events, %s in a request, %d connections over HTTP/1.1 and TLS, each request signed; %d keys",
		b.o.EventBytes, plural(batch, "event"), connections, b.o.Keys)
	b.out.Baseline = fmt.Sprintf("raw publish of nats.go over TLS to the same broker: same size, ids, one acknowledgement for each, %d outstanding; its stream replicates as well", rawWindow)
	b.rec.begin("warm-up")
	closed(b.ctx, senders, warmUp)
	if _, _, err := p.publish(b.ctx, warmUp); err != nil {
		return err
	}
	wide := time.Duration(float64(b.o.Span) * (1 - openShare) / float64(2*b.o.Rounds))
	for n := range b.o.Rounds {
		r, err := b.round(n, senders, p, wide)
		if err != nil {
			return err
		}
		b.out.Rounds = append(b.out.Rounds, r)
		b.say("round %d: %.0f/s, raw %.0f/s, ratio %.3f", n+1, r.PerSecond, r.Baseline, r.Ratio)
	}
	b.summarize()
	if err := b.paced(senders, p, time.Duration(float64(b.o.Span)*openShare)); err != nil {
		return err
	}
	closeAll(senders)
	if b.restless > 0 {
		b.note("%s began before the mesh was at rest", plural(b.restless, "measured stretch"))
	}
	return b.check(b.measured, senders)
}

// round measures both, the baseline first in every second round.
func (b *bench) round(n int, senders []*sender, p *raw, wide time.Duration) (r report.Round, err error) {
	both := []func() error{
		func() error {
			b.rec.begin("ingest")
			before, began := usageOf(b.m.pid), time.Now()
			closed(b.ctx, senders, wide)
			took, used := time.Since(began), usageOf(b.m.pid).cpu-before.cpu
			acked, _ := b.rec.state()
			r.PerSecond, r.CPUPerEvent = float64(acked)/took.Seconds(), perEvent(used, acked)
			return nil
		},
		func() error {
			b.rec.begin("raw")
			before := usageOf(b.m.pid)
			acked, took, err := p.publish(b.ctx, wide)
			used := usageOf(b.m.pid).cpu - before.cpu
			r.Baseline, r.BaselineCPU = float64(acked)/took.Seconds(), perEvent(used, acked)
			return err
		},
	}
	if n%2 == 1 {
		slices.Reverse(both)
	}
	for _, measure := range both {
		b.rest()
		if err := measure(); err != nil {
			return r, err
		}
	}
	if r.Baseline > 0 {
		r.Ratio = r.PerSecond / r.Baseline
	}
	return r, nil
}

// perEvent is in microseconds.
func perEvent(used time.Duration, events int) float64 {
	if events == 0 {
		return 0
	}
	return float64(used.Microseconds()) / float64(events)
}

// paced is the open phase, at the wanted rate or at half of what the rounds reached: raw publishes at that rate for
// half of the time, then events through the relay.
func (b *bench) paced(senders []*sender, p *raw, d time.Duration) error {
	s := &b.out.Summary
	s.OfferedPerSecond = b.o.Rate
	if s.OfferedPerSecond == 0 {
		s.OfferedPerSecond = s.AcceptedPerSecond / 2
	}
	if s.OfferedPerSecond < 1 {
		return nil
	}
	d /= 2
	b.say("sending %.0f events/s, raw and then through the relay, for %s each", s.OfferedPerSecond, d.Round(time.Second))
	b.rest()
	b.rec.begin("raw at that rate")
	h, err := p.paced(b.ctx, s.OfferedPerSecond, d)
	if err != nil {
		return err
	}
	s.BaselineP50, s.BaselineP95, s.BaselineP99 = quantile(h, 50), quantile(h, 95), quantile(h, 99)
	b.rest()
	b.rec.begin("open")
	paced(b.ctx, senders, s.OfferedPerSecond, d)
	_, h = b.rec.state()
	s.P50, s.P95, s.P99 = quantile(h, 50), quantile(h, 95), quantile(h, 99)
	b.out.Latency = percentiles(h)
	return nil
}

// summarize takes medians over the rounds.
func (b *bench) summarize() {
	s, rounds := &b.out.Summary, b.out.Rounds
	s.AcceptedPerSecond = median(rounds, func(r report.Round) float64 { return r.PerSecond })
	s.BaselinePerSecond = median(rounds, func(r report.Round) float64 { return r.Baseline })
	s.Ratio = median(rounds, func(r report.Round) float64 { return r.Ratio })
	s.CPUPerEvent = median(rounds, func(r report.Round) float64 { return r.CPUPerEvent })
	s.RatioLow, s.RatioHigh = rounds[0].Ratio, rounds[0].Ratio
	for _, r := range rounds {
		s.RatioLow, s.RatioHigh = min(s.RatioLow, r.Ratio), max(s.RatioHigh, r.Ratio)
	}
}

func median(rounds []report.Round, of func(report.Round) float64) float64 {
	vs := make([]float64, len(rounds))
	for i, r := range rounds {
		vs[i] = of(r)
	}
	slices.Sort(vs)
	if n := len(vs); n%2 == 0 {
		return (vs[n/2-1] + vs[n/2]) / 2
	}
	return vs[len(vs)/2]
}

func closeAll(senders []*sender) {
	for _, s := range senders {
		s.close()
	}
}
