package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/subject"
)

func seed(f *testing.F, add func(raw []byte)) {
	f.Helper()
	for _, file := range []string{"good.json", "bad.json"} {
		vs := vectors(f, file)
		for i := range vs {
			add(vs[i].raw())
		}
	}
	add(reference(f))
}

// refusal is err as what every decoder returns, or nil.
func refusal(t *testing.T, err error) *event.Error {
	t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*event.Error](err)
	if !ok || e.Code == "" || e.Detail == "" || len(e.Detail) > 250 || len(e.Pointer) > 256 || !jsontext.Pointer(e.Pointer).IsValid() {
		t.Fatalf("refused with %#v", err)
	}
	return e
}

func checkAccepted(t *testing.T, e *event.Event) {
	t.Helper()
	if !event.ValidID(e.ID) || !subject.ValidType(e.Type) || e.UserID == "" || len(e.UserID) > event.MaxUserIDLen || e.OccurredAt.IsZero() && e.OccurredAt.Year() != 1 {
		t.Errorf("accepted %+v", e)
	}
	if !json.Valid(e.Raw) || !jsontext.Value(e.Raw).IsValid() {
		t.Errorf("accepted %q", e.Raw)
	}
}

func FuzzDecode(f *testing.F) {
	seed(f, func(raw []byte) { f.Add(raw) })
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		var e, again event.Event
		err := refusal(t, event.Decode(raw, &e))
		if !bytes.Equal(raw, before) {
			t.Fatal("the input was changed")
		}
		valid := jsontext.Value(raw).IsValid()
		if !valid && (err == nil || !err.Syntax) {
			t.Fatalf("no JSON, but got %v", err)
		}
		if valid && err != nil && err.Syntax && err.Code != event.CodeDepth && err.Code != event.CodeNumberRange {
			t.Fatalf("JSON, but got %v", err)
		}
		if err != nil {
			return
		}
		checkAccepted(t, &e)
		if !bytes.Equal(e.Raw, trim(raw)) {
			t.Errorf("raw %q", e.Raw)
		}
		if err := event.Decode(e.Raw, &again); err != nil || !equal(e, again) {
			t.Errorf("read again: %+v, %v", again, err)
		}
		sum, err1 := event.Digest(raw)
		if own, err2 := e.Digest(); err1 != nil || err2 != nil || own != sum {
			t.Errorf("digest %x, %v, of the bytes %x, %v", own, err2, sum, err1)
		}
		if id, ok := event.Lookup(raw, "/event_id"); !ok || id != e.ID {
			t.Errorf("id %q, looked up %q", e.ID, id)
		}
		if user, ok := event.Lookup(raw, "/key/user_id"); !ok || user != e.UserID {
			t.Errorf("user %q, looked up %q", e.UserID, user)
		}
	})
}

// An array gives each event as it is alone.
func FuzzDecodeArray(f *testing.F) {
	seed(f, func(raw []byte) { f.Add(append(append([]byte("["), raw...), ']')) })
	f.Add(array(envelope("0"), envelope("1"), `{}`, `7`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		limits := event.Limits{MaxEventBytes: 1 << 10, MaxEvents: 8}
		results, err := event.DecodeArray(body, limits, nil)
		if !bytes.Equal(body, before) {
			t.Fatal("the input was changed")
		}
		if whole := refusal(t, err); whole != nil {
			if len(results) != 0 {
				t.Fatalf("refused with %d results", len(results))
			}
			if whole.Code == event.CodeSyntax && jsontext.Value(body).IsValid() {
				t.Fatalf("JSON, but got %v", whole)
			}
			return
		}
		if !jsontext.Value(body).IsValid() || len(results) == 0 || len(results) > limits.MaxEvents {
			t.Fatalf("accepted with %d results: %q", len(results), body)
		}
		for i := range results {
			checkAlone(t, &results[i], i, limits)
		}
	})
}

func FuzzDecodeLines(f *testing.F) {
	seed(f, func(raw []byte) { f.Add(append(append([]byte("\n"), raw...), "\r\n{}\n"...)) })
	f.Add(lines(envelope("0"), "", envelope("1"), `{}`, `7`))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		limits := event.Limits{MaxEventBytes: 1 << 10, MaxEvents: 8}
		results, err := event.DecodeLines(body, limits, nil)
		if !bytes.Equal(body, before) {
			t.Fatal("the input was changed")
		}
		count := 0
		for line := range bytes.Lines(body) {
			if len(trim(line)) > 0 {
				count++
			}
		}
		if whole := refusal(t, err); whole != nil {
			if len(results) != 0 || count > 0 && count <= limits.MaxEvents {
				t.Fatalf("%d lines refused with %d results: %v", count, len(results), whole)
			}
			return
		}
		if len(results) != count {
			t.Fatalf("%d results of %d lines", len(results), count)
		}
		for i := range results {
			checkAlone(t, &results[i], i, limits)
		}
	})
}

// checkAlone compares a result with Decode of the same bytes.
func checkAlone(t *testing.T, r *event.Result, index int, limits event.Limits) {
	t.Helper()
	if r.Err != nil {
		refusal(t, r.Err)
		if r.Err.Index != index {
			t.Fatalf("event %d is refused as %d", index, r.Err.Index)
		}
		if r.Err.Syntax || r.Err.Code == event.CodeTooLarge {
			return
		}
	}
	var alone event.Event
	err := refusal(t, event.Decode(r.Event.Raw, &alone))
	if (err == nil) != (r.Err == nil) || err != nil && (err.Code != r.Err.Code || err.Pointer != r.Err.Pointer) {
		t.Fatalf("alone %v, in a batch %v", err, r.Err)
	}
	if len(r.Event.Raw) > limits.MaxEventBytes {
		t.Fatalf("%d bytes accepted", len(r.Event.Raw))
	}
	if err == nil {
		checkAccepted(t, &r.Event)
		if !equal(alone, r.Event) {
			t.Fatalf("alone %+v, in a batch %+v", alone, r.Event)
		}
	}
}

// A digest is of the meaning: it survives every other spelling of the same content.
func FuzzDigest(f *testing.F) {
	seed(f, func(raw []byte) { f.Add(raw) })
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		sum, err := event.Digest(raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("the input was changed")
		}
		var e event.Event
		decoded := refusal(t, event.Decode(raw, &e))
		if refused := refusal(t, err); refused != nil {
			if decoded == nil || decoded.Code != refused.Code {
				t.Fatalf("Decode says %v, Digest %v", decoded, refused)
			}
			return
		}
		if decoded != nil && (decoded.Syntax || decoded.Code == event.CodeNotObject) {
			t.Fatalf("Decode says %v, Digest nothing", decoded)
		}
		for _, respell := range []func(*jsontext.Value) error{
			func(v *jsontext.Value) error { return v.Indent() },
			func(v *jsontext.Value) error { return v.Compact() },
			func(v *jsontext.Value) error { return v.Canonicalize(jsontext.CanonicalizeRawInts(false)) },
		} {
			v := jsontext.Value(bytes.Clone(raw))
			if err := respell(&v); err != nil {
				t.Fatal(err)
			}
			if other, err := event.Digest(v); err != nil || other != sum {
				t.Fatalf("%s has another digest (%v)", v, err)
			}
		}
	})
}

// FuzzOccurredAt holds the reading of times to package time's.
func FuzzOccurredAt(f *testing.F) {
	for _, seed := range []string{
		"2026-01-31T18:22:05.123Z", "2024-02-29T23:59:59.999999999Z", "2023-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-12-31T00:00:00+00:00", "2026-01-01T24:00:00Z", "0000-01-01T00:00:00Z",
		"2026-01-01T00:00:60Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567891Z", "2026-13-01T00:00:00Z", "2026-00-10T00:00:00Z", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00,5Z", "2026-1-01T00:00:00.0Z",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		quoted, err := json.Marshal(text)
		if err != nil || strings.ContainsRune(text, utf8.RuneError) {
			return
		}
		var e event.Event
		err = event.Decode([]byte(`{"event_id":"e","event_type":"a","schema_version":"1.0.0","key":{"user_id":"u"},"payload":{},"occurred_at":`+string(quoted)+`}`), &e)
		var want time.Time
		wrong := want.UnmarshalText([]byte(text))
		switch {
		case err == nil && (wrong != nil || !e.OccurredAt.Equal(want)):
			t.Errorf("%q is read as %v, and package time says %v, %v", text, e.OccurredAt, want, wrong)
		case err != nil && wrong == nil && strings.HasSuffix(text, "Z") && len(text) <= event.MaxOccurredAtLen && text[13] == ':' && text[19] != ',':
			t.Errorf("%q is refused: %v", text, err)
		}
	})
}
