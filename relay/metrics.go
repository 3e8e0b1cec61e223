package relay

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/relay/guard"
	"github.com/weft-mesh/weft/relay/intake"
	"github.com/weft-mesh/weft/relay/uplink"
)

// metrics are what a relay counts. Labels are bounded: codes and statuses are constants of the program,
// tenants those of the control state.
type metrics struct {
	requests   *prometheus.CounterVec
	signatures *prometheus.CounterVec
	latency    *prometheus.HistogramVec
	events     *prometheus.CounterVec
	conflicts  *prometheus.CounterVec
	keyErrors  *prometheus.CounterVec
	replays    *prometheus.CounterVec
	copies     *prometheus.CounterVec
	probes     *prometheus.CounterVec
	publish    prometheus.Histogram
}

var _ intake.Recorder = (*metrics)(nil)

// newMetrics makes the metrics and registers them with r, unless it is nil. undo takes them back.
func newMetrics(r prometheus.Registerer, pool *uplink.Pool, g *guard.Guard, tokens *token.Verifier) (m *metrics, undo func(), err error) {
	const ns, sub = "weft", "relay"
	latency := prometheus.ExponentialBuckets(0.0005, 2, 16) // 0.5 ms to 16 s
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, labels)
	}
	m = &metrics{
		requests:   counter("requests_total", "Answered requests by HTTP status and code.", "status", "code"),
		signatures: counter("signatures_total", "Checked signatures by scheme and code.", "scheme", "code"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "request_seconds",
			Help: "Time from a request's header to its answer.", Buckets: latency}, []string{"class"}),
		events:    counter("events_total", "Events by tenant, status and, for those not stored, code.", "tenant", "status", "code"),
		conflicts: counter("event_id_conflicts_total", "Events refused because their id is taken by other content.", "tenant"),
		keyErrors: counter("key_errors_total", "Requests refused because of key, signature, time or identity.", "code"),
		replays:   counter("replays_total", "Requests refused because they are copies of earlier ones.", "tenant"),
		copies:    counter("copies_total", "Copies of events in another major version of their schema, by what became of them.", "tenant", "result"),
		probes:    counter("probes_total", "Events refused by schemas or rules about which the streams were asked, by what they said.", "tenant", "result"),
		publish: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "publish_seconds",
			Help: "Time from a request's first publish to its last acknowledgement.", Buckets: latency}),
	}
	all := []prometheus.Collector{
		m.requests, m.signatures, m.latency, m.events, m.conflicts, m.keyErrors, m.replays, m.copies, m.probes, m.publish,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "events_in_flight",
			Help: "Events sent and not acknowledged, all tenants."}, func() float64 { return float64(pool.InFlight()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "late_acks_total",
			Help: "Acknowledgements that came after their event was given up."}, func() float64 { return float64(pool.Late()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "guard_requests",
			Help: "Requests of the last eleven minutes that the replay guard holds, all tenants and regions."}, func() float64 { return float64(g.Stats().Entries) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "guard_groups_total",
			Help: "Groups of request ids that the journal acknowledged."}, func() float64 { return float64(g.Stats().Groups) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "guard_lag_seconds",
			Help: "Age of the newest own group of request ids that was read back; above 30 every request is refused."}, func() float64 { return g.Stats().Lag.Seconds() }),
	}
	if tokens != nil {
		all = append(all, newIssuers(tokens))
	}
	var done []prometheus.Collector
	undo = func() {
		for _, c := range done {
			r.Unregister(c)
		}
	}
	if r == nil {
		return m, undo, nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			undo()
			return nil, nil, err
		}
		done = append(done, c)
	}
	return m, undo, nil
}

// Request counts one answer.
func (m *metrics) Request(status int, code string, took time.Duration) {
	m.requests.WithLabelValues(strconv.Itoa(status), code).Inc()
	m.latency.WithLabelValues(strconv.Itoa(status/100) + "xx").Observe(took.Seconds())
	if status == 401 || status == 403 {
		m.keyErrors.WithLabelValues(code).Inc()
	}
}

// Signature counts one checked signature.
func (m *metrics) Signature(scheme, code string) { m.signatures.WithLabelValues(scheme, code).Inc() }

// Events counts outcomes.
func (m *metrics) Events(tenant, status, code string, n int) {
	m.events.WithLabelValues(tenant, status, code).Add(float64(n))
	if code == uplink.CodeEventIDConflict {
		m.conflicts.WithLabelValues(tenant).Add(float64(n))
	}
}

// Replayed counts a copy.
func (m *metrics) Replayed(tenant string) { m.replays.WithLabelValues(tenant).Inc() }

// Copies counts what became of copies.
func (m *metrics) Copies(tenant, result string, n int) {
	m.copies.WithLabelValues(tenant, result).Add(float64(n))
}

// Probed counts what streams said of refused events.
func (m *metrics) Probed(tenant, result string, n int) {
	m.probes.WithLabelValues(tenant, result).Add(float64(n))
}

// Published observes the time of one publish.
func (m *metrics) Published(took time.Duration) { m.publish.Observe(took.Seconds()) }
