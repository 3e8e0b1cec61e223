package clock

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	jumps *prometheus.CounterVec
	last  prometheus.Gauge

	from prometheus.Registerer
	done []prometheus.Collector
}

func newMetrics(r prometheus.Registerer, w *Watch) (*metrics, error) {
	const ns, sub = "weft", "relay"
	m := &metrics{
		from: r,
		jumps: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "clock_jumps_total",
			Help: "Steps of the relay's own wall clock against its monotonic one, by direction."}, []string{"direction"}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "clock_jump_last_seconds",
			Help: "The last such step; negative: back."}),
	}
	m.jumps.WithLabelValues("forward")
	m.jumps.WithLabelValues("back")
	all := []prometheus.Collector{
		m.jumps, m.last,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "clock_hub_difference_seconds",
			Help: "How far the relay's clock was ahead of the hub's at the last heartbeat, up to some seconds of delay included."}, func() float64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.differ.Seconds()
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "clock_unsure",
			Help: "1 while the relay does not trust its clock and answers 503."}, func() float64 {
			if w.Unsure() != "" {
				return 1
			}
			return 0
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		m.done = append(m.done, c)
	}
	return m, nil
}

func (m *metrics) jumped(step time.Duration) {
	direction := "forward"
	if step < 0 {
		direction = "back"
	}
	m.jumps.WithLabelValues(direction).Inc()
	m.last.Set(step.Seconds())
}

func (m *metrics) unregister() {
	for _, c := range m.done {
		m.from.Unregister(c)
	}
	m.done = nil
}
