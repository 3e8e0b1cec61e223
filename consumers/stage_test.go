package consumers

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// acknowledged is a delivery that can be acknowledged again and again, at no cost.
type acknowledged struct{ jetstream.Msg }

func (acknowledged) Ack() error { return nil }

// delivered stores one event of the hot path's input as a relay does, takes its delivery and ends the server, so
// that nothing of it runs beside the measurement.
func delivered(b *testing.B) jetstream.Msg {
	b.Helper()
	lines, err := os.ReadFile("../streams/event/testdata/hundred.ndjson")
	if err != nil {
		b.Fatal(err)
	}
	raw, _, _ := bytes.Cut(lines, []byte{'\n'})
	var e event.Event
	if err := event.Decode(raw, &e); err != nil {
		b.Fatal(err)
	}
	origin := subject.Origin{Region: "eu", Epoch: 1}
	s := streamtest.Server(b, "eu")
	conn, js := s.Stream(streams.EventsConfig(streams.EventsSpec{Self: origin}))
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	_, err = js.PublishMsg(ctx, &nats.Msg{
		Subject: subject.Event{Origin: origin, Scope: subject.Global, Partition: 12, Topic: "bets", Type: e.Type}.String(), Data: raw,
		Header: nats.Header{header.MsgID: {e.ID}, header.IngestedAt: {"2026-01-31T23:59:59.123456789Z"}, header.Relay: {"eu-relay-1"},
			header.Kid: {"acme-1"}, header.Source: {"default"}},
	})
	if err != nil {
		b.Fatal(err)
	}
	c, err := js.CreateConsumer(ctx, subject.EventsStream, jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		b.Fatal(err)
	}
	msg, err := c.Next()
	if err != nil {
		b.Fatal(err)
	}
	conn.Close()
	s.Stop()
	return msg
}

// BenchmarkStageDeliver is the way out of one event, from the client library's message to the settled handler; what
// the acknowledgement itself costs is left out. "decode" is its first part alone.
func BenchmarkStageDeliver(b *testing.B) {
	msg := acknowledged{delivered(b)}
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(msg.Data())))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decode(msg); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("event", func(b *testing.B) {
		log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zap.InfoLevel))
		opts := DefaultOptions()
		s, waiting := &Subscription{opts: opts, log: log.With(zap.String("durable", "d")), metrics: newMetrics("d")}, newBacklog(false, opts.keyOf, nil)
		s.breaker = newBreaker(opts.Breaker, s.log, s.metrics)
		handled := 0
		handle := func(_ context.Context, m *Message) error {
			handled += len(m.EventID)
			return nil
		}
		b.SetBytes(int64(len(msg.Data())))
		b.ReportAllocs()
		for b.Loop() {
			s.accept(waiting, msg)
			t, _, _, _ := s.breaker.admit(time.Time{})
			it, _ := waiting.take(time.Time{}, t.probe)
			s.handle(b.Context(), waiting, it, t, handle)
		}
		if handled == 0 {
			b.Fatal("nothing handled")
		}
	})
}
