package reject_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/relay/reject"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errNoWay = errors.New("no way to the streams")

func newLog(t testing.TB, change func(*reject.Options)) (*reject.Log, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	o := reject.Options{Region: "eu", Relay: "r1", Limits: reject.DefaultLimits(), Logger: zap.NewNop(), Registerer: registry, Now: time.Now,
		Connect: func(context.Context, string) (*nats.Conn, error) { return nil, errNoWay }}
	if change != nil {
		change(&o)
	}
	l, err := reject.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		l.Stop(ctx)
	})
	return l, registry
}

// value is the sum of a metric's values over all labels that contain what is asked for.
func value(t testing.TB, r *prometheus.Registry, name string, labels ...string) (sum float64, series int) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for _, want := range labels {
				if !strings.Contains(fmt.Sprint(m.GetLabel()), want) {
					continue next
				}
			}
			sum, series = sum+m.GetCounter().GetValue()+m.GetGauge().GetValue(), series+1
		}
	}
	return sum, series
}

func record(code string) *deadletter.Record {
	r, _ := deadletter.ReasonOf(code)
	return &deadletter.Record{Code: code, Cause: r.Cause, Status: r.Status, Count: 1, ReceivedAt: time.Now()}
}

// A million refusals that name nobody are counted, log a handful of lines, ask for no record and take no memory.
func TestAMillionOfNobody(t *testing.T) {
	now := time.Now()
	l, registry := newLog(t, func(o *reject.Options) { o.Now = func() time.Time { return now } })
	names := []string{"", "a", "b", "c"}
	lines := 0
	junk := func(n int) {
		for i := range n {
			if l.Refused("", names[i%len(names)], "key_unknown", 1) {
				t.Fatal("a record is wanted")
			}
			if _, ok := l.Say(""); ok {
				lines++
			}
		}
	}
	junk(1000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	junk(1_000_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 1<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	if lines != reject.DefaultLimits().LineBurst {
		t.Errorf("%d lines are logged", lines)
	}
	if n, series := value(t, registry, "weft_relay_rejected_total"); n != 1_001_000 || series != 1 {
		t.Errorf("counted %v in %d series", n, series)
	}
	now = now.Add(5 * time.Second)
	if hushed, ok := l.Say(""); !ok || hushed != 1_001_000-lines {
		t.Errorf("then a line that tells of %d: %v", hushed, ok)
	}
}

// Sources beyond the limit share one label, whatever they are called.
func TestSourcesAreBounded(t *testing.T) {
	l, registry := newLog(t, func(o *reject.Options) { o.Limits.Sources = 3 })
	for i := range 40_000 {
		l.Refused("acme", fmt.Sprint("p", i), "syntax", 1)
		l.Skew("acme", fmt.Sprint("p", i), time.Second)
	}
	if n, series := value(t, registry, "weft_relay_rejected_total"); n != 40_000 || series != 4 {
		t.Errorf("counted %v in %d series", n, series)
	}
	if n, _ := value(t, registry, "weft_relay_rejected_total", `"other"`); n != 39_997 {
		t.Errorf("%v are of others", n)
	}
	if _, series := value(t, registry, "weft_relay_clock_skew_seconds"); series != 4 {
		t.Errorf("%d clocks", series)
	}
	l.Retain(func(string) bool { return false })
	if _, series := value(t, registry, "weft_relay_rejected_total"); series != 0 {
		t.Errorf("%d series of a tenant that is gone", series)
	}
	l.Refused("acme", "p1", "syntax", 1)
	if n, _ := value(t, registry, "weft_relay_rejected_total"); n != 1 {
		t.Errorf("afterwards %v", n)
	}
}

func TestSkewIsSmoothed(t *testing.T) {
	l, registry := newLog(t, nil)
	l.Skew("acme", "p", -100*time.Second)
	if v, _ := value(t, registry, "weft_relay_clock_skew_seconds"); v != -100 {
		t.Errorf("the first measurement shows as %v", v)
	}
	l.Skew("acme", "p", 0)
	if v, _ := value(t, registry, "weft_relay_clock_skew_seconds"); v != -80 {
		t.Errorf("the second as %v", v)
	}
	for range 50 {
		l.Skew("acme", "p", 7*time.Second)
	}
	if v, _ := value(t, registry, "weft_relay_clock_skew_seconds"); v < 6.9 || v > 7 {
		t.Errorf("a steady clock as %v", v)
	}
}

// The way of an accepted request takes no memory.
func TestSkewAllocatesNothing(t *testing.T) {
	l, _ := newLog(t, nil)
	l.Skew("acme", "p", time.Second)
	if n := testing.AllocsPerRun(1000, func() { l.Skew("acme", "p", time.Second) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Streams that do not answer hold up nobody, the queues stay bounded, and every refusal is accounted for.
func TestQueuesAreBounded(t *testing.T) {
	block := make(chan struct{})
	l, registry := newLog(t, func(o *reject.Options) {
		o.Limits.PerCode, o.Limits.CodeBurst, o.Limits.PerTenant, o.Limits.Burst = 1e9, 1e9, 1e9, 1e9
		o.Limits.Queue, o.Limits.QueueAll, o.Limits.Sweep = 10, 25, time.Hour
		o.Connect = func(ctx context.Context, tenant string) (*nats.Conn, error) {
			select {
			case <-block:
			case <-ctx.Done():
			}
			return nil, errNoWay
		}
	})
	for _, tenant := range []string{"a", "b", "c", "d"} {
		for range 1000 {
			if l.Refused(tenant, "p", "syntax", 1) {
				l.Keep(tenant, record("syntax"))
			}
		}
	}
	dropped, _ := value(t, registry, "weft_relay_reject_records_total", "dropped")
	if waits := 4000 - dropped; waits < 25 || waits > 29 { // one more for each writer
		t.Errorf("%v records wait", waits)
	}
	close(block)
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		failed, _ := value(t, registry, "weft_relay_reject_records_total", "failed")
		return failed+dropped == 4000, fmt.Sprintf("%v failed, %v dropped", failed, dropped)
	})
}

// Whatever is suppressed, dropped or lost while the stream comes and goes: the records add up in the end.
func TestRecordsAddUp(t *testing.T) {
	server := streamtest.Server(t)
	conn, js := server.Stream(streams.RejectsConfig(streams.RejectsSpec{Region: "eu"}))
	var mu sync.Mutex
	works := false
	l, _ := newLog(t, func(o *reject.Options) {
		o.Limits.PerCode, o.Limits.CodeBurst, o.Limits.Sweep, o.Limits.Queue = 100, 30, 50*time.Millisecond, 20
		o.Connect = func(context.Context, string) (*nats.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if works = !works; !works {
				return nil, errNoWay
			}
			return conn, nil
		}
	})
	codes := []string{"syntax", "signature_invalid", "timestamp_skew"}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				code := codes[(w+i)%len(codes)]
				if l.Refused("acme", "p", code, 1) {
					l.Keep("acme", record(code))
				}
			}
		})
	}
	wg.Wait()
	stream, err := js.Stream(t.Context(), "REJECTS")
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		sum, n := total(t, stream)
		return sum == 12_000, fmt.Sprintf("%d records account for %d of 12000", n, sum)
	})
	if _, n := total(t, stream); n > 1500 {
		t.Errorf("%d records", n)
	}
}

func total(t *testing.T, s jetstream.Stream) (sum, n int) {
	t.Helper()
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		r, err := deadletter.Decode(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		sum, n = sum+r.Count+r.Suppressed, n+1
	}
	return sum, n
}

// Stop writes what waits, and gives up when its time is over.
func TestStop(t *testing.T) {
	server := streamtest.Server(t)
	conn, js := server.Stream(streams.RejectsConfig(streams.RejectsSpec{Region: "eu"}))
	l, _ := newLog(t, func(o *reject.Options) {
		o.Connect = func(context.Context, string) (*nats.Conn, error) { return conn, nil }
	})
	for range 50 {
		l.Keep("acme", record("syntax"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l.Stop(ctx)
	if s, err := js.Stream(t.Context(), "REJECTS"); err != nil || s.CachedInfo().State.Msgs != 50 {
		t.Errorf("%v, %+v", err, s.CachedInfo().State)
	}
	if l.Refused("acme", "p", "syntax", 1) {
		t.Error("a record is wanted after Stop")
	}
	stuck, _ := newLog(t, func(o *reject.Options) {
		o.Connect = func(ctx context.Context, _ string) (*nats.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	})
	stuck.Keep("acme", record("syntax"))
	over, end := context.WithCancel(t.Context())
	end()
	stuck.Stop(over)
}

func TestOptions(t *testing.T) {
	if _, err := reject.New(reject.Options{}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}
