package files

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/consumers/sink"
	"github.com/weft-mesh/weft/streams/fault"
)

// metrics are what every sink counts, and what only this one has.
type metrics struct {
	*sink.Metrics
	files, races, orphans prometheus.Counter

	registry prometheus.Registerer
	own      []prometheus.Collector
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weft", Subsystem: "sink_files", Name: name, Help: help})
	}
	m := &metrics{
		files:    counter("written_total", "Files that became part of the table."),
		races:    counter("races_total", "Commits that were begun anew because another writer had committed the same events, or set up a fence."),
		orphans:  counter("orphans_removed_total", "Files of commits that were not made."),
		registry: r,
	}
	var err error
	if m.Metrics, err = sink.NewMetrics(r, "files"); err != nil || r == nil {
		return m, err
	}
	for _, c := range []prometheus.Collector{m.files, m.races, m.orphans} {
		if err := r.Register(c); err != nil {
			m.close()
			return nil, fault.Wrap("", fault.Conflict, err)
		}
		m.own = append(m.own, c)
	}
	return m, nil
}

func (m *metrics) close() {
	for _, c := range m.own {
		m.registry.Unregister(c)
	}
	m.own = nil
	m.Close()
}
