package hub

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts/keyring"
)

// keyMetrics tell, by tenant, how old its keys are. They are set with every beat of the server that leads the region.
type keyMetrics struct {
	age     *prometheus.GaugeVec
	overdue *prometheus.GaugeVec
	states  *prometheus.GaugeVec
}

func newKeyMetrics(reg prometheus.Registerer, region string, server int) *keyMetrics {
	gauge := gauges(reg, region, server)
	return &keyMetrics{
		age:     gauge("weft_hub_key_age_seconds", "Age of the tenant's oldest active signing key.", "tenant"),
		overdue: gauge("weft_hub_keys_overdue", "Active signing keys that are older than their rotation allows.", "tenant"),
		states:  gauge("weft_hub_keys", "Signing keys by state.", "tenant", "state"),
	}
}

// set replaces all series, so that those of removed tenants end.
func (m *keyMetrics) set(keys []KeyView) {
	oldest, overdue := map[string]int64{}, map[string]int{}
	states := map[[2]string]int{}
	for _, k := range keys {
		states[[2]string{k.Tenant, string(k.State)}]++
		if k.State == keyring.Active {
			oldest[k.Tenant] = max(oldest[k.Tenant], k.AgeSeconds)
		}
		overdue[k.Tenant] += 0 // every tenant has a series
		if k.Due {
			overdue[k.Tenant]++
		}
	}
	m.age.Reset()
	m.overdue.Reset()
	m.states.Reset()
	for tenant, n := range overdue {
		m.overdue.WithLabelValues(tenant).Set(float64(n))
	}
	for tenant, age := range oldest {
		m.age.WithLabelValues(tenant).Set(float64(age))
	}
	for by, n := range states {
		m.states.WithLabelValues(by[0], by[1]).Set(float64(n))
	}
}

// noteKeys brings the metrics up to date.
func (h *Hub) noteKeys() {
	if keys, err := h.Keys(""); err == nil {
		h.keyMetrics.set(keys)
	}
}
