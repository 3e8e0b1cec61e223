package consumers_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"

	"github.com/nats-io/nats.go"
)

// BenchmarkRun is what one event costs from the server's file to the acknowledged handler, server and
// client in one process.
func BenchmarkRun(b *testing.B) {
	s := streamtest.Server(b)
	_, js := s.Stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
	subj := subject.Event{Origin: eu, Scope: subject.Global, Partition: 1, Topic: "bets", Type: "bet.placed"}.String()
	var last jetstream.PubAckFuture
	for i := range b.N {
		msg := nats.NewMsg(subj)
		msg.Header.Set(header.MsgID, fmt.Sprint(i))
		msg.Header.Set(header.Relay, "test")
		msg.Header.Set(header.IngestedAt, "2026-01-01T00:00:00Z")
		msg.Data = make([]byte, 500)
		ack, err := js.PublishMsgAsync(msg)
		if err != nil {
			b.Fatal(err)
		}
		last = ack
	}
	select {
	case <-last.Ok():
	case err := <-last.Err():
		b.Fatal(err)
	}
	sub, err := consumers.Subscribe(b.Context(), consumers.Options{URLs: []string{s.URL()}, Durable: "d"})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	seen := 0
	b.ReportAllocs()
	b.ResetTimer()
	err = sub.Run(ctx, func(context.Context, *consumers.Message) error {
		if seen++; seen == b.N {
			stop()
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
