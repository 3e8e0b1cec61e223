package nats

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/consumers/sink"
	"github.com/weft-mesh/weft/streams/fault"
)

// metrics are what every sink counts, and what only this one has.
type metrics struct {
	*sink.Metrics
	rounds prometheus.Counter

	registry prometheus.Registerer
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	common, err := sink.NewMetrics(r, "nats")
	if err != nil {
		return nil, err
	}
	m := &metrics{Metrics: common, registry: r, rounds: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weft", Subsystem: "sink_nats", Name: "rounds_total",
		Help: "Batches that were begun anew because the target's last sequence was not the expected one: another writer."})}
	if r != nil {
		if err := r.Register(m.rounds); err != nil {
			m.Close()
			return nil, fault.Wrap("", fault.Conflict, err)
		}
	}
	return m, nil
}

func (m *metrics) close() {
	if m.registry != nil {
		m.registry.Unregister(m.rounds)
	}
	m.Close()
}
