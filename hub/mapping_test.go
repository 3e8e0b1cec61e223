package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/mapping"
	"github.com/weft-mesh/weft/streams/streamtest"
)

func mappingSpec(factor string) MappingSpec {
	return MappingSpec{Spec: mapping.Spec{
		Flag: "bet-v2", Lossless: true, Up: []mapping.Step{{Op: mapping.Convert, At: "/amount", Multiply: json.Number(factor)}},
		Samples: mapping.Samples{Low: []json.RawMessage{json.RawMessage(`{"amount":1}`)}, High: []json.RawMessage{json.RawMessage(`{"amount":` + factor + `}`)}},
	}, Why: "cents"}
}

// The way of a new major version: a mapping, a draft, a flag, promotion, the end of the first one, the end of the mapping.
func TestAnotherMajorVersion(t *testing.T) {
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.tenant("acme")
	eu, ctx := m.hubs["eu-0"], t.Context()
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		_, ok := m.hubs["us-0"].State().Tenant("acme")
		return ok, "the other region does not know the tenant"
	})
	step := func(version string, to schema.Status) error {
		_, err := eu.StepSchema(ctx, "acme", "bet.placed", version, SchemaStepSpec{Status: to}, false, "tester")
		return err
	}
	next := schemaSpec(0, 100)
	next.Version.Major = 2
	register := func(dry bool) (*SchemaReport, error) { return eu.RegisterSchema(ctx, "acme", next, dry, "tester") }
	refused := func(err error, code, says string) {
		t.Helper()
		if fault.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%v; want %s: %s", err, code, says)
		}
	}

	_, err := eu.RegisterSchema(ctx, "acme", schemaSpec(0, 100), false, "tester")
	m.must(err)
	m.must(step("1.0.0", schema.Active))
	_, err = register(false)
	refused(err, "schema_major", "weft schema map")

	_, err = eu.SetMapping(ctx, "acme", "bet.placed", "1-2", mappingSpec("3"), false, "tester")
	refused(err, "mapping_convert", "down[0] convert /amount: a share of 3 has no end")
	_, err = eu.SetMapping(ctx, "acme", "bet.placed", "2-1", mappingSpec("100"), false, "tester")
	refused(err, "mapping_majors", "lower")
	_, err = eu.SetMapping(ctx, "acme", "bet placed", "1-2", mappingSpec("100"), false, "tester")
	refused(err, "schema_subject", "no event type")
	large := mappingSpec("100")
	large.Samples.Low[0] = json.RawMessage(`{"amount":1,"x":"` + strings.Repeat("x", 70_000) + `"}`)
	_, err = eu.SetMapping(ctx, "acme", "bet.placed", "1-2", large, false, "tester")
	refused(err, "mapping_too_large", "possible")
	if r, err := eu.SetMapping(ctx, "acme", "bet.placed", "1-2", mappingSpec("100"), true, "tester"); err != nil || len(r.Samples) != 2 {
		t.Errorf("a dry run: %+v, %v", r, err)
	}
	if all, err := eu.Mappings("acme", ""); err != nil || len(all) != 0 {
		t.Errorf("a dry run left %+v, %v", all, err)
	}
	_, err = eu.SetMapping(ctx, "acme", "bet.placed", "1-2", mappingSpec("1000"), false, "tester")
	m.must(err)

	// 1 becomes 1000, which 2.0.0 does not allow
	report, err := register(true)
	if err != nil || len(report.Samples) != 2 || len(report.Samples[0].Problems) == 0 {
		t.Errorf("a check shows %+v, %v", report, err)
	}
	_, err = register(false)
	refused(err, "mapping_sample", "up sample 0: what it becomes is no payload of 2.0.0: /amount: maximum")
	_, err = eu.SetMapping(ctx, "acme", "bet.placed", "1-2", mappingSpec("100"), false, "tester")
	m.must(err)
	_, err = register(false)
	m.must(err)

	refused(step("2.0.0", schema.Active), "schema_flag", "weft flag set acme bet-v2 0")
	_, err = eu.SetFlag(ctx, "acme", "bet-v2", FlagSpec{Percent: 5}, "tester")
	m.must(err)
	_, err = eu.SetMapping(ctx, "acme", "bet.placed", "1-2", mappingSpec("1000"), false, "tester")
	refused(err, "mapping_sample", "maximum")
	m.must(step("2.0.0", schema.Active))
	third := schemaSpec(0, 100)
	third.Version.Major = 3
	_, err = eu.RegisterSchema(ctx, "acme", third, false, "tester")
	refused(err, "schema_majors", "retire one")

	_, err = eu.DropMapping(ctx, "acme", "bet.placed", "1-2", "", false, "tester")
	refused(err, "mapping_in_use", "1.0.0 and as 2.0.0")
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) { // in the other region
		r, err := m.hubs["us-0"].Mapping("acme", "bet.placed", "1-2")
		return err == nil && r.Percent == 5 && r.Why == "cents" && len(r.Spec.Down) == 1, fmt.Sprintf("%+v, %v", r, err)
	})
	m.must(step("1.0.0", schema.Deprecated))
	m.must(step("1.0.0", schema.Retired))
	if r, err := eu.DropMapping(ctx, "acme", "bet.placed", "1-2", "", true, "tester"); err != nil || !r.DryRun {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = eu.DropMapping(ctx, "acme", "bet.placed", "1-2", "done", false, "tester")
	m.must(err)
	_, err = eu.Mapping("acme", "bet.placed", "1-2")
	refused(err, "no_such_mapping", "1 and 2")
	_, err = eu.Mapping("acme", "bet.placed", "01-2")
	refused(err, "mapping_majors", "1-2")
}
