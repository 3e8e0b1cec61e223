package rule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/schema/rule"
)

// below are the paths under payload.
func below(paths []string) (out []string) {
	for _, p := range paths {
		out = append(out, "payload."+p)
	}
	return out
}

// watch gives the tokens of an event to a run. It says false where the event is no strict JSON.
func watch(r *rule.Run, c *rule.Checker, raw []byte) bool {
	return tokens(r, func() { r.Begin(c, raw) }, raw, 0)
}

// tokens gives those of raw, which begins at an offset of what the run is begun with.
func tokens(r *rule.Run, begin func(), raw []byte, offset int) bool {
	begin()
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return false
		}
		kind, end := token.Kind(), int(d.InputOffset())
		start := end - 1
		if kind == '"' {
			start = int(d.InputOffset()) - quotedLen(raw[:end])
		}
		r.Token(kind, offset+start, offset+end)
		if d.StackDepth() == 0 {
			return true
		}
	}
}

// quotedLen is the length of the JSON string at the end of b.
func quotedLen(b []byte) int {
	for i := len(b) - 2; ; i-- {
		if b[i] != '"' {
			continue
		}
		slashes := 0
		for j := i - 1; j >= 0 && b[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return len(b) - i
		}
	}
}

// names are few, so that paths meet events.
var names = []string{"a", "b", "c", "d/e", "f"}

func paths(t *rapid.T, label string, from []string) []string {
	var out []string
	for range rapid.IntRange(0, 3).Draw(t, label) {
		n := rapid.IntRange(1, 4).Draw(t, "names")
		var parts []string
		for range n {
			parts = append(parts, rapid.SampledFrom(from).Draw(t, "name"))
		}
		out = append(out, strings.Join(parts, "."))
	}
	return out
}

// document draws a JSON value; names may be written with escapes.
func document(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 7).Draw(t, "kind")
	switch {
	case depth > 0 && kind < 4:
		var members []string
		for _, name := range names {
			if rapid.Bool().Draw(t, name) {
				quoted := fmt.Sprintf("%q", name)
				if rapid.IntRange(0, 9).Draw(t, "escape") == 0 {
					quoted = fmt.Sprintf(`"\u%04x%s"`, name[0], name[1:])
				}
				members = append(members, quoted+":"+document(t, depth-1))
			}
		}
		return "{" + strings.Join(members, ",") + "}"
	case depth > 0 && kind < 6:
		var elements []string
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			elements = append(elements, document(t, depth-1))
		}
		return "[" + strings.Join(elements, ", ") + "]"
	default:
		return rapid.SampledFrom([]string{"null", "1", `"a"`, "true"}).Draw(t, "scalar")
	}
}

// A Run breaks exactly where Check finds something, for every set of rules and every event.
func TestRunAgreesWithCheck(t *testing.T) {
	var r rule.Run
	broken, fine := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := rule.Set{BlockedFields: paths(t, "blocked", append([]string{"*", "**"}, names...)), RequiredFields: paths(t, "required", names)}
		c, err := rule.Compile(&s)
		if err != nil {
			return
		}
		for range 4 {
			raw := []byte(document(t, 4))
			found, err := c.Check(raw)
			if err != nil || !watch(&r, c, raw) {
				t.Fatalf("%s: %v", raw, err)
			}
			if r.Broken() != (len(found) > 0) {
				t.Fatalf("%+v\n%s\nbroken %v, found %v", s, raw, r.Broken(), found)
			}
			typed, err := rule.Compile(&rule.Set{Types: map[string]rule.Fields{"t": {BlockedFields: below(s.BlockedFields), RequiredFields: below(s.RequiredFields)}}})
			if err != nil {
				t.Fatal(err)
			}
			if of := typed.Of([]byte("t")); of != nil {
				whole := []byte(`{"payload":` + string(raw) + `}`)
				found, err := of.Check(whole)
				if err != nil || !tokens(&r, func() { r.BeginPayload(of, whole) }, raw, len(`{"payload":`)) || r.Broken() != (len(found) > 0) {
					t.Fatalf("%+v\nas those of a type\n%s\nbroken %v, found %v, %v", s, whole, r.Broken(), found, err)
				}
				watch(&r, c, raw)
			}
			if r.Broken() {
				broken++
			} else {
				fine++
			}
		}
	})
	if broken < 20 || fine < 20 {
		t.Errorf("%d events break rules and %d do not: the test says little", broken, fine)
	}
}

// FuzzRun holds a Run to Check on any JSON, with one set that has all kinds of paths.
func FuzzRun(f *testing.F) {
	for _, seed := range []string{`{"payload":{"ssn":1}}`, `{"payload":{"legs":[{"odds":1},[{"odds":2}]],"x":{"pin":[]}}}`, `{"payload":{"legs":{"odds":null}}}`, `[]`, `{"payload":{"\u0073sn":1,"legs":[]}}`} {
		f.Add(seed)
	}
	c := checker(f, rule.Set{BlockedFields: []string{"payload.**.ssn", "**.a.*.b", "payload.*.pin", "ctx.x"}, RequiredFields: []string{"payload.legs.odds", "payload.legs", "payload.a.b.c"}})
	var r rule.Run
	f.Fuzz(func(t *testing.T, text string) {
		found, err := c.Check([]byte(text))
		if err != nil || !json.Valid([]byte(text)) || !watch(&r, c, []byte(text)) {
			return
		}
		if r.Broken() != (len(found) > 0) {
			t.Errorf("%s: broken %v, found %v", text, r.Broken(), found)
		}
	})
}

// BenchmarkRun is an event of 454 bytes under four paths, without the reading of its tokens.
func BenchmarkRun(b *testing.B) {
	raw := []byte(`{"event_id":"bet-0190f1c2-7d3e-7a10-9c41-5f2b8e6d4a11","event_type":"bet.placed","key":{"user_id":"u-104233"},"source_seq":4711,"ctx":{"session_id":"s-88f1c0a2","platform":"ios"},` +
		`"payload":{"bet_id":"b-55","amount_minor":2500,"currency":"EUR","odds":1.85,"selections":[{"event":"m-78","pick":"home"},{"event":"m-79","pick":"draw"}]}}`)
	c := checker(b, rule.Set{BlockedFields: []string{"payload.**.card_number", "payload.ssn"}, RequiredFields: []string{"ctx.session_id", "payload.selections.event"}})
	type token struct {
		kind       jsontext.Kind
		start, end int
	}
	var tokens []token
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		t, err := d.ReadToken()
		if err != nil {
			break
		}
		kind, end := t.Kind(), int(d.InputOffset())
		start := end - 1
		if kind == '"' {
			start = end - quotedLen(raw[:end])
		}
		tokens = append(tokens, token{kind, start, end})
	}
	var r rule.Run
	b.ReportAllocs()
	for b.Loop() {
		r.Begin(c, raw)
		for i := range tokens {
			r.Token(tokens[i].kind, tokens[i].start, tokens[i].end)
		}
		if r.Broken() {
			b.Fatal("broken")
		}
	}
	b.ReportMetric(float64(len(tokens)), "tokens/op")
}
