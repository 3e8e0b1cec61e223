package reject

import (
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

// sourceKey names a producer of a tenant.
type sourceKey struct{ tenant, name string }

// source is what is kept of one producer.
type source struct {
	key     sourceKey // as labels
	metrics *metrics
	skew    prometheus.Gauge    // nil where no clock is measured
	spread  prometheus.Observer // of the tenant
	mean    atomic.Uint64       // float64 bits of the smoothed skew in seconds; noMean before the first
}

// noMean are the bits of no number that is ever stored.
var noMean = math.Float64bits(math.NaN())

// smoothing is the weight of a new measurement: a clock's steady error shows after some ten requests, one late
// request does not.
const smoothing = 0.2

// observe notes one measurement. Two at once may overwrite each other's share of the mean, which is as good.
func (s *source) observe(ahead time.Duration) {
	if s.skew == nil {
		return
	}
	seconds := ahead.Seconds()
	s.spread.Observe(math.Abs(seconds))
	if old := s.mean.Load(); old != noMean {
		mean := math.Float64frombits(old)
		seconds = mean + smoothing*(seconds-mean)
	}
	s.mean.Store(math.Float64bits(seconds))
	s.skew.Set(seconds)
}

func (s *source) refused(code string, n int) {
	s.metrics.rejected.WithLabelValues(s.key.tenant, code, s.key.name).Add(float64(n))
}

// sources finds a source without a lock and without an allocation; a new one is added to a copy of the map.
type sources struct {
	metrics *metrics
	most    int // of a tenant
	found   atomic.Pointer[map[sourceKey]*source]
	mu      sync.Mutex // of those who add and remove
	count   map[string]int
}

func (s *sources) init(m *metrics, most int) {
	s.metrics, s.most, s.count = m, most, map[string]int{}
	s.found.Store(&map[sourceKey]*source{})
}

// of is the source of a name; "" stands for one that is not known.
func (s *sources) of(tenant, name string) *source {
	if found := (*s.found.Load())[sourceKey{tenant, name}]; found != nil {
		return found
	}
	return s.add(sourceKey{tenant, name})
}

func (s *sources) add(k sourceKey) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.found.Load()
	if found := old[k]; found != nil {
		return found
	}
	label := k
	switch {
	case k.tenant == "":
		k, label = sourceKey{}, sourceKey{unknown, unknown}
	case k.name == "":
		label.name = unknown
	case s.count[k.tenant] >= s.most:
		label.name = other
	}
	made := old[label]
	if made == nil {
		made = s.make(k, label)
	}
	if len(old) >= mostNames {
		return made
	}
	next := make(map[sourceKey]*source, len(old)+2)
	for key, v := range old {
		next[key] = v
	}
	next[k], next[label] = made, made
	s.found.Store(&next)
	return made
}

func (s *sources) make(k, label sourceKey) *source {
	made := &source{key: label, metrics: s.metrics}
	made.mean.Store(noMean)
	if k.tenant == "" {
		return made
	}
	if label.name != other {
		s.count[k.tenant]++
	}
	made.skew = s.metrics.skew.WithLabelValues(label.tenant, label.name)
	made.spread = s.metrics.spread.WithLabelValues(label.tenant)
	return made
}

// mostNames bounds the map; beyond it a new name is looked up under the lock each time.
const mostNames = 1 << 14

// retain forgets the sources of tenants that keep refuses, and what was measured of them.
func (s *sources) retain(keep func(tenant string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.found.Load()
	next := make(map[sourceKey]*source, len(old))
	gone := map[string]bool{}
	for k, v := range old {
		if k.tenant == "" || keep(k.tenant) {
			next[k] = v
			continue
		}
		gone[k.tenant] = true
	}
	if len(gone) == 0 {
		return
	}
	s.found.Store(&next)
	for tenant := range gone {
		delete(s.count, tenant)
		s.metrics.forget(tenant)
	}
}
