package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/event"
)

// vector is one input of testdata, with what is read of it or why it is refused.
type vector struct {
	Name   string `json:"name"`
	Text   string `json:"raw"`
	Base64 []byte `json:"raw_base64"`

	Want *struct {
		ID            string    `json:"id"`
		Type          string    `json:"type"`
		SchemaVersion string    `json:"schema_version"`
		OccurredAt    time.Time `json:"occurred_at"`
		UserID        string    `json:"user_id"`
		SourceSeq     uint64    `json:"source_seq"`
		HasSourceSeq  bool      `json:"has_source_seq"`
		SourceEpoch   uint64    `json:"source_epoch"`
	} `json:"want"`

	Code    string `json:"code"`
	Pointer string `json:"pointer"`
	Syntax  bool   `json:"syntax"`
}

func (v *vector) raw() []byte {
	if v.Base64 != nil {
		return v.Base64
	}
	return []byte(v.Text)
}

func (v *vector) event() event.Event {
	w := v.Want
	return event.Event{
		ID: w.ID, Type: w.Type, SchemaVersion: w.SchemaVersion, OccurredAt: w.OccurredAt, UserID: w.UserID,
		SourceSeq: w.SourceSeq, HasSourceSeq: w.HasSourceSeq, SourceEpoch: w.SourceEpoch, Raw: trim(v.raw()),
	}
}

func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n") }

func vectors(tb testing.TB, file string) (vs []vector) {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err == nil {
		err = json.Unmarshal(text, &vs)
	}
	if err != nil || len(vs) == 0 {
		tb.Fatalf("%s: %d vectors, %v", file, len(vs), err)
	}
	return vs
}

func equal(a, b event.Event) bool {
	return a.ID == b.ID && a.Type == b.Type && a.SchemaVersion == b.SchemaVersion && a.OccurredAt.Equal(b.OccurredAt) &&
		a.OccurredAt.Location() == time.UTC && a.UserID == b.UserID && a.SourceSeq == b.SourceSeq &&
		a.HasSourceSeq == b.HasSourceSeq && a.SourceEpoch == b.SourceEpoch && bytes.Equal(a.Raw, b.Raw)
}

func TestGoodEvents(t *testing.T) {
	for _, v := range vectors(t, "good.json") {
		t.Run(v.Name, func(t *testing.T) {
			raw := v.raw()
			var e event.Event
			if err := event.Decode(raw, &e); err != nil {
				t.Fatal(err)
			}
			if want := v.event(); !equal(e, want) {
				t.Errorf("got  %+v\nwant %+v", e, want)
			}
			if &e.Raw[0] != &raw[bytes.IndexByte(raw, '{')] || cap(e.Raw) != len(e.Raw) {
				t.Error("Raw is no slice of the input that ends where the event does")
			}
			if _, err := event.Digest(raw); err != nil {
				t.Errorf("digest: %v", err)
			}
			array := append(append([]byte("[ "), raw...), " ]"...)
			results, err := event.DecodeArray(array, event.Limits{}, nil)
			if err != nil || len(results) != 1 || results[0].Err != nil || !equal(results[0].Event, v.event()) {
				t.Errorf("in an array: %+v, %v", results, err)
			}
		})
	}
}

func TestBadEvents(t *testing.T) {
	for _, v := range vectors(t, "bad.json") {
		t.Run(v.Name, func(t *testing.T) {
			var e event.Event
			err := event.Decode(v.raw(), &e)
			got, ok := errors.AsType[*event.Error](err)
			if !ok {
				t.Fatalf("got %v, want code %s", err, v.Code)
			}
			checkRefusal(t, got, &v)
			if v.Syntax && (e.ID != "" || e.Raw != nil) {
				t.Errorf("something was read of no JSON: %+v", e)
			}
		})
	}
}

func checkRefusal(t *testing.T, got *event.Error, v *vector) {
	t.Helper()
	if got.Code != v.Code || got.Pointer != v.Pointer || got.Syntax != v.Syntax {
		t.Errorf("got code %q at %q, syntax %v; want %q at %q, syntax %v (%s)", got.Code, got.Pointer, got.Syntax, v.Code, v.Pointer, v.Syntax, got.Detail)
	}
	if !jsontext.Pointer(got.Pointer).IsValid() {
		t.Errorf("%q is no JSON pointer", got.Pointer)
	}
	if got.Detail == "" || len(got.Detail) > 200 || strings.ContainsAny(got.Detail, "\r\n") || strings.Contains(got.Detail, "s3cret") {
		t.Errorf("detail %q", got.Detail)
	}
	if got.Syntax && !strings.Contains(got.Detail, "line ") {
		t.Errorf("detail %q does not say where", got.Detail)
	}
	if text := got.Error(); !strings.Contains(text, got.Code) || !strings.Contains(text, got.Detail) {
		t.Errorf("text %q", text)
	}
}

// A refusal for content keeps what is valid, so that the answer can name the event; nothing else.
func TestRefusedEventKeepsWhatIsValid(t *testing.T) {
	raw := []byte(`{"event_id":"e-1","event_type":"Not A Type","payload":{},"key":{"user_id":7}}`)
	var e event.Event
	if err := event.Decode(raw, &e); err == nil {
		t.Fatal("accepted")
	}
	if e.ID != "e-1" || e.Type != "" || e.UserID != "" || !bytes.Equal(e.Raw, raw) {
		t.Errorf("got %+v", e)
	}
}

// An Event used before holds nothing of before.
func TestDecodeOverwrites(t *testing.T) {
	e := event.Event{ID: "old", SourceSeq: 7, HasSourceSeq: true, SourceEpoch: 9, UserID: "old"}
	v := vectors(t, "good.json")[0]
	if err := event.Decode(v.raw(), &e); err != nil || !equal(e, v.event()) {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestPointerIsBounded(t *testing.T) {
	long := strings.Repeat("n", 300)
	for raw, want := range map[string]string{
		`{"x":{"` + long + `":{"a":1,"a":2}}}`: "/x",
		`{"` + long + `":1e999}`:               "",
		`{"x":{"y~/z":{"a":1,"a":2}}}`:         "/x/y~0~1z/a",
	} {
		var e event.Event
		got, ok := errors.AsType[*event.Error](event.Decode([]byte(raw), &e))
		if !ok || got.Pointer != want {
			t.Errorf("%.20s…: %v, want pointer %q", raw, got, want)
		}
	}
}

func TestPosition(t *testing.T) {
	var e event.Event
	err := event.Decode([]byte("{\n  \"event_id\": \"e\",\n  \"x\": nul\n}"), &e)
	got, ok := errors.AsType[*event.Error](err)
	if !ok || !strings.Contains(got.Detail, "at line 3, column 11 (byte offset 31)") {
		t.Errorf("got %v", err)
	}
}

// The decoders are pooled: one call must never see another's buffers.
func TestConcurrentUse(t *testing.T) {
	good, bad := vectors(t, "good.json"), vectors(t, "bad.json")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range good {
				var e, ignored event.Event
				if err := event.Decode(good[i].raw(), &e); err != nil {
					t.Errorf("%s: %v", good[i].Name, err)
				}
				if err := event.Decode(bad[i].raw(), &ignored); err == nil {
					t.Errorf("%s: accepted", bad[i].Name)
				}
				if !equal(e, good[i].event()) {
					t.Errorf("%s: changed afterwards: %+v", good[i].Name, e)
				}
			}
		})
	}
	wg.Wait()
}
