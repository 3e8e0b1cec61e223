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
	dropped      prometheus.Counter
	opened       prometheus.Counter
	gaps         [2]prometheus.Counter // after the window, and early
	late         prometheus.Counter
	unknown      prometheus.Counter

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
	m.dropped = counter("dropped_total", "Events of optional topics that were too old to be handled after the breaker had opened.")
	m.opened = counter("breaker_opened_total", "How often the breaker opened: the handler failed call after call.")
	m.late = counter("late_total", "Events that came after later ones of their count were handed on; they go to the correction handler.")
	m.unknown = counter("order_unknown_total", "Users whose last place could not be asked for; their count begins anew.")
	gaps := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "gaps_total", ConstLabels: of,
		Help: "Gaps in a source's count that were given up, at the end of the window or (early) before it for want of room."}, []string{"early"})
	m.gaps = [2]prometheus.Counter{gaps.WithLabelValues("false"), gaps.WithLabelValues("true")}
	retries := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "retries_total", ConstLabels: of,
		Help: "Failed handler calls after which the event is tried again, by class: failure, outage, delayed, permanent, panic."}, []string{"class"})
	parked := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "parked_total", ConstLabels: of,
		Help: "Events that were given up and put away, by class of the last failure."}, []string{"class"})
	for _, c := range retry.Classes() {
		m.retries = append(m.retries, retries.WithLabelValues(c.String()))
		m.parked = append(m.parked, parked.WithLabelValues(c.String()))
	}
	m.all = []prometheus.Collector{m.handled, m.parkFailures, m.dropped, m.opened, m.late, m.unknown, gaps, retries, parked}
	return m
}

// gap counts one that was given up.
func (m *metrics) gap(early bool) {
	i := 0
	if early {
		i = 1
	}
	m.gaps[i].Inc()
}

// gauges show the state of a Run.
func (s *Subscription) gauges() (all []prometheus.Collector) {
	gauge := func(name, help, state string, value func(State) float64) {
		of := prometheus.Labels{"durable": s.opts.Durable}
		if state != "" {
			of["state"] = state
		}
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "weft", Subsystem: "consumer", Name: name, Help: help, ConstLabels: of},
			func() float64 { return value(s.State()) }))
	}
	gauge("unsettled", "Events that were fetched and are not acknowledged.", "", func(st State) float64 { return float64(st.Unsettled) })
	gauge("waiting_keys", "Keys whose next event waits, with all that came after it.", "", func(st State) float64 { return float64(st.WaitingKeys) })
	gauge("held_events", "Events that wait for one before them in their source's count.", "", func(st State) float64 { return float64(st.Held) })
	gauge("held_keys", "Users of sources of whom an event is held.", "", func(st State) float64 { return float64(st.HeldKeys) })
	gauge("connected", "1 while there is a connection to the server.", "", func(st State) float64 { return bit(st.Connected) })
	for b := range breakerStates {
		of := BreakerState(b) //nolint:gosec // three of them
		gauge("breaker_state", "1 for the state that the breaker is in.", of.String(), func(st State) float64 { return bit(st.Breaker == of) })
	}
	return all
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// register shows the metrics until the returned function is called.
func (s *Subscription) register() (done func(), err error) {
	r := s.opts.Registerer
	if r == nil {
		return func() {}, nil
	}
	all := append(s.metrics.all, s.gauges()...)
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
