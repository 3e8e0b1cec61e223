package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
	"github.com/weft-mesh/weft/streams/streamtest"
)

func TestRulesHoldInEveryRegion(t *testing.T) {
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.tenant("acme")
	eu, us, ctx := m.hubs["eu-0"], m.hubs["us-0"], t.Context()
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		r, err := us.Rules("acme")
		return err == nil && r.Unknown() == rule.Accept && r.Enforced(), fmt.Sprint(err)
	})
	strict := RulesSpec{Set: rule.Set{BlockedFields: []string{"payload.ssn"}, UnknownTypes: rule.Refuse}}
	strict.Compatibility.Mode = "full_transitive"
	if _, err := us.SetRules(ctx, "acme", strict, true, "tester"); err != nil || us.State().Rules["acme"] != nil {
		t.Errorf("a dry run: %v", err)
	}
	_, err := us.SetRules(ctx, "acme", strict, false, "tester")
	m.must(err)
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		r := eu.State().RulesOf("acme")
		return r.Unknown() == rule.Refuse && len(r.BlockedFields) == 1 && r.By == "tester", fmt.Sprintf("%+v", r)
	})
	for code, set := range map[string]rule.Set{"rule_path": {BlockedFields: []string{"a..b"}}, "rule_policy": {UnknownTypes: "drop"}} {
		if _, err := eu.SetRules(ctx, "acme", RulesSpec{Set: set}, false, "tester"); fault.CodeOf(err) != code {
			t.Errorf("%s: %v", code, err)
		}
	}
	if _, err := eu.SetRules(ctx, "nobody", strict, false, "tester"); fault.CodeOf(err) != "no_such_tenant" {
		t.Error(err)
	}

	_, err = eu.RegisterSchema(ctx, "acme", schemaSpec(0, 100), false, "tester")
	m.must(err)
	_, err = eu.StepSchema(ctx, "acme", "bet.placed", "1.0.0", SchemaStepSpec{Status: schema.Active}, false, "tester")
	m.must(err)
	if _, err := eu.RegisterSchema(ctx, "acme", schemaSpec(1, 200), false, "tester"); fault.CodeOf(err) != "schema_incompatible" {
		t.Errorf("wider, where both ways are asked for: %v", err)
	}
	no := false
	strict.Compatibility.Enforce = &no
	_, err = eu.SetRules(ctx, "acme", strict, false, "tester")
	m.must(err)
	if r, err := eu.RegisterSchema(ctx, "acme", schemaSpec(1, 200), false, "tester"); err != nil || len(r.Findings) == 0 || r.Enforced {
		t.Errorf("where compatibility is told only: %+v, %v", r, err)
	}
	if _, err := eu.StepSchema(ctx, "acme", "bet.placed", "1.1.0", SchemaStepSpec{Status: schema.Active}, false, "tester"); err != nil {
		t.Errorf("%v", err)
	}
}
