package uplink_test

import (
	"encoding/hex"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func (r *rig) probe(msgs []uplink.Message) []uplink.Result {
	res := make([]uplink.Result, len(msgs))
	r.pool.Probe(r.t.Context(), "acme", msgs, res)
	return res
}

// events is the stream as a hub makes it, and the digests of what is published to it.
func (r *rig) events(msgs []uplink.Message) jetstream.Stream {
	r.t.Helper()
	_, js := r.s.Stream(streams.EventsConfig(streams.EventsSpec{Self: subject.Origin{Region: "eu", Epoch: 1}, MaxBytes: 64 << 20}))
	known := map[uint64]original.Digest{}
	for i, m := range msgs {
		sum, err := event.Digest(m.Data)
		if err != nil {
			r.t.Fatal(err)
		}
		known[uint64(i+1)] = original.Digest{EventID: m.ID, Digest: hex.EncodeToString(sum[:])}
	}
	r.digests(known, new([]int))
	s, err := js.Stream(r.t.Context(), subject.EventsStream)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func lastSeq(t testing.TB, s jetstream.Stream) uint64 {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.State.LastSeq
}

// A probe tells what a publish would be told of a known id, and leaves nothing behind in the stream nor in the uplink.
func TestProbesStoreNothing(t *testing.T) {
	r := newRig(t, nil)
	all := messages(40)
	s := r.events(all[:20])
	expect(t, r.publish(all[:20]), "stored:20")
	other := append([]uplink.Message(nil), all...)
	other[3].Data = []byte(`{"event_id":"e-3","event_type":"bet.placed","payload":{"n":2}}`)
	for range 3 {
		res := r.probe(other)
		expect(t, res, "absent:20 duplicate:19 event_id_conflict:1")
		if res[3].Status != uplink.Rejected || res[4].Seq != 5 || res[20].Status != uplink.Absent {
			t.Errorf("%+v", res)
		}
	}
	if n := lastSeq(t, s); n != 20 {
		t.Fatalf("the stream is at %d", n)
	}
	expect(t, r.publish(all), "duplicate:20 stored:20")
	if n := r.pool.InFlight(); n != 0 {
		t.Errorf("%d are in flight after all", n)
	}
}

// No content of an event goes along with the question.
func TestProbesCarryNoContent(t *testing.T) {
	r := newRig(t, nil)
	var sent atomic.Pointer[nats.Msg]
	r.stream("evt.>", func(m *nats.Msg) {
		sent.Store(m)
		_ = m.Respond([]byte(`{"error":{"code":500,"err_code":10111,"description":"rollup not permitted"},"stream":"EVENTS","seq":0}`))
	})
	expect(t, r.probe(messages(1)), "absent:1")
	m := sent.Load()
	if want := (nats.Header{header.MsgID: {"e-0"}, header.Rollup: {header.NoRollup}}); len(m.Data) > 0 || fmt.Sprint(m.Header) != fmt.Sprint(want) {
		t.Errorf("sent %q with %v, want %v", m.Data, m.Header, want)
	}
}

// What nobody can tell is absent, soon, and with the reason.
func TestProbesThatGetNoAnswer(t *testing.T) {
	duplicate := []byte(`{"stream":"EVENTS","domain":"eu","seq":1,"duplicate": true}`)
	for name, c := range map[string]struct {
		stream nats.MsgHandler
		want   string
		status uplink.Status
	}{
		"no stream":           {nil, "stream_unreachable:1", uplink.Absent},
		"a silent stream":     {func(*nats.Msg) {}, "ack_timeout:1", uplink.Absent},
		"another stream":      {func(m *nats.Msg) { _ = m.Respond([]byte(`{"stream":"OTHER","domain":"eu","seq":1,"duplicate": true}`)) }, "wrong_stream:1", uplink.Absent},
		"being stored":        {func(m *nats.Msg) { _ = m.Respond([]byte(`{"error":{"code":409,"err_code":10158},"seq":0}`)) }, "overloaded:1", uplink.Unavailable},
		"stored, and no more": {func(m *nats.Msg) { _ = m.Respond(duplicate) }, "digest_unavailable:1", uplink.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *uplink.Options) { o.ProbeTimeout, o.DigestTimeout = 200*time.Millisecond, 200*time.Millisecond })
			if c.stream != nil {
				r.stream("evt.>", c.stream)
			}
			begin := time.Now()
			res := r.probe(messages(1))
			expect(t, res, c.want)
			if took := time.Since(begin); res[0].Status != c.status || took > r.o.AckTimeout/2 {
				t.Errorf("%+v after %s", res[0], took)
			}
		})
	}
	r := newRig(t, func(o *uplink.Options) { o.ProbeTimeout = 50 * time.Millisecond })
	r.s.Stop()
	if res := r.probe(messages(1)); res[0].Status != uplink.Absent || res[0].Code != uplink.CodeStreamUnreachable {
		t.Errorf("without a server: %+v", res[0])
	}
}

// However much is asked, so many probes and no more are under way, and events find room beside them.
func TestProbesAreBounded(t *testing.T) {
	r := newRig(t, func(o *uplink.Options) { o.Window, o.ProbeTimeout = 400, 20*time.Second })
	var probes atomic.Int64
	release := make(chan struct{})
	r.stream("evt.>", func(m *nats.Msg) {
		if m.Header.Get(header.Rollup) == "" {
			_ = m.Respond(ack("eu", 1))
			return
		}
		probes.Add(1)
		go func() {
			<-release
			_ = m.Respond([]byte(`{"error":{"code":500,"err_code":10111},"stream":"EVENTS","seq":0}`))
		}()
	})
	const callers = 30
	done := make(chan []uplink.Result, callers)
	for range callers {
		go func() { done <- r.probe(messages(2000)) }()
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		return probes.Load() == 100 && len(done) == callers-1, fmt.Sprintf("%d probes are under way, %d callers have their answer", probes.Load(), len(done))
	})
	for range callers - 1 {
		expect(t, <-done, "unasked:2000")
	}
	expect(t, r.publish(messages(200)), "stored:200")
	close(release)
	expect(t, <-done, "absent:100 unasked:1900")
	expect(t, r.probe(messages(50)), "absent:50") // and they are given back

	wide := newRig(t, nil)
	wide.stream("evt.>", func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"error":{"code":500,"err_code":10111},"stream":"EVENTS","seq":0}`))
	})
	expect(t, wide.probe(messages(2000)), fmt.Sprintf("absent:%d unasked:%d", uplink.MaxProbes, 2000-uplink.MaxProbes))
}

// BenchmarkProbe publishes events and probes for as many unknown ids, in turns: what a refused event costs the mesh beside
// what a stored one costs.
func BenchmarkProbe(b *testing.B) {
	const each = uplink.MaxProbes
	r := newRig(b, nil)
	r.events(nil)
	var stored, probed time.Duration
	rounds := 0
	for b.Loop() {
		msgs := messages(each)
		for i := range msgs {
			msgs[i].ID = fmt.Sprintf("e-%d-%d", rounds, i)
		}
		begin := time.Now()
		if res := r.publish(msgs); tally(res) != fmt.Sprintf("map[stored:%d]", each) {
			b.Fatal(tally(res))
		}
		stored += time.Since(begin)
		for i := range msgs {
			msgs[i].ID += "-unknown"
		}
		begin = time.Now()
		if res := r.probe(msgs); tally(res) != fmt.Sprintf("map[absent:%d]", each) {
			b.Fatal(tally(res))
		}
		probed += time.Since(begin)
		rounds++
	}
	n := float64(rounds * each)
	b.ReportMetric(float64(stored.Nanoseconds())/n, "ns/stored")
	b.ReportMetric(float64(probed.Nanoseconds())/n, "ns/probed")
	b.ReportMetric(float64(probed)/float64(stored), "probed/stored")
}
