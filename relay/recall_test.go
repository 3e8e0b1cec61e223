package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// change is one after which an event that was stored would be refused.
type change struct {
	name  string
	make  func(*rig)
	event string // with %s for its id
	other string // the same with other content, refused as well
	code  string // of a new event
}

func named(version, payload string) string {
	return bet(payload, "event_id", `"%s"`, "schema_version", `"`+version+`"`)
}

// changes are of every kind. Before each of them 1.0.0 and 1.1.0 of betSchema are active.
var changes = []change{
	{"retired", func(r *rig) { r.schema("acme", "1.0.0", schema.Retired, betSchema) }, named("1.0.0", goodBet), named("1.0.0", `{"amount":6}`), "schema_version_retired"},
	{"back to a draft", func(r *rig) { r.schema("acme", "1.1.0", schema.Draft, betSchema) }, named("1.1.0", goodBet), named("1.1.0", `{"amount":6}`), "schema_version_draft"},
	{"in quarantine", func(r *rig) {
		r.control.change(func(s *control.State) {
			q := *s.Schemas["acme.bet.placed.1.1.0"]
			q.Others = []string{"another"}
			s.Schemas[q.ID()] = &q
		})
	}, named("1.1.0", goodBet), named("1.1.0", `{"amount":6}`), "schema_version_quarantined"},
	{"unknown again", func(r *rig) {
		r.control.change(func(s *control.State) { delete(s.Schemas, "acme.bet.placed.1.1.0") })
	}, named("1.1.0", goodBet), named("1.1.0", `{"amount":6}`), "schema_version_unknown"},
	// the newest active version judges a canary's events
	{"rolled back", func(r *rig) {
		r.schema("acme", "1.0.0", schema.Active, `{"properties":{"amount":{"maximum":2}}}`)
		r.schema("acme", "1.1.0", schema.Canary, betSchema)
	}, named("1.1.0", goodBet), named("1.1.0", `{"amount":6}`), "schema_violation"},
	{"a new active version", func(r *rig) {
		r.schema("acme", "1.1.0", schema.Canary, betSchema)
		r.schema("acme", "1.2.0", schema.Active, `{"required":["channel"]}`)
	}, named("1.1.0", goodBet), named("1.1.0", `{"amount":6}`), "schema_violation"},
	{"a field that is required", func(r *rig) { r.rules("acme", rule.Set{RequiredFields: []string{"source_seq"}}) },
		named("1.0.0", goodBet), named("1.0.0", `{"amount":6}`), "field_missing"},
	{"a field that is blocked", func(r *rig) { r.rules("acme", rule.Set{BlockedFields: []string{"payload.note"}}) },
		named("1.0.0", `{"amount":5,"note":"PLANT"}`), named("1.0.0", `{"amount":6,"note":"PLANT"}`), "field_blocked"},
	{"a type that is unknown", func(r *rig) { r.rules("acme", rule.Set{UnknownTypes: rule.Refuse}) },
		ev("event_id", `"%s"`, "event_type", `"no.schema"`), ev("event_id", `"%s"`, "event_type", `"no.schema"`, "payload", "{}"), "unknown_type"},
}

// A retry of what is stored is told that it is a duplicate, whatever happened to what the event was held to; nothing is
// stored by it, other content is a conflict, and what was never stored is refused as before.
func TestRetriesAreTold(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.schema("acme", "1.0.0", schema.Active, betSchema)
			r.schema("acme", "1.1.0", schema.Active, betSchema)
			r.settled(post{body: bet(`{}`, "schema_version", `"1.1.0"`)}, code("schema_violation"))
			id := func(name, form string) string { return strings.Replace(form, "%s", name, 1) }
			stored := r.send(post{body: id("one", c.event)})
			many := make([]string, 5)
			for i := range many {
				many[i] = id(fmt.Sprintf("m-%d", i), c.event)
			}
			if b := r.send(post{body: strings.Join(many, "\n"), ndjson: true}); stored.Status != "stored" || b.Stored != 5 {
				t.Fatalf("%s %s", stored.text, b.text)
			}
			c.make(r)
			n := 0
			r.until(c.code, func() string { n++; return id(fmt.Sprintf("new-%d", n), c.event) })
			before := r.stored()

			a := r.send(post{body: id("one", c.event)})
			if a.status != 202 || a.Status != "duplicate" || a.Seq != stored.Seq || a.Ack != "stored" || a.Region != "eu" || a.Code != "" {
				t.Errorf("a retry: %d %s", a.status, a.text)
			}
			if a = r.send(post{body: id("one", c.other)}); a.status != 409 || a.Code != "event_id_conflict" {
				t.Errorf("other content: %d %s", a.status, a.text)
			}
			if a = r.send(post{body: id("new", c.event)}); a.status != 422 || a.Code != c.code {
				t.Errorf("never stored: %d %s", a.status, a.text)
			}
			mixed := append(append([]string{}, many...), id("m-2", c.other), id("newer", c.event), bet(goodBet, "event_id", `"bad id"`))
			for _, p := range []post{{body: strings.Join(mixed, "\n"), ndjson: true}, {body: "[" + strings.Join(mixed, ",") + "]"}} {
				a = r.send(p)
				if a.status != 200 || a.Duplicates != 5 || a.Rejected != 3 || a.Stored != 0 || a.Results[2].EventID != "m-2" || a.Results[5].Code != "event_id_conflict" || a.Results[6].Code != c.code {
					t.Errorf("a batch: %d %s", a.status, a.text)
				}
			}
			if got := r.stored(); got != before {
				t.Errorf("%d events are stored by retries", got-before)
			}
			if strings.Contains(r.logged()+string(r.counters()), "PLANT") {
				t.Error("a value is told")
			}
			for result, want := range map[string]float64{"duplicate": 11, "conflict": 3, "unknown": 0, "beyond": 0} {
				if got := r.counter("weft_relay_probes_total", prometheus.Labels{"tenant": "acme", "result": result}); got != want {
					t.Errorf("%v probes are counted as %s, want %v", got, result, want)
				}
			}
		})
	}
}

// retired is a rig in which no new event is taken, and what was stored before that.
func retired(t *testing.T, tune ...func(*relay.Options)) (*rig, []string) {
	t.Helper()
	r := newRig(t, tune...)
	r.schema("acme", "1.0.0", schema.Active, betSchema)
	r.settled(post{body: bet(`{}`)}, code("schema_violation"))
	list := make([]string, 20)
	for i := range list {
		list[i] = bet(goodBet)
	}
	if a := r.send(post{body: strings.Join(list, "\n"), ndjson: true}); a.Stored != len(list) {
		t.Fatal(a.text)
	}
	r.retire()
	return r, list
}

func (r *rig) retire() {
	r.t.Helper()
	r.schema("acme", "1.0.0", schema.Retired, betSchema)
	r.until("schema_version_retired", func() string { return bet(goodBet) })
}

// until sends new events until they are refused with a code.
func (r *rig) until(want string, next func() string) {
	r.t.Helper()
	streamtest.Eventually(r.t, 10*time.Second, func() (bool, string) {
		a := r.send(post{body: next()})
		return a.Code == want, a.text
	})
}

// A key that may not send to a topic is told nothing of what is in it.
func TestRetriesThatAKeyMayNotSend(t *testing.T) {
	r, list := retired(t)
	denied := *r.control.State().Keys["acme-1"]
	denied.Topics = []string{"other"}
	r.control.change(func(c *control.State) { c.Keys["acme-1"] = &denied })
	if a := r.send(post{body: list[0]}); a.status != 422 || a.Code != "schema_version_retired" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// A refusal does not wait for a stream that is away, and what cannot be told stays refused; when the stream is back, a
// retry is told.
func TestRetriesWithoutTheStream(t *testing.T) {
	r, list := retired(t)
	s, err := r.js.Stream(t.Context(), subject.EventsStream)
	r.must(err)
	c := s.CachedInfo().Config
	all := c.Subjects
	c.Subjects = []string{"evt.eu_1.nothing"}
	_, err = r.js.UpdateStream(t.Context(), c)
	r.must(err)
	for _, body := range []string{list[0], "[" + strings.Join(list, ",") + "]"} {
		if a := r.send(post{body: body}); a.status != 422 && a.Rejected != len(list) {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	if n := r.counter("weft_relay_probes_total", prometheus.Labels{"tenant": "acme", "result": "unknown"}); n != 21 {
		t.Errorf("%v answers are counted as missing", n)
	}
	c.Subjects = all
	_, err = r.js.UpdateStream(t.Context(), c)
	r.must(err)
	if a := r.send(post{body: "[" + strings.Join(list, ",") + "]"}); a.Duplicates != len(list) {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// A flood of refused events asks about so many of each request, and what is asked stores nothing.
func TestAFloodOfRefusedEvents(t *testing.T) {
	r, list := retired(t, func(o *relay.Options) { o.Limits.BodyBytes = 4 << 20 })
	before := r.stored()
	flood := make([]string, 3*uplink.MaxProbes)
	for i := range flood {
		flood[i] = bet(goodBet)
	}
	for range 3 {
		a := r.send(post{body: strings.Join(append(flood, list...), "\n"), ndjson: true})
		if a.status != 200 || a.Rejected != len(flood)+len(list) { // those that are stored are beyond the bound
			t.Errorf("%d: %d are rejected", a.status, a.Rejected)
		}
	}
	for result, want := range map[string]float64{"absent": 3 * uplink.MaxProbes, "beyond": float64(3 * (2*uplink.MaxProbes + len(list)))} {
		if got := r.counter("weft_relay_probes_total", prometheus.Labels{"tenant": "acme", "result": result}); got < want || got > want+10 { // and those of retire
			t.Errorf("%v probes are counted as %s, want %v", got, result, want)
		}
	}
	if a := r.send(post{body: strings.Join(list, "\n"), ndjson: true}); a.Duplicates != len(list) || r.stored() != before {
		t.Errorf("%s, and %d are stored", a.text, r.stored()-before)
	}
}

// A topic that asks for a second region asks for it at a retry too.
func TestRetriesOfRemoteTopics(t *testing.T) {
	r, linked := remoteRig(t)
	r.playRemote("eu", "us", linked)
	r.schemaOf("acme", "safe.x", "1.0.0", schema.Active, schema.JSONSchema, `{}`)
	body := ev("event_id", `"r-1"`, "event_type", `"safe.x"`)
	if a := r.send(post{body: body}); a.Code != "remote_unconfirmed" {
		t.Fatalf("%d %s", a.status, a.text)
	}
	r.schemaOf("acme", "safe.x", "1.0.0", schema.Retired, schema.JSONSchema, `{}`)
	r.until("schema_version_retired", func() string { return ev("event_type", `"safe.x"`) })
	if a := r.send(post{body: body}); a.status != 503 || a.Code != "remote_unconfirmed" {
		t.Errorf("cut off: %d %s", a.status, a.text)
	}
	linked.Store(true)
	if a := r.send(post{body: body}); a.Status != "duplicate" || a.Ack != accounts.AckRemote {
		t.Errorf("linked: %d %s", a.status, a.text)
	}
}

// Under the scheme that signs the body alone a retry is the same request; its refused events are asked about all the same.
func TestRetriesOfTheSameBody(t *testing.T) {
	r := newRig(t)
	secret := r.schemeKey(keyring.Body)
	c := r.producer(func(o *client.Options) { o.Kid, o.Secret, o.Scheme = keyring.Body, secret, keyring.Body })
	r.schema("acme", "1.0.0", schema.Active, betSchema)
	r.settled(post{body: bet(`{}`)}, code("schema_violation"))
	batch := [][]byte{[]byte(bet(goodBet)), []byte(ev("event_type", `"other.type"`))}
	for _, want := range []client.Status{client.Stored, client.Duplicate, client.Duplicate} {
		results, err := c.Send(t.Context(), batch)
		if err != nil || results[0].Status != want || results[1].Status != want {
			t.Fatalf("%+v, %v", results, err)
		}
		if want == client.Duplicate {
			r.retire()
		}
	}
}

// While two major versions live a retry makes up for the copy that is missing, as every retry does. Of an event that
// breaks rules no copy can be made: it is a duplicate if both are there.
func TestRetriesOfBothMajorVersions(t *testing.T) {
	r := newRig(t)
	r.majors(100)
	r.becomes("2.0.0", `{"stake":1}`, isCopied)
	withoutCopies := func(f func()) {
		s, err := r.js.Stream(t.Context(), subject.EventsStream)
		r.must(err)
		c := s.CachedInfo().Config
		all := c.Subjects
		c.Subjects = []string{"evt.eu_1.*.*.events.>"}
		_, err = r.js.UpdateStream(t.Context(), c)
		r.must(err)
		f()
		c.Subjects = all
		_, err = r.js.UpdateStream(t.Context(), c)
		r.must(err)
	}
	one, whole := bet(`{"amount":1}`, "event_id", `"y"`), bet(`{"amount":2}`, "event_id", `"z"`)
	high := bet(`{"stake":300}`, "event_id", `"h"`, "schema_version", `"2.0.0"`)
	withoutCopies(func() {
		if a := r.send(post{body: one}); a.Code != "copy_unavailable" {
			t.Fatal(a.text)
		}
	})
	for _, body := range []string{whole, high} {
		if a := r.send(post{body: body}); a.Derived == nil {
			t.Fatal(a.text)
		}
	}
	r.rules("acme", rule.Set{BlockedFields: []string{"payload.amount"}})
	r.becomes("1.0.0", `{"amount":1}`, code("field_blocked"))
	before := r.stored()
	if a := r.send(post{body: one}); a.Code != "field_blocked" || r.stored() != before {
		t.Errorf("blocked, and its copy is missing: %d %s", a.status, a.text)
	}
	if a := r.send(post{body: whole}); a.Status != "duplicate" || a.Derived != "z~v2" || r.stored() != before {
		t.Errorf("blocked: %d %s", a.status, a.text)
	}
	r.rules("acme", rule.Set{RequiredFields: []string{"source_seq"}})
	r.flag(0)
	r.becomes("2.0.0", `{"stake":1}`, code("field_missing"))
	for body, id := range map[string]any{whole: nil, high: "h~v1"} {
		if a := r.send(post{body: body}); a.Status != "duplicate" || a.Derived != id || r.stored() != before {
			t.Errorf("flag off: %d %s", a.status, a.text)
		}
	}
	r.rules("acme", rule.Set{})
	r.becomes("2.0.0", `{"stake":1}`, code("schema_major_off"))
	if a := r.send(post{body: high}); a.Status != "duplicate" || a.Derived != "h~v1" || r.stored() != before {
		t.Errorf("behind the flag: %d %s", a.status, a.text)
	}
	r.flag(100)
	r.schema("acme", "1.0.0", schema.Retired, inEuros)
	r.schema("acme", "1.1.0", schema.Active, inEuros)
	r.becomes("1.0.0", `{"amount":1}`, code("schema_version_retired"))
	before = r.stored()
	if a := r.send(post{body: one}); a.Status != "duplicate" || a.Derived != "y~v2" || r.stored() != before+1 {
		t.Errorf("%d %s, %d are stored", a.status, a.text, r.stored()-before)
	}
}

// What a batch has stored is answered once the journal has the request, also when none of it has a copy to wait for.
func TestABatchWithoutCopiesWaitsForTheJournal(t *testing.T) {
	r := newRig(t)
	r.majors(100)
	r.becomes("2.0.0", `{"stake":1}`, isCopied)
	s, err := r.js.Stream(t.Context(), subject.EventsStream)
	r.must(err)
	c := s.CachedInfo().Config
	c.Subjects = []string{"evt.eu_1.*.*.events.other.type"} // bets are not stored
	_, err = r.js.UpdateStream(t.Context(), c)
	r.must(err)
	batch := func() post {
		return post{body: "[" + ev("event_type", `"other.type"`) + "," + bet(`{"amount":1}`) + "]"}
	}
	if a := r.send(batch()); a.status != 200 || a.Stored != 1 || a.Unavailable != 1 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	r.must(r.js.DeleteStream(t.Context(), subject.GuardStream))
	if a := r.send(batch()); a.status != 503 || a.Code != "guard_unavailable" {
		t.Errorf("%d %s", a.status, a.text)
	}
}
