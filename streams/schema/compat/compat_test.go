package compat_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/compat"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

func version(t testing.TB, name, doc string) compat.Version {
	t.Helper()
	s, err := jsonschema.Compile([]byte(doc), jsonschema.Options{})
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return compat.Version{Name: name, Schema: s}
}

// rules renders findings as "path rule", with ? where it is not proven.
func rules(list []compat.Finding) string {
	var out []string
	for _, f := range list {
		doubt := ""
		if !f.Proven {
			doubt = "?"
		}
		out = append(out, f.Path+" "+f.Rule+doubt)
	}
	return strings.Join(out, ", ")
}

const (
	closed = `"additionalProperties":false`
	union  = `{"type":"object","oneOf":[{"properties":{"t":{"const":"a"},"v":{"type":"integer"}},"required":["t"]},{"properties":{"t":{"const":"b"}},"required":["t"]}]}`
)

func TestKeywords(t *testing.T) {
	for _, c := range []struct{ name, before, after, backward, forward string }{
		{"the same", union, union, "", ""},
		{"nothing", `{}`, `{}`, "", ""},
		{"an optional member is added to an open model", `{"properties":{"a":{"type":"string"}}}`, `{"properties":{"a":{"type":"string"},"b":{"type":"string"}}}`, "", ""},
		{"an optional member is added to a closed model", `{"properties":{"a":{}},` + closed + `}`, `{"properties":{"a":{},"b":{"type":"string"}},` + closed + `}`, "", "/b additionalProperties"},
		{"a member is removed from a closed model", `{"properties":{"a":{},"b":{}},` + closed + `}`, `{"properties":{"a":{}},` + closed + `}`, "/b additionalProperties", ""},
		{"a member is removed from an open model", `{"properties":{"a":{"type":"string"}}}`, `{}`, "", ""},
		{"a required member is added", `{"properties":{"a":{}}}`, `{"properties":{"a":{},"b":{}},"required":["b"]}`, "/b required", ""},
		{"a member is no longer required", `{"properties":{"a":{}},"required":["a"]}`, `{"properties":{"a":{}}}`, "", "/a required"},
		{"the model is closed", `{"properties":{"a":{}}}`, `{"properties":{"a":{}},` + closed + `}`, "/* additionalProperties", ""},
		{"others get a schema", `{"properties":{"a":{}}}`, `{"properties":{"a":{}},"additionalProperties":{"type":"string"}}`, "/* additionalProperties", ""},
		{"a type is widened", `{"type":"integer"}`, `{"type":"number"}`, "", " type"},
		{"a type is narrowed below", `{"properties":{"a":{"properties":{"b":{"type":["string","null"]}}}}}`, `{"properties":{"a":{"properties":{"b":{"type":"string"}}}}}`, "/a/b type", ""},
		{"a type appears", `{}`, `{"type":"object"}`, " type", ""},
		{"a value is added to an enum", `{"enum":["a","b"]}`, `{"enum":["a","b","c"]}`, "", " enum"},
		{"an enum appears", `{"type":"string"}`, `{"enum":["a"]}`, " enum", ""},
		{"a const becomes an enum", `{"const":1}`, `{"enum":[1,2]}`, "", " const"},
		{"an enum becomes its type", `{"enum":["a"]}`, `{"type":"string","maxLength":1}`, "", " enum"},
		{"a boolean becomes an enum of both", `{"type":"boolean"}`, `{"enum":[true,false,null]}`, "", " type"},
		{"bounds", `{"minimum":1,"maximum":5}`, `{"minimum":0,"exclusiveMaximum":5}`, " exclusiveMaximum", " minimum"},
		{"bounds of integers", `{"type":"integer","exclusiveMinimum":0}`, `{"type":"integer","minimum":1}`, "", ""},
		{"lengths", `{"type":"string","maxLength":5}`, `{"type":"string","maxLength":6,"minLength":1}`, " minLength", " maxLength"},
		{"steps", `{"type":"number","multipleOf":4}`, `{"type":"number","multipleOf":2}`, "", " multipleOf?"},
		{"steps of integers", `{"type":"integer"}`, `{"type":"integer","multipleOf":0.1}`, "", ""},
		{"a format is dropped", `{"type":"string","format":"date"}`, `{"type":"string"}`, "", " format"},
		{"another pattern", `{"type":"string","pattern":"^a"}`, `{"type":"string","pattern":"^b"}`, " pattern?", " pattern?"},
		{"the pattern of an integer", `{"type":"integer"}`, `{"type":"integer","pattern":"x"}`, "", ""},
		{"elements", `{"items":{"type":"integer"}}`, `{"items":{"type":"number"}}`, "", "/* type"},
		{"bounds of arrays", `{"type":"array","minItems":1,"maxItems":1}`, `{"type":"array","maxItems":3,"uniqueItems":true}`, "", " minItems,  maxItems"},
		{"tuples", `{"type":"array","prefixItems":[{"type":"string"}],"items":false}`, `{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":false}`, "", "/1 false"},
		{"references", `{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"x":{"type":"string"}}}}}`, `{"properties":{"x":{"type":["string","null"]}}}`, "", "/x type"},
		{"recursion", `{"$ref":"#/$defs/n","$defs":{"n":{"properties":{"v":{"type":"integer"},"n":{"$ref":"#/$defs/n"}}}}}`, `{"$ref":"#/$defs/m","$defs":{"m":{"properties":{"v":{"type":"number"},"n":{"$ref":"#/$defs/m"}}}}}`, "", "/n/v type, /v type"},
		{"allOf together", `{"allOf":[{"type":"object"},{"required":["a"]}]}`, `{"type":"object","required":["a"]}`, "", ""},
		{"a branch is added to anyOf", `{"anyOf":[{"type":"string"},{"type":"integer"}]}`, `{"anyOf":[{"type":"integer"},{"type":"string"},{"type":"null"}]}`, "", " anyOf"},
		{"types become branches", `{"type":["string","integer"]}`, `{"oneOf":[{"type":"string"},{"type":"integer"}]}`, "", ""},
		{"a branch that is told apart is added to oneOf", union, strings.Replace(union, `[{`, `[{"properties":{"t":{"const":"c"}},"required":["t"]},{`, 1), "", " oneOf"},
		{"a branch that is not is added to oneOf", `{"oneOf":[{"type":"string"},{"type":"integer"}]}`, `{"oneOf":[{"type":"string"},{"type":"integer"},{"maximum":3}]}`, " oneOf?", " oneOf"},
		{"not", `{"type":"string"}`, `{"not":{"type":"integer"}}`, "", " type"},
		{"not of more", `{"not":{"type":"integer"}}`, `{"not":{"type":"number"}}`, " not?", ""},
		{"the same condition asks for less", `{"if":{"required":["a"]},"then":{"required":["b","c"]}}`, `{"if":{"required":["a"]},"then":{"required":["b"]}}`, "", " if?"},
		{"patterns of names", `{"patternProperties":{"^x-":{"type":"string"}},` + closed + `}`, `{"patternProperties":{"^x-":{"type":["string","null"]}},` + closed + `}`, "", "/* type"},
		{"names", `{"properties":{"ab":{}},` + closed + `}`, `{"properties":{"ab":{}},"propertyNames":{"maxLength":2}}`, "", "/* additionalProperties"},
		{"dependencies", `{"dependentRequired":{"a":["b"]}}`, `{"dependentRequired":{"a":["b","c"]}}`, "/c dependentRequired", ""},
		{"unevaluated members", `{"properties":{"a":{}},"unevaluatedProperties":false}`, `{"properties":{"a":{},"b":{}},"unevaluatedProperties":false}`, " unevaluatedProperties?", " unevaluatedProperties?"},
		{"the two drafts", `{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"string"}],"additionalItems":false}`, `{"prefixItems":[{"type":"string"}],"items":false}`, "", ""},
		{"what no document is", `{"type":"string","minLength":3,"maxLength":2}`, `{"type":"integer"}`, "", " type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before, after := []compat.Version{version(t, "1.0.0", c.before)}, version(t, "1.1.0", c.after)
			backward := compat.Check(compat.Mode{Level: compat.Backward}, before, after)
			if got := rules(backward); got != c.backward {
				t.Errorf("backward: got %q, want %q", got, c.backward)
			}
			forward := compat.Check(compat.Mode{Level: compat.Forward}, before, after)
			if got := rules(forward); got != c.forward {
				t.Errorf("forward: got %q, want %q", got, c.forward)
			}
			full := compat.Check(compat.Mode{Level: compat.Full}, before, after)
			if len(full) != len(backward)+len(forward) {
				t.Errorf("full has %d findings", len(full))
			}
			if none := compat.Check(compat.Mode{Level: compat.None}, before, after); none != nil {
				t.Errorf("none has %v", none)
			}
			for _, f := range full {
				if f.WayOut == "" || f.Detail == "" || f.Against != "1.0.0" || f.Direction != compat.Backward && f.Direction != compat.Forward {
					t.Errorf("a finding that lacks something: %+v", f)
				}
			}
		})
	}
}

func TestStrict(t *testing.T) {
	before := []compat.Version{version(t, "1", `{"properties":{"a":{}}}`)}
	after := version(t, "2", `{"properties":{"a":{},"b":{"type":"string"}}}`)
	if got := rules(compat.Check(compat.Mode{Level: compat.Full, Strict: true}, before, after)); got != "/b properties" {
		t.Errorf("got %q", got)
	}
	if got := compat.Check(compat.Mode{Level: compat.Full, Strict: true}, before, version(t, "2", `{"properties":{"a":{},"b":{}}}`)); got != nil {
		t.Errorf("a member of any type: %v", got)
	}
}

func TestTransitive(t *testing.T) {
	first, second := version(t, "1.0.0", `{"type":"string","maxLength":9}`), version(t, "1.1.0", `{"type":"string","maxLength":5}`)
	next := version(t, "1.2.0", `{"type":"string","maxLength":6}`)
	before := []compat.Version{first, second}
	if got := compat.Check(compat.Mode{Level: compat.Backward}, before, next); got != nil {
		t.Errorf("against the last alone: %v", got)
	}
	got := compat.Check(compat.Mode{Level: compat.BackwardTransitive}, before, next)
	if len(got) != 1 || got[0].Against != "1.0.0" || got[0].Rule != "maxLength" || got[0].Old != "9" || got[0].New != "6" {
		t.Errorf("got %+v", got)
	}
	got = compat.Check(compat.Mode{Level: compat.ForwardTransitive}, before, next)
	if len(got) != 1 || got[0].Against != "1.1.0" || got[0].Old != "5" || got[0].New != "6" {
		t.Errorf("got %+v", got)
	}
	if got := compat.Check(compat.Mode{Level: compat.FullTransitive}, nil, next); got != nil {
		t.Errorf("a first version: %v", got)
	}
}

func TestParseLevel(t *testing.T) {
	for _, name := range []string{"none", "backward", "backward_transitive", "forward", "forward_transitive", "full", "full_transitive"} {
		if l, err := compat.ParseLevel(name); err != nil || string(l) != name {
			t.Errorf("%s: %v %v", name, l, err)
		}
	}
	if _, err := compat.ParseLevel("backwards"); fault.CodeOf(err) != "compat_level" {
		t.Errorf("got %v", err)
	}
}
