package reject

import "github.com/prometheus/client_golang/prometheus"

// metrics of refusals and clocks. Labels are bounded: tenants are those of the control state, codes are constants
// of the program, and of each tenant's sources only so many are told apart.
type metrics struct {
	rejected *prometheus.CounterVec
	skew     *prometheus.GaugeVec
	spread   *prometheus.HistogramVec
	hushed   prometheus.Counter
	records  struct{ stored, suppressed, dropped, failed prometheus.Counter }

	from prometheus.Registerer
	done []prometheus.Collector
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	const ns, sub = "weft", "relay"
	m := &metrics{
		from: r,
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "rejected_total",
			Help: "Refused requests, and refused events of requests that were accepted, by tenant, code and producer; unknown where nothing credible names them."},
			[]string{"tenant", "code", "source"}),
		skew: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "clock_skew_seconds",
			Help: "How far a producer's clock is ahead of this relay's, smoothed over its authenticated requests, refused ones included."},
			[]string{"tenant", "source"}),
		spread: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: ns, Subsystem: sub, Name: "clock_skew_abs_seconds",
			Help:    "Distance between the time of an authenticated request and this relay's clock, either way.",
			Buckets: []float64{1, 2, 5, 10, 30, 60, 120, 200, 300, 600, 3600}}, []string{"tenant"}),
		hushed: prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "refusal_lines_hushed_total",
			Help: "Refusals without a line in the relay's log, because there were too many."}),
	}
	records := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "reject_records_total",
		Help: "Refusals by what became of their record: stored (records), suppressed by a rate, dropped from a full queue, failed to be stored (refusals)."},
		[]string{"result"})
	m.records.stored, m.records.suppressed = records.WithLabelValues("stored"), records.WithLabelValues("suppressed")
	m.records.dropped, m.records.failed = records.WithLabelValues("dropped"), records.WithLabelValues("failed")
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.rejected, m.skew, m.spread, m.hushed, records} {
		if err := r.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		m.done = append(m.done, c)
	}
	return m, nil
}

func (m *metrics) unregister() {
	for _, c := range m.done {
		m.from.Unregister(c)
	}
	m.done = nil
}

// forget drops what was counted of a tenant that is gone.
func (m *metrics) forget(tenant string) {
	of := prometheus.Labels{"tenant": tenant}
	m.rejected.DeletePartialMatch(of)
	m.skew.DeletePartialMatch(of)
	m.spread.DeletePartialMatch(of)
}
