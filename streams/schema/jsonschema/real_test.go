package jsonschema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// infer is the closed schema of a value: every member is required, strings of a kind have a bound.
func infer(v any) map[string]any {
	switch v := v.(type) {
	case nil:
		return map[string]any{"type": "null"}
	case bool:
		return map[string]any{"type": "boolean"}
	case string:
		return map[string]any{"type": "string", "maxLength": 1 << 16}
	case []any:
		var branches []any
		seen := map[string]bool{}
		for _, e := range v {
			s := infer(e)
			text, _ := json.Marshal(s)
			if !seen[string(text)] {
				seen[string(text)] = true
				branches = append(branches, s)
			}
		}
		if len(branches) == 0 {
			return map[string]any{"type": "array"}
		}
		return map[string]any{"type": "array", "items": map[string]any{"anyOf": branches}}
	case map[string]any:
		properties := map[string]any{}
		for name, e := range v {
			properties[name] = infer(e)
		}
		return map[string]any{"type": "object", "properties": properties, "required": append([]string{}, slices.Sorted(maps.Keys(v))...), "additionalProperties": false}
	default:
		return map[string]any{"type": "number"}
	}
}

// provider is one schema for as many real events of a provider as give it size bytes, as providers publish them: oneOf
// over definitions, each closed; and the payloads that it describes.
func provider(tb testing.TB, size int) (schema []byte, payloads [][]byte) {
	tb.Helper()
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		tb.Skip("WEFT_VECTORS is not set: it names the folder with real-events.ndjson")
	}
	defs, branches, total := map[string]any{}, []any{}, 0
	types := map[string]bool{}
	for line := range bytes.Lines(read(tb, filepath.Join(dir, "real-events.ndjson"))) {
		var e struct {
			Type    string          `json:"event_type"`
			Payload json.RawMessage `json:"payload"`
		}
		var payload map[string]any
		if json.Unmarshal(line, &e) != nil || json.Unmarshal(e.Payload, &payload) != nil {
			tb.Fatalf("%s", line)
		}
		if types[e.Type] || len(e.Payload) > 12_000 {
			continue
		}
		s := infer(payload)
		text, _ := json.Marshal(s)
		if total += len(text); total > size {
			break
		}
		types[e.Type] = true
		name := fmt.Sprintf("e%d", len(branches))
		defs[name] = s
		branches = append(branches, map[string]any{"$ref": "#/$defs/" + name})
		payloads = append(payloads, e.Payload)
	}
	schema, err := json.Marshal(map[string]any{"type": "object", "anyOf": branches, "$defs": defs})
	if err != nil {
		tb.Fatal(err)
	}
	return schema, payloads
}

// Real events are valid under a schema of 100 KB that describes them, and not when a member is added deep inside.
func TestProviderSchema(t *testing.T) {
	schema, payloads := provider(t, 100_000)
	s := compile(t, string(schema))
	if yes, why := s.Streaming(); !yes || len(payloads) < 5 {
		t.Fatalf("streaming %v %s, %d payloads", yes, why, len(payloads))
	}
	for _, p := range payloads {
		if v, err := s.Validate(p); err != nil || v != nil {
			t.Errorf("got %v, %v", v, err)
		}
		at := bytes.LastIndexByte(p[:len(p)-1], '}')
		wrong := slices.Concat(p[:at], []byte(`,"not_there":1`), p[at:])
		if v, err := s.Validate(wrong); err == nil && v == nil {
			t.Error("a member that the schema does not know was taken")
		}
	}
}

// BenchmarkProvider is the check of a real body of about 7 KB: against its own schema, and against one of 100 KB with
// a branch for each event. Parsing is in both.
func BenchmarkProvider(b *testing.B) {
	schema, payloads := provider(b, 100_000)
	body := slices.MinFunc(payloads, func(p, q []byte) int { return abs(len(p)-7000) - abs(len(q)-7000) })
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		b.Fatal(err)
	}
	one, err := json.Marshal(infer(value))
	if err != nil {
		b.Fatal(err)
	}
	for name, doc := range map[string][]byte{"own": one, "100KB": schema} {
		s := compile(b, string(doc))
		for way, check := range map[string]func([]byte) ([]jsonschema.Violation, error){"program": s.Validate, "library": s.ValidateDecoded} {
			b.Run(fmt.Sprintf("%s/%s", name, way), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if v, err := check(body); err != nil || v != nil {
						b.Fatal(v, err)
					}
				}
			})
		}
	}
	empty := compile(b, `{}`)
	b.Run("parse alone", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			if _, err := empty.Validate(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func abs(n int) int { return max(n, -n) }
