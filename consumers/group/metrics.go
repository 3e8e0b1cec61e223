package group

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/streams/fault"
)

// metrics of a member; the group is a constant label.
type metrics struct {
	of       prometheus.Labels
	claims   prometheus.Counter
	failures prometheus.Counter
}

func newMetrics(group string) *metrics {
	of := prometheus.Labels{"group": group}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weft", Subsystem: "group", Name: name, Help: help, ConstLabels: of})
	}
	return &metrics{
		of:       of,
		claims:   counter("claims_total", "Durables that this member claimed, each time that it did."),
		failures: counter("beat_failures_total", "Beats that the registry did not answer; after half the TTL without one the member stops."),
	}
}

// register shows the metrics until the returned function is called.
func (m *metrics) register(r prometheus.Registerer, owned func() int) (done func(), err error) {
	if r == nil {
		return func() {}, nil
	}
	all := []prometheus.Collector{m.claims, m.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "weft", Subsystem: "group", Name: "durables", Help: "Durables that this member owns.", ConstLabels: m.of,
	}, func() float64 { return float64(owned()) })}
	done = func() {
		for _, c := range all {
			r.Unregister(c)
		}
	}
	for i, c := range all {
		if err := r.Register(c); err != nil {
			all = all[:i]
			done()
			return nil, fault.Wrap(opJoin, fault.Conflict, err)
		}
	}
	return done, nil
}
