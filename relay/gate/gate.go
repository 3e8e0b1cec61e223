// Package gate holds events to their tenant's schemas and rules.
//
// The relay makes one Gates and lets it follow the control state: schemas and rules are compiled off the way of requests,
// and swapped in whole. The intake takes the tenant's Gate at the beginning of a request and checks the events with a
// Pass while they are decoded. What a version judged is counted in its Tally. It knows nothing of HTTP and of streams.
//
// Gates, Gate and Version are safe for concurrent use; a Pass belongs to one request.
package gate

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/rule"
	"github.com/weft-mesh/weft/streams/subject"
)

// Options of Gates.
type Options struct {
	Region     string               // tenants that do not live in it have no gate
	Age        func() time.Duration // since the hub was last heard of; nil: it is not told
	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept and not published
}

// Gates are the gates of all tenants.
type Gates struct {
	o       Options
	metrics *metrics
	current atomic.Pointer[snapshot]

	mu      sync.Mutex // of Follow, and guards what follows
	units   map[unitID]*unit
	tallies map[unitID]*tally
}

// snapshot is what one control state means. Immutable.
type snapshot struct {
	state *control.State // nil before the first
	gates map[string]*Gate
}

// New makes Gates that know no tenant yet.
func New(o Options) (*Gates, error) {
	const op = "gate.new"
	if !subject.ValidRegion(o.Region) || o.Logger == nil {
		return nil, fault.New(op, fault.Invalid, "options", "Region and Logger must be set")
	}
	g := &Gates{o: o, units: map[unitID]*unit{}, tallies: map[unitID]*tally{}}
	g.current.Store(&snapshot{})
	var err error
	g.metrics, err = newMetrics(o.Registerer, g)
	return g, fault.Wrap(op, fault.Invalid, err)
}

// Close takes the metrics back.
func (g *Gates) Close() { g.metrics.unregister() }

// Gate is the tenant's gate, nil where none was compiled yet, or it does not live in the region. current says that
// nothing newer than the given state is needed to compile it: what the gate does not know then, it will not know soon.
func (g *Gates) Gate(tenant string, state *control.State) (gate *Gate, current bool) {
	s := g.current.Load()
	return s.gates[tenant], s.state == state
}

// Follow compiles what is new in a state and then lets requests see all of it at once. It takes as long as compiling
// does: it is not to be called on the way of a request.
func (g *Gates) Follow(state *control.State) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.current.Load()
	if old.state == state {
		return
	}
	mappings := map[string][]*accounts.Mapping{}
	for _, m := range state.TenantMappings("", "") {
		mappings[m.Tenant] = append(mappings[m.Tenant], m)
	}
	here := slices.DeleteFunc(state.ActiveTenants(), func(t *accounts.Tenant) bool { return !t.In(g.o.Region) })
	changed := changedSchemas(old, state, here)
	next := &snapshot{state: state, gates: map[string]*Gate{}}
	for _, t := range here {
		was, rules := old.gates[t.Name], state.Rules[t.Name]
		schemas, some := changed[t.Name]
		if !some {
			schemas = was.schemas
		}
		if some || was.rulesRecord != rules || !slices.Equal(was.mappings, mappings[t.Name]) {
			next.gates[t.Name] = g.build(t.Name, source{schemas, rules, mappings[t.Name]}, was)
		} else {
			next.gates[t.Name] = was
		}
	}
	g.current.Store(next)
	g.forget(next)
}

// changedSchemas are all schemas of the tenants that have no gate yet, or of whose schemas some differ, by type, the
// newest first. Records of the control state are never changed in place.
func changedSchemas(old *snapshot, next *control.State, here []*accounts.Tenant) map[string][]*accounts.Schema {
	var before map[string]*accounts.Schema
	if old.state != nil {
		before = old.state.Schemas
	}
	changed := map[string][]*accounts.Schema{}
	for _, t := range here {
		if old.gates[t.Name] == nil {
			changed[t.Name] = nil
		}
	}
	for id, s := range before {
		if next.Schemas[id] != s {
			changed[s.Tenant] = nil
		}
	}
	for id, s := range next.Schemas {
		if before[id] != s {
			changed[s.Tenant] = nil
		}
	}
	if len(changed) == 0 {
		return changed
	}
	for _, s := range next.Schemas {
		if list, some := changed[s.Tenant]; some {
			changed[s.Tenant] = append(list, s)
		}
	}
	for _, list := range changed {
		slices.SortFunc(list, func(a, b *accounts.Schema) int {
			return cmp.Or(cmp.Compare(a.Subject, b.Subject), b.Version.Compare(a.Version))
		})
	}
	return changed
}

// forget drops what no gate uses any more.
func (g *Gates) forget(s *snapshot) {
	live := map[unitID]bool{}
	for _, gate := range s.gates {
		for _, t := range gate.types {
			for _, v := range t.versions {
				if v.unit != nil {
					live[v.unit.id] = true
				}
			}
		}
	}
	for id := range g.units {
		if !live[id] {
			delete(g.units, id)
		}
	}
	for id := range g.tallies {
		if !live[id] {
			delete(g.tallies, id)
		}
	}
	g.metrics.retain(s.gates)
}

// Gate is what one tenant's schemas and rules ask of its events. Immutable.
type Gate struct {
	source
	types    map[string]*eventType
	rules    *rule.Checker // nil: they ask nothing
	policy   rule.Policy   // for types without a schema
	unusable bool          // the rules do not compile, and there were none before: nothing may pass
	counters *counters
}

// source is what a gate is compiled from. Records of the control state are never changed in place.
type source struct {
	schemas     []*accounts.Schema
	rulesRecord *accounts.Rules // nil: none
	mappings    []*accounts.Mapping
}

// Asks says whether the gate asks anything of any event.
func (g *Gate) Asks() bool {
	return g != nil && (g.unusable || g.rules != nil || len(g.types) > 0 || g.policy != rule.Accept)
}

// Ruled says whether rules hold for all types: then a Pass wants to watch the whole event.
func (g *Gate) Ruled() bool { return g.rules != nil && g.rules.General() }

// typed is what the rules ask of events of one type besides, nil where that is nothing.
func (g *Gate) typed(eventType []byte) *rule.Checker {
	if g.rules == nil {
		return nil
	}
	return g.rules.Of(eventType)
}

// Version is a version that is canary, active or deprecated, and compiled; nil for every other.
func (g *Gate) Version(subject, version string) *Version {
	t := g.types[subject]
	if t == nil {
		return nil
	}
	if v := t.find([]byte(version)); v != nil && v.live() && v.unit.err == nil {
		return v
	}
	return nil
}

// eventType is what is known of an event type.
type eventType struct {
	name     string
	versions []*Version // newest first
	canaries []*Version // of versions
	pairs    []*pair    // of its major versions
	split    bool       // see Gate.Split
	// governed says that some version was ever active: from then on an event has to name one that holds. A canary alone
	// changes nothing for those that name no version or another one.
	governed bool
}

func (t *eventType) find(version []byte) *Version {
	for _, v := range t.versions {
		if v.text == string(version) {
			return v
		}
	}
	return nil
}
