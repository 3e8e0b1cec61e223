package compat_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/schema/compat"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// schemas draws a schema, two levels deep at most below depth.
func schemas(t *rapid.T, depth int) map[string]any {
	s := map[string]any{}
	kinds := []string{"integer", "number", "string", "boolean", "null", "any"}
	if depth > 0 {
		kinds = append(kinds, "object", "object", "object", "array", "combined", "combined")
	}
	kind := rapid.SampledFrom(kinds).Draw(t, "kind")
	if kind != "any" && kind != "combined" {
		s["type"] = kind
		if rapid.IntRange(0, 5).Draw(t, "nullable") == 0 {
			s["type"] = []any{kind, "null"}
			if kind == "null" {
				s["type"] = "null"
			}
		}
	}
	maybe := func(name string, draw func() any) {
		if rapid.IntRange(0, 2).Draw(t, name+"?") == 0 {
			s[name] = draw()
		}
	}
	number := func() any { return rapid.IntRange(-3, 3).Draw(t, "number") }
	length := func() any { return rapid.IntRange(0, 3).Draw(t, "length") }
	switch kind {
	case "integer", "number":
		for _, name := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} {
			maybe(name, number)
		}
		maybe("multipleOf", func() any { return rapid.SampledFrom([]any{1, 2, 0.5, 3}).Draw(t, "step") })
	case "string":
		maybe("minLength", length)
		maybe("maxLength", length)
		maybe("pattern", func() any { return rapid.SampledFrom([]any{"^a", "b$", "^[ab]*$"}).Draw(t, "pattern") })
		maybe("enum", func() any { return rapid.SampledFrom([]any{[]any{"a", "ab"}, []any{"b"}}).Draw(t, "enum") })
	case "object":
		objects(t, s, depth, maybe)
	case "array":
		maybe("items", func() any { return schemas(t, depth-1) })
		maybe("prefixItems", func() any { return []any{schemas(t, depth-1)} })
		maybe("minItems", length)
		maybe("maxItems", length)
		maybe("uniqueItems", func() any { return true })
		maybe("contains", func() any { return schemas(t, depth-1) })
	case "combined":
		name := rapid.SampledFrom([]string{"anyOf", "oneOf", "allOf"}).Draw(t, "combination")
		s[name] = []any{schemas(t, depth-1), schemas(t, depth-1)}
		maybe("not", func() any { return schemas(t, depth-1) })
		if rapid.IntRange(0, 3).Draw(t, "conditional") == 0 {
			s["if"], s["then"], s["else"] = schemas(t, depth-1), schemas(t, depth-1), schemas(t, depth-1)
		}
	case "any":
		maybe("const", func() any { return rapid.SampledFrom([]any{1, "a", nil, true}).Draw(t, "const") })
	}
	return s
}

func objects(t *rapid.T, s map[string]any, depth int, maybe func(string, func() any)) {
	properties := map[string]any{}
	for _, name := range []string{"a", "b", "xc"} {
		if rapid.Bool().Draw(t, name+"?") {
			properties[name] = schemas(t, depth-1)
		}
	}
	s["properties"] = properties
	maybe("required", func() any {
		return rapid.SampledFrom([]any{[]any{"a"}, []any{"a", "b"}, []any{"xc"}}).Draw(t, "required")
	})
	maybe("additionalProperties", func() any {
		if rapid.Bool().Draw(t, "closed") {
			return false
		}
		return schemas(t, depth-1)
	})
	maybe("patternProperties", func() any {
		return map[string]any{rapid.SampledFrom([]string{"^x", "c$"}).Draw(t, "names"): schemas(t, depth-1)}
	})
	maybe("maxProperties", func() any { return rapid.IntRange(0, 3).Draw(t, "members") })
	maybe("minProperties", func() any { return rapid.IntRange(0, 3).Draw(t, "members") })
	maybe("propertyNames", func() any { return map[string]any{"maxLength": rapid.IntRange(1, 2).Draw(t, "name")} })
	maybe("dependentRequired", func() any { return map[string]any{"a": []any{"b"}} })
	maybe("dependentSchemas", func() any { return map[string]any{"b": schemas(t, depth-1)} })
}

// mutate changes one thing somewhere.
func mutate(t *rapid.T, s map[string]any, depth int) map[string]any {
	out := maps.Clone(s)
	keys := slices.Sorted(maps.Keys(out))
	if len(keys) == 0 {
		return schemas(t, depth)
	}
	key := rapid.SampledFrom(keys).Draw(t, "change")
	switch v := out[key].(type) {
	case map[string]any:
		if _, ok := v["a"].(map[string]any); ok && key == "properties" && rapid.Bool().Draw(t, "in a") {
			members := maps.Clone(v)
			members["a"] = mutate(t, v["a"].(map[string]any), depth-1)
			out[key] = members
			return out
		}
		if key != "properties" && key != "patternProperties" && key != "dependentRequired" && key != "dependentSchemas" {
			out[key] = mutate(t, v, depth-1)
			return out
		}
	case int:
		out[key] = max(0, v+rapid.SampledFrom([]int{-1, 1}).Draw(t, "by"))
		return out
	case []any:
		if branch, ok := v[0].(map[string]any); ok {
			list := slices.Clone(v)
			list[0] = mutate(t, branch, depth-1)
			if rapid.Bool().Draw(t, "one more") {
				list = append(list, schemas(t, 0))
			}
			out[key] = list
			return out
		}
	}
	if rapid.Bool().Draw(t, "drop") {
		delete(out, key)
		if key == "if" {
			delete(out, "then")
			delete(out, "else")
		}
		return out
	}
	return schemas(t, depth)
}

// documents draws a value that a schema may take: members are its own, and with extra others too.
func documents(t *rapid.T, s map[string]any, extra bool, depth int) any {
	if v, ok := s["const"]; ok {
		return v
	}
	if v, ok := s["enum"].([]any); ok {
		return rapid.SampledFrom(v).Draw(t, "value")
	}
	for _, name := range []string{"anyOf", "oneOf", "allOf"} {
		if list, ok := s[name].([]any); ok && depth > 0 {
			return documents(t, rapid.SampledFrom(list).Draw(t, "branch").(map[string]any), extra, depth-1)
		}
	}
	kind, _ := s["type"].(string)
	if list, ok := s["type"].([]any); ok {
		kind = rapid.SampledFrom(list).Draw(t, "type").(string)
	}
	if kind == "" {
		kind = rapid.SampledFrom([]string{"integer", "number", "string", "boolean", "null", "object", "array"}).Draw(t, "type")
	}
	switch kind {
	case "integer":
		return rapid.IntRange(-5, 5).Draw(t, "integer")
	case "number":
		return float64(rapid.IntRange(-10, 10).Draw(t, "halves")) / 2
	case "string":
		return rapid.StringMatching(`[abc]{0,4}`).Draw(t, "string")
	case "boolean":
		return rapid.Bool().Draw(t, "boolean")
	case "null":
		return nil
	case "array":
		return elements(t, s, extra, depth)
	}
	return members(t, s, extra, depth)
}

func sub(v any) map[string]any {
	s, _ := v.(map[string]any)
	return s
}

func elements(t *rapid.T, s map[string]any, extra bool, depth int) any {
	list := []any{}
	for i := range rapid.IntRange(0, 3).Draw(t, "elements") {
		of := sub(s["items"])
		if prefix, ok := s["prefixItems"].([]any); ok && i == 0 {
			of = sub(prefix[0])
		}
		if contains := sub(s["contains"]); contains != nil && rapid.Bool().Draw(t, "contained") {
			of = contains
		}
		if depth > 0 {
			list = append(list, documents(t, of, extra, depth-1))
		}
	}
	return list
}

func members(t *rapid.T, s map[string]any, extra bool, depth int) any {
	doc := map[string]any{}
	if depth == 0 {
		return doc
	}
	properties := sub(s["properties"])
	for _, name := range []string{"a", "b", "xc", "xd", "c", "e"} {
		of, declared := properties[name]
		_, more := s["additionalProperties"].(map[string]any)
		if !declared && more {
			of, declared = s["additionalProperties"], true
		}
		for _, p := range sub(s["patternProperties"]) {
			if (name[0] == 'x' || name == "c") && !declared {
				of, declared = p, true
			}
		}
		if required, ok := s["required"].([]any); ok && slices.Contains(required, any(name)) {
			declared = true
		}
		if (declared || extra) && rapid.IntRange(0, 3).Draw(t, name+"?") > 0 {
			doc[name] = documents(t, sub(of), extra, depth-1)
		}
	}
	return doc
}

func asVersion(t *rapid.T, name string, s map[string]any) (compat.Version, bool) {
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := jsonschema.Compile(text, jsonschema.Options{})
	return compat.Version{Name: name, Schema: compiled}, err == nil
}

// When the engine says backward, what was valid under the old schema is valid under the new one. Strictly, of any
// document; by default, of those that have the members their schema declares.
func TestBackwardHolds(t *testing.T) {
	for name, strict := range map[string]bool{"strict": true, "default": false} {
		t.Run(name, func(t *testing.T) {
			compatible, tried, refuted := 0, 0, 0
			rapid.Check(t, func(t *rapid.T) {
				old := schemas(t, 2)
				next := mutate(t, old, 2)
				if rapid.Bool().Draw(t, "twice") {
					next = mutate(t, next, 2)
				}
				before, ok1 := asVersion(t, "1.0.0", old)
				after, ok2 := asVersion(t, "1.1.0", next)
				if !ok1 || !ok2 {
					t.Skip("a mutation that is no schema")
				}
				found := compat.Check(compat.Mode{Level: compat.Backward, Strict: strict}, []compat.Version{before}, after)
				if len(found) == 0 {
					compatible++
				}
				for range 12 {
					text, err := json.Marshal(documents(t, old, strict, 3))
					if err != nil {
						t.Fatal(err)
					}
					if v, err := before.Schema.Validate(text); err != nil || v != nil {
						continue
					}
					tried++
					v, err := after.Schema.Validate(text)
					switch {
					case err != nil:
						t.Fatal(err)
					case v == nil:
					case len(found) == 0:
						a, _ := json.Marshal(old)
						b, _ := json.Marshal(next)
						t.Fatalf("said to be backward:\nold %s\nnew %s\ndocument %s\n%v", a, b, text, v)
					default:
						refuted++
					}
				}
			})
			t.Logf("%d pairs compatible; %d documents of the old schemas tried, %d refuted a pair that was refused", compatible, tried, refuted)
			if compatible == 0 || tried == 0 || refuted == 0 {
				t.Error("the generators reach nothing")
			}
		})
	}
}
