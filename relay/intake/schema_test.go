package intake_test

import (
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/relay/intake"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

// gated is a world whose handler holds events to gates, which have not seen the control state yet.
func gated(t *testing.T) (*world, *gate.Gates) {
	w := newWorld(t)
	g, err := gate.New(gate.Options{Region: "eu", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Schemas = g
	if w.handler, err = intake.New(o); err != nil {
		t.Fatal(err)
	}
	return w, g
}

// A tenant with schemas or rules that the gates have not seen waits for them; one without has nothing to wait for, and one
// that does not live here hears so.
func TestATenantWaitsForItsGate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*control.State)
		status int
		code   string
	}{
		"nothing is asked": {func(*control.State) {}, 202, `"status":"stored"`},
		"rules":            {func(s *control.State) { s.Rules["acme"] = &accounts.Rules{Tenant: "acme"} }, 503, "schema_pending"},
		"a schema": {func(s *control.State) {
			s.Schemas["acme.a.b.1.0.0"] = &accounts.Schema{Tenant: "acme", Subject: "a.b", Version: schema.Version{Major: 1}, Status: schema.Active}
		}, 503, "schema_pending"},
		"another's schema": {func(s *control.State) {
			s.Schemas["globex.a.b.1.0.0"] = &accounts.Schema{Tenant: "globex", Subject: "a.b", Version: schema.Version{Major: 1}, Status: schema.Active}
		}, 202, `"status":"stored"`},
		"elsewhere": {func(s *control.State) {
			s.Tenants["acme"].Regions = []string{"us"}
			s.Rules["acme"] = &accounts.Rules{Tenant: "acme"}
		}, 403, "residency"},
	} {
		w, _ := gated(t)
		c.change(w.state)
		if res := w.post(w.event("e")); res.Code != c.status || !strings.Contains(res.Body.String(), c.code) {
			t.Errorf("%s: %d %s", name, res.Code, res.Body)
		}
	}
}

// The first schema of a tenant holds its events from the moment that the relay knows of it.
func TestTheFirstSchemaHoldsAtOnce(t *testing.T) {
	w, g := gated(t)
	g.Follow(w.state)
	next := control.NewState()
	next.Tenants, next.Keys, next.Regions = w.state.Tenants, w.state.Keys, w.state.Regions
	next.Schemas["acme.a.b.1.0.0"] = &accounts.Schema{Tenant: "acme", Subject: "a.b", Version: schema.Version{Major: 1}, Status: schema.Active}
	w.state = next
	if res := w.post(w.event("e-1")); res.Code != 503 || !strings.Contains(res.Body.String(), "schema_pending") {
		t.Errorf("before it is compiled: %d %s", res.Code, res.Body)
	}
	if res := w.post(strings.Replace(w.event("e-2"), "a.b", "c.d", 1)); res.Code != 202 {
		t.Errorf("another type: %d %s", res.Code, res.Body)
	}
}

// A batch that could store nothing, and of which some events may pass later, is unavailable as a whole; what is kept without
// a schema counts as taken.
func TestABatchOfWhatIsNew(t *testing.T) {
	w, g := gated(t)
	g.Follow(w.state)
	next := control.NewState()
	next.Tenants, next.Keys, next.Regions = w.state.Tenants, w.state.Keys, w.state.Regions
	next.Rules["acme"] = &accounts.Rules{Tenant: "acme", Set: rule.Set{UnknownTypes: rule.DeadLetter}}
	g.Follow(next)
	w.state = control.NewState()
	w.state.Tenants, w.state.Keys, w.state.Regions, w.state.Rules = next.Tenants, next.Keys, next.Regions, next.Rules
	w.state.Schemas["acme.a.b.1.0.0"] = &accounts.Schema{Tenant: "acme", Subject: "a.b", Version: schema.Version{Major: 1}, Status: schema.Active}
	res := w.post("[" + w.event("e-1") + "," + w.event("e-2") + "]")
	if res.Code != 503 || res.Header().Get("Retry-After") == "" || strings.Count(res.Body.String(), `"status":"unavailable"`) != 2 || !strings.Contains(res.Body.String(), `"code":"schema_pending"`) {
		t.Errorf("%d %s", res.Code, res.Body)
	}
	res = w.post("[" + w.event("e-1") + "," + strings.Replace(w.event("e-2"), "a.b", "c.d", 1) + "]")
	if res.Code != 200 || res.Header().Get("Retry-After") == "" || !strings.Contains(res.Body.String(), `"dead_lettered":1`) || !strings.Contains(res.Body.String(), `"status":"unavailable"`) {
		t.Errorf("%d %s", res.Code, res.Body)
	}
	if n := w.events["dead_lettered/unknown_type"]; n != 1 {
		t.Errorf("%v", w.events)
	}
}
