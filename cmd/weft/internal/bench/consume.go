package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/cmd/weft/internal/bench/report"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// consume stores events, then reads all of them through durables: weft's and bare ones of nats.go in alternation.
func consume(b *bench) error {
	region := b.m.file.Regions[0].Name
	senders, err := b.senders(region, b.measured, b.o.Connections, b.o.Batch)
	if err != nil {
		return err
	}
	defer closeAll(senders)
	b.rec.begin("store")
	wide := time.Duration(float64(b.o.Span) * openShare)
	b.say("storing events for %s", wide)
	closed(b.ctx, senders, wide)
	total := 0
	for _, s := range senders {
		total += s.settled
	}
	b.out.Load = fmt.Sprintf("%d stored events of %d bytes, read from the first to the last, acknowledged one by one", total, b.o.EventBytes)
	b.out.Baseline = "a bare pull consumer of nats.go over TLS: durable, explicit acknowledgement of each message, the same batch size"
	for n := range b.o.Rounds {
		r := report.Round{}
		both := []func() error{
			func() (err error) {
				r.PerSecond, r.CPUPerEvent, err = b.timed("consume", total, func() error { return b.pull(region, fmt.Sprintf("weft-%d", n), total) })
				return err
			},
			func() (err error) {
				r.Baseline, r.BaselineCPU, err = b.timed("bare", total, func() error { return b.bare(region, fmt.Sprintf("bare-%d", n), total) })
				return err
			},
		}
		if n%2 == 1 {
			slices.Reverse(both)
		}
		for _, measure := range both {
			if err := measure(); err != nil {
				return err
			}
		}
		r.Ratio = r.PerSecond / r.Baseline
		b.out.Rounds = append(b.out.Rounds, r)
		b.say("round %d: %.0f/s, bare %.0f/s, ratio %.3f", n+1, r.PerSecond, r.Baseline, r.Ratio)
	}
	b.summarize()
	closeAll(senders)
	return b.check(b.measured, senders)
}

// timed measures one pass over n events.
func (b *bench) timed(phase string, n int, pass func() error) (perSecond, cpu float64, err error) {
	b.rec.begin(phase)
	before, began := usageOf(b.m.pid), time.Now()
	err = pass()
	took := time.Since(began)
	return float64(n) / took.Seconds(), perEvent(usageOf(b.m.pid).cpu-before.cpu, n), err
}

// pull reads n events with weft's consumer.
func (b *bench) pull(region, durable string, n int) error {
	sub, err := b.subscribe(region, durable, consumers.FromAll())
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(b.ctx, readWait)
	defer stop()
	seen := 0
	err = sub.Run(ctx, func(context.Context, *consumers.Message) error {
		if seen++; seen == n {
			stop()
		}
		return nil
	})
	if err == nil && seen < n {
		err = fault.New("bench.consume", fault.Unavailable, "too_slow", "%d of %d events were read in %s", seen, n, readWait)
	}
	return err
}

const readWait = 2 * time.Minute

// bare reads n events with nothing but nats.go.
func (b *bench) bare(region, durable string, n int) error {
	nc, js, err := b.m.connect(region, b.measured)
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, stop := context.WithTimeout(b.ctx, readWait)
	defer stop()
	batch := consumers.DefaultOptions().Batch
	cons, err := js.CreateConsumer(ctx, subject.EventsStream, jetstream.ConsumerConfig{
		Durable: durable + "-" + b.tag, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: batch, MaxDeliver: -1,
	})
	if err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(batch))
	if err != nil {
		return err
	}
	defer it.Stop()
	for seen := 0; seen < n; {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		if err := msg.Ack(); err != nil {
			return err
		}
		if !subject.IsMarker(msg.Subject()) {
			seen++
		}
	}
	return nc.Flush()
}

func round(perSecond float64) report.Round { return report.Round{PerSecond: perSecond} }
