package event_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/event"
)

// folder holds public test data; WEFT_VECTORS names it.
func folder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS is not set: it names the folder with real-events.ndjson and vectors/")
	}
	return dir
}

// JSONTestSuite: what must not parse is refused as syntax, what must parse is not, alone and inside a payload.
// Duplicate member names are valid there and refused here.
func TestJSONTestSuite(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(folder(t), "vectors", "json-parsing", "*.json"))
	if err != nil || len(files) < 300 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	const before = `{"event_id":"e","event_type":"t","schema_version":"1.0.0","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"u"},"payload":{"x":`
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		for where, input := range map[string][]byte{"alone": text, "in a payload": []byte(before + string(text) + "}}")} {
			var e event.Event
			got, _ := errors.AsType[*event.Error](event.Decode(input, &e))
			refused := got != nil && got.Syntax
			duplicate := refused && got.Code == event.CodeDuplicateKey && strings.Contains(name, "duplicated_key")
			switch {
			case name[0] == 'n' && !refused:
				t.Errorf("%s %s: got %v, want a syntax error", name, where, got)
			case name[0] == 'y' && refused && !duplicate:
				t.Errorf("%s %s: got %v, want no syntax error", name, where, got)
			case name[0] == 'y' && where != "alone" && !duplicate && got != nil:
				t.Errorf("%s %s: got %v", name, where, got)
			}
			if _, err := event.Digest(input); (err == nil) != (!refused && (got == nil || got.Code != event.CodeNotObject)) {
				t.Errorf("%s %s: Decode says %v, Digest %v", name, where, got, err)
			}
		}
	}
}

func TestRealEvents(t *testing.T) {
	body, err := os.ReadFile(filepath.Join(folder(t), "real-events.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimRight(body, "\n"), []byte{'\n'})
	if len(lines) != 449 {
		t.Fatalf("%d events", len(lines))
	}
	fromLines, err := event.DecodeLines(body, event.Limits{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	fromArray, err := event.DecodeArray(append(append([]byte{'['}, bytes.Join(lines, []byte(",\n"))...), ']'), event.Limits{}, nil)
	if err != nil || len(fromLines) != len(lines) || len(fromArray) != len(lines) {
		t.Fatalf("%d and %d of %d events, %v", len(fromLines), len(fromArray), len(lines), err)
	}
	for i, line := range lines {
		var e event.Event
		if err := event.Decode(line, &e); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
		for where, r := range map[string]event.Result{"alone": {Event: e}, "lines": fromLines[i], "array": fromArray[i]} {
			if r.Err != nil || !bytes.Equal(r.Event.Raw, line) || !equal(r.Event, e) {
				t.Errorf("event %d, %s: %v", i, where, r.Err)
			}
		}
		if id, ok := event.Lookup(line, "/event_id"); !ok || id != e.ID {
			t.Errorf("event %d: id %q, looked up %q", i, e.ID, id)
		}
		if _, err := event.Digest(line); err != nil {
			t.Errorf("event %d: digest %v", i, err)
		}
	}
}
