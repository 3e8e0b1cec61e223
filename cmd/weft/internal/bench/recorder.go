package bench

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/weft-mesh/weft/cmd/weft/internal/bench/report"
)

// recorder collects what senders measure: one histogram for the phase, one for the running second. It is safe for
// concurrent use.
type recorder struct {
	began time.Time // of the whole benchmark
	mesh  *mesh

	mu     sync.Mutex
	name   string // of the phase
	phase  *hdrhistogram.Histogram
	second *hdrhistogram.Histogram
	acked  int
	count  int // acknowledged in this second
	errors int

	series []report.Sample
	rss    float64
}

// Latencies are kept from a microsecond to a minute with three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

func newRecorder(m *mesh) *recorder {
	return &recorder{began: time.Now(), mesh: m, phase: newHistogram(), second: newHistogram()}
}

// done notes the answer to one request: its latency, and how many of its events are acknowledged or not.
func (r *recorder) done(took time.Duration, acked, failed int) {
	us := max(min(took.Microseconds(), 59_000_000), 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked += acked
	r.count += acked
	r.errors += failed
	if acked > 0 {
		_ = r.phase.RecordValue(us)
		_ = r.second.RecordValue(us)
	}
}

// begin starts another phase.
func (r *recorder) begin(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.name, r.acked = name, 0
	r.phase.Reset()
}

// state is the phase until now.
func (r *recorder) state() (acked int, latency *hdrhistogram.Histogram) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := newHistogram()
	h.Merge(r.phase)
	return r.acked, h
}

// most is the memory that was seen at most.
func (r *recorder) most() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rss
}

func (r *recorder) failed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errors
}

// sample closes a second of the series every second until ctx ends.
func (r *recorder) sample(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, at := usageOf(r.mesh.pid), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			u := usageOf(r.mesh.pid)
			wide := now.Sub(at).Seconds()
			r.mu.Lock()
			r.rss = max(r.rss, u.rss)
			r.series = append(r.series, report.Sample{
				At: now.Sub(r.began).Seconds(), Phase: r.name, PerSecond: float64(r.count) / wide,
				P50: quantile(r.second, 50), P95: quantile(r.second, 95), P99: quantile(r.second, 99),
				Cores: (u.cpu - last.cpu).Seconds() / wide, RSS: u.rss,
			})
			r.count = 0
			r.second.Reset()
			r.mu.Unlock()
			last, at = u, now
		}
	}
}

// quantile is in milliseconds.
func quantile(h *hdrhistogram.Histogram, q float64) float64 {
	return float64(h.ValueAtQuantile(q)) / 1000
}

// percentiles are the points of a plot of the tail.
func percentiles(h *hdrhistogram.Histogram) []report.Point {
	if h.TotalCount() == 0 {
		return nil
	}
	var out []report.Point
	for _, q := range []float64{0, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99, 100} {
		out = append(out, report.Point{X: q, Y: quantile(h, q)})
	}
	return out
}
