package once_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/embedded"
	"github.com/weft-mesh/weft/consumers/once"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// BenchmarkAgainstBarePull alternates a bare pull consumer, which reads and acknowledges stored events of 500 bytes and
// does nothing else, with a subscription that applies each of them once, in the embedded store. The ratios are of
// rates; that of the processor's time, server included, does not depend on what else the machine does.
func BenchmarkAgainstBarePull(b *testing.B) {
	const events = 50_000
	s := streamtest.Server(b)
	_, js := s.Stream(streams.EventsConfig(streams.EventsSpec{Self: subject.Origin{Region: "eu", Epoch: 1}}))
	store(b, js, events)
	var bare, applied, bareCPU, appliedCPU time.Duration
	for i := range b.N {
		start := processor(b)
		bare += pull(b, js, fmt.Sprint("bare", i), events)
		between := processor(b)
		applied += apply(b, s.URL(), fmt.Sprint("once", i), events)
		bareCPU, appliedCPU = bareCPU+between-start, appliedCPU+processor(b)-between
	}
	b.ReportMetric(bare.Seconds()/applied.Seconds(), "once/bare")
	b.ReportMetric(bareCPU.Seconds()/appliedCPU.Seconds(), "once/bare-cpu")
	b.ReportMetric(events*float64(b.N)/applied.Seconds(), "once-events/s")
	b.ReportMetric(events*float64(b.N)/bare.Seconds(), "bare-events/s")
	b.ReportMetric(0, "ns/op")
}

// processor is the time that this process has used.
func processor(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func store(b *testing.B, js jetstream.JetStream, events int) {
	b.Helper()
	var last jetstream.PubAckFuture
	for i := range events {
		ev := subject.Event{Origin: subject.Origin{Region: "eu", Epoch: 1}, Scope: subject.Global, Partition: i % 64, Topic: "bets", Type: "bet.placed"}
		id := fmt.Sprintf("bench-%08x-%d", uint32(i)*2654435761, i) //nolint:gosec // spreads them
		msg := &nats.Msg{Subject: ev.String(), Header: nats.Header{header.MsgID: {id}, header.Relay: {"test"}, header.Source: {"wallet"}, header.IngestedAt: {"2026-01-31T12:00:01Z"}},
			Data: fmt.Appendf(nil, `{"event_id":%q,"event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"user-%d"},"source_seq":%d,`+
				`"ctx":{"session_id":"s-0000","platform":"ios","geo":"DE"},"payload":{"bet_id":"b-%d","game":"roulette","stake":{"amount":"12.50","currency":"EUR"},"odds":2.75,"note":"%0180d"}}`, id, i%5000, i, i, i)}
		var err error
		if last, err = js.PublishMsgAsync(msg, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	select {
	case <-last.Ok():
	case err := <-last.Err():
		b.Fatal(err)
	}
}

// pull reads everything with the client library alone.
func pull(b *testing.B, js jetstream.JetStream, durable string, events int) time.Duration {
	b.Helper()
	start := time.Now()
	c, err := js.CreateConsumer(b.Context(), subject.EventsStream, jetstream.ConsumerConfig{Durable: durable, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 4000})
	if err != nil {
		b.Fatal(err)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(4000))
	if err != nil {
		b.Fatal(err)
	}
	for range events {
		m, err := it.Next()
		if err != nil {
			b.Fatal(err)
		}
		if err := m.Ack(); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(start)
	it.Stop()
	if err := js.DeleteConsumer(b.Context(), subject.EventsStream, durable); err != nil {
		b.Fatal(err)
	}
	return took
}

// apply reads everything and applies it once.
func apply(b *testing.B, url, durable string, events int) time.Duration {
	b.Helper()
	marks, err := embedded.Open(embedded.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = marks.Close() }()
	start := time.Now()
	sub, err := consumers.Subscribe(b.Context(), consumers.Options{
		URLs: []string{url}, Durable: durable, Batch: 4000, Workers: 2, Key: func(m *consumers.Message) string { return m.EventID },
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var seen atomic.Int64
	var took time.Duration
	handle := once.Batches(marks, func(context.Context, *embedded.Tx, []*consumers.Message) error { return nil })
	err = sub.RunBatches(ctx, consumers.Batching{Most: 1000}, func(ctx context.Context, ms []*consumers.Message) error {
		if err := handle(ctx, ms); err != nil {
			return err
		}
		if seen.Add(int64(len(ms))) == int64(events) {
			took = time.Since(start)
			stop()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkMillionKeys applies a million events, each of a user of its own, and reports the heap after a tenth of them
// and after all.
func BenchmarkMillionKeys(b *testing.B) {
	const keys, batch = 1_000_000, 1000
	for range b.N {
		marks, err := embedded.Open(embedded.Options{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		entries := make([]idempotency.Entry, batch)
		for n := 0; n < keys; n += batch {
			for i := range entries {
				id := fmt.Sprint("event-", n+i)
				entries[i] = idempotency.Entry{EventID: id, Source: "wallet", UserID: "user-" + id, SourceSeq: 1, HasSourceSeq: true}
			}
			if _, err := marks.Apply(b.Context(), idempotency.Batch{Entries: entries}, func(context.Context, *embedded.Tx, []int) error { return nil }); err != nil {
				b.Fatal(err)
			}
			switch n + batch {
			case keys / 10:
				b.ReportMetric(heap(), "MB-at-100k")
			case keys:
				b.ReportMetric(heap(), "MB-at-1M")
			}
		}
		if err := marks.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// heap is what is in use after a collection, in MB.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse) / 1e6
}
