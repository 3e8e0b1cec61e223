package rule_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/compat"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

func checker(t testing.TB, s rule.Set) *rule.Checker {
	t.Helper()
	c, err := rule.Compile(&s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ name, blocked, required, event, want string }{
		{"clean", "payload.ssn", "payload.amount", `{"payload":{"amount":1}}`, ""},
		{"blocked", "payload.ssn", "", `{"payload":{"ssn":"123-45-6789"}}`, "/payload/ssn"},
		{"blocked and null", "payload.ssn", "", `{"payload":{"ssn":null}}`, "/payload/ssn"},
		{"blocked, a whole object", "payload.card", "", `{"payload":{"card":{"number":"4111"}}}`, "/payload/card"},
		{"escaped", "payload.ssn", "", `{"payload":{"\u0073\u0073n":"1"}}`, "/payload/ssn"},
		{"another letter", "payload.ssn", "", `{"payload":{"SSN":"1"}}`, ""},
		{"elsewhere", "payload.ssn", "", `{"payload":{"a":{"ssn":"1"}},"ssn":"1"}`, ""},
		{"in an array", "payload.cards.number", "", `{"payload":{"cards":[{},{"number":"4111"},[{"number":"5"}]]}}`, "/payload/cards/1/number /payload/cards/2/0/number"},
		{"at any depth", "payload.**.ssn", "", `{"payload":{"ssn":"1","a":[{"b":{"ssn":"2"}}]}}`, "/payload/ssn /payload/a/0/b/ssn"},
		{"at any depth, below itself", "**.ssn", "", `{"ssn":{"ssn":1},"ctx":{"x":{"ssn":2}}}`, "/ssn /ssn/ssn /ctx/x/ssn"},
		{"any member", "payload.*.pin", "", `{"payload":{"a":{"pin":1},"b":{"c":{"pin":2}},"pin":3}}`, "/payload/a/pin"},
		{"two ways to one place", "payload.**.*.pin", "", `{"payload":{"a":{"b":{"pin":1}}}}`, "/payload/a/b/pin"},
		{"required", "", "payload.amount", `{"payload":{}}`, "/payload/amount"},
		{"required, and null", "", "payload.amount", `{"payload":{"amount":null}}`, "/payload/amount"},
		{"required, and zero", "", "payload.amount", `{"payload":{"amount":0}}`, ""},
		{"required below what is not there", "", "payload.a.b", `{"payload":{}}`, "/payload/a"},
		{"required below a scalar", "", "payload.a.b", `{"payload":{"a":"b"}}`, "/payload/a/b"},
		{"required below null", "", "payload.a.b", `{"payload":{"a":null}}`, "/payload/a/b"},
		{"required in each element", "", "payload.legs.odds", `{"payload":{"legs":[{"odds":1},{},{"odds":null}]}}`, "/payload/legs/1/odds /payload/legs/2/odds"},
		{"required in no element", "", "payload.legs.odds", `{"payload":{"legs":[]}}`, ""},
		{"in the envelope", "ctx.device_fp", "ctx.session_id", `{"ctx":{"device_fp":"x"},"payload":{}}`, "/ctx/device_fp /ctx/session_id"},
		{"names with slashes", "payload.a/b", "", `{"payload":{"a/b":1}}`, "/payload/a~1b"},
	} {
		s := rule.Set{}
		if c.blocked != "" {
			s.BlockedFields = []string{c.blocked}
		}
		if c.required != "" {
			s.RequiredFields = []string{c.required}
		}
		found, err := checker(t, s).Check([]byte(c.event))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []string
		for _, v := range found {
			got = append(got, v.Pointer)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestCheckIsBoundedAndQuotesNothing(t *testing.T) {
	c := checker(t, rule.Set{BlockedFields: []string{"payload.**.ssn"}})
	event := `{"payload":[` + strings.Repeat(`{"ssn":"SECRET"},`, 500) + `{"ssn":"SECRET"}]}`
	found, err := c.Check([]byte(event))
	if err != nil || len(found) != rule.MaxViolations || strings.Contains(fmt.Sprint(found), "SECRET") {
		t.Errorf("%d violations, %v", len(found), err)
	}
	long := strings.Repeat("x", 300)
	found, err = c.Check([]byte(`{"payload":{"` + long + `":{"ssn":1}}}`))
	if err != nil || len(found) != 1 || found[0].Pointer != "/payload" {
		t.Errorf("%+v, %v", found, err)
	}
	for _, bad := range []string{``, `{"payload":`, `{"payload":{"a":1,"a":2}}`, "{\"payload\":{\"\xff\":1}}"} {
		if _, err := c.Check([]byte(bad)); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	many := make([]string, rule.MaxPaths+1)
	for i := range many {
		many[i] = fmt.Sprintf("payload.f%d", i)
	}
	for name, s := range map[string]struct {
		set  rule.Set
		code string
	}{
		"nothing between dots":  {rule.Set{BlockedFields: []string{"payload..ssn"}}, "rule_path"},
		"empty":                 {rule.Set{RequiredFields: []string{""}}, "rule_path"},
		"required wildcard":     {rule.Set{RequiredFields: []string{"payload.*.a"}}, "rule_path"},
		"an end without a name": {rule.Set{BlockedFields: []string{"payload.**"}}, "rule_path"},
		"** twice":              {rule.Set{BlockedFields: []string{"**.**.a"}}, "rule_path"},
		"a part of a name":      {rule.Set{BlockedFields: []string{"payload.ss*"}}, "rule_path"},
		"twice":                 {rule.Set{BlockedFields: []string{"a", "a"}}, "rule_path"},
		"long":                  {rule.Set{BlockedFields: []string{strings.Repeat("a", rule.MaxPath+1)}}, "rule_path"},
		"deep":                  {rule.Set{BlockedFields: []string{strings.Repeat("a.", rule.MaxNames) + "a"}}, "rule_path"},
		"many":                  {rule.Set{BlockedFields: many}, "rule_paths"},
		"policy":                {rule.Set{UnknownTypes: "drop"}, "rule_policy"},
		"a type's envelope":     {rule.Set{Types: map[string]rule.Fields{"a.b": {BlockedFields: []string{"ctx.x"}}}}, "rule_path"},
		"a type's whole":        {rule.Set{Types: map[string]rule.Fields{"a.b": {BlockedFields: []string{"payload"}}}}, "rule_path"},
		"no type":               {rule.Set{Types: map[string]rule.Fields{"A": {}}}, "rule_types"},
		"mode":                  {rule.Set{Compatibility: rule.Compatibility{Mode: "sideways"}}, "compat_level"},
	} {
		if _, err := rule.Compile(&s.set); fault.CodeOf(err) != s.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	var s rule.Set
	if !s.Enforced() || s.Mode().Level != compat.BackwardTransitive || s.Unknown() != rule.Accept || !checker(t, s).Empty() {
		t.Errorf("%+v", s)
	}
	if err := json.Unmarshal([]byte(`{"compatibility":{"enforce":false,"mode":"full"},"unknown_types":"refuse"}`), &s); err != nil || s.Enforced() || s.Mode().Level != compat.Full || s.Unknown() != rule.Refuse {
		t.Errorf("%+v, %v", s, err)
	}
}

// Whatever the event: no panic, and a blocked name is found wherever a plain reading of the JSON finds it.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{`{"payload":{"ssn":1}}`, `[[{"ssn":1}]]`, `{"a":[1,{"b":{"ssn":null}}]}`, `1`, `{"a":"ssn"}`} {
		f.Add(seed)
	}
	c := checker(f, rule.Set{BlockedFields: []string{"**.ssn"}})
	f.Fuzz(func(t *testing.T, text string) {
		found, err := c.Check([]byte(text))
		var v any
		if err != nil || json.Unmarshal([]byte(text), &v) != nil {
			return
		}
		if has(v) != (len(found) > 0) {
			t.Errorf("%s: %v", text, found)
		}
	})
}

func has(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for name, one := range v {
			if name == "ssn" || has(one) {
				return true
			}
		}
	case []any:
		for _, one := range v {
			if has(one) {
				return true
			}
		}
	}
	return false
}
