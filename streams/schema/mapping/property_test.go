package mapping_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/schema/mapping"
)

// Few names, so that steps and payloads meet, and values that conversions take.
var (
	names   = rapid.SampledFrom([]string{"a", "b", "c", "l"})
	scalars = rapid.SampledFrom([]string{`1`, `-2.50`, `9007199254740993`, `1e3`, `"x"`, `"7"`, `"7.10"`, `true`, `"true"`, `null`, `"W"`})
)

func value(t *rapid.T, depth int) string {
	kinds := 1
	if depth > 0 {
		kinds = 3
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 2:
		return object(t, depth-1)
	case 3:
		var all []string
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			all = append(all, value(t, depth-1))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	return scalars.Draw(t, "scalar")
}

func object(t *rapid.T, depth int) string {
	var all []string
	for _, name := range rapid.SliceOfNDistinct(names, 1, 4, rapid.ID[string]).Draw(t, "members") {
		all = append(all, `"`+name+`":`+value(t, depth))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// place draws a path whose part before the last * is head.
func place(t *rapid.T, head string) string {
	return head + "/" + strings.Join(rapid.SliceOfN(names, 1, 2).Draw(t, "path"), "/")
}

func step(t *rapid.T) mapping.Step {
	head := rapid.SampledFrom([]string{"", "", "/l/*", "/a/l/*"}).Draw(t, "arrays")
	s := mapping.Step{At: place(t, head)}
	s.Op = rapid.SampledFrom([]mapping.Op{mapping.Rename, mapping.Move, mapping.Copy, mapping.Wrap, mapping.Unwrap, mapping.Convert}).Draw(t, "op")
	switch s.Op {
	case mapping.Rename:
		s.To = names.Draw(t, "to")
	case mapping.Move, mapping.Copy:
		s.To = place(t, head)
	case mapping.Wrap, mapping.Unwrap:
		if s.Array = rapid.Bool().Draw(t, "array"); !s.Array {
			s.To = names.Draw(t, "to")
		}
	case mapping.Convert:
		switch rapid.IntRange(0, 3).Draw(t, "how") {
		case 0:
			s.Multiply = json.Number(rapid.SampledFrom([]string{"100", "-0.25", "8"}).Draw(t, "by"))
		case 1:
			s.Divide = json.Number(rapid.SampledFrom([]string{"1000", "0.5"}).Draw(t, "by"))
		case 2:
			s.Table = []mapping.Entry{{From: json.RawMessage(`"W"`), To: json.RawMessage(`1`)}, {From: json.RawMessage(`1`), To: json.RawMessage(`"W"`)}, {From: json.RawMessage(`true`), To: json.RawMessage(`false`)}}
		default:
			s.Type = rapid.SampledFrom([]mapping.Conversion{mapping.StringToNumber, mapping.NumberToString, mapping.StringToInteger, mapping.IntegerToString, mapping.StringToBoolean, mapping.BooleanToString}).Draw(t, "type")
		}
	}
	return s
}

// A mapping whose down is made of its up gives back each payload that up takes.
func TestInverse(t *testing.T) {
	applied, changed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		in := []byte(object(t, 3))
		for range 10 { // few of them fit a payload
			m, err := mapping.Compile(&mapping.Spec{Flag: "f", Up: rapid.SliceOfN(rapid.Custom(step), 1, 4).Draw(t, "steps")})
			if err != nil {
				continue
			}
			up := undone(t, m, in)
			if up == nil {
				continue
			}
			if applied++; !mapping.Same(in, up) {
				changed++
			}
		}
	})
	if changed < 20 {
		t.Errorf("%d payloads were carried over, and %d changed: the property says nothing", applied, changed)
	}
}

// undone is what up makes of a payload, nil where it does not take it, after down undid it.
func undone(t *rapid.T, m *mapping.Mapping, in []byte) []byte {
	up, err := m.Apply(mapping.Up, in)
	if err != nil {
		if _, ok := errors.AsType[*mapping.Failure](err); !ok {
			t.Fatalf("%s: %v", in, err)
		}
		return nil
	}
	again, err := m.Apply(mapping.Down, up)
	if err != nil || !mapping.Same(in, again) {
		t.Fatalf("%+v\n%s\nbecomes %s\nand then %s, %v", m.Spec.Up, in, up, again, err)
	}
	if twice, _ := m.Apply(mapping.Up, in); string(twice) != string(up) {
		t.Fatalf("%s becomes %s, and then %s", in, up, twice)
	}
	return up
}

func FuzzApply(f *testing.F) {
	f.Add(`[{"op":"move","at":"/a","to":"/b/c"},{"op":"compute","at":"/t","cel":"size(payload.b)"}]`, `{"a":1.50,"l":[{"a":1}]}`)
	f.Add(`[{"op":"convert","at":"/l/*/a","divide":100}]`, `{"l":[{"a":"x"},{"a":12}]}`)
	f.Fuzz(func(t *testing.T, up, in string) {
		s := &mapping.Spec{Flag: "f", Down: []mapping.Step{}}
		if json.Unmarshal([]byte(up), &s.Up) != nil {
			return
		}
		m, err := mapping.Compile(s)
		if err != nil {
			return
		}
		out, err := m.Apply(mapping.Up, []byte(in))
		if err != nil {
			return
		}
		if len(out) > 8*len(in)+2*mapping.MaxGrowth {
			t.Errorf("%d bytes of %d", len(out), len(in))
		}
		if !mapping.Same(out, out) {
			t.Errorf("%s is no JSON", out)
		}
	})
}
