package hub

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/digest"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// BenchmarkRepairIndex reads 200,000 stored events of 450 bytes into an index, which is what the first round after a
// start does; the server is in the same process.
func BenchmarkRepairIndex(b *testing.B) {
	const events = 200_000
	eu := subject.Origin{Region: "eu", Epoch: 1}
	conn, js := streamtest.Server(b).Stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
	s := &session{conn: conn, js: js}
	body, start := make([]byte, 450), time.Now().Add(-time.Hour)
	var last jetstream.PubAckFuture
	for i := range events {
		var err error
		last, err = js.PublishMsgAsync(&nats.Msg{Subject: eventSubject(eu, subject.Global, i), Data: body, Header: nats.Header{
			header.MsgID: {fmt.Sprintf("0197a2c4-7d1e-7c3a-9a52-%012d", i)}, header.Relay: {"relay-1"}, header.Kid: {"k-1"}, header.Source: {"shop"},
			header.IngestedAt: {start.Add(time.Duration(i) * time.Millisecond).UTC().Format(time.RFC3339Nano)},
		}}, jetstream.WithStallWait(time.Minute))
		if err != nil {
			b.Fatal(err)
		}
	}
	<-last.Ok()
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		x, n := digest.NewIndex(time.Minute), 0
		_, drained, err := scanHeaders(b.Context(), s, span{from: 1, to: events, limit: events}, func(m *stored) {
			if e, ok := entryOf(m, x.Width()); ok {
				x.Add(e.key, e.hash, m.seq)
				n++
			}
		})
		if err != nil || !drained || n != events {
			b.Fatal(n, drained, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/events, "cpu-ns/event")
}

// cpuTime is what the process, the server in it included, has used: unlike the time on the wall it does not depend
// on what else runs.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
