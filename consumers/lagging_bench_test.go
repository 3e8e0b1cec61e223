package consumers_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// BenchmarkLaggingReader reads 200,000 stored events of 320 subjects from the first to the last with a bare ordered
// consumer: what a filter that matches all of them costs, and why a durable of all topics has none.
func BenchmarkLaggingReader(b *testing.B) {
	const events = 200_000
	_, js := streamtest.Server(b).Stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
	var last jetstream.PubAckFuture
	for i := range events {
		ev := subject.Event{Origin: eu, Scope: subject.Global, Partition: i * 7919 % 64, Topic: "bets", Type: fmt.Sprint("bet.placed", i%5)}
		var err error
		last, err = js.PublishMsgAsync(&nats.Msg{Subject: ev.String(), Data: make([]byte, 500), Header: nats.Header{header.MsgID: {fmt.Sprint(i)}}}, jetstream.WithStallWait(patience))
		if err != nil {
			b.Fatal(err)
		}
	}
	<-last.Ok()
	for name, filters := range map[string][]string{"unfiltered": nil, "all-events": {subject.Events()}, "one-origin": {subject.Replicated(eu)}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, err := js.OrderedConsumer(b.Context(), subject.EventsStream, jetstream.OrderedConsumerConfig{FilterSubjects: filters})
				if err != nil {
					b.Fatal(err)
				}
				it, err := c.Messages(jetstream.PullMaxMessages(5000))
				if err != nil {
					b.Fatal(err)
				}
				for range events {
					if _, err := it.Next(); err != nil {
						b.Fatal(err)
					}
				}
				it.Stop()
			}
			b.ReportMetric(events*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
