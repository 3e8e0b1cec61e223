package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// trialEvery lets trials of tests go on quickly; a region is silent after 36 times that.
const trialEvery = 50 * time.Millisecond

func trialMesh(t *testing.T) *testMesh {
	m := newTestMesh(t, region("eu"), region("us"))
	m.tune = func(o *Options) { o.TrialEvery = trialEvery }
	m.start()
	m.tenant("acme")
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		_, ok := m.hubs["us-0"].State().Tenant("acme")
		return ok, "the other region does not know the tenant"
	})
	return m
}

// step takes a step of a version of bet.placed, and waits until both regions know it.
func (m *testMesh) step(server, version string, spec SchemaStepSpec) *SchemaStepReport {
	m.t.Helper()
	r, err := m.hubs[server].StepSchema(m.t.Context(), "acme", "bet.placed", version, spec, false, "tester")
	m.must(err)
	for name := range m.hubs {
		m.schemaIs(name, version, 5*time.Second, func(s *accounts.Schema) bool { return s.Status == spec.Status })
	}
	return r
}

// relayTells is a report of a relay that has counted so much of version 1.1.0.
func (m *testMesh) relayTells(server, relay string, began int64, shadow, active accounts.Count) {
	m.t.Helper()
	h := m.hubs[server]
	s := h.State().Schemas["acme.bet.placed.1.1.0"]
	h.hear(accounts.RelayReport{ID: relay, Began: began, Versions: []accounts.VersionReport{{
		Tenant: "acme", Subject: s.Subject, Version: s.Version, Hash: s.Hash, Counts: accounts.Counts{Shadow: shadow, Active: active},
		Faults: []accounts.TrialFault{{Rule: "maximum", Place: "/properties/amount/maximum"}},
	}}})
}

// trialIs waits until a server shows the trial of 1.1.0 as ok wants it.
func (m *testMesh) trialIs(server string, within time.Duration, ok func(*TrialView) bool) {
	m.t.Helper()
	streamtest.Eventually(m.t, within, func() (bool, string) {
		v, err := m.hubs[server].Schema("acme", "bet.placed", "1.1.0")
		return err == nil && v.Trial != nil && ok(v.Trial), fmt.Sprintf("%s shows %+v, %v", server, v.Trial, err)
	})
}

func quick(share int, sample uint64, hold time.Duration) *accounts.TrialSpec {
	h := accounts.Duration(hold)
	return &accounts.TrialSpec{Share: &share, Sample: &sample, Hold: &h}
}

func (m *testMesh) versions(minors ...uint32) {
	m.t.Helper()
	for _, minor := range minors {
		_, err := m.hubs["eu-0"].RegisterSchema(m.t.Context(), "acme", schemaSpec(minor, 100+int(minor)), false, "tester")
		m.must(err)
	}
}

// A canary becomes active by itself when both regions have counted enough and few enough failed; turned red, it goes back,
// the version that it was to replace is active again, and nobody but a person promotes it once more.
func TestACanaryIsPromotedAndRolledBackByItself(t *testing.T) {
	m := trialMesh(t)
	m.versions(0, 1)
	m.step("eu-0", "1.0.0", SchemaStepSpec{Status: schema.Active})
	r := m.step("us-0", "1.1.0", SchemaStepSpec{Status: schema.Canary, Trial: quick(50, 1000, 300*time.Millisecond)})
	if r.Policy == nil || r.Policy.Share != 50 || r.Policy.Watch != accounts.DefaultTrial().Watch {
		t.Errorf("%+v", r.Policy)
	}
	m.relayTells("eu-0", "relay-1", 1, accounts.Count{Checked: 600, Failed: 4}, accounts.Count{})
	m.trialIs("us-0", 10*time.Second, func(v *TrialView) bool { return v.Checked == 600 && v.State == accounts.TrialSampling })
	for range 3 { // repeated, and late
		m.relayTells("us-0", "relay-1", 1, accounts.Count{Checked: 300, Failed: 3}, accounts.Count{})
		m.relayTells("us-0", "relay-1", 1, accounts.Count{Checked: 100}, accounts.Count{})
	}
	m.trialIs("eu-0", 10*time.Second, func(v *TrialView) bool {
		return v.Checked == 900 && v.Failed == 7 && len(v.Regions) == 2 && len(v.Faults) == 1 && v.State == accounts.TrialSampling && v.Judge == "eu"
	})
	m.relayTells("us-0", "relay-1", 2, accounts.Count{Checked: 100}, accounts.Count{}) // after a restart
	for name := range m.hubs {
		m.schemaIs(name, "1.1.0", 20*time.Second, func(s *accounts.Schema) bool {
			last := s.Steps[len(s.Steps)-1]
			return s.Status == schema.Active && last.By == "hub eu-0" && last.Why == "green: 7 of 1000 events failed (0.7 %, at most 1 %)"
		})
	}
	m.step("eu-0", "1.0.0", SchemaStepSpec{Status: schema.Deprecated})
	m.trialIs("us-0", 10*time.Second, func(v *TrialView) bool { return v.State == accounts.TrialWatched && v.Checked == 0 })

	m.relayTells("us-0", "relay-1", 2, accounts.Count{Checked: 100}, accounts.Count{Checked: 40, Failed: 11})
	for name := range m.hubs {
		m.schemaIs(name, "1.1.0", 20*time.Second, func(s *accounts.Schema) bool {
			last := s.Steps[len(s.Steps)-1]
			return s.Status == schema.Canary && s.Rollbacks == 1 && last.Why == "red: 11 of 40 events failed (27.5 %, at most 1 %)"
		})
		m.schemaIs(name, "1.0.0", 5*time.Second, func(s *accounts.Schema) bool { return s.Status == schema.Active })
	}
	m.relayTells("eu-0", "relay-1", 1, accounts.Count{Checked: 9600, Failed: 4}, accounts.Count{})
	m.trialIs("eu-0", 20*time.Second, func(v *TrialView) bool {
		return v.State == accounts.TrialGreen && v.Checked == 9000 && v.Waits == "a person who promotes it: it was rolled back before"
	})
	m.step("us-0", "1.1.0", SchemaStepSpec{Status: schema.Active, Why: "the old app is gone"})
}

// While a region is cut off nobody is promoted on what is known of it, a person may go back in either, and what was
// counted outlives the servers.
func TestATrialOverACut(t *testing.T) {
	m := trialMesh(t)
	m.versions(0, 1)
	m.step("eu-0", "1.0.0", SchemaStepSpec{Status: schema.Active})
	m.step("eu-0", "1.1.0", SchemaStepSpec{Status: schema.Canary, Trial: quick(100, 10, 0)})
	m.trialIs("eu-0", 10*time.Second, func(v *TrialView) bool { return len(v.Regions) == 2 })
	m.relayTells("us-0", "relay-1", 1, accounts.Count{Checked: 7}, accounts.Count{})
	m.trialIs("eu-0", 10*time.Second, func(v *TrialView) bool { return v.Checked == 7 })
	m.cutters["us-eu"].Cut()
	m.restart("us-0")
	m.open("us-0")
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		silent := m.hubs["eu-0"].opts.Now().Sub(m.hubs["eu-0"].State().Trials["acme.bet.placed.1.1.0.us"].At)
		return silent > 3*silentLooks*trialEvery/2, "the other region was heard of a moment ago"
	})
	m.relayTells("eu-0", "relay-1", 1, accounts.Count{Checked: 50}, accounts.Count{})
	m.trialIs("eu-0", 20*time.Second, func(v *TrialView) bool { return v.State == accounts.TrialGreen && v.Waits == "word of region us" })
	m.relayTells("us-0", "relay-1", 2, accounts.Count{Checked: 5}, accounts.Count{})
	m.cutters["us-eu"].Heal()
	m.schemaIs("us-0", "1.1.0", 60*time.Second, func(s *accounts.Schema) bool { return s.Status == schema.Active })
	if us := m.hubs["us-0"].State().Trials["acme.bet.placed.1.1.0.us"].Total(); us.Shadow.Checked != 12 {
		t.Errorf("of two lives of a relay and of the hub: %+v", us)
	}

	m.cutters["us-eu"].Cut()
	ctx := t.Context()
	if _, err := m.hubs["us-0"].RollbackSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaRollbackSpec{}, false, "tester"); fault.CodeOf(err) != "schema_why" {
		t.Errorf("a rollback without a reason: %v", err)
	}
	plan, err := m.hubs["us-0"].RollbackSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaRollbackSpec{}, true, "tester")
	m.must(err)
	if plan.Judge == nil || plan.Judge.String() != "1.0.0" || m.hubs["us-0"].State().Schemas["acme.bet.placed.1.1.0"].Status != schema.Active {
		t.Errorf("a dry run: %+v", plan)
	}
	_, err = m.hubs["us-0"].RollbackSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaRollbackSpec{Why: "complaints"}, false, "tester")
	m.must(err)
	_, err = m.hubs["eu-0"].StepSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaStepSpec{Status: schema.Deprecated}, false, "tester") // later, and without knowing
	m.must(err)
	m.cutters["us-eu"].Heal()
	for name := range m.hubs {
		m.schemaIs(name, "1.1.0", 60*time.Second, func(s *accounts.Schema) bool {
			return s.Status == schema.Canary && s.Rollbacks == 1 && s.Steps[len(s.Steps)-1].Why == "complaints"
		})
	}
	if _, err := m.hubs["us-0"].RollbackSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaRollbackSpec{Why: "again"}, false, "tester"); fault.CodeOf(err) != "schema_step" {
		t.Errorf("a canary rolled back: %v", err)
	}
}

func TestPoliciesComeFromTheRules(t *testing.T) {
	m := trialMesh(t)
	m.versions(0, 1)
	eu, ctx := m.hubs["eu-0"], t.Context()
	share, none := 33, accounts.Duration(0)
	if _, err := eu.SetRules(ctx, "acme", RulesSpec{Canary: &accounts.TrialSpec{Promote: "never"}}, false, "tester"); fault.CodeOf(err) != "schema_trial" {
		t.Errorf("%v", err)
	}
	_, err := eu.SetRules(ctx, "acme", RulesSpec{Canary: &accounts.TrialSpec{Share: &share, Watch: &none}}, false, "tester")
	m.must(err)
	m.step("eu-0", "1.0.0", SchemaStepSpec{Status: schema.Active})
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		on := eu.State().OnTrial()
		return len(on) == 0, fmt.Sprintf("watched for no time: %+v", on)
	})
	if _, err := eu.StepSchema(ctx, "acme", "bet.placed", "1.0.0", SchemaStepSpec{Status: schema.Deprecated, Trial: quick(1, 1, 0)}, false, "tester"); fault.CodeOf(err) != "schema_trial" {
		t.Errorf("a policy for what is on no trial: %v", err)
	}
	if _, err := eu.StepSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaStepSpec{Status: schema.Canary, Trial: quick(0, 1, 0)}, false, "tester"); fault.CodeOf(err) != "schema_trial" {
		t.Errorf("no share: %v", err)
	}
	r := m.step("eu-0", "1.1.0", SchemaStepSpec{Status: schema.Canary})
	if r.Policy.Share != 33 || r.Policy.Sample != accounts.DefaultTrial().Sample {
		t.Errorf("%+v", r.Policy)
	}
	m.trialIs("us-0", 10*time.Second, func(v *TrialView) bool { return v.Policy.Share == 33 && v.State == accounts.TrialSampling })
}
