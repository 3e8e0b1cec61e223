package nats

import (
	"context"
	"fmt"
	"testing"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// BenchmarkPublish compares the sink with plain publishes of the same messages in windows of the same size.
func BenchmarkPublish(b *testing.B) {
	const window = 512
	open := func(b *testing.B) (*streamtest.JetStream, jetstream.JetStream) {
		b.Helper()
		s := streamtest.Server(b)
		_, js := s.Stream(jetstream.StreamConfig{Name: "COPY", Subjects: []string{"copy.>"}})
		return s, js
	}
	ms := make([]*consumers.Message, window)
	round := 0
	next := func() {
		round++
		for i := range ms {
			m := message(i)
			m.EventID, m.OriginSeq = fmt.Sprintf("e-%d-%d", round, i), uint64(round*window+i)
			ms[i] = m
		}
	}
	b.Run("bare", func(b *testing.B) {
		_, js := open(b)
		for b.Loop() {
			next()
			acks := make([]jetstream.PubAckFuture, window)
			for i, m := range ms {
				msg := client.NewMsg("copy.acme." + m.Subject.String())
				msg.Header.Set(header.MsgID, m.EventID)
				msg.Header.Set(header.Relay, "relay-1")
				msg.Data = m.Raw
				var err error
				if acks[i], err = js.PublishMsgAsync(msg); err != nil {
					b.Fatal(err)
				}
			}
			for _, a := range acks {
				if _, err := wait(context.Background(), a); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N)*window/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("sink", func(b *testing.B) {
		srv, _ := open(b)
		s, err := Open(context.Background(), Options{URLs: []string{srv.URL()}, Stream: "COPY", Prefix: "copy.acme"})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		for b.Loop() {
			next()
			if err := s.HandleBatch(context.Background(), ms); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*window/b.Elapsed().Seconds(), "events/s")
	})
}
