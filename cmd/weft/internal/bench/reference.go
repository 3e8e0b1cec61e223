package bench

import (
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The reference load: what it must hold, and the shares of what is wrong with it.
const (
	referenceIngestP95 = 210.0  // ms
	referenceE2EP95    = 1600.0 // ms, from a request's intended begin to the handler in the other region
	badSignatures      = 0.00009
	badEvents          = 0.0005
	repeats            = 0.00003
)

// step is by how much the next rate is lower when one does not hold.
const step = 0.92

// side is the producers of one region and the consumer that handles their events in another one.
type side struct {
	region  string
	senders []*sender
	watch   *watcher
}

// reference looks for the highest rate that all regions hold together: probes of a few seconds from full speed down,
// then the whole time. A rate that fails the whole time is lowered once more.
func reference(b *bench) error {
	sides, all, err := b.sides()
	if err != nil {
		return err
	}
	defer func() {
		closeAll(all)
		for _, s := range sides {
			s.watch.stop()
		}
	}()
	rate := b.o.Rate
	if rate == 0 {
		rate = b.full(all)
		if err := b.settleAll(sides); err != nil {
			return err
		}
	}
	for _, s := range all {
		s.flaws = newFlaws(uint64(s.sender))
	}
	b.out.Load = fmt.Sprintf("%d-byte events, %s in a request, into every region at the same rate; bad signatures %.3f %%, bad events %.2f %%, repeated requests %.3f %%; each region's events handled by a durable consumer in another",
		b.o.EventBytes, plural(b.o.Batch, "event"), badSignatures*100, badEvents*100, repeats*100)
	probe := min(max(b.o.Span/20, 3*time.Second), 15*time.Second)
	held := false
	for !held {
		for b.o.Rate == 0 {
			ok, err := b.hold(sides, all, rate, probe)
			if err != nil {
				return err
			}
			if ok {
				break
			}
			rate *= step
		}
		if held, err = b.hold(sides, all, rate, b.o.Span); err != nil {
			return err
		}
		if b.o.Rate != 0 {
			break
		}
		if !held {
			rate *= step
		}
	}
	closeAll(all)
	s := &b.out.Summary
	b.note("%s for %s: %.0f events/s over %s, with ingest p95 ≤ %.0f ms and end to end p95 ≤ %.0f ms", verdict(held),
		b.o.Span, s.OfferedPerSecond, plural(len(sides), "region"), referenceIngestP95, referenceE2EP95)
	b.note("%s", b.intake)
	var signatures, events, repeated int
	for _, x := range all {
		signatures, events, repeated = signatures+x.flaws.signatures, events+x.flaws.events, repeated+x.flaws.repeated
	}
	b.note("wrong on purpose, and refused or told apart as they must be: %d signatures, %d events, %d repeated requests", signatures, events, repeated)
	return b.check(b.measured, all)
}

// sides makes producers for each region; their numbers differ, so that one tag serves all.
func (b *bench) sides() (sides []*side, all []*sender, err error) {
	regions := b.m.file.Regions
	for i, r := range regions {
		s := &side{region: r.Name}
		if s.senders, err = b.senders(r.Name, b.measured, b.o.Connections, b.o.Batch); err != nil {
			return nil, nil, err
		}
		for j := range s.senders {
			s.senders[j].sender = len(all) + j
		}
		all = append(all, s.senders...)
		if s.watch, err = b.watch(regions[(i+1)%len(regions)].Name, s.senders); err != nil {
			return nil, nil, err
		}
		sides = append(sides, s)
	}
	return sides, all, nil
}

func (b *bench) settleAll(sides []*side) error {
	for _, s := range sides {
		if err := s.watch.quiet(b.ctx, s.senders); err != nil {
			return err
		}
	}
	return nil
}

// hold offers a rate for some time and says whether both latencies stayed within the reference.
func (b *bench) hold(sides []*side, all []*sender, rate float64, d time.Duration) (bool, error) {
	for _, s := range sides {
		s.watch.reset()
	}
	b.rec.begin(fmt.Sprintf("%.0f/s", rate))
	before, began := usageOf(b.m.pid), time.Now()
	var wg sync.WaitGroup
	for _, s := range sides {
		wg.Go(func() { paced(b.ctx, s.senders, rate/float64(len(sides)), d) })
	}
	wg.Wait()
	took := time.Since(began)
	acked, ingest := b.rec.state()
	if err := b.settleAll(sides); err != nil {
		return false, err
	}
	handled := newHistogram()
	for _, s := range sides {
		handled.Merge(s.watch.latency())
	}
	b.keep(ingest, handled, float64(acked)/took.Seconds(), rate)
	b.out.Summary.CPUPerEvent = perEvent(usageOf(b.m.pid).cpu-before.cpu, acked)
	ok := quantile(ingest, 95) <= referenceIngestP95 && quantile(handled, 95) <= referenceE2EP95 && float64(acked) >= 0.99*rate*d.Seconds()
	b.say("%.0f events/s for %s: ingest p95 %.1f ms, end to end p95 %.1f ms, accepted %.0f/s: %s",
		rate, d.Round(time.Second), quantile(ingest, 95), quantile(handled, 95), float64(acked)/took.Seconds(), verdict(ok))
	return ok, nil
}

func verdict(held bool) string {
	if held {
		return "held"
	}
	return "not held"
}

// keep puts the last rate that was offered into the report: end to end latencies, which contain those of ingest.
func (b *bench) keep(ingest, handled *hdrhistogram.Histogram, accepted, rate float64) {
	s := &b.out.Summary
	s.AcceptedPerSecond, s.OfferedPerSecond = accepted, rate
	s.P50, s.P95, s.P99 = quantile(handled, 50), quantile(handled, 95), quantile(handled, 99)
	b.out.Latency = percentiles(handled)
	b.intake = fmt.Sprintf("ingest alone: p50 %.1f ms, p95 %.1f ms, p99 %.1f ms", quantile(ingest, 50), quantile(ingest, 95), quantile(ingest, 99))
}
