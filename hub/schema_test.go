package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/streamtest"
)

func schemaSpec(minor uint32, maximum int) SchemaSpec {
	return SchemaSpec{Subject: "bet.placed", Version: schema.Version{Major: 1, Minor: minor}, Language: schema.JSONSchema,
		Text: fmt.Appendf(nil, `{"type":"object","properties":{"amount":{"type":"integer","maximum":%d}}}`, maximum)}
}

// schemaIs waits until a server knows a version of bet.placed as ok wants it.
func (m *testMesh) schemaIs(server, version string, within time.Duration, ok func(*accounts.Schema) bool) {
	m.t.Helper()
	v, err := schema.ParseVersion(version)
	m.must(err)
	streamtest.Eventually(m.t, within, func() (bool, string) {
		s := m.hubs[server].State().Schemas[accounts.SchemaID("acme", "bet.placed", v)]
		return s != nil && ok(s), fmt.Sprintf("%s has %s as %+v", server, version, s)
	})
}

func TestSchemasAreRegisteredInAnyRegion(t *testing.T) {
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.tenant("acme")
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		_, ok := m.hubs["us-0"].State().Tenant("acme")
		return ok, "the other region does not know the tenant"
	})
	eu, us, ctx := m.hubs["eu-0"], m.hubs["us-0"], t.Context()

	r, err := us.RegisterSchema(ctx, "acme", schemaSpec(0, 100), false, "tester")
	m.must(err)
	if r.Status != schema.Draft || r.Existed || len(r.Steps) != 1 || r.Steps[0].By != "tester" {
		t.Errorf("%+v", r)
	}
	is := func(want schema.Status) func(*accounts.Schema) bool {
		return func(s *accounts.Schema) bool { return s.Status == want }
	}
	m.schemaIs("eu-0", "1.0.0", 5*time.Second, is(schema.Draft))
	if r, err := eu.RegisterSchema(ctx, "acme", schemaSpec(0, 100), false, "another"); err != nil || !r.Existed || r.Steps[0].By != "tester" {
		t.Errorf("the same again: %+v, %v", r, err)
	}
	if _, err := eu.RegisterSchema(ctx, "acme", schemaSpec(0, 99), false, "another"); fault.CodeOf(err) != "schema_version_taken" {
		t.Errorf("other content under one version: %v", err)
	}
	plan, err := eu.StepSchema(ctx, "acme", "bet.placed", "1.0.0", SchemaStepSpec{Status: schema.Active}, true, "tester")
	m.must(err)
	if !plan.DryRun || plan.Was != schema.Draft || eu.State().Schemas["acme.bet.placed.1.0.0"].Status != schema.Draft {
		t.Errorf("a dry run did something: %+v", plan)
	}
	_, err = eu.StepSchema(ctx, "acme", "bet.placed", "1.0.0", SchemaStepSpec{Status: schema.Active, Why: "go live"}, false, "tester")
	m.must(err)
	m.schemaIs("us-0", "1.0.0", 5*time.Second, is(schema.Active))
	m.refusesSchemas()
	m.quarantines()
}

// refusesSchemas tries what must not be registered.
func (m *testMesh) refusesSchemas() {
	m.t.Helper()
	us, ctx := m.hubs["us-0"], m.t.Context()
	_, err := us.RegisterSchema(ctx, "acme", schemaSpec(1, 10), false, "tester")
	if fault.CodeOf(err) != "schema_incompatible" {
		m.t.Fatalf("%v", err)
	}
	for _, want := range []string{"/amount", "maximum", "old 100", "new 10", "1.0.0"} {
		if !strings.Contains(err.Error(), want) {
			m.t.Errorf("the refusal does not say %q: %v", want, err)
		}
	}
	if r, err := us.RegisterSchema(ctx, "acme", schemaSpec(1, 10), true, "tester"); err != nil || len(r.Findings) != 1 {
		m.t.Errorf("a check: %+v, %v", r, err)
	}
	strict := schemaSpec(1, 10)
	strict.Mode = "none"
	if r, err := us.RegisterSchema(ctx, "acme", strict, true, "tester"); err != nil || len(r.Findings) != 0 {
		m.t.Errorf("a check in another mode: %+v, %v", r, err)
	}
	if _, err := us.RegisterSchema(ctx, "acme", strict, false, "tester"); fault.CodeOf(err) != "schema_mode" {
		m.t.Errorf("a mode of one's own: %v", err)
	}
	if _, err := us.RegisterSchema(ctx, "nobody", schemaSpec(0, 1), false, "tester"); fault.CodeOf(err) != "no_such_tenant" {
		m.t.Error(err)
	}
	if _, err := us.Schema("acme", "bet.placed", "1.9.0"); fault.CodeOf(err) != "no_such_schema" {
		m.t.Error(err)
	}
}

// quarantines registers two contents under one version in regions that do not hear of each other.
func (m *testMesh) quarantines() {
	m.t.Helper()
	ctx := m.t.Context()
	m.cutters["us-eu"].Cut()
	for server, maximum := range map[string]int{"eu-0": 200, "us-0": 300} {
		_, err := m.hubs[server].RegisterSchema(ctx, "acme", schemaSpec(1, maximum), false, "tester")
		m.must(err)
	}
	m.cutters["us-eu"].Heal()
	hashes := map[string]bool{}
	for _, server := range []string{"eu-0", "us-0"} {
		m.schemaIs(server, "1.1.0", 60*time.Second, (*accounts.Schema).Quarantined)
		hashes[m.hubs[server].State().Schemas["acme.bet.placed.1.1.0"].Hash] = true
	}
	if len(hashes) != 1 {
		m.t.Errorf("the regions do not agree: %v", hashes)
	}
	if _, err := m.hubs["us-0"].StepSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaStepSpec{Status: schema.Active}, false, "tester"); fault.CodeOf(err) != "schema_quarantined" {
		m.t.Errorf("%v", err)
	}
	_, err := m.hubs["us-0"].StepSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaStepSpec{Status: schema.Retired}, false, "tester")
	m.must(err)
	m.schemaIs("eu-0", "1.1.0", 5*time.Second, func(s *accounts.Schema) bool { return s.Status == schema.Retired && !s.Quarantined() })
	_, err = m.hubs["eu-0"].RegisterSchema(ctx, "acme", schemaSpec(2, 300), false, "tester")
	m.must(err)
}
