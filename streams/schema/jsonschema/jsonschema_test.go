package jsonschema_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// told renders violations as "pointer rule".
func told(list []jsonschema.Violation) string {
	var lines []string
	for _, v := range list {
		lines = append(lines, v.Pointer+" "+v.Rule)
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

func TestViolations(t *testing.T) {
	bet := string(read(t, "testdata/bet.schema.json"))
	good := `{"bet_id":"b-1","amount_minor":1,"currency":"EUR","odds":1.5,"selections":[{"event":"m-1","pick":"home"}]}`
	for _, c := range []struct{ name, schema, value, want string }{
		{"valid", bet, good, ""},
		{"members", bet, `{"bet_id":"x","amount_minor":1.5,"odds":1,"extra":1,"selections":[{"event":"m-1","pick":"none"},{"pick":"home","x/~":1}]}`,
			" required, /amount_minor type, /bet_id pattern, /extra additionalProperties, /odds exclusiveMinimum, /selections/0/pick enum, /selections/1 required, /selections/1/x~1~0 additionalProperties"},
		{"another type", bet, `[]`, " type"},
		{"in the items", bet, strings.Replace(good, `[{"event":"m-1","pick":"home"}]`, `[]`, 1), "/selections minItems"},
		{"branches that were only tried say nothing", `{"anyOf":[{"properties":{"a":{"type":"string"}}},{"required":["b"]}]}`, `{"a":1}`, " anyOf"},
		{"what is asserted beside them does", `{"anyOf":[{"properties":{"a":{"type":"string"}}},{"type":"object"}],"allOf":[{"properties":{"a":{"maximum":0}}}]}`, `{"a":1}`, "/a maximum"},
		{"one subschema asserted and tried", `{"allOf":[{"not":{"$ref":"#/$defs/x"}},{"$ref":"#/$defs/x"}],"$defs":{"x":{"properties":{"a":{"type":"string"}}}}}`, `{"a":1}`, "/a type"},
		{"escaped names", `{"properties":{"ä":{"type":"string"}},"required":["ä"]}`, `{"\u00e4":1}`, "/ä type"},
		{"a long name", `{"additionalProperties":false}`, `{"` + strings.Repeat("n", 300) + `":1}`, " additionalProperties"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compile(t, c.schema)
			got, err := s.Validate([]byte(c.value))
			if err != nil || told(got) != c.want {
				t.Errorf("got %s, %v, want %s", told(got), err, c.want)
			}
			decoded, err := s.ValidateDecoded([]byte(c.value))
			if err != nil || told(decoded) != c.want {
				t.Errorf("the library told %s, %v, want %s", told(decoded), err, c.want)
			}
			for _, v := range append(got, decoded...) {
				if v.Detail == "" || !strings.HasPrefix(v.Schema, "/") {
					t.Errorf("a violation without detail or place: %+v", v)
				}
			}
		})
	}
}

// Neither way may quote what the producer sent.
func TestViolationsNeverQuote(t *testing.T) {
	const secret = "4111111111111111"
	for _, schema := range []string{
		`{"type":"object"}`, `{"enum":[1]}`, `{"const":"x"}`, `{"pattern":"^x"}`, `{"format":"email"}`, `{"maxLength":3}`, `{"maximum":3}`,
		`{"minimum":9e20}`, `{"multipleOf":7}`, `{"not":{}}`, `false`, `{"anyOf":[{"type":"null"},{"maximum":1,"maxLength":1}]}`,
	} {
		s := compile(t, schema)
		for _, value := range []string{secret, `"` + secret + `"`} {
			got, err := s.Validate([]byte(value))
			if err != nil {
				t.Fatal(err)
			}
			decoded, _ := s.ValidateDecoded([]byte(value))
			if all := fmt.Sprintf("%+v %+v", got, decoded); strings.Contains(all, secret) {
				t.Errorf("%s: %s", schema, all)
			}
		}
	}
}

func TestViolationsAreCapped(t *testing.T) {
	s := compile(t, `{"items":{"type":"string"}}`)
	value := []byte("[" + strings.Repeat("1,", 999) + "1]")
	for name, check := range map[string]func([]byte) ([]jsonschema.Violation, error){"program": s.Validate, "library": s.ValidateDecoded} {
		if got, err := check(value); err != nil || len(got) != jsonschema.DefaultOptions().MaxViolations {
			t.Errorf("%s told %d violations, %v", name, len(got), err)
		}
	}
}

func TestValidateRefusesNoJSON(t *testing.T) {
	s := compile(t, `{}`)
	for _, raw := range []string{``, `{`, `{"a":1,"a":2}`, `1 2`, `nul`, "\"\xff\""} {
		if _, err := s.Validate([]byte(raw)); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// A schema that costs too much is refused when it is registered, each with its own code.
func TestPoison(t *testing.T) {
	nested := func(n int, open, shut string) string { return strings.Repeat(open, n) + "{}" + strings.Repeat(shut, n) }
	doubling := `{"$ref":"#/$defs/a0","$defs":{`
	for i := range 30 {
		doubling += fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]},`, i, i+1, i+1)
	}
	doubling += `"a30":{"type":"string"}}}`
	var members []string
	for i := range 9000 {
		members = append(members, fmt.Sprintf(`"p%d":{}`, i))
	}
	for _, c := range []struct{ name, schema, code string }{
		{"no JSON", `{"type":`, jsonschema.CodeSyntax},
		{"a duplicate name", `{"type":"string","type":"object"}`, jsonschema.CodeSyntax},
		{"trailing data", `{} {}`, jsonschema.CodeSyntax},
		{"not a schema", `[]`, jsonschema.CodeInvalid},
		{"not what the draft says", `{"type":"strnig"}`, jsonschema.CodeInvalid},
		{"another draft", `{"$schema":"http://json-schema.org/draft-04/schema#"}`, jsonschema.CodeDraft},
		{"a draft of its own", `{"$schema":"https://example.com/mine"}`, jsonschema.CodeDraft},
		{"too many bytes", `{"title":"` + strings.Repeat("x", 300<<10) + `"}`, jsonschema.CodeTooLarge},
		{"too deep", nested(200, `{"not":`, `}`), jsonschema.CodeTooLarge},
		{"too many subschemas", `{"properties":{` + strings.Join(members, ",") + `}}`, jsonschema.CodeTooLarge},
		{"a huge exponent", `{"maximum":1e999999999}`, jsonschema.CodeTooLarge},
		{"a length beyond all", `{"minLength":18446744073709551621}`, jsonschema.CodeTooLarge},
		{"branches that double", doubling, jsonschema.CodeTooLarge},
		{"over the network", `{"$ref":"https://example.com/other.json"}`, jsonschema.CodeRemote},
		{"from the file system", `{"$ref":"file:///etc/passwd"}`, jsonschema.CodeRemote},
		{"a relative file", `{"$ref":"other.json#/a"}`, jsonschema.CodeRemote},
		{"through $id", `{"$id":"https://example.com/a","$ref":"b"}`, jsonschema.CodeRemote},
		{"a reference to nothing", `{"$ref":"#/$defs/none"}`, jsonschema.CodeInvalid},
		{"a reference to itself", `{"$ref":"#"}`, jsonschema.CodeRecursion},
		{"a circle of references", `{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}`, jsonschema.CodeRecursion},
		{"a circle that is not used", `{"properties":{"x":{"$ref":"#/$defs/a"}},"$defs":{"a":{"$ref":"#/$defs/a"}}}`, jsonschema.CodeRecursion},
		{"recursion that doubles in the library", `{"unevaluatedProperties":false,"properties":{"a":{"anyOf":[{"$ref":"#"},{"$ref":"#/$defs/b"}]}},"$defs":{"b":{"properties":{"a":{"$ref":"#"}}}}}`, jsonschema.CodeRecursion},
		{"no RE2: look-ahead", `{"pattern":"(?=a)b"}`, jsonschema.CodePattern},
		{"no RE2: back reference", `{"properties":{"a":{"pattern":"(a)\\1"}}}`, jsonschema.CodePattern},
		{"a pattern that is repeated beyond reason", `{"pattern":"((a{1,100}){1,100}){1,100}"}`, jsonschema.CodePattern},
		{"a long pattern", `{"pattern":"` + strings.Repeat("a", 2000) + `"}`, jsonschema.CodePattern},
		{"a bad name pattern", `{"patternProperties":{"(":{}}}`, jsonschema.CodePattern},
	} {
		t.Run(c.name, func(t *testing.T) {
			began := time.Now()
			_, err := jsonschema.Compile([]byte(c.schema), jsonschema.Options{})
			if fault.CodeOf(err) != c.code || fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v (%s), want %s", err, fault.CodeOf(err), c.code)
			}
			if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 700) {
				t.Errorf("not one line: %q", err)
			}
			if spent := time.Since(began); spent > 20*time.Second {
				t.Errorf("the refusal took %v", spent)
			}
		})
	}
}

// A recursive schema with branches costs the program what the value's size is, not a power of its depth.
func TestRecursionDoesNotDouble(t *testing.T) {
	s := compile(t, `{"anyOf":[{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}]}`)
	value := strings.Repeat(`{"a":`, 60) + "1" + strings.Repeat("}", 60)
	if got, err := s.Validate([]byte(value)); err != nil || got != nil { // 3^60 ways
		t.Errorf("got %v, %v", got, err)
	}
}

// A value that takes more steps than the options allow is refused, and says so.
func TestSteps(t *testing.T) {
	s, err := jsonschema.Compile([]byte(`{"items":{"type":"integer"}}`), jsonschema.Options{MaxSteps: 10})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Validate([]byte("[" + strings.Repeat("1,", 50) + "1]"))
	if err != nil || len(got) != 1 || got[0].Rule != "steps" {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := s.Validate([]byte("[1]")); err != nil || got != nil {
		t.Errorf("the next value: %v, %v", got, err)
	}
}

// Numbers of absurd exponents cost nothing.
func TestExponents(t *testing.T) {
	for _, schema := range []string{`{"multipleOf":0.7}`, `{"minimum":5,"maximum":6}`, `{"type":"integer"}`, `{"enum":[1,2.5]}`, `{"unevaluatedProperties":false,"multipleOf":3}`} {
		s := compile(t, schema)
		for _, value := range []string{"1e-999999999", "1e-99999999999999999999", "-0.00001e-400000", "7e999999999"} {
			began := time.Now()
			if _, err := s.Validate([]byte(value)); err != nil {
				t.Error(err)
			}
			if spent := time.Since(began); spent > 5*time.Second {
				t.Errorf("%s against %s took %v", value, schema, spent)
			}
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	s := compile(t, string(read(t, "testdata/bet.schema.json")))
	good := []byte(`{"bet_id":"b-1","amount_minor":1,"currency":"EUR","odds":1.5,"selections":[{"event":"m-1","pick":"home"}]}`)
	bad := []byte(`{"bet_id":"b-1","amount_minor":0,"currency":"EUR","odds":1.5,"selections":[{"event":"m-1","pick":"away"}]}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got, err := s.Validate(good); err != nil || got != nil {
					t.Errorf("got %v, %v", got, err)
				}
				if got, err := s.Validate(bad); err != nil || told(got) != "/amount_minor minimum" {
					t.Errorf("got %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestStreaming(t *testing.T) {
	if yes, why := compile(t, `{"type":"object"}`).Streaming(); !yes || why != "" {
		t.Errorf("got %v %q", yes, why)
	}
	if yes, why := compile(t, `{"properties":{"a":{"unevaluatedItems":false}}}`).Streaming(); yes || why != "unevaluatedItems" {
		t.Errorf("got %v %q", yes, why)
	}
}
