package hub

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts/pki"
)

// metrics are what a hub exports. Labels are bounded: tenants and regions, never keys or events.
type metrics struct {
	labels        prometheus.Labels // of all
	links         prometheus.Gauge
	closed        prometheus.Gauge
	kicks         *prometheus.CounterVec
	sourceSilence *prometheus.GaugeVec
	streamSilence *prometheus.GaugeVec
	admin         *prometheus.CounterVec
	drift         *prometheus.GaugeVec
	repaired      *prometheus.CounterVec
	repairSuccess *prometheus.GaugeVec
}

// serverLabels are those of every metric of a server.
func serverLabels(region string, server int) prometheus.Labels {
	return prometheus.Labels{"region": region, "server": strconv.Itoa(server)}
}

// gauges makes gauges of a server, and registers them.
func gauges(reg prometheus.Registerer, region string, server int) func(name, help string, by ...string) *prometheus.GaugeVec {
	return func(name, help string, by ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: serverLabels(region, server)}, by)
		reg.MustRegister(g)
		return g
	}
}

func newMetrics(reg prometheus.Registerer, region string, server int) *metrics {
	labels := serverLabels(region, server)
	m := &metrics{
		labels: labels,
		links: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weft_hub_linked_accounts", Help: "Accounts with at least one leaf link up on this server.", ConstLabels: labels}),
		closed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weft_hub_closed", Help: "1 while this server does not let clients in, because it starts or its region lost data.", ConstLabels: labels}),
		kicks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_hub_source_kicks_total", Help: "Sources dropped and re-added because they fell silent.", ConstLabels: labels}, []string{"account", "peer"}),
		sourceSilence: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weft_hub_source_silence_seconds", Help: "Time since a source was last heard of, heartbeats included.", ConstLabels: labels}, []string{"account", "peer"}),
		streamSilence: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weft_hub_stream_silence_seconds", Help: "Time since a stream last answered; 0 while it does. Its leader is lost when this grows.", ConstLabels: labels}, []string{"account"}),
		admin: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_hub_admin_requests_total", Help: "Requests to the admin API by action and HTTP status.", ConstLabels: labels}, []string{"action", "status"}),
		drift: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weft_hub_drift_events", Help: "Events of a peer that this region lacked at the last comparison.", ConstLabels: labels}, []string{"tenant", "peer"}),
		repaired: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_hub_repaired_events_total", Help: "Lost events of which a copy was taken from a peer.", ConstLabels: labels}, []string{"tenant", "peer"}),
		repairSuccess: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weft_hub_repair_last_success_timestamp_seconds", Help: "When a comparison with a peer last came to its end.", ConstLabels: labels}, []string{"tenant", "peer"}),
	}
	for _, c := range []prometheus.Collector{m.links, m.closed, m.kicks, m.sourceSilence, m.streamSilence, m.admin, m.drift, m.repaired, m.repairSuccess} {
		reg.MustRegister(c)
	}
	return m
}

// certificate exports how long the hub's own certificate lives.
func (m *metrics) certificate(reg prometheus.Registerer, files *pki.Files, now func() time.Time) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_hub_certificate_expires_seconds", Help: "Time until the hub's own certificate runs out; it is renewed at a third of its life.", ConstLabels: m.labels,
	}, func() float64 { return files.Leaf().NotAfter.Sub(now()).Seconds() }))
}

// forgetTenant ends the series of a tenant that is no longer compared.
func (m *metrics) forgetTenant(name string) {
	for _, g := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.drift, m.repaired, m.repairSuccess} {
		g.DeletePartialMatch(prometheus.Labels{"tenant": name})
	}
}
