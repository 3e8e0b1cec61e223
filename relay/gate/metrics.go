package gate

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/streams/schema"
)

// kind is a class of verdicts.
type kind int

// The classes.
const (
	kindValid      kind = iota // a version judged it, and it passes
	kindDeprecated             // the same, by a deprecated one
	kindUnjudged               // it passes, and there is no version to judge it
	kindKept                   // for want of a schema it goes to the dead letters
	kindViolation              // against the schema
	kindBlocked                // a field that must not be there
	kindMissing                // a field that must be there
	kindUnknown                // of a type that has no schema
	kindVersion                // it names a version that it may not
	kindLater                  // not for now

	kinds = iota
)

var kindNames = [kinds]string{"valid", "deprecated", "unjudged", "kept", "violation", "blocked", "missing", "unknown_type", "version", "later"}

func kindOf(v *Verdict) kind {
	switch r := v.Refusal; {
	case r == nil && v.Kept:
		return kindKept
	case r == nil && v.Version == nil:
		return kindUnjudged
	case r == nil && v.Version.Status == schema.Deprecated:
		return kindDeprecated
	case r == nil:
		return kindValid
	case r.Later:
		return kindLater
	case r.Code == CodeViolation:
		return kindViolation
	case r.Code == CodeBlocked:
		return kindBlocked
	case r.Code == CodeMissing:
		return kindMissing
	case r.Code == CodeUnknownType:
		return kindUnknown
	default:
		return kindVersion
	}
}

// counters are one tenant's, by kind.
type counters struct{ of [kinds]prometheus.Counter }

// metrics are what the gates count. Labels are bounded: kinds are constants, tenants and versions those of the control
// state, and of one tenant's versions no more than maxSeries have series of their own.
type metrics struct {
	checks   *prometheus.CounterVec
	compiles *prometheus.CounterVec
	versions *prometheus.GaugeVec
	unusable *prometheus.GaugeVec

	mu      sync.Mutex
	tenants map[string]*counters

	undo func()
}

func newMetrics(r prometheus.Registerer, g *Gates) (*metrics, error) {
	const ns, sub = "weft", "relay"
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: name, Help: help}, []string{"tenant"})
	}
	m := &metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "schema_checks_total",
			Help: "Events held to schemas and rules, by verdict."}, []string{"tenant", "verdict"}),
		compiles: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: ns, Subsystem: sub, Name: "schema_compiles_total",
			Help: "Schemas and sets of rules compiled, by result."}, []string{"result"}),
		versions: gauge("schema_versions", "Versions of schemas that events may name."),
		unusable: gauge("schema_unusable", "Versions and rules that this relay cannot compile; what they judge is not taken."),
		tenants:  map[string]*counters{},
		undo:     func() {},
	}
	if r == nil {
		return m, nil
	}
	var done []prometheus.Collector
	m.undo = func() {
		for _, c := range done {
			r.Unregister(c)
		}
	}
	all := []prometheus.Collector{m.checks, m.compiles, m.versions, m.unusable, byVersion{g}}
	if g.o.Age != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: ns, Subsystem: sub, Name: "schema_state_age_seconds",
			Help: "Time since the hub was last heard of: how old the schemas and rules in use may be."}, func() float64 { return g.o.Age().Seconds() }))
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			m.undo()
			return nil, err
		}
		done = append(done, c)
	}
	return m, nil
}

func (m *metrics) unregister() { m.undo() }

// of are the tenant's counters.
func (m *metrics) of(tenant string) *counters {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.tenants[tenant]; c != nil {
		return c
	}
	c := &counters{}
	for k, name := range kindNames {
		c.of[k] = m.checks.WithLabelValues(tenant, name)
	}
	m.tenants[tenant] = c
	return c
}

// built tells of a gate.
func (m *metrics) built(tenant string, g *Gate) {
	live, bad := 0, 0
	for _, t := range g.types {
		for _, v := range t.versions {
			if v.unit == nil {
				continue
			}
			live++
			if v.unit.err != nil {
				bad++
			}
		}
	}
	if g.unusable {
		bad++
	}
	if g.counters == nil {
		m.drop(tenant) // it asks nothing: a mesh has many such tenants
		return
	}
	m.versions.WithLabelValues(tenant).Set(float64(live))
	m.unusable.WithLabelValues(tenant).Set(float64(bad))
}

// retain forgets the tenants without a gate.
func (m *metrics) retain(gates map[string]*Gate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tenant := range m.tenants {
		if gates[tenant] == nil {
			delete(m.tenants, tenant)
			m.checks.DeletePartialMatch(prometheus.Labels{"tenant": tenant})
			m.drop(tenant)
		}
	}
}

// drop forgets what a tenant has at present.
func (m *metrics) drop(tenant string) {
	m.versions.DeleteLabelValues(tenant)
	m.unusable.DeleteLabelValues(tenant)
}

// byVersion are the tallies as metrics.
type byVersion struct{ g *Gates }

// maxSeries is how many versions of one tenant have series of their own; those of the others are summed as "other".
const maxSeries = 64

var judgedBy = prometheus.NewDesc("weft_relay_schema_version_events_total", "Events that a version judged, by result.", []string{"tenant", "type", "version", "result"}, nil)

// Describe is of prometheus.Collector.
func (byVersion) Describe(out chan<- *prometheus.Desc) { out <- judgedBy }

// Collect is of prometheus.Collector.
func (b byVersion) Collect(out chan<- prometheus.Metric) {
	send := func(tenant, subject, version string, c Count) {
		out <- prometheus.MustNewConstMetric(judgedBy, prometheus.CounterValue, float64(c.Checked-c.Failed), tenant, subject, version, "passed")
		out <- prometheus.MustNewConstMetric(judgedBy, prometheus.CounterValue, float64(c.Failed), tenant, subject, version, "failed")
	}
	others := map[string]Count{}
	seen := map[string]int{}
	for _, t := range b.g.Tallies() {
		if seen[t.Tenant]++; seen[t.Tenant] > maxSeries {
			sum := others[t.Tenant]
			others[t.Tenant] = Count{Checked: sum.Checked + t.Judged.Checked, Failed: sum.Failed + t.Judged.Failed}
			continue
		}
		send(t.Tenant, t.Subject, t.Version.String(), t.Judged)
	}
	for tenant, c := range others {
		send(tenant, "other", "other", c)
	}
}
