package relay

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts/token"
)

// issuers collects what is known of the issuers of tokens. Its label is bounded: they are configured.
type issuers struct {
	tokens                                *token.Verifier
	reachable, age, keys, reads, failures *prometheus.Desc
}

func newIssuers(tokens *token.Verifier) *issuers {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("weft", "relay", "token_issuer_"+name), help, []string{"issuer"}, nil)
	}
	return &issuers{
		tokens:    tokens,
		reachable: desc("reachable", "1 while the issuer's keys are younger than its outage limit; at 0 its tokens get 503."),
		age:       desc("keys_age_seconds", "Age of the issuer's keys."),
		keys:      desc("keys", "Keys of the issuer that can verify a token."),
		reads:     desc("reads_total", "Reads of the issuer's keys."),
		failures:  desc("read_failures_total", "Reads of the issuer's keys that failed."),
	}
}

// Describe sends every description.
func (c *issuers) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.reachable, c.age, c.keys, c.reads, c.failures} {
		out <- d
	}
}

// Collect sends the present values.
func (c *issuers) Collect(out chan<- prometheus.Metric) {
	for _, s := range c.tokens.Status() {
		reachable := 0.0
		if s.Reachable {
			reachable = 1
		}
		gauge := func(d *prometheus.Desc, v float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.Issuer)
		}
		gauge(c.reachable, reachable)
		gauge(c.age, s.Age.Seconds())
		gauge(c.keys, float64(s.Keys))
		out <- prometheus.MustNewConstMetric(c.reads, prometheus.CounterValue, float64(s.Reads), s.Issuer)
		out <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(s.Failures), s.Issuer)
	}
}
