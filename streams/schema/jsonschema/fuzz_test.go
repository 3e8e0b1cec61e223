package jsonschema_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// seeds are pairs of a schema and a document, one a line, that together use every keyword.
func seeds(tb testing.TB) [][2]string {
	tb.Helper()
	var pairs [][2]string
	for line := range bytes.Lines(read(tb, "testdata/seeds.ndjson")) {
		var pair struct {
			Schema json.RawMessage
			Values []json.RawMessage
		}
		if err := json.Unmarshal(line, &pair); err != nil {
			tb.Fatal(err)
		}
		for _, v := range pair.Values {
			pairs = append(pairs, [2]string{string(pair.Schema), string(v)})
		}
	}
	return pairs
}

// FuzzDifferential holds the program to the library's verdict, on any schema that is admitted and any value.
func FuzzDifferential(f *testing.F) {
	for _, pair := range seeds(f) {
		f.Add(pair[0], pair[1])
	}
	if dir := os.Getenv("WEFT_VECTORS"); dir != "" {
		files, _ := filepath.Glob(filepath.Join(dir, "vectors", "json-schema", "tests", "draft*", "*.json"))
		for _, file := range files {
			var groups []suiteGroup
			text, err := os.ReadFile(file)
			if err != nil || json.Unmarshal(text, &groups) != nil {
				f.Fatal(file, err)
			}
			for _, g := range groups {
				for _, c := range g.Tests {
					f.Add(string(g.Schema), string(c.Data))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, schema, value string) {
		s, err := jsonschema.Compile([]byte(schema), jsonschema.Options{MaxBytes: 4096})
		if err != nil {
			return
		}
		got, err := s.Validate([]byte(value))
		if err != nil {
			return
		}
		want, err := s.ValidateDecoded([]byte(value))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range append(got, want...) {
			if v.Rule == "number" || v.Rule == "steps" {
				return // limits of one way alone
			}
		}
		if (len(got) == 0) != (len(want) == 0) {
			t.Errorf("schema %s\nvalue %s\nprogram %v\nlibrary %v", schema, value, got, want)
		}
	})
}

// FuzzCompile: no document ends the process, and what is admitted can be used.
func FuzzCompile(f *testing.F) {
	for _, pair := range seeds(f) {
		f.Add([]byte(pair[0]))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := jsonschema.Compile(doc, jsonschema.Options{MaxBytes: 4096})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		for _, value := range []string{`{"a":{"a":[{"a":null}]}}`, `[[1,"x",[true]]]`, `1e3`, `"x"`} {
			if _, err := s.Validate([]byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
