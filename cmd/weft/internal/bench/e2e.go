package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
)

// e2e sends at a fixed rate into the first region and handles the events, by a durable consumer, in the last one.
func e2e(b *bench) error {
	from, to := b.m.file.Regions[0].Name, b.m.file.Regions[len(b.m.file.Regions)-1].Name
	senders, err := b.senders(from, b.measured, b.o.Connections, b.o.Batch)
	if err != nil {
		return err
	}
	defer closeAll(senders)
	b.out.Load = fmt.Sprintf("%d-byte events, %s in a request, %d connections into %s; handled in %s, one at a time, by a durable consumer that acknowledges each",
		b.o.EventBytes, plural(b.o.Batch, "event"), b.o.Connections, from, to)
	w, err := b.watch(to, senders)
	if err != nil {
		return err
	}
	defer w.stop()
	full := b.full(senders)
	rate := b.o.Rate
	if rate == 0 {
		rate = full / 2
	}
	if err := w.quiet(b.ctx, senders); err != nil {
		return err
	}
	for n := range b.o.Rounds {
		w.reset()
		b.rec.begin("open")
		wide := time.Duration(float64(b.o.Span) * (1 - openShare) / float64(b.o.Rounds))
		began := time.Now()
		paced(b.ctx, senders, rate, wide)
		acked, _ := b.rec.state()
		took := time.Since(began)
		if err := w.quiet(b.ctx, senders); err != nil {
			return err
		}
		b.handled(n, w.latency(), float64(acked)/took.Seconds())
	}
	b.summarize()
	s := &b.out.Summary
	s.OfferedPerSecond, s.BaselinePerSecond, s.Ratio, s.RatioLow, s.RatioHigh = rate, 0, 0, 0, 0
	b.note("full speed over the same connections, with the consumer beside it: %.0f events/s", full)
	closeAll(senders)
	return b.check(b.measured, senders)
}

// longestFull bounds the search for the full speed.
const longestFull = 8 * time.Second

// full is the rate at which answers come when the next request follows each at once.
func (b *bench) full(senders []*sender) float64 {
	b.rec.begin("warm-up")
	closed(b.ctx, senders, warmUp)
	wide := min(time.Duration(float64(b.o.Span)*openShare), longestFull)
	b.rec.begin("full speed")
	began := time.Now()
	closed(b.ctx, senders, wide)
	acked, _ := b.rec.state()
	full := float64(acked) / time.Since(began).Seconds()
	b.say("full speed: %.0f events/s", full)
	return full
}

// handled keeps one round; the report's latencies are those of the worst one.
func (b *bench) handled(n int, h *hdrhistogram.Histogram, rate float64) {
	s := &b.out.Summary
	p95 := quantile(h, 95)
	b.say("round %d: %.0f events/s, handled in the other region after p50 %.1f ms, p95 %.1f ms, p99 %.1f ms", n+1, rate, quantile(h, 50), p95, quantile(h, 99))
	b.out.Rounds = append(b.out.Rounds, round(rate))
	if p95 >= s.P95 {
		s.P50, s.P95, s.P99 = quantile(h, 50), p95, quantile(h, 99)
		b.out.Latency = percentiles(h)
	}
}

// watcher is a durable consumer that knows when each event should have been sent.
type watcher struct {
	tag     string
	count   atomic.Int64
	cancel  context.CancelFunc
	done    chan error
	intends map[int]*intents // by the sender's number

	mu   sync.Mutex
	hist *hdrhistogram.Histogram
}

// intents is when the requests of one sender should have begun, by the number of their first event.
type intents struct {
	mu sync.RWMutex
	at []int64 // Unix nanoseconds, one for each batch
}

func (t *intents) add(at time.Time) {
	t.mu.Lock()
	t.at = append(t.at, at.UnixNano())
	t.mu.Unlock()
}

func (t *intents) of(batch uint64) (time.Time, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if batch >= uint64(len(t.at)) {
		return time.Time{}, false
	}
	return time.Unix(0, t.at[batch]), true
}

// watch subscribes in a region to what the senders will send.
func (b *bench) watch(region string, senders []*sender) (*watcher, error) {
	sub, err := b.subscribe(region, "bench-e2e", consumers.FromAll())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	w := &watcher{tag: b.tag, cancel: cancel, done: make(chan error, 1), hist: newHistogram(), intends: map[int]*intents{}}
	for _, s := range senders {
		s.intended = new(intents)
		w.intends[s.sender] = s.intended
	}
	batch := uint64(b.o.Batch)
	go func() {
		w.done <- sub.Run(ctx, func(_ context.Context, m *consumers.Message) error {
			sender, n, ok := parseID(m.EventID, w.tag)
			from := w.intends[sender]
			if !ok || from == nil {
				return nil
			}
			if at, ok := from.of(n / batch); ok {
				us := max(min(time.Since(at).Microseconds(), 59_000_000), 1)
				w.mu.Lock()
				_ = w.hist.RecordValue(us)
				w.mu.Unlock()
			}
			w.count.Add(1)
			return nil
		})
	}()
	return w, nil
}

func (b *bench) subscribe(region, durable string, from consumers.From) (*consumers.Subscription, error) {
	r, err := b.m.file.Region(region)
	if err != nil {
		return nil, err
	}
	t, err := b.m.file.Tenant(b.measured)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := pki.ClientTLS("", "", b.m.file.Path(b.m.file.CA))
	if err != nil {
		return nil, err
	}
	return consumers.Subscribe(b.ctx, consumers.Options{
		URLs: []string{r.NATS}, CredsFile: t.ConsumerCreds, TLS: tlsConfig, Durable: durable + "-" + b.tag, From: from, Logger: zap.NewNop(),
	})
}

func (w *watcher) reset() {
	w.mu.Lock()
	w.hist.Reset()
	w.mu.Unlock()
}

func (w *watcher) latency() *hdrhistogram.Histogram {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := newHistogram()
	h.Merge(w.hist)
	return h
}

// quiet waits until everything that is acknowledged was handled.
func (w *watcher) quiet(ctx context.Context, senders []*sender) error {
	want := int64(0)
	for _, s := range senders {
		want += int64(s.settled)
	}
	last, since := int64(-1), time.Now()
	for w.count.Load() < want {
		if n := w.count.Load(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > verifyPatience {
			return fault.New("bench.e2e", fault.Unavailable, "not_handled", "%d of %d acknowledged events were handled, and for %s none", last, want, verifyPatience)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-w.done:
			return errors.Join(errors.New("the consumer ended"), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func (w *watcher) stop() {
	w.cancel()
	select {
	case <-w.done:
	case <-time.After(5 * time.Second):
	}
}
