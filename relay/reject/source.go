package reject

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Labels of what has no source of its own.
const (
	unknown = "unknown" // nothing names a tenant or a source
	other   = "other"   // a tenant has more sources than are told apart
)

// source is what is kept of one producer.
type source struct {
	tenant, name string // as labels
	metrics      *metrics
	mean         atomic.Uint64 // float64 bits of the smoothed skew in seconds; noMean before the first
	clock        atomic.Pointer[gauges]
}

// gauges show a source's clock. They are made with the first measurement, so that none shows a clock that nobody saw.
type gauges struct {
	skew   prometheus.Gauge
	spread prometheus.Observer // of the tenant
}

// noMean are the bits of no number that is ever stored.
var noMean = math.Float64bits(math.NaN())

// smoothing is the weight of a new measurement: a clock's steady error shows after some ten requests, one late
// request does not.
const smoothing = 0.2

// observe notes one measurement. Two at once may overwrite each other's share of the mean, which is as good.
func (s *source) observe(ahead time.Duration) {
	g := s.clock.Load()
	if g == nil {
		g = &gauges{s.metrics.skew.WithLabelValues(s.tenant, s.name), s.metrics.spread.WithLabelValues(s.tenant)}
		s.clock.Store(g)
	}
	seconds := ahead.Seconds()
	g.spread.Observe(math.Abs(seconds))
	if old := s.mean.Load(); old != noMean {
		mean := math.Float64frombits(old)
		seconds = mean + smoothing*(seconds-mean)
	}
	s.mean.Store(math.Float64bits(seconds))
	g.skew.Set(seconds)
}

func (s *source) refused(code string, n int) {
	s.metrics.rejected.WithLabelValues(s.tenant, code, s.name).Add(float64(n))
}

// sources finds a source without a lock and without an allocation. Maps are never changed: what is new is added to a
// copy, first of the tenants and then of one tenant's sources.
type sources struct {
	metrics *metrics
	most    int // of a tenant
	nobody  *source
	tenants atomic.Pointer[map[string]*producers]
	mu      sync.Mutex // of those who add and remove
}

// producers are the sources of one tenant.
type producers struct {
	named atomic.Pointer[map[string]*source]
	other *source // of all that come when there are enough
}

func (s *sources) init(m *metrics, most int) {
	s.metrics, s.most, s.nobody = m, most, &source{tenant: unknown, name: unknown, metrics: m}
	s.tenants.Store(&map[string]*producers{})
}

// of is the source of a name; "" stands for one that is not known.
func (s *sources) of(tenant, name string) *source {
	if tenant == "" {
		return s.nobody
	}
	t := (*s.tenants.Load())[tenant]
	if t == nil {
		t = s.addTenant(tenant)
	}
	named := *t.named.Load()
	if found := named[name]; found != nil {
		return found
	}
	if len(named) >= s.most {
		return t.other
	}
	return s.add(t, tenant, name)
}

func (s *sources) addTenant(tenant string) *producers {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.tenants.Load()
	if found := old[tenant]; found != nil {
		return found
	}
	made := &producers{other: s.make(tenant, other)}
	made.named.Store(&map[string]*source{})
	next := maps.Clone(old)
	next[tenant] = made
	s.tenants.Store(&next)
	return made
}

func (s *sources) add(t *producers, tenant, name string) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *t.named.Load()
	if found := old[name]; found != nil {
		return found
	}
	if len(old) >= s.most {
		return t.other
	}
	label := name
	if name == "" {
		label = unknown
	}
	made := s.make(tenant, label)
	next := maps.Clone(old)
	next[name] = made
	t.named.Store(&next)
	return made
}

func (s *sources) make(tenant, label string) *source {
	made := &source{tenant: tenant, name: label, metrics: s.metrics}
	made.mean.Store(noMean)
	return made
}

// retain forgets the sources of tenants that keep refuses, and what was measured of them.
func (s *sources) retain(keep func(tenant string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(*s.tenants.Load())
	before := len(next)
	for tenant := range next {
		if !keep(tenant) {
			delete(next, tenant)
			s.metrics.forget(tenant)
		}
	}
	if len(next) != before {
		s.tenants.Store(&next)
	}
}
