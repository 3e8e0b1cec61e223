package event_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/event"
)

// envelope is a small good event.
func envelope(id string) string {
	return `{"event_id":"` + id + `","event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"u-` + id + `"},"payload":{"amount":1}}`
}

type decodeBatch func([]byte, event.Limits, []event.Result) ([]event.Result, error)

func array(events ...string) []byte { return []byte("[" + strings.Join(events, ",") + "]") }
func lines(events ...string) []byte { return []byte(strings.Join(events, "\n") + "\n") }

func TestBatches(t *testing.T) {
	for name, f := range map[string]struct {
		decode decodeBatch
		build  func(...string) []byte
	}{"array": {event.DecodeArray, array}, "lines": {event.DecodeLines, lines}} {
		t.Run(name, func(t *testing.T) {
			var texts []string
			for i := range 300 {
				texts = append(texts, envelope(strconv.Itoa(i)))
			}
			texts[7] = `{"event_id":"seven"}`
			texts[8] = `["no object"]`
			body := f.build(texts...)
			before := bytes.Clone(body)
			kept := event.Result{Event: event.Event{ID: "kept"}}
			results, err := f.decode(body, event.Limits{}, []event.Result{kept})
			if err != nil || len(results) != 301 || results[0].Event.ID != "kept" {
				t.Fatalf("%d results, %v", len(results), err)
			}
			if !bytes.Equal(before, body) {
				t.Error("the input was changed")
			}
			for i, r := range results[1:] {
				if string(r.Event.Raw) != texts[i] {
					t.Errorf("%d: raw %q", i, r.Event.Raw)
				}
				if i == 7 || i == 8 {
					continue
				}
				if id := strconv.Itoa(i); r.Err != nil || r.Event.ID != id || r.Event.UserID != "u-"+id || r.Event.Type != "bet.placed" {
					t.Errorf("%d: %+v", i, r)
				}
			}
			wantRefused(t, results[8], 7, event.CodeMissingField, "/event_type")
			if results[8].Event.ID != "seven" {
				t.Error("the refused event lost its id")
			}
			wantRefused(t, results[9], 8, event.CodeNotObject, "")
		})
	}
}

func wantRefused(t *testing.T, r event.Result, index int, code, pointer string) {
	t.Helper()
	if r.Err == nil || r.Err.Code != code || r.Err.Pointer != pointer || r.Err.Index != index {
		t.Errorf("got %+v, want %s at %q, event %d", r.Err, code, pointer, index)
	}
}

// Every bad vector gives the same refusal in a batch: for content that event's, for syntax in an array the whole body's.
func TestBadEventsInBatches(t *testing.T) {
	for _, v := range vectors(t, "bad.json") {
		if v.Code == event.CodeTrailingData || len(trim(v.raw())) == 0 {
			continue // only the end of the input tells
		}
		t.Run(v.Name, func(t *testing.T) {
			if !v.Syntax {
				body := array(envelope("0"), string(v.raw()), envelope("2"))
				results, err := event.DecodeArray(body, event.Limits{}, nil)
				if err != nil || len(results) != 3 || results[0].Err != nil || results[2].Err != nil {
					t.Fatalf("%+v, %v", results, err)
				}
				checkRefusal(t, results[1].Err, &v)
				wantRefused(t, results[1], 1, v.Code, v.Pointer)
			} else if !strings.HasPrefix(v.Name, "cut") { // goes on into the next element
				body := array(envelope("0"), string(v.raw()), envelope("2"))
				results, err := event.DecodeArray(body, event.Limits{}, make([]event.Result, 1, 9))
				got, ok := errors.AsType[*event.Error](err)
				if !ok || len(results) != 1 || got.Index != 1 {
					t.Fatalf("%d results, %+v", len(results), got)
				}
				checkRefusal(t, got, &v)
			}
			if bytes.ContainsAny(v.raw(), "\n") {
				return
			}
			results, err := event.DecodeLines(lines(envelope("0"), string(v.raw()), envelope("2")), event.Limits{}, nil)
			if err != nil || len(results) != 3 || results[0].Err != nil || results[2].Err != nil {
				t.Fatalf("%+v, %v", results, err)
			}
			checkRefusal(t, results[1].Err, &v)
			wantRefused(t, results[1], 1, v.Code, v.Pointer)
		})
	}
}

func TestWholeBodyRefused(t *testing.T) {
	one, small := envelope("1"), event.Limits{MaxEvents: 2}
	for _, c := range []struct {
		name   string
		decode decodeBatch
		body   string
		code   string
		syntax bool
		index  int
	}{
		{"nothing", event.DecodeArray, "", event.CodeSyntax, true, 0},
		{"empty array", event.DecodeArray, " [ ] ", event.CodeEmptyBatch, true, 0},
		{"an event", event.DecodeArray, one, event.CodeWrongType, true, 0},
		{"a string", event.DecodeArray, `"x"`, event.CodeWrongType, true, 0},
		{"not closed", event.DecodeArray, "[" + one, event.CodeSyntax, true, 1},
		{"comma before the end", event.DecodeArray, "[" + one + ",]", event.CodeSyntax, true, 1},
		{"comma first", event.DecodeArray, "[," + one + "]", event.CodeSyntax, true, 0},
		{"no comma", event.DecodeArray, "[" + one + one + "]", event.CodeSyntax, true, 1},
		{"wrong bracket", event.DecodeArray, "[" + one + "}", event.CodeSyntax, true, 1},
		{"two arrays", event.DecodeArray, "[" + one + "][" + one + "]", event.CodeTrailingData, true, 1},
		{"too many", event.DecodeArray, "[" + one + "," + one + "," + one + "]", event.CodeTooManyEvents, false, 2},
		{"no lines", event.DecodeLines, "", event.CodeEmptyBatch, true, 0},
		{"blank lines", event.DecodeLines, "\n \r\n\t\n", event.CodeEmptyBatch, true, 0},
		{"too many lines", event.DecodeLines, one + "\n\n" + one + "\n" + one, event.CodeTooManyEvents, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			results, err := c.decode([]byte(c.body), small, make([]event.Result, 3))
			got, ok := errors.AsType[*event.Error](err)
			if !ok || got.Code != c.code || got.Syntax != c.syntax || got.Index != c.index || got.Pointer != "" || got.Detail == "" {
				t.Errorf("got %+v", got)
			}
			if len(results) != 3 {
				t.Errorf("%d results were appended", len(results)-3)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	short, long := envelope("1"), envelope(strings.Repeat("2", 40))
	limits := event.Limits{MaxEventBytes: len(short), MaxEvents: 2}
	for name, f := range map[string]func() ([]event.Result, error){
		"array": func() ([]event.Result, error) { return event.DecodeArray(array(short, long), limits, nil) },
		"lines": func() ([]event.Result, error) { return event.DecodeLines(lines(" "+short+" ", long), limits, nil) },
	} {
		results, err := f()
		if err != nil || len(results) != 2 || results[0].Err != nil {
			t.Fatalf("%s: %+v, %v", name, results, err)
		}
		wantRefused(t, results[1], 1, event.CodeTooLarge, "")
		if results[1].Event.ID == "" {
			t.Errorf("%s: an event that is too large is not named", name)
		}
	}
}

func TestLines(t *testing.T) {
	body := "\r\n" + envelope("0") + "\r\n\n  " + envelope("1") + " \n{\"x\":tru\n" + envelope("3") + envelope("4") + "\n" + envelope("5")
	results, err := event.DecodeLines([]byte(body), event.Limits{}, nil)
	if err != nil || len(results) != 5 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	for _, i := range []int{0, 1, 4} {
		id := []string{"0", "1", "", "", "5"}[i]
		if r := results[i]; r.Err != nil || r.Event.ID != id || string(r.Event.Raw) != envelope(id) {
			t.Errorf("%d: %+v", i, r)
		}
	}
	wantRefused(t, results[2], 2, event.CodeSyntax, "/x")
	wantRefused(t, results[3], 3, event.CodeTrailingData, "")
	if d := results[2].Err.Detail; !strings.Contains(d, "at line 5, column 9 ") {
		t.Errorf("detail %q", d)
	}
	if d := results[3].Err.Detail; !strings.Contains(d, "at line 6, column ") || results[3].Event.ID != "" {
		t.Errorf("detail %q, event %+v", d, results[3].Event)
	}
}

// A batch costs one allocation for the texts of all its events.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	raw, body := reference(t), hundred(t)
	var e event.Event
	if n := testing.AllocsPerRun(100, func() { _ = event.Decode(raw, &e) }); n > 1 {
		t.Errorf("Decode: %v allocations", n)
	}
	var results []event.Result
	if n := testing.AllocsPerRun(100, func() { results, _ = event.DecodeArray(body, event.Limits{}, results[:0]) }); n > 1 {
		t.Errorf("DecodeArray: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = event.Digest(raw) }); n > 0 {
		t.Errorf("Digest: %v allocations", n)
	}
}
