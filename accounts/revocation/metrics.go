package revocation

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts"
)

var (
	descKnown = prometheus.NewDesc("weft_relay_revocations_known", "Revoked certificates by where that is known from: control (the mesh's own) or list (those of others).", []string{"source"}, nil)
	descAge   = prometheus.NewDesc("weft_relay_crl_age_seconds", "Time since the revocation list in use was made, by its authority.", []string{"authority"}, nil)
	descLeft  = prometheus.NewDesc("weft_relay_crl_expires_seconds", "Time until the revocation list in use is stale; negative once it is.", []string{"authority"}, nil)
	descAsked = prometheus.NewDesc("weft_relay_ocsp_certificates", "Certificates whose OCSP answers are followed.", nil, nil)
)

var _ prometheus.Collector = (*Checker)(nil)

// Describe is part of prometheus.Collector.
func (c *Checker) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descKnown, descAge, descLeft, descAsked} {
		out <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *Checker) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now, own, listed := c.o.Now(), 0, 0
	for _, cert := range c.o.State().Certificates {
		if cert.State == accounts.CertificateRevoked && !now.After(cert.NotAfter) { // could still be presented
			own++
		}
	}
	oldest := map[string]*list{}
	for _, l := range *c.lists.Load() {
		listed += len(l.serials)
		if have := oldest[l.name]; have == nil || l.nextUpdate.Before(have.nextUpdate) { // two authorities may have one name
			oldest[l.name] = l
		}
	}
	for name, l := range oldest {
		gauge(descAge, now.Sub(l.thisUpdate).Seconds(), name)
		gauge(descLeft, l.nextUpdate.Sub(now).Seconds(), name)
	}
	gauge(descKnown, float64(own), "control")
	gauge(descKnown, float64(listed), "list")
	c.seen.Lock()
	n := len(c.asked)
	c.seen.Unlock()
	gauge(descAsked, float64(n))
}
