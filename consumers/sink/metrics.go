package sink

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

// Outcome is what became of an event for good.
type Outcome uint8

// The outcomes.
const (
	Delivered Outcome = iota // it is where it was to go, by this write
	Duplicate                // it was there already
	Conflict                 // another event is there in its place
	Refused                  // it can never be taken
	Dropped                  // it was left out because the options say so
)

var outcomeNames = [...]string{"delivered", "duplicate", "conflict", "refused", "dropped"}

// String is the outcome's name as metrics show it.
func (o Outcome) String() string { return outcomeNames[o] }

// Metrics of one sink: weft_sink_*, with its kind as the constant label "sink".
type Metrics struct {
	events   []prometheus.Counter // by outcome
	failures []prometheus.Counter // by class
	sizes    prometheus.Histogram
	seconds  prometheus.Histogram
	bytes    prometheus.Counter

	registerer prometheus.Registerer
	all        []prometheus.Collector
}

// NewMetrics makes the metrics of a sink and shows them until Close; without a registerer they are counted and not shown.
func NewMetrics(r prometheus.Registerer, kind string) (*Metrics, error) {
	const ns, sub = "weft", "sink"
	of := prometheus.Labels{"sink": kind}
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "events_total", ConstLabels: of,
		Help: "Events, by what became of them for good: delivered, duplicate, conflict, refused, dropped."}, []string{"outcome"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "failures_total", ConstLabels: of,
		Help: "Writes that failed, by class: failure, outage, delayed, permanent, panic."}, []string{"class"})
	m := &Metrics{
		sizes: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "write_events", ConstLabels: of,
			Help: "Events of one write.", Buckets: []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536}}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "write_seconds", ConstLabels: of,
			Help: "How long a write took that succeeded.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}),
		bytes:      prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "bytes_total", ConstLabels: of, Help: "Bytes of events written."}),
		registerer: r,
	}
	for o := range outcomeNames {
		m.events = append(m.events, events.WithLabelValues(outcomeNames[o]))
	}
	for _, c := range retry.Classes() {
		m.failures = append(m.failures, failures.WithLabelValues(c.String()))
	}
	for _, c := range []prometheus.Collector{events, failures, m.sizes, m.seconds, m.bytes} {
		if r == nil {
			break
		}
		if err := r.Register(c); err != nil {
			m.Close() // the others are somebody else's
			return nil, fault.Wrap("sink.metrics", fault.Conflict, err)
		}
		m.all = append(m.all, c)
	}
	return m, nil
}

// Count counts events whose outcome is known.
func (m *Metrics) Count(o Outcome, n int) { m.events[o].Add(float64(n)) }

// Wrote notes a write that succeeded.
func (m *Metrics) Wrote(events, bytes int, took time.Duration) {
	m.sizes.Observe(float64(events))
	m.seconds.Observe(took.Seconds())
	m.bytes.Add(float64(bytes))
}

// Failed notes a write that failed.
func (m *Metrics) Failed(c retry.Class) { m.failures[c].Inc() }

// Close takes the metrics away from where they are shown.
func (m *Metrics) Close() {
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
	m.all = nil
}
