package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/registry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/compat"
)

var mode = compat.Mode{Level: compat.BackwardTransitive}

const (
	amount = `{"type":"object","properties":{"amount":{"type":"integer","maximum":100}},"required":["amount"]}`
	wider  = `{"type":"object","properties":{"amount":{"type":"integer","maximum":1000},"note":{"type":"string"}},"required":["amount"]}`
	tight  = `{"type":"object","properties":{"amount":{"type":"integer","maximum":10}},"required":["amount"]}`
	proto  = `syntax = "proto3"; message Bet { int64 amount = 1; }`
)

func document(t *testing.T, version, text string) *schema.Document {
	t.Helper()
	v, err := schema.ParseVersion(version)
	if err != nil {
		t.Fatal(err)
	}
	d := &schema.Document{Subject: "bet.placed", Version: v, Language: schema.JSONSchema, Text: []byte(text)}
	if strings.HasPrefix(text, "syntax") {
		d.Language = schema.Protobuf
	}
	return d
}

func record(t *testing.T, version, text string, status schema.Status) *accounts.Schema {
	t.Helper()
	d := document(t, version, text)
	hash, err := d.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return &accounts.Schema{Tenant: "acme", Subject: d.Subject, Version: d.Version, Language: d.Language, Text: d.Text, Hash: hash, Status: status}
}

func rules(list []compat.Finding) string {
	var out []string
	for _, f := range list {
		out = append(out, fmt.Sprintf("%s %s %s %s→%s", f.Against, f.Path, f.Rule, f.Old, f.New))
	}
	return strings.Join(out, ", ")
}

func TestAdmit(t *testing.T) {
	first := record(t, "1.0.0", amount, schema.Active)
	claimed := *first
	claimed.Others = []string{"f00d"}
	for _, c := range []struct {
		name          string
		have          []*accounts.Schema
		version, text string
		code, found   string
		says          string
	}{
		{name: "the first of its subject", version: "1.0.0", text: amount},
		{name: "a wider one", have: []*accounts.Schema{first}, version: "1.1.0", text: wider},
		{name: "a narrower one", have: []*accounts.Schema{first}, version: "1.1.0", text: tight, found: "1.0.0 /amount maximum 100→10"},
		{name: "a narrower one after one that is live no more", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Retired)}, version: "1.1.0", text: tight},
		{name: "drafts are not asked", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Draft)}, version: "1.1.0", text: tight},
		{name: "all live ones are asked", have: []*accounts.Schema{record(t, "1.0.0", wider, schema.Deprecated), record(t, "1.1.0", tight, schema.Active)}, version: "1.2.0", text: amount,
			found: "1.0.0 /amount maximum 1000→100"},
		{name: "another language", have: []*accounts.Schema{first}, version: "1.1.0", text: proto, found: "1.0.0  language json-schema→protobuf"},
		{name: "other content", have: []*accounts.Schema{first}, version: "1.0.0", text: wider, code: "schema_version_taken", says: "as 1.1.0"},
		{name: "one of two contents", have: []*accounts.Schema{&claimed}, version: "1.0.0", text: amount, code: "schema_version_taken", says: "as 1.1.0"},
		{name: "out of order", have: []*accounts.Schema{record(t, "1.4.0", amount, schema.Draft)}, version: "1.3.0", text: amount, code: "schema_order", says: "as 1.5.0"},
		{name: "another major is compared with its own", have: []*accounts.Schema{first}, version: "2.0.0", text: tight},
		{name: "no schema", version: "1.0.0", text: `{"type":"nothing"}`, code: "schema_invalid"},
		{name: "too large", version: "1.0.0", text: `{"description":"` + strings.Repeat("x", accounts.MaxSchemaText) + `"}`, code: "schema_too_large"},
	} {
		v, err := registry.Admit(c.have, document(t, c.version, c.text), mode)
		if codeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && rules(v.Findings) != c.found {
			t.Errorf("%s: found %s", c.name, rules(v.Findings))
		}
		for _, f := range findings(v, err) {
			if f.WayOut == "" || f.Detail == "" {
				t.Errorf("%s: no way out of %+v", c.name, f)
			}
		}
	}
}

// codeOf is the code of a refusal, "" of none.
func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.CodeOf(err)
}

func findings(v *registry.Verdict, err error) []compat.Finding {
	if err != nil {
		return nil
	}
	return v.Findings
}

func TestAdmitKnowsWhatIsThere(t *testing.T) {
	first := record(t, "1.0.0", amount, schema.Active)
	spaced := strings.ReplaceAll(amount, ":", " : ")
	v, err := registry.Admit([]*accounts.Schema{first}, document(t, "1.0.0", spaced), mode)
	if err != nil || v.Known != first {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAdmitBoundsTheControlLog(t *testing.T) {
	var many, large []*accounts.Schema
	for i := range accounts.MaxSchemaVersions {
		many = append(many, &accounts.Schema{Subject: "bet.placed", Version: schema.Version{Major: 1, Minor: uint32(i)}, Status: schema.Retired})
	}
	for i := range accounts.MaxSchemaBytes / accounts.MaxSchemaText {
		large = append(large, &accounts.Schema{Subject: fmt.Sprintf("t%d", i), Version: schema.Version{Major: 1}, Text: make([]byte, accounts.MaxSchemaText)})
	}
	for code, have := range map[string][]*accounts.Schema{"schema_versions": many, "schema_bytes": large} {
		if _, err := registry.Admit(have, document(t, "2.0.0", amount), mode); fault.CodeOf(err) != code || fault.KindOf(err) != fault.Limited {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestStep(t *testing.T) {
	base := record(t, "1.0.0", amount, schema.Active)
	claimed := record(t, "1.1.0", wider, schema.Draft)
	claimed.Others = []string{"f00d"}
	for _, c := range []struct {
		name        string
		step        *accounts.Schema
		beside      []*accounts.Schema
		to          schema.Status
		code, found string
	}{
		{"a draft", record(t, "1.1.0", wider, schema.Draft), nil, schema.Active, "", ""},
		{"a draft that was registered before what is live now", record(t, "1.2.0", tight, schema.Draft), nil, schema.Canary, "", "1.0.0 /amount maximum 100→10"},
		{"back to draft is not compared", record(t, "1.2.0", tight, schema.Canary), nil, schema.Draft, "", ""},
		{"over a later one", record(t, "1.1.0", wider, schema.Draft), []*accounts.Schema{record(t, "1.2.0", wider, schema.Canary)}, schema.Active, "schema_order", ""},
		{"a step that there is not", record(t, "1.1.0", wider, schema.Retired), nil, schema.Active, "schema_step", ""},
		{"in quarantine", claimed, nil, schema.Active, "schema_quarantined", ""},
		{"the end of a quarantine", claimed, nil, schema.Retired, "", ""},
	} {
		found, err := registry.Step(append([]*accounts.Schema{base, c.step}, c.beside...), c.step, c.to, mode)
		if codeOf(err) != c.code || rules(found) != c.found {
			t.Errorf("%s: %s, %v", c.name, rules(found), err)
		}
	}
}

func TestRollback(t *testing.T) {
	claimed := record(t, "1.2.0", amount, schema.Active)
	claimed.Others = []string{"f00d"}
	for _, c := range []struct {
		name  string
		have  []*accounts.Schema // the last one is rolled back
		judge string
		code  string
	}{
		{name: "to the newest active one", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Active), record(t, "1.1.0", amount, schema.Active), record(t, "1.2.0", amount, schema.Active)}, judge: "1.1.0"},
		{name: "to a newer one", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Active), record(t, "1.2.0", amount, schema.Active), record(t, "1.1.0", amount, schema.Active)}, judge: "1.2.0"},
		{name: "to one that it made deprecated", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Active), record(t, "1.1.0", amount, schema.Deprecated), record(t, "1.2.0", amount, schema.Active)}, judge: "1.1.0"},
		{name: "not to a newer one that is deprecated", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Deprecated), record(t, "1.3.0", amount, schema.Deprecated), record(t, "1.2.0", amount, schema.Active)}, judge: "1.0.0"},
		{name: "to none", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Retired), record(t, "1.1.0", amount, schema.Canary), record(t, "2.0.0", amount, schema.Active), record(t, "1.2.0", amount, schema.Active)}},
		{name: "a canary", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Active), record(t, "1.1.0", amount, schema.Canary)}, code: "schema_step"},
		{name: "one in quarantine", have: []*accounts.Schema{record(t, "1.0.0", amount, schema.Active), claimed}, code: "schema_quarantined"},
	} {
		judge, err := registry.Rollback(c.have, c.have[len(c.have)-1])
		got := ""
		if judge != nil {
			got = judge.Version.String()
		}
		if got != c.judge || (err != nil) != (c.code != "") || err != nil && fault.CodeOf(err) != c.code {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestCanariesAreFew(t *testing.T) {
	have := []*accounts.Schema{record(t, "1.0.0", amount, schema.Active), record(t, "2.0.0", amount, schema.Canary)}
	for i := range accounts.MaxCanaries {
		next := record(t, fmt.Sprintf("1.%d.0", i+1), amount, schema.Draft)
		if _, err := registry.Step(have, next, schema.Canary, mode); err != nil {
			t.Fatal(err)
		}
		next.Status = schema.Canary
		have = append(have, next)
	}
	more := record(t, "1.9.0", amount, schema.Draft)
	if _, err := registry.Step(have, more, schema.Canary, mode); fault.CodeOf(err) != "schema_canaries" || fault.KindOf(err) != fault.Limited {
		t.Errorf("%v", err)
	}
	if _, err := registry.Step(have, more, schema.Active, mode); err != nil {
		t.Errorf("it need not be one: %v", err)
	}
}

func TestCompareAsksNothingOfNoLevel(t *testing.T) {
	found, err := registry.Compare(compat.Mode{Level: compat.None}, []*schema.Document{document(t, "1.0.0", amount)}, document(t, "1.1.0", proto))
	if err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestProtobufIsCompared(t *testing.T) {
	next := `syntax = "proto3"; message Bet { string amount = 1; }`
	v, err := registry.Admit([]*accounts.Schema{record(t, "1.0.0", proto, schema.Active)}, document(t, "1.1.0", next), mode)
	if err != nil || len(v.Findings) == 0 || v.Findings[0].Rule != "type" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestStepsAreBounded(t *testing.T) {
	s := record(t, "1.0.0", amount, "")
	for i := range 3 * accounts.MaxSchemaSteps {
		s = s.Step(accounts.SchemaStep{Status: schema.Draft, By: fmt.Sprint(i)})
	}
	if len(s.Steps) != accounts.MaxSchemaSteps || s.Steps[0].By != "0" || s.Steps[len(s.Steps)-1].By != fmt.Sprint(3*accounts.MaxSchemaSteps-1) {
		t.Errorf("%d steps, %+v", len(s.Steps), s.Steps)
	}
}
