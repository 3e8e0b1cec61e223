package jsonschema_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// gate checks payloads as the relay does: while they are decoded.
type gate struct {
	schema *jsonschema.Schema
	run    *jsonschema.Run
	bad    []jsonschema.Violation
	seen   int
}

func (g *gate) Payload(_ int, body, _, _ []byte) bool {
	g.run = g.schema.Begin(body)
	return true
}

func (g *gate) Token(kind jsontext.Kind, start, end int) { g.run.Token(kind, start, end) }

func (g *gate) End(start, end int) {
	g.bad = append(g.bad, g.run.End(start, end)...)
	g.seen++
}

func compile(tb testing.TB, text string) *jsonschema.Schema {
	tb.Helper()
	s, err := jsonschema.Compile([]byte(text), jsonschema.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.TrimSpace(text)
}

// BenchmarkParts are the parts of the stage that package gate measures, to compare in one run: decoding alone, checking alone, and the library.
func BenchmarkParts(b *testing.B) {
	raw := read(b, "../../event/testdata/reference.json")
	s := compile(b, string(read(b, "testdata/bet.schema.json")))
	at := bytes.Index(raw, []byte(`"payload":`)) + len(`"payload":`)
	payload := raw[at : len(raw)-1]
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		var e event.Event
		for b.Loop() {
			if err := event.Decode(raw, &e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode+check", func(b *testing.B) {
		g := &gate{schema: s}
		b.ReportAllocs()
		var e event.Event
		for b.Loop() {
			if err := (event.Reader{Visitor: g}).Decode(raw, &e); err != nil || g.bad != nil {
				b.Fatal(err, g.bad)
			}
		}
	})
	b.Run("payload", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v, err := s.Validate(payload); err != nil || v != nil {
				b.Fatal(v, err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v, err := s.ValidateDecoded(payload); err != nil || v != nil {
				b.Fatal(v, err)
			}
		}
	})
}
