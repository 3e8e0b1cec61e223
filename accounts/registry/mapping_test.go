package registry_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/registry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/mapping"
)

const (
	cents    = `{"type":"object","properties":{"stake":{"type":"integer","maximum":10000}},"required":["stake"],"additionalProperties":false}`
	cents1st = `syntax = "proto3"; message Bet { int64 stake = 1; }`
)

func toCents() *mapping.Spec {
	return &mapping.Spec{
		Flag: "bet-v2", Lossless: true, Up: []mapping.Step{{Op: mapping.Rename, At: "/amount", To: "stake"}, {Op: mapping.Convert, At: "/stake", Multiply: "100"}},
		Samples: mapping.Samples{Low: []json.RawMessage{json.RawMessage(`{"amount":12}`)}, High: []json.RawMessage{json.RawMessage(`{"stake":1200}`)}},
	}
}

func TestTry(t *testing.T) {
	low, high := record(t, "1.0.0", amount, schema.Active), record(t, "2.0.0", cents, schema.Draft)
	for _, c := range []struct {
		name   string
		have   []*accounts.Schema
		change func(*mapping.Spec)
		code   string
		says   string // of the problem, or the refusal
	}{
		{name: "both ways", have: []*accounts.Schema{low, high}},
		{name: "before there is a higher version", have: []*accounts.Schema{low}},
		{name: "to protobuf", have: []*accounts.Schema{low, record(t, "2.0.0", cents1st, schema.Draft)}},
		{name: "a sample that is none", have: []*accounts.Schema{low, high}, says: "the sample is no payload of 1.0.0: /amount: maximum",
			change: func(s *mapping.Spec) { s.Samples.Low[0] = json.RawMessage(`{"amount":101}`) }},
		{name: "what it becomes is none", have: []*accounts.Schema{low, high}, says: "what it becomes is no payload of 2.0.0: ",
			change: func(s *mapping.Spec) { s.Samples.Low[0] = json.RawMessage(`{"amount":1,"note":"x"}`) }},
		{name: "a retired version judges nothing", have: []*accounts.Schema{low, record(t, "2.0.0", cents, schema.Retired)},
			change: func(s *mapping.Spec) { s.Samples.Low[0] = json.RawMessage(`{"amount":1,"note":"x"}`) }},
		{name: "not lossless", have: []*accounts.Schema{low, high}, says: "claims to be lossless",
			change: func(s *mapping.Spec) {
				s.Down = []mapping.Step{{Op: mapping.Remove, At: "/stake"}, {Op: mapping.Default, At: "/amount", Value: json.RawMessage(`1`)}}
			}},
		{name: "no expression for the sample", have: []*accounts.Schema{low, high}, says: "no such key",
			change: func(s *mapping.Spec) {
				s.Up = append(s.Up, mapping.Step{Op: mapping.Compute, At: "/x", CEL: "payload.nothing"})
				s.Down = []mapping.Step{}
			}},
		{name: "no flag", change: func(s *mapping.Spec) { s.Flag = "" }, code: "mapping_flag", says: "no name of a flag"},
		{name: "no sample", change: func(s *mapping.Spec) { s.Samples.High = nil }, code: "mapping_samples", says: "at least one"},
		{name: "no mapping", change: func(s *mapping.Spec) { s.Up[0].Op = "x" }, code: "mapping_op", says: "up[0]"},
	} {
		s := toCents()
		if c.change != nil {
			c.change(s)
		}
		_, samples, err := registry.Try(c.have, "bet.placed", 1, 2, s)
		if codeOf(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		said := ""
		for _, one := range samples {
			said += strings.Join(one.Problems, "; ")
		}
		if err != nil {
			said = err.Error()
		}
		if (said == "") != (c.says == "") || !strings.Contains(said, c.says) {
			t.Errorf("%s: %q", c.name, said)
		}
	}
	if _, _, err := registry.Try(nil, "bet.placed", 2, 2, toCents()); fault.CodeOf(err) != "mapping_majors" {
		t.Error(err)
	}
}

func TestTryShowsWhatBecomesOfSamples(t *testing.T) {
	_, samples, err := registry.Try([]*accounts.Schema{record(t, "1.0.0", amount, schema.Active)}, "bet.placed", 1, 2, toCents())
	if err != nil || len(samples) != 2 {
		t.Fatalf("%+v, %v", samples, err)
	}
	up, down := samples[0], samples[1]
	if up.Direction != mapping.Up || up.From != "1.0.0" || up.To != "" || string(up.Out) != `{"stake":1200}` || string(down.Out) != `{"amount":12}` || down.To != "1.0.0" {
		t.Errorf("%+v\n%+v", up, down)
	}
}

func TestBeside(t *testing.T) {
	first := record(t, "1.0.0", amount, schema.Active)
	draft := record(t, "3.0.0", amount, schema.Draft)
	mapped := &accounts.Mapping{Subject: "bet.placed", Low: 1, High: 2, Text: []byte("{}")}
	for _, c := range []struct {
		name    string
		have    []*accounts.Schema
		maps    []*accounts.Mapping
		version string
		alive   func(*accounts.Schema) bool
		code    string
		found   bool
	}{
		{"alone", nil, nil, "1.0.0", registry.NotRetired, "", false},
		{"the same major", []*accounts.Schema{first}, nil, "1.1.0", registry.NotRetired, "", false},
		{"another one, unmapped", []*accounts.Schema{first}, nil, "2.0.0", registry.NotRetired, "schema_major", false},
		{"another one, mapped", []*accounts.Schema{first}, []*accounts.Mapping{mapped}, "2.0.0", registry.NotRetired, "", true},
		{"the lower one too", []*accounts.Schema{record(t, "2.0.0", amount, schema.Active)}, []*accounts.Mapping{mapped}, "1.1.0", registry.NotRetired, "", true},
		{"a mapping that is gone", []*accounts.Schema{first}, []*accounts.Mapping{{Subject: "bet.placed", Low: 1, High: 2}}, "2.0.0", registry.NotRetired, "schema_major", false},
		{"of another type", []*accounts.Schema{first}, []*accounts.Mapping{{Subject: "bet.won", Low: 1, High: 2, Text: []byte("{}")}}, "2.0.0", registry.NotRetired, "schema_major", false},
		{"after the end of the first", []*accounts.Schema{record(t, "1.0.0", amount, schema.Retired)}, nil, "2.0.0", registry.NotRetired, "", false},
		{"a third one", []*accounts.Schema{first, draft}, []*accounts.Mapping{mapped}, "2.0.0", registry.NotRetired, "schema_majors", false},
		{"a draft does not live", []*accounts.Schema{first, draft}, []*accounts.Mapping{mapped}, "2.0.0", (*accounts.Schema).Accepts, "", true},
	} {
		m, err := registry.Beside(c.have, c.maps, document(t, c.version, amount), c.alive)
		if codeOf(err) != c.code || (m != nil) != c.found {
			t.Errorf("%s: %+v, %v", c.name, m, err)
		}
		if c.code == "schema_major" && !strings.Contains(err.Error(), "weft schema map TENANT bet.placed 1 2") {
			t.Errorf("%s: no way out: %v", c.name, err)
		}
	}
}
