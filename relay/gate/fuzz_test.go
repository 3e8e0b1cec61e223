package gate_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	library "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// FuzzGate holds the gate's verdict on a payload to the library's, wherever the payload stands in its event and in
// whatever batch the event comes.
func FuzzGate(f *testing.F) {
	for line := range bytes.Lines(file(f, "../../streams/schema/jsonschema/testdata/seeds.ndjson")) {
		var pair struct {
			Schema json.RawMessage
			Values []json.RawMessage
		}
		if err := json.Unmarshal(line, &pair); err != nil {
			f.Fatal(err)
		}
		for _, v := range pair.Values {
			f.Add(string(pair.Schema), `{"a":`+string(v)+`}`)
			f.Add(string(pair.Schema), string(v))
		}
	}
	f.Fuzz(func(t *testing.T, text, payload string) {
		s, err := jsonschema.Compile([]byte(text), jsonschema.Options{MaxBytes: 4096})
		one := bet("1.0.0", "u", payload)
		var e event.Event
		if err != nil || strings.ContainsAny(payload, "\r\n") || event.Decode([]byte(one), &e) != nil || string(e.Payload) != strings.Trim(payload, " \t") {
			return
		}
		value, err := library.UnmarshalJSON(strings.NewReader(payload))
		if err != nil {
			t.Fatal(err)
		}
		valid := s.Library().Validate(value) == nil
		w := newWorld(t)
		w.schema("1.0.0", schema.Active, text)
		w.follow()
		first := `{"payload":` + payload + "," + strings.Replace(one, `,"payload":`+payload, "", 1)[1:]
		for _, got := range append(w.judge(one, first, one), w.judgeArray("["+first+","+one+"]")...) {
			if strings.Contains(got, " steps/") || strings.Contains(got, " number/") {
				return // limits of one way alone
			}
			if (got == "bet.placed@1.0.0") != valid {
				t.Fatalf("schema %s\npayload %s\nlibrary: valid %v, gate: %q", text, payload, valid, got)
			}
		}
	})
}

// judgeArray is judge for an array.
func (w *world) judgeArray(body string) []string {
	w.t.Helper()
	g, _ := w.gates.Gate("acme", w.state)
	var p gate.Pass
	p.Begin(g, "acme", nil)
	results, err := event.Reader{Visitor: &p}.DecodeArray([]byte(body), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.verdicts(&p, results)
}
