package consumers

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

// metrics of one subscription; the durable is a constant label.
type metrics struct {
	handled      prometheus.Counter
	retries      []prometheus.Counter // by class
	parked       []prometheus.Counter // by class
	parkFailures prometheus.Counter

	all []prometheus.Collector
}

func newMetrics(durable string) *metrics {
	const ns, sub = "weft", "consumer"
	of := prometheus.Labels{"durable": durable}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help, ConstLabels: of})
	}
	m := &metrics{
		handled:      counter("handled_total", "Events that the handler took."),
		parkFailures: counter("park_failures_total", "Events that were given up and could not be put away; their keys wait."),
	}
	retries := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "retries_total", ConstLabels: of,
		Help: "Failed handler calls after which the event is tried again, by class: failure, outage, delayed, permanent, panic."}, []string{"class"})
	parked := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "parked_total", ConstLabels: of,
		Help: "Events that were given up and put away, by class of the last failure."}, []string{"class"})
	for _, c := range retry.Classes() {
		m.retries = append(m.retries, retries.WithLabelValues(c.String()))
		m.parked = append(m.parked, parked.WithLabelValues(c.String()))
	}
	m.all = []prometheus.Collector{m.handled, m.parkFailures, retries, parked}
	return m
}

// register shows the metrics, with how many keys of the backlog wait, until the returned function is called.
func (m *metrics) register(r prometheus.Registerer, durable string, b *backlog) (done func(), err error) {
	if r == nil {
		return func() {}, nil
	}
	all := append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "weft", Subsystem: "consumer", Name: "waiting_keys",
		Help: "Keys whose next event waits, with all that came after it.", ConstLabels: prometheus.Labels{"durable": durable}},
		func() float64 { return float64(b.waitingKeys()) }))
	done = func() {
		for _, c := range all {
			r.Unregister(c)
		}
	}
	for i, c := range all {
		if err := r.Register(c); err != nil {
			all = all[:i] // the others are somebody else's
			done()
			return nil, fault.Wrap(opRun, fault.Conflict, err)
		}
	}
	return done, nil
}
