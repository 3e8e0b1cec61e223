package event_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/event"
)

// tape records what it is shown.
type tape struct {
	refuse bool
	body   []byte
	lines  []string
	tokens []string
}

func (v *tape) Payload(index int, body, eventType, version []byte) bool {
	v.body, v.tokens = body, nil
	v.lines = append(v.lines, fmt.Sprintf("%d %s %s", index, eventType, version))
	return !v.refuse
}

func (v *tape) Token(_ jsontext.Kind, start, end int) {
	v.tokens = append(v.tokens, string(v.body[start:end]))
}

func (v *tape) End(start, end int) {
	v.lines = append(v.lines, strings.Join(v.tokens, " "), string(v.body[start:end]))
}

const visited = `{"event_id":"e", "event_type":"a.b","schema_version":"1.0.0" ,"occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"u"}, "payload" : { "x" : [ 1 , "s\"", {} ] , "y":null}}`

// Wherever the payload stands and in whatever batch, the visitor sees the same.
func TestVisitor(t *testing.T) {
	before := strings.Replace(visited, `"event_id":"e", `, `"payload": { "x" : [ 1 , "s\"", {} ] , "y":null} ,"event_id":"e",`, 1)
	before = before[:strings.LastIndex(before, `, "payload" `)] + "}"
	const tokens, payload = `{ "x" [ 1 "s\"" { } ] "y" null }`, `{ "x" : [ 1 , "s\"", {} ] , "y":null}`
	for name, decode := range map[string]func(event.Reader, string) (int, error){
		"one": func(r event.Reader, one string) (int, error) {
			var e event.Event
			return 1, r.Decode([]byte(one), &e)
		},
		"array": func(r event.Reader, one string) (int, error) {
			results, err := r.DecodeArray([]byte("[ "+one+" , "+one+"]"), nil)
			return len(results), err
		},
		"lines": func(r event.Reader, one string) (int, error) {
			results, err := r.DecodeLines([]byte(one+"\n\n"+one), nil)
			return len(results), err
		},
	} {
		for order, one := range map[string]string{"after": visited, "before": before} {
			v := &tape{}
			n, err := decode(event.Reader{Visitor: v}, one)
			if err != nil {
				t.Fatal(name, order, err)
			}
			var want []string
			for i := range n {
				want = append(want, fmt.Sprintf("%d a.b 1.0.0", i), tokens, payload)
			}
			if got := strings.Join(v.lines, "\n"); got != strings.Join(want, "\n") {
				t.Errorf("%s, payload %s the type: got\n%s\nwant\n%s", name, order, got, strings.Join(want, "\n"))
			}
			v = &tape{refuse: true}
			if _, err := decode(event.Reader{Visitor: v}, one); err != nil || len(v.lines) != n || v.tokens != nil {
				t.Errorf("%s: a visitor that wants nothing was shown %q", name, v.lines)
			}
		}
	}
}

func TestVisitorSeesNothing(t *testing.T) {
	for name, raw := range map[string]string{
		"of another type":      strings.Replace(visited, `{ "x" : [ 1 , "s\"", {} ] , "y":null}`, "7", 1),
		"without a version":    strings.Replace(visited, "schema_version", "other", 1),
		"with a wrong version": strings.Replace(visited, `"1.0.0"`, `"one"`, 1),
	} {
		v := &tape{}
		var e event.Event
		if err := (event.Reader{Visitor: v}).Decode([]byte(raw), &e); err == nil || len(v.lines) > 0 {
			t.Errorf("a payload %s: %v, shown %q", name, err, v.lines)
		}
	}
	v := &tape{}
	var e event.Event
	broken := strings.Replace(visited, `"y":null`, `"y":nul`, 1)
	if err := (event.Reader{Visitor: v}).Decode([]byte(broken), &e); err == nil || len(v.lines) != 1 {
		t.Errorf("a payload that is no JSON: %v, shown %q", err, v.lines)
	}
}

// The visitor's pass reads real events no other than the plain one, and loses no token.
func TestVisitorOnReference(t *testing.T) {
	v := &tape{}
	var e, plain event.Event
	raw := reference(t)
	if err := (event.Reader{Visitor: v}).Decode(raw, &e); err != nil {
		t.Fatal(err)
	}
	if err := event.Decode(raw, &plain); err != nil || fmt.Sprint(e) != fmt.Sprint(plain) {
		t.Errorf("got %v, want %v", e, plain)
	}
	payload := raw[bytes.Index(raw, []byte(`"payload":`))+len(`"payload":`) : len(raw)-1]
	compact := strings.NewReplacer(" ", "", ":", "", ",", "").Replace
	if got := compact(v.lines[1]); got != compact(string(payload)) {
		t.Errorf("got %s", got)
	}
}

// watched records all that a watcher is shown.
type watched struct {
	body   []byte
	events [][]string
}

func (w *watched) Event(index int, body []byte) {
	w.body = body
	w.events = append(w.events, []string{fmt.Sprint(index)})
}

func (w *watched) Next(kind jsontext.Kind, start, end int) {
	last := &w.events[len(w.events)-1]
	text := string(w.body[start:end])
	if text[0] != byte(kind) && !(kind == jsontext.KindNumber && strings.Trim(text, "-0123456789.eE+") == "") {
		text = "kind " + kind.String() + " of " + text
	}
	*last = append(*last, text)
}

// A watcher is shown every token of every event, wherever it stands, and once.
func TestWatcher(t *testing.T) {
	const one = `{ "event_id":"e\u0031", "payload" : { "x" : [ 1 , "s\"", {} ] , "y":null},"event_type":"a.b","schema_version":"1.0.0" ,"occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"u","x":[true]}, ` +
		`"source_seq": 7,"source_epoch":1 ,"ctx":{"geo" :"DE"},"other":-1.5e3 , "more" : [ ] }`
	want := strings.Fields(`{ "event_id" "e\u0031" "payload" { "x" [ 1 "s\"" { } ] "y" null } "event_type" "a.b" "schema_version" "1.0.0" "occurred_at" "2026-01-31T12:00:00Z" "key" { "user_id" "u" "x" [ true ] } ` +
		`"source_seq" 7 "source_epoch" 1 "ctx" { "geo" "DE" } "other" -1.5e3 "more" [ ] }`)
	check := func(name string, w *watched, n int, err error) {
		t.Helper()
		if err != nil || len(w.events) != n {
			t.Fatalf("%s: %d events, %v", name, len(w.events), err)
		}
		for i, got := range w.events {
			if got[0] != fmt.Sprint(i) || strings.Join(got[1:], " ") != strings.Join(want, " ") {
				t.Errorf("%s: got %q\nwant %q", name, got, want)
			}
		}
	}
	for _, v := range []event.Visitor{nil, &tape{}, &tape{refuse: true}} {
		var e event.Event
		w := &watched{}
		err := event.Reader{Watcher: w, Visitor: v}.Decode([]byte(one), &e)
		check("one", w, 1, err)
		w = &watched{}
		_, err = event.Reader{Watcher: w, Visitor: v}.DecodeArray([]byte("["+one+" , "+one+"]"), nil)
		check("array", w, 2, err)
		w = &watched{}
		_, err = event.Reader{Watcher: w, Visitor: v}.DecodeLines([]byte(one+"\n\n"+one), nil)
		check("lines", w, 2, err)
	}
}

// An event has its payload's bytes.
func TestPayload(t *testing.T) {
	var e event.Event
	if err := event.Decode([]byte(visited), &e); err != nil || string(e.Payload) != `{ "x" : [ 1 , "s\"", {} ] , "y":null}` || cap(e.Payload) != len(e.Payload) {
		t.Errorf("%s, %v", e.Payload, err)
	}
	if err := event.Decode([]byte(strings.Replace(visited, `{ "x" : [ 1 , "s\"", {} ] , "y":null}`, "[]", 1)), &e); err == nil || e.Payload != nil {
		t.Errorf("%s, %v", e.Payload, err)
	}
}
