package gate_test

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/schema"
)

// mapped puts a mapping between two major versions of bets into the state.
func (w *world) mapped(low, high uint32, text string) {
	m := &accounts.Mapping{Tenant: "acme", Subject: "bet.placed", Low: low, High: high, Flag: "both", Text: []byte(text), Hash: text}
	w.next(func(s *control.State) { s.Mappings[m.ID()] = m })
}

// Which version lives beside which, and in which topic each is, as their lives go on.
func TestTwins(t *testing.T) {
	w := newWorld(t)
	const double = `{"flag":"both","up":[{"op":"convert","at":"/a","multiply":2}],"down":null}`
	put := func(version string, status schema.Status) {
		w.put("acme", "bet.placed", version, status, schema.JSONSchema, `{"properties":{"a":{"maximum":10}}}`)
	}
	// of an event of 1.0.0, and of one of 2.0.0: the copy's topic and id ("-": none, "?": not known yet), and its own topic
	check := func(when, low, high string) {
		t.Helper()
		w.gates.Follow(w.state)
		g, _ := w.gates.Gate("acme", w.state)
		for version, want := range map[string]string{"1.0.0": low, "2.0.0": high} {
			got := "- "
			switch twin := g.Twin("bet.placed", version); {
			case twin != nil:
				got = twin.Topic("t") + " " + twin.ID("e") + " " + twin.Schema() + " "
			case g.Unmapped("bet.placed", version):
				got = "? "
			}
			if got += g.Topic("t", "bet.placed", version); got != want {
				t.Errorf("%s: of %s %q, want %q", when, version, got, want)
			}
		}
	}
	put("1.0.0", schema.Active)
	put("2.0.0", schema.Draft)
	check("a draft", "- t", "? t")
	put("2.0.0", schema.Active)
	check("unmapped", "- t", "? t")
	w.mapped(1, 2, double)
	check("mapped", "t~2 e~v2 bet.placed@2.0.0 t", "t e~v1 bet.placed@1.0.0 t~2")
	put("2.0.0", schema.Canary)
	check("a canary is read by those of the lower one alone", "- t", "t e~v1 bet.placed@1.0.0 t~2")
	put("2.1.0", schema.Deprecated)
	check("a deprecated one judges", "t~2 e~v2 bet.placed@2.1.0 t", "t e~v1 bet.placed@1.0.0 t~2")
	put("2.0.0", schema.Active)
	check("the newest active one is what copies are", "t~2 e~v2 bet.placed@2.0.0 t", "t e~v1 bet.placed@1.0.0 t~2")
	put("1.0.0", schema.Retired)
	check("the lower one has ended", "t~2 e~v2 bet.placed@2.0.0 t", "- t~2")
	w.mapped(1, 2, "")
	check("and its mapping", "- t", "- t")
	w.mapped(2, 3, double)
	put("3.0.0", schema.Active)
	check("the next one", "- t", "t~3 e~v3 bet.placed@3.0.0 t")
	if g, _ := w.gates.Gate("acme", w.state); g.Twin("bet.won", "1.0.0") != nil || g.Topic("t", "bet.won", "1.0.0") != "t" || g.Unmapped("bet.won", "2.0.0") {
		t.Error("a type without versions has a twin")
	}
}

func TestCopy(t *testing.T) {
	w := newWorld(t)
	w.put("acme", "bet.placed", "1.0.0", schema.Active, schema.JSONSchema, `{}`)
	w.put("acme", "bet.placed", "2.0.0", schema.Active, schema.JSONSchema, `{"properties":{"a":{"maximum":10}}}`)
	w.mapped(1, 2, `{"flag":"both","up":[{"op":"convert","at":"/a","multiply":2}],"down":null}`)
	w.gates.Follow(w.state)
	g, _ := w.gates.Gate("acme", w.state)
	of := func(payload string) (string, error) {
		var e event.Event
		raw := `{"event_id":"e1","event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"u"},"payload":` + payload + `}`
		if err := event.Decode([]byte(raw), &e); err != nil {
			t.Fatal(err)
		}
		c, err := g.Twin("bet.placed", "1.0.0").Copy(&e)
		if err != nil {
			return "", err
		}
		return string(c.Data), nil
	}
	if got, err := of(`{"a":2.5}`); err != nil || !strings.Contains(got, `"schema_version":"2.0.0"`) || !strings.Contains(got, `"payload":{"a":5}`) {
		t.Errorf("%s, %v", got, err)
	}
	for payload, want := range map[string]string{
		`{"a":5.05}`:  "no payload of bet.placed@2.0.0 (violations: 1): maximum",
		`{"a":"x"}`:   "up[0] convert /a: is no number",
		`{"a":9e307}`: "beyond the range",
		`{"a":1` + strings.Repeat("0", 307) + `}`: "too many digits",
	} {
		if got, err := of(payload); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %s, %v", payload, got, err)
		}
	}
}
