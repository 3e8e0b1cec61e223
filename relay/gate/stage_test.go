package gate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

func file(tb testing.TB, path string) []byte {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.TrimSpace(text)
}

// statement is a schema as large providers publish theirs, with 100 KB of definitions, and an event of 7 KB that it
// describes: every object closed, references everywhere, a choice of objects by a constant in each line of it.
func statement(tb testing.TB) (text, raw []byte) {
	tb.Helper()
	type object = map[string]any
	closed := func(properties object) object {
		required := []string{}
		for name := range properties {
			required = append(required, name)
		}
		return object{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	}
	ref := func(name string) object { return object{"$ref": "#/$defs/" + name} }
	str := object{"type": "string", "maxLength": 200}
	defs := object{
		"money":   closed(object{"minor": object{"type": "integer", "minimum": 0, "maximum": 1_000_000_000_000}, "currency": object{"enum": []string{"EUR", "USD", "GBP", "SEK", "PLN"}}}),
		"time":    object{"type": "string", "format": "date-time"},
		"id":      object{"type": "string", "pattern": "^[a-z]{2,8}_[0-9A-Za-z]{8,40}$"},
		"address": closed(object{"line1": str, "line2": object{"anyOf": []any{str, object{"type": "null"}}}, "city": str, "postal_code": str, "country": object{"type": "string", "pattern": "^[A-Z]{2}$"}}),
		"party":   closed(object{"id": ref("id"), "name": str, "address": ref("address"), "since": ref("time")}),
	}
	var kinds []any
	const variants = 40
	for i := range variants {
		name := fmt.Sprintf("line_%02d", i)
		properties := object{"kind": object{"const": name}, "id": ref("id"), "at": ref("time"), "amount": ref("money"), "fee": ref("money"), "payee": ref("party"),
			"memo": object{"type": []string{"string", "null"}, "maxLength": 140, "description": "What the payer wrote; shown on the statement of both, never more than a line of it."}}
		for j := range 12 {
			properties[fmt.Sprintf("detail_%d_%d", i, j)] = object{"type": "string", "maxLength": 64, "description": "One of the details of this kind of line, as the scheme of the payment names it in its own rules."}
		}
		defs[name] = closed(properties)
		kinds = append(kinds, ref(name))
	}
	text, err := json.Marshal(object{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": []string{"account", "lines", "total"}, "additionalProperties": false, "$defs": defs,
		"properties": object{"account": ref("party"), "total": ref("money"), "lines": object{"type": "array", "minItems": 1, "items": object{"oneOf": kinds}}}})
	if err != nil {
		tb.Fatal(err)
	}
	party := func(n int) string {
		return fmt.Sprintf(`{"id":"pt_%08d","name":"Party of the %dth part","address":{"line1":"%d, High Street","line2":null,"city":"Springfield","postal_code":"%05d","country":"DE"},"since":"2020-01-31T12:00:00Z"}`, n, n, n, n)
	}
	var lines []string
	for n := range 10 {
		i := n * 7 % variants
		var details strings.Builder
		for j := range 12 {
			fmt.Fprintf(&details, `,"detail_%d_%d":"%d/%d of this"`, i, j, n, j)
		}
		lines = append(lines, fmt.Sprintf(`{"kind":"line_%02d","id":"ln_%08d","at":"2026-01-31T12:00:0%dZ","amount":{"minor":%d,"currency":"EUR"},"fee":{"minor":0,"currency":"EUR"},"payee":%s,"memo":null%s}`, i, n, n, 100*n, party(n), &details))
	}
	payload := fmt.Sprintf(`{"account":%s,"total":{"minor":2800,"currency":"EUR"},"lines":[%s]}`, party(99), strings.Join(lines, ","))
	return text, []byte(bet("1.0.0", "u-104233", payload))
}

// staged is a pass over events as the intake makes it, with all that a request costs.
func staged(b *testing.B, w *world, body []byte, events int) {
	g, _ := w.gates.Gate("acme", w.state)
	var p gate.Pass
	read := event.Reader{Visitor: &p}
	if g.Ruled() {
		read.Watcher = &p
	}
	results := make([]event.Result, 1)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		p.Begin(g, "acme", nil)
		var err error
		if events == 1 {
			err = read.Decode(body, &results[0].Event)
		} else {
			results, err = read.DecodeArray(body, results[:0])
		}
		if err != nil || len(results) != events {
			b.Fatal(len(results), err)
		}
		for i := range results {
			if v := p.Judge(i, &results[i].Event); v.Refusal != nil || v.Version == nil {
				b.Fatal(v.Refusal)
			}
		}
		p.Done()
		p.Reset()
	}
}

// BenchmarkStageSchema is the hot path's stage from bytes to a verdict, the decoding included: the reference event of 454
// bytes, whose payload has a closed schema with references, patterns, enums and bounds; the same under rules for fields
// too; and an event of 7 KB under a schema of 100 KB.
func BenchmarkStageSchema(b *testing.B) {
	raw := file(b, "../../streams/event/testdata/reference.json")
	array := append([]byte{'['}, bytes.Repeat(append(bytes.Clone(raw), ','), 100)...)
	array[len(array)-1] = ']'
	w := newWorld(b)
	w.put("acme", "bet.placed", "1.2.0", schema.Active, schema.JSONSchema, string(file(b, "../../streams/schema/jsonschema/testdata/bet.schema.json")))
	w.follow()
	b.Run("event", func(b *testing.B) { staged(b, w, raw, 1) })
	b.Run("array100", func(b *testing.B) { staged(b, w, array, 100) })
	w.rules(rule.Set{BlockedFields: []string{"payload.**.card_number", "payload.ssn", "ctx.email"}, RequiredFields: []string{"source_seq", "payload.selections.event"}})
	w.follow()
	b.Run("ruled", func(b *testing.B) { staged(b, w, raw, 1) })
	text, big := statement(b)
	w = newWorld(b)
	w.schema("1.0.0", schema.Active, string(text))
	w.follow()
	b.Run("statement", func(b *testing.B) { staged(b, w, big, 1) })
}

// The large schema is large, is checked in the pass that decodes, and tells what is wrong deep inside.
func TestStatement(t *testing.T) {
	text, raw := statement(t)
	w := newWorld(t)
	w.schema("1.0.0", schema.Active, string(text))
	w.follow()
	if len(text) < 90_000 || len(raw) < 6_000 {
		t.Errorf("%d and %d bytes", len(text), len(raw))
	}
	w.expect("fine", string(raw), "bet.placed@1.0.0")
	w.expect("deep", strings.Replace(string(raw), `"postal_code":"00003"`, `"postal_code":3`, 1), "schema_violation oneOf/payload/lines/3")
}
