package hub

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts/control"
)

// maxTrialSeries bounds how many versions of one tenant have series of their own.
const maxTrialSeries = 32

// trialMetrics tell how versions on trial do, in all regions together. They are set at each look of the server that
// leads its region, and end with the trial.
type trialMetrics struct {
	checked    *prometheus.GaugeVec
	failed     *prometheus.GaugeVec
	state      *prometheus.GaugeVec
	promotions *prometheus.CounterVec
	rollbacks  *prometheus.CounterVec
}

func newTrialMetrics(reg prometheus.Registerer, region string, server int) *trialMetrics {
	gauge := gauges(reg, region, server)
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: serverLabels(region, server)}, []string{"tenant"})
		reg.MustRegister(c)
		return c
	}
	return &trialMetrics{
		checked:    gauge("weft_schema_canary_checked_events", "Events on which a version on trial was tried, in its present run and all regions.", "tenant", "subject", "version"),
		failed:     gauge("weft_schema_canary_failed_events", "Those of them that it refuses, or refused.", "tenant", "subject", "version"),
		state:      gauge("weft_schema_canary_state", "1 for the state in which a version on trial is.", "tenant", "subject", "version", "state"),
		promotions: counter("weft_schema_canary_promotions_total", "Versions that this server promoted because they were green."),
		rollbacks:  counter("weft_schema_canary_rollbacks_total", "Versions that this server rolled back, by itself or for a person."),
	}
}

// set replaces all series of versions, so that those of ended trials end.
func (m *trialMetrics) set(state *control.State) {
	m.checked.Reset()
	m.failed.Reset()
	m.state.Reset()
	series := map[string]int{}
	for _, s := range state.OnTrial() {
		v := state.Verdict(s)
		if series[s.Tenant]++; v == nil || series[s.Tenant] > maxTrialSeries {
			continue
		}
		by := []string{s.Tenant, s.Subject, s.Version.String()}
		m.checked.WithLabelValues(by...).Set(float64(v.Counted().Checked))
		m.failed.WithLabelValues(by...).Set(float64(v.Counted().Failed))
		m.state.WithLabelValues(append(by, string(v.State))...).Set(1)
	}
}
