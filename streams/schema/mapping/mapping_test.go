package mapping_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/mapping"
)

// spec reads a mapping of which up is a JSON list of steps.
func spec(t testing.TB, up string) *mapping.Spec {
	t.Helper()
	s := &mapping.Spec{Flag: "f", Down: []mapping.Step{}}
	if err := json.Unmarshal([]byte(up), &s.Up); err != nil {
		t.Fatalf("%s: %v", up, err)
	}
	return s
}

func compile(t testing.TB, up string) *mapping.Mapping {
	t.Helper()
	m, err := mapping.Compile(spec(t, up))
	if err != nil {
		t.Fatalf("%s: %v", up, err)
	}
	return m
}

func TestApply(t *testing.T) {
	for _, c := range []struct{ name, up, in, want string }{
		{"nothing to do", `[]`, `{ "b" : 1.50, "a": "\u00e9" }`, `{"b":1.50,"a":"\u00e9"}`},
		{"a name keeps its place", `[{"op":"rename","at":"/a/b","to":"c"}]`, `{"x":1,"a":{"b":2,"d":3}}`, `{"x":1,"a":{"c":2,"d":3}}`},
		{"in each element", `[{"op":"rename","at":"/l/*/o","to":"odds"}]`, `{"l":[{"o":1},{},{"o":2,"p":3}]}`, `{"l":[{"odds":1},{},{"odds":2,"p":3}]}`},
		{"arrays in elements of arrays", `[{"op":"remove","at":"/l/*/m/*/x"}]`, `{"l":[{"m":[{"x":1,"y":2}]},{"m":3}]}`, `{"l":[{"m":[{"y":2}]},{"m":3}]}`},
		{"a name that is escaped", `[{"op":"rename","at":"/a~1b","to":"c/d~"}]`, `{"a\/b":1}`, `{"c/d~":1}`},
		{"moved into an object that is made", `[{"op":"move","at":"/amount","to":"/stake/value"}]`, `{"amount":12.50,"z":1}`, `{"z":1,"stake":{"value":12.50}}`},
		{"out of an object that goes with it", `[{"op":"move","at":"/stake/value","to":"/amount"}]`, `{"stake":{"value":9007199254740993},"z":1}`, `{"z":1,"amount":9007199254740993}`},
		{"copied", `[{"op":"copy","at":"/a","to":"/b"}]`, `{"a":{"x":[1]}}`, `{"a":{"x":[1]},"b":{"x":[1]}}`},
		{"a copy is its own", `[{"op":"copy","at":"/a","to":"/b"},{"op":"remove","at":"/b/x"}]`, `{"a":{"x":1,"y":2}}`, `{"a":{"x":1,"y":2},"b":{"y":2}}`},
		{"a default where nothing is", `[{"op":"default","at":"/c/d","value":{"e":1.0}}]`, `{}`, `{"c":{"d":{"e":1.0}}}`},
		{"and not where something is", `[{"op":"default","at":"/c","value":1}]`, `{"c":null}`, `{"c":null}`},
		{"digits of a number", `[{"op":"convert","at":"/a","type":"string-to-number"}]`, `{"a":"19.990"}`, `{"a":19.990}`},
		{"digits of a string", `[{"op":"convert","at":"/a","type":"number-to-string"}]`, `{"a":123456789012345678901234567890.10}`, `{"a":"123456789012345678901234567890.10"}`},
		{"null stays", `[{"op":"convert","at":"/a","type":"number-to-string"}]`, `{"a":null}`, `{"a":null}`},
		{"cents", `[{"op":"convert","at":"/a","multiply":100}]`, `{"a":19.99}`, `{"a":1999}`},
		{"and back", `[{"op":"convert","at":"/a","divide":100}]`, `{"a":90071992547409931}`, `{"a":900719925474099.31}`},
		{"small", `[{"op":"convert","at":"/a","divide":1000}]`, `{"a":-5}`, `{"a":-0.005}`},
		{"by a share", `[{"op":"convert","at":"/a","divide":"-0.125"}]`, `{"a":1e2}`, `{"a":-800}`},
		{"a table", `[{"op":"convert","at":"/l/*","table":[{"from":"W","to":"won"},{"from":1.0,"to":true}]}]`, `{"l":["W",1,null]}`, `{"l":["won",true,null]}`},
		{"wrapped", `[{"op":"wrap","at":"/a","to":"v"},{"op":"wrap","at":"/b","array":true}]`, `{"a":1,"b":2}`, `{"a":{"v":1},"b":[2]}`},
		{"unwrapped", `[{"op":"unwrap","at":"/a","to":"v"},{"op":"unwrap","at":"/b","array":true}]`, `{"a":{"v":1},"b":[2]}`, `{"a":1,"b":2}`},
		{"computed", `[{"op":"compute","at":"/n/total","cel":"payload.stake * size(payload.legs)"}]`, `{"stake":5,"legs":[1,2,3]}`, `{"stake":5,"legs":[1,2,3],"n":{"total":15}}`},
		{"computed of an element", `[{"op":"compute","at":"/l/*/s","cel":"payload.c + string(item.a)"}]`, `{"c":"EUR","l":[{"a":1},{"a":2.50}]}`, `{"c":"EUR","l":[{"a":1,"s":"EUR1"},{"a":2.50,"s":"EUR2.50"}]}`},
		{"names in order", `[{"op":"compute","at":"/m","cel":"{'b': [null, true], 'a': 'x', 'c': 1u}"}]`, `{}`, `{"m":{"a":"x","b":[null,true],"c":1}}`},
		{"an object that is computed away", `[{"op":"compute","at":"/name","cel":"payload.name.first + ' ' + payload.name.last"}]`, `{"name":{"first":"A","last":"B"}}`, `{"name":"A B"}`},
	} {
		got, err := compile(t, c.up).Apply(mapping.Up, []byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
	}
}

const private = "private-value"

func TestFailuresSayWhereAndNeverWhat(t *testing.T) {
	for _, c := range []struct{ name, up, in, want string }{
		{"in the way", `[{"op":"rename","at":"/a","to":"b"}]`, `{"a":"` + private + `","b":1}`, "up[0] rename /a: something is at the new place"},
		{"in the way of nothing", `[{"op":"move","at":"/a","to":"/b"}]`, `{"b":"` + private + `"}`, "something is at the new place"},
		{"into a string", `[{"op":"move","at":"/a","to":"/b/c"}]`, `{"a":1,"b":"` + private + `"}`, "is no object"},
		{"into an empty object", `[{"op":"move","at":"/a","to":"/b/c"}]`, `{"a":1,"b":{}}`, "empty object"},
		{"no number", `[{"op":"convert","at":"/a","multiply":100}]`, `{"a":"` + private + `"}`, "up[0] convert /a: is no number"},
		{"too many digits", `[{"op":"convert","at":"/a","multiply":100}]`, `{"a":1` + strings.Repeat("7", 80) + `}`, "too many digits"},
		{"no number in a string", `[{"op":"convert","at":"/a","type":"string-to-number"}]`, `{"a":"` + private + `"}`, "no number"},
		{"no integer in a string", `[{"op":"convert","at":"/a","type":"string-to-integer"}]`, `{"a":"1.5"}`, "no integer"},
		{"not in the table", `[{"op":"convert","at":"/l/*/a","table":[{"from":"W","to":"won"}]}]`, `{"l":[{"a":"W"},{"a":"` + private + `"}]}`, "up[0] convert /l/*/a: is not in the table"},
		{"two members", `[{"op":"unwrap","at":"/a","to":"v"}]`, `{"a":{"v":1,"w":"` + private + `"}}`, "alone"},
		{"two elements", `[{"op":"unwrap","at":"/a","array":true}]`, `{"a":["` + private + `",1]}`, "one element"},
		{"no such member", `[{"op":"remove","at":"/x"},{"op":"compute","at":"/b","cel":"payload.nothing"}]`, `{"a":"` + private + `"}`, "up[1] compute /b: the expression has no value"},
		{"not a number after all", `[{"op":"compute","at":"/b","cel":"int(payload.a)"}]`, `{"a":"` + private + `"}`, "has no value"},
		{"a double", `[{"op":"compute","at":"/b","cel":"payload.a == '' ? dyn(1) : dyn(0.1)"}]`, `{"a":"x"}`, "double"},
		{"whole numbers do not overflow", `[{"op":"compute","at":"/b","cel":"payload.a * 2"}]`, `{"a":9223372036854775807}`, "has no value"},
		{"too costly", `[{"op":"compute","at":"/b","cel":"payload.l.all(x, payload.l.all(y, payload.l.all(z, x + y + z >= 0)))"}]`, `{"l":[` + strings.Repeat("1,", 60) + `1]}`, "costs more than"},
		{"grows", `[{"op":"copy","at":"/a","to":"/b"},{"op":"copy","at":"/a","to":"/c"}]`, `{"a":"` + strings.Repeat("x", mapping.MaxGrowth/2) + `"}`, "up[1] copy /a: the payload grows"},
	} {
		got, err := compile(t, c.up).Apply(mapping.Up, []byte(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), private) {
			t.Errorf("%s: %.80s, %v", c.name, got, err)
		}
	}
	for _, in := range []string{`[1]`, `{"a":1,"a":2}`, `{"a":1} x`, `{"a"`, ``} {
		if _, err := compile(t, `[]`).Apply(mapping.Up, []byte(in)); fault.CodeOf(err) != "mapping_payload" {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	many := strings.Repeat(`{"op":"remove","at":"/a"},`, mapping.MaxSteps) + `{"op":"remove","at":"/a"}`
	costly := strings.Repeat(`{"op":"compute","at":"/a","cel":"1"},`, mapping.MaxComputed) + `{"op":"compute","at":"/a","cel":"1"}`
	for _, c := range []struct{ name, up, code, says string }{
		{"no operation", `[{"op":"delete","at":"/a"}]`, "mapping_op", "up[0] delete /a: there is no such operation"},
		{"no path", `[{"op":"remove","at":"a"}]`, "mapping_path", "starts with /"},
		{"an empty name", `[{"op":"remove","at":"/a//b"}]`, "mapping_path", "empty"},
		{"a half escape", `[{"op":"remove","at":"/a~2"}]`, "mapping_path", "~"},
		{"a long path", `[{"op":"remove","at":"/` + strings.Repeat("a", mapping.MaxPath) + `"}]`, "mapping_path", "possible"},
		{"a deep path", `[{"op":"remove","at":"` + strings.Repeat("/a", mapping.MaxNames+1) + `"}]`, "mapping_path", "names"},
		{"all of the payload", `[{"op":"compute","at":"/*","cel":"1"}]`, "mapping_path", "follows no name"},
		{"an element has no name", `[{"op":"rename","at":"/a/*","to":"b"}]`, "mapping_path", "ends in *"},
		{"the same name", `[{"op":"rename","at":"/a","to":"a"}]`, "mapping_to", "new name"},
		{"a star as a name", `[{"op":"rename","at":"/a","to":"*"}]`, "mapping_to", "*"},
		{"into itself", `[{"op":"copy","at":"/a","to":"/a/b"}]`, "mapping_path", "wrap it"},
		{"over what it is in", `[{"op":"move","at":"/a/b","to":"/a"}]`, "mapping_path", "unwrap it"},
		{"to itself", `[{"op":"move","at":"/a","to":"/a"}]`, "mapping_path", "itself"},
		{"out of an array", `[{"op":"move","at":"/l/*/a","to":"/a"}]`, "mapping_path", "other arrays"},
		{"a value that is none", `[{"op":"default","at":"/a"}]`, "mapping_value", "no JSON"},
		{"no way to convert", `[{"op":"convert","at":"/a"}]`, "mapping_convert", "exactly one"},
		{"two ways to convert", `[{"op":"convert","at":"/a","multiply":2,"divide":2}]`, "mapping_convert", "exactly one"},
		{"no such conversion", `[{"op":"convert","at":"/a","type":"to-string"}]`, "mapping_convert", "number-to-string"},
		{"by nothing", `[{"op":"convert","at":"/a","multiply":0}]`, "mapping_convert", "not 0"},
		{"by a third", `[{"op":"convert","at":"/a","divide":3}]`, "mapping_convert", "has no end"},
		{"an empty table", `[{"op":"convert","at":"/a","table":[]}]`, "mapping_table", "0 entries"},
		{"an entry twice", `[{"op":"convert","at":"/a","table":[{"from":1,"to":2},{"from":1.0,"to":3}]}]`, "mapping_table", "twice"},
		{"an entry of objects", `[{"op":"convert","at":"/a","table":[{"from":{},"to":2}]}]`, "mapping_table", "entry 0"},
		{"wrapped in nothing", `[{"op":"wrap","at":"/a"}]`, "mapping_to", "either"},
		{"what says nothing", `[{"op":"remove","at":"/a","to":"/b"}]`, "mapping_step", `"to" says nothing`},
		{"no expression", `[{"op":"compute","at":"/a"}]`, "mapping_expression", "expression"},
		{"a broken expression", `[{"op":"compute","at":"/a","cel":"payload. +"}]`, "mapping_expression", "Syntax error"},
		{"an unknown name", `[{"op":"compute","at":"/a","cel":"item.x"}]`, "mapping_expression", "undeclared"},
		{"a double", `[{"op":"compute","at":"/a","cel":"double(payload.a) * 1.1"}]`, "mapping_expression", "double"},
		{"a clock", `[{"op":"compute","at":"/a","cel":"now()"}]`, "mapping_expression", "undeclared"},
		{"a long expression", `[{"op":"compute","at":"/a","cel":"` + strings.Repeat("1+", mapping.MaxExpression) + `1"}]`, "mapping_expression", "bytes"},
		{"a deep expression", `[{"op":"compute","at":"/a","cel":"` + strings.Repeat("(", 200) + `1` + strings.Repeat(")", 200) + `"}]`, "mapping_expression", "recursion"},
		{"too many steps", `[` + many + `]`, "mapping_steps", "129 steps"},
		{"too much computed", `[` + costly + `]`, "mapping_computed", "computed"},
	} {
		_, err := mapping.Compile(spec(t, c.up))
		if fault.CodeOf(err) != c.code || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestInverseIsRefusedWhereThereIsNone(t *testing.T) {
	for _, up := range []string{
		`[{"op":"remove","at":"/a"}]`, `[{"op":"default","at":"/a","value":1}]`, `[{"op":"compute","at":"/a","cel":"1"}]`,
		`[{"op":"convert","at":"/a","table":[{"from":1,"to":3},{"from":2,"to":3}]}]`, `[{"op":"convert","at":"/a","table":[{"from":1,"to":null}]}]`,
	} {
		s := spec(t, up)
		s.Down = nil
		if _, err := mapping.Compile(s); fault.CodeOf(err) != "mapping_inverse" || !strings.Contains(err.Error(), "write down's steps out") {
			t.Errorf("%s: %v", up, err)
		}
	}
	s := spec(t, `[{"op":"convert","at":"/a","multiply":3}]`) // there is no end to a third
	s.Down = nil
	if _, err := mapping.Compile(s); fault.CodeOf(err) != "mapping_convert" || !strings.Contains(err.Error(), "down[0]") {
		t.Error(err)
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":[1,2]}`, `{"b":[1.0,2e0],"a":1}`, true},
		{`{"a":"\u00e9"}`, `{"a":"é"}`, true},
		{`{"a":9007199254740993}`, `{"a":9007199254740992}`, false},
		{`{"a":1}`, `{"a":1,"b":null}`, false},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, false},
		{`{"a":"1"}`, `{"a":1}`, false},
		{`{"a":true}`, `{"a":false}`, false},
		{`{`, `{`, false},
	} {
		if got := mapping.Same([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

func TestEnvelope(t *testing.T) {
	raw := `{"event_id":"e1", "event_type":"bet.placed","payload": {"amount":1.50},"sig":{"mac":"x"},"schema_version":"1.4.0","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"\u0061"},"ctx":{"sig": 1},"more":[1e2]}`
	got, err := mapping.Envelope([]byte(raw), "2.0.1", []byte(`{"stake":150}`))
	want := `{"event_id":"e1","event_type":"bet.placed","payload":{"stake":150},"schema_version":"2.0.1","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"\u0061"},"ctx":{"sig": 1},"more":[1e2]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	var e event.Event
	if err := event.Decode(got, &e); err != nil || e.SchemaVersion != "2.0.1" || e.ID != "e1" {
		t.Errorf("%+v, %v", e, err)
	}
}
