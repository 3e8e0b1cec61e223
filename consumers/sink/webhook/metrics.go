package webhook

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/streams/fault"
)

// metrics are the ones that only this sink has.
type metrics struct {
	answers    [len(answerClasses)]prometheus.Counter
	registerer prometheus.Registerer
	all        []prometheus.Collector
}

var answerClasses = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func newMetrics(r prometheus.Registerer, h *hold, g *gone) (*metrics, error) {
	const ns, sub = "weft", "sink_webhook"
	m := &metrics{registerer: r}
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "answers_total",
		Help: "Requests by what the endpoint answered: 2xx, 3xx, 4xx, 5xx, or none."}, []string{"status"})
	for i, class := range answerClasses {
		m.answers[i] = answers.WithLabelValues(class)
	}
	gauge := func(name, help string, is func() bool) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, func() float64 {
			if is() {
				return 1
			}
			return 0
		})
	}
	all := []prometheus.Collector{
		answers,
		gauge("held", "1 while nothing is sent, because the endpoint said when to come again.", func() bool { return h.left() > 0 }),
		gauge("gone", "1 while nothing is sent, because the endpoint answered 410.", func() bool { return g.now.Load() != nil }),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			m.close()
			return nil, fault.Wrap(opOpen, fault.Conflict, err)
		}
		m.all = append(m.all, c)
	}
	return m, nil
}

// answered counts a request; 0 is one without an answer.
func (m *metrics) answered(status int) {
	if class := status / 100; class < len(m.answers) {
		m.answers[class].Inc()
	}
}

func (m *metrics) close() {
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
	m.all = nil
}
