package relay_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// betSchema is of bets in the tests below.
const betSchema = `{"type":"object","required":["amount"],"additionalProperties":false,"properties":{
	"amount":{"type":"integer","minimum":1},"currency":{"enum":["EUR","USD"]},"note":{"type":"string","maxLength":200},
	"legs":{"type":"array","items":{"type":"object","required":["odds"],"properties":{"odds":{"type":"number","exclusiveMinimum":1}}}}}}`

// schema puts a version of bets into the control state of the rig.
func (r *rig) schema(tenant, version string, status schema.Status, text string) {
	r.t.Helper()
	r.schemaOf(tenant, "bet.placed", version, status, schema.JSONSchema, text)
}

func (r *rig) schemaOf(tenant, subject, version string, status schema.Status, language schema.Language, text string) {
	r.t.Helper()
	v, err := schema.ParseVersion(version)
	r.must(err)
	s := &accounts.Schema{Tenant: tenant, Subject: subject, Version: v, Language: language, Text: []byte(text), Status: status}
	s.Hash, err = s.Document().Hash()
	r.must(err)
	r.control.change(func(c *control.State) { c.Schemas[s.ID()] = s })
}

func (r *rig) rules(tenant string, set rule.Set) {
	r.control.change(func(c *control.State) { c.Rules[tenant] = &accounts.Rules{Tenant: tenant, Set: set} })
}

// settled waits until the relay's gates are those of the present control state: the answer to the event says so.
func (r *rig) settled(p post, ok func(answer) bool) answer {
	r.t.Helper()
	var a answer
	streamtest.Eventually(r.t, 10*time.Second, func() (bool, string) {
		a = r.send(p)
		return ok(a), a.text
	})
	return a
}

func code(want string) func(answer) bool { return func(a answer) bool { return a.Code == want } }

func bet(payload string, pairs ...string) string { return ev(append(pairs, "payload", payload)...) }

const goodBet = `{"amount":5,"currency":"EUR","legs":[{"odds":1.5}]}`

// What breaks its schema is refused with every place, rule and expectation, and without its values; what does not is
// stored under the version that judged it.
func TestEventsAreHeldToTheirSchema(t *testing.T) {
	r := newRig(t)
	s := r.rejects()
	r.schema("acme", "1.0.0", schema.Active, betSchema)
	a := r.settled(post{body: bet(`{"amount":"PLANT-1","currency":"PLANT-2","legs":[{"odds":2},{"odds":1}],"extra":"PLANT-3"}`)}, code("schema_violation"))
	if a.status != 422 || a.EventID == "" || len(a.Errors) != 4 || a.ErrorsCapped {
		t.Fatalf("%d %s", a.status, a.text)
	}
	var got []string
	for _, e := range a.Errors {
		got = append(got, fmt.Sprintf("%s %s: %s; %s", e.Pointer, e.Rule, e.Expected, e.Schema))
		if e.Code != "schema_violation" {
			t.Errorf("%+v", e)
		}
	}
	want := []string{
		"/payload/amount type: must be of type integer; /properties/amount/type",
		`/payload/currency enum: must be one of "EUR","USD"; /properties/currency/enum`,
		"/payload/legs/1/odds exclusiveMinimum: must be more than 1; /properties/legs/items/properties/odds/exclusiveMinimum",
		"/payload/extra additionalProperties: is no member that the schema knows, and it takes no others; /additionalProperties",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if n := r.stored(); n != 0 {
		t.Errorf("%d events are stored", n)
	}
	list, all := r.records(s, int(r.counted("weft_relay_rejected_total")))
	rec := list[0]
	if rec.Cause != deadletter.Schema || rec.Code != "schema_violation" || rec.Pointer != "/payload/*" || !strings.Contains(rec.Detail, "bet.placed@1.0.0: 4 violations") {
		t.Errorf("%+v", rec)
	}
	for where, text := range map[string]string{"answer": a.text, "records": string(all), "log": r.logged(), "metrics": string(r.counters())} {
		if strings.Contains(text, "PLANT") {
			t.Errorf("a value is in the %s: %s", where, text)
		}
	}

	for _, body := range []string{bet(goodBet), `{"payload":` + goodBet + "," + ev("payload", "")[1:]} { // the payload last, or first
		a = r.send(post{body: body})
		if a.status != 202 || a.Warnings != nil {
			t.Fatalf("%d %s", a.status, a.text)
		}
		if got := r.message(a.Seq).Header.Get(header.Schema); got != "bet.placed@1.0.0" {
			t.Errorf("%s: %q", header.Schema, got)
		}
	}
	if a = r.send(post{body: bet(`{"amount":0}`), who: globex}); a.status != 202 || r.message(a.Seq).Header.Get(header.Schema) != "" {
		t.Errorf("another tenant: %d %s", a.status, a.text)
	}
	tallies := r.relay.SchemaTallies()
	if len(tallies) != 1 || tallies[0].Judged.Checked != tallies[0].Judged.Failed+2 || tallies[0].Judged.First[0].Schema != "/properties/amount/type" {
		t.Errorf("%+v", tallies)
	}
}

// One bad event of a batch is refused alone, whatever form the batch has.
func TestABatchIsHeldToItsSchemaEventByEvent(t *testing.T) {
	r := newRig(t)
	r.schema("acme", "1.0.0", schema.Active, betSchema)
	r.settled(post{body: bet(`{}`)}, code("schema_violation"))
	list := []string{bet(goodBet), bet(`{"amount":0}`), ev("event_id", `"b b"`), bet(goodBet), ev("event_type", `"other.type"`), bet(`{"amount":1,"amount2":[` + strings.Repeat("{},", 50) + `{}],"legs":[` + strings.Repeat(`{},`, 50) + `{}]}`)}
	for _, p := range []post{{body: strings.Join(list, "\n"), ndjson: true}, {body: "[" + strings.Join(list, ",") + "]"}} {
		a := r.send(p)
		if a.status != 200 || a.Stored+a.Duplicates != 3 || a.Rejected != 3 {
			t.Fatalf("%d %s", a.status, a.text)
		}
		var got []string
		for _, x := range a.Results {
			if x.Status == "rejected" {
				got = append(got, fmt.Sprintf("%d %s %s %d %v", x.Index, x.Code, x.Pointer, len(x.Errors), x.ErrorsCapped))
			}
		}
		if want := []string{"1 schema_violation /payload/amount 1 false", "2 invalid_event_id /event_id 0 false", "5 schema_violation /payload/amount2 32 true"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A line that ends within its payload leaves nothing behind for the next one.
func TestABrokenLineLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.schema("acme", "1.0.0", schema.Active, betSchema)
	r.rules("acme", rule.Set{BlockedFields: []string{"payload.ssn"}, RequiredFields: []string{"key.user_id"}})
	r.settled(post{body: bet(`{"ssn":1}`)}, code("field_blocked"))
	whole := bet(`{"amount":0,"ssn":1,"legs":[]}`)
	lines := []string{}
	for _, cut := range []string{`"ssn":1`, `"legs":[`, `,"legs"`, `"amount"`} {
		lines = append(lines, whole[:strings.Index(whole, cut)+len(cut)], bet(goodBet))
	}
	a := r.send(post{body: strings.Join(lines, "\n"), ndjson: true})
	if a.status != 200 || a.Stored != 4 || a.Rejected != 4 {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// An event names a version; one that it may not name is refused with those that it may.
func TestVersionsThatEventsName(t *testing.T) {
	r := newRig(t)
	loose := `{"type":"object"}`
	r.schema("acme", "1.0.0", schema.Retired, loose)
	r.schema("acme", "1.1.0", schema.Deprecated, betSchema)
	r.schema("acme", "1.2.0", schema.Active, betSchema)
	r.schema("acme", "1.3.0", schema.Canary, loose)
	r.schema("acme", "1.4.0", schema.Draft, loose)
	r.schema("acme", "1.5.0", schema.Active, loose)
	r.control.change(func(s *control.State) {
		q := *s.Schemas["acme.bet.placed.1.5.0"]
		q.Others = []string{"another"}
		s.Schemas[q.ID()] = &q
	})
	named := func(v, payload string) post { return post{body: bet(payload, "schema_version", `"`+v+`"`)} }
	r.settled(named("1.5.0", goodBet), code("schema_version_quarantined"))
	for _, c := range []struct{ version, payload, code, label string }{
		{"1.0.0", goodBet, "schema_version_retired", ""},
		{"1.1.0", goodBet, "", "bet.placed@1.1.0"},
		{"1.1.0", `{}`, "schema_violation", ""},
		{"1.2.0", goodBet, "", "bet.placed@1.2.0"},
		{"1.3.0", goodBet, "", "bet.placed@1.2.0"}, // the active one judges in place of a canary
		{"1.3.0", `{}`, "schema_violation", ""},
		{"1.4.0", goodBet, "schema_version_draft", ""},
		{"1.9.0", goodBet, "schema_version_unknown", ""},
		{"1.2.0-rc.1", goodBet, "schema_version_unknown", ""},
		{"1.2.0+build", goodBet, "schema_version_unknown", ""},
	} {
		a := r.send(named(c.version, c.payload))
		if a.Code != c.code {
			t.Errorf("%s %s: %d %s", c.version, c.payload, a.status, a.text)
			continue
		}
		if c.code == "" && r.message(a.Seq).Header.Get(header.Schema) != c.label {
			t.Errorf("%s: judged by %q", c.version, r.message(a.Seq).Header.Get(header.Schema))
		}
		if strings.HasPrefix(c.code, "schema_version") && (!strings.Contains(a.Detail, "there are 1.3.0 (canary), 1.2.0 (active), 1.1.0 (deprecated)") || len(a.Errors) != 1 || a.Errors[0].Pointer != "/schema_version") {
			t.Errorf("%s: %s", c.version, a.text)
		}
	}
	a := r.send(post{body: "[" + bet(goodBet, "schema_version", `"1.1.0"`) + "," + bet(goodBet, "schema_version", `"1.1.0"`) + "]"})
	if a.status != 200 || len(a.Warnings) != 1 || a.Warnings[0].Events != 2 || a.Warnings[0].Code != "schema_deprecated" || a.Warnings[0].Schema != "bet.placed@1.1.0" ||
		a.Warnings[0].Detail != "bet.placed 1.1.0 is deprecated: send 1.2.0" {
		t.Errorf("%s", a.text)
	}
	if text := string(r.counters()); !strings.Contains(text, `weft_relay_schema_checks_total{tenant="acme",verdict="deprecated"} 3`) {
		t.Errorf("%s", text)
	}
}

// Drafts bind nobody: registering one does not stop the events of a type that had no schema.
func TestADraftBindsNobody(t *testing.T) {
	r := newRig(t)
	r.schema("acme", "1.0.0", schema.Draft, betSchema)
	r.schemaOf("acme", "other.type", "1.0.0", schema.Active, schema.JSONSchema, `false`)
	r.settled(post{body: ev("event_type", `"other.type"`)}, code("schema_violation"))
	if a := r.send(post{body: bet(`{}`)}); a.status != 202 {
		t.Errorf("%d %s", a.status, a.text)
	}
	r.schema("acme", "1.0.0", schema.Canary, betSchema)
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		list := r.relay.SchemaTallies()
		return len(list) == 2, fmt.Sprintf("%+v", list)
	})
	for _, version := range []string{`"1.0.0"`, `"2.0.0"`} {
		if a := r.send(post{body: bet(`{}`, "schema_version", version)}); a.status != 202 || r.message(a.Seq).Header.Get(header.Schema) != "" {
			t.Errorf("a first version that is a canary refuses nothing of %s: %d %s", version, a.status, a.text)
		}
	}
}

// What the tenant does with types without a schema.
func TestUnknownTypes(t *testing.T) {
	r := newRig(t)
	dlq, err := r.js.CreateStream(t.Context(), streams.DeadLettersConfig(streams.DeadLettersSpec{Region: "eu"}))
	r.must(err)
	r.rules("acme", rule.Set{UnknownTypes: rule.Refuse})
	if a := r.settled(post{body: ev()}, code("unknown_type")); a.status != 422 {
		t.Errorf("%d %s", a.status, a.text)
	}
	before := r.stored()
	r.rules("acme", rule.Set{UnknownTypes: rule.DeadLetter, BlockedFields: []string{"payload.ssn"}})
	kept := func(a answer) bool { return a.Status == "dead_lettered" }
	a := r.settled(post{body: ev()}, kept)
	if a.status != 202 || a.Stream != "DLQ" || a.Region != "eu" || a.Code != "unknown_type" || a.Ack != "stored" || a.Detail == "" {
		t.Errorf("%d %s", a.status, a.text)
	}
	m, err := dlq.GetMsg(t.Context(), a.Seq)
	r.must(err)
	l, err := deadletter.LetterOf(m.Header)
	if err != nil || l.Cause != deadletter.UnknownType || l.EventID != a.EventID || l.Region != "eu" || !strings.HasPrefix(l.Subject, "evt.eu_1.g.") ||
		m.Subject != "dlq.eu.unknown_type.events.weft-relay" || m.Header.Get(header.Kid) != "acme-1" {
		t.Errorf("%s %v: %+v, %v", m.Subject, m.Header, l, err)
	}
	body := ev()
	first, again := r.send(post{body: body}), r.send(post{body: body})
	if !kept(first) || !kept(again) || first.Seq != again.Seq {
		t.Errorf("a retry: %s%s", first.text, again.text)
	}
	other := r.send(post{body: strings.Replace(body, marker, "other", 1)})
	if !kept(other) || other.Seq == first.Seq {
		t.Errorf("another event under the same id is not kept beside it: %s", other.text)
	}
	b := r.send(post{body: ev() + "\n" + ev("payload", `{"ssn":"PLANT"}`) + "\n" + ev("event_id", `"a b"`), ndjson: true})
	if b.status != 200 || b.DeadLettered != 1 || b.Rejected != 2 || b.Stored != 0 || len(b.Results) != 3 || b.Results[0].Status != "dead_lettered" || b.Results[0].Stream != "DLQ" ||
		b.Results[1].Code != "field_blocked" {
		t.Errorf("%d %s", b.status, b.text)
	}
	if n := r.stored(); n != before {
		t.Errorf("%d events reached EVENTS", n-before)
	}
	r.must(r.js.DeleteStream(t.Context(), "DLQ"))
	if a := r.send(post{body: ev()}); a.status != 503 {
		t.Errorf("without the stream: %d %s", a.status, a.text)
	}
}

// Under the scheme that signs the body alone a retry is the very same request: of an event that was kept without a schema
// it is no copy, and stores the event once its type has one.
func TestAKeptEventMayComeAgainAsItWas(t *testing.T) {
	r := newRig(t)
	_, err := r.js.CreateStream(t.Context(), streams.DeadLettersConfig(streams.DeadLettersSpec{Region: "eu"}))
	r.must(err)
	secret := r.schemeKey(keyring.Body)
	c := r.producer(func(o *client.Options) { o.Kid, o.Secret, o.Scheme = keyring.Body, secret, keyring.Body })
	r.rules("acme", rule.Set{UnknownTypes: rule.DeadLetter})
	r.settled(post{body: ev()}, func(a answer) bool { return a.Status == "dead_lettered" })
	send := func(one string) client.Status {
		results, err := c.Send(t.Context(), [][]byte{[]byte(one)})
		r.must(err)
		return results[0].Status
	}
	one := ev()
	for range 2 {
		if got := send(one); got != client.DeadLettered {
			t.Fatalf("%s", got)
		}
	}
	r.rules("acme", rule.Set{})
	r.settled(post{body: ev()}, func(a answer) bool { return a.Status == "stored" })
	for _, want := range []client.Status{client.Stored, client.Duplicate} {
		if got := send(one); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Rules hold for every event of the tenant, in the envelope as in the payload, at any depth and through arrays.
func TestRulesHoldForAllTypes(t *testing.T) {
	r := newRig(t)
	r.rules("acme", rule.Set{
		BlockedFields:  []string{"payload.**.card_number", "ctx.device_fp"},
		RequiredFields: []string{"source_seq", "payload.legs.odds"},
	})
	ok := []string{"source_seq", "7", "payload", `{"legs":[{"odds":1},{"odds":2}]}`}
	r.settled(post{body: ev("payload", `{"card_number":1}`)}, code("field_blocked"))
	for _, c := range []struct {
		name, want string
		change     []string
	}{
		{"fine", "", nil},
		{"blocked below an array", "field_blocked /payload/a/1/0/card_number", []string{"payload", `{"legs":[],"a":[0,[{"card_number":null}]]}`}},
		{"blocked with an escape", "field_blocked /payload/card_number", []string{"payload", `{"legs":[],"c\u0061rd_number":"1"}`}},
		{"blocked in ctx", "field_blocked /ctx/device_fp", []string{"ctx", `{"device_fp":"x"}`}},
		{"missing in the envelope", "field_missing /source_seq", []string{"source_seq", ""}},
		{"missing in an element", "field_missing /payload/legs/1/odds", []string{"payload", `{"legs":[{"odds":1},{"odds":null}]}`}},
		{"missing at all", "field_missing /payload/legs", []string{"payload", `{}`}},
		{"both", "field_blocked /payload/card_number field_missing /payload/legs", []string{"payload", `{"card_number":1}`}},
	} {
		a := r.send(post{body: ev(append(slices.Clone(ok), c.change...)...)})
		var got []string
		for _, e := range a.Errors {
			got = append(got, e.Code, e.Pointer)
		}
		if strings.Join(got, " ") != c.want || (c.want == "") != (a.status == 202) || c.want != "" && (a.status != 422 || !strings.HasPrefix(c.want, a.Code)) {
			t.Errorf("%s: %d %s", c.name, a.status, a.text)
		}
	}
}

// What is asked of one type besides is asked of it alone, wherever its payload stands, with a schema or without.
func TestRulesOfOneType(t *testing.T) {
	r := newRig(t)
	r.rules("acme", rule.Set{Types: map[string]rule.Fields{"bet.placed": {BlockedFields: []string{"payload.**.note"}, RequiredFields: []string{"payload.legs.odds"}}}})
	r.settled(post{body: bet(`{"note":1,"legs":[]}`)}, code("field_blocked"))
	first := `{"payload":{"legs":[{"note":1}]},` + ev("payload", "")[1:]
	if a := r.send(post{body: first}); a.Code != "field_blocked" || len(a.Errors) != 2 || a.Errors[1].Pointer != "/payload/legs/0/odds" {
		t.Errorf("the payload first: %d %s", a.status, a.text)
	}
	for _, body := range []string{bet(`{"legs":[{"odds":1}]}`, "note", "1"), ev("event_type", `"other.type"`)} {
		if a := r.send(post{body: body}); a.status != 202 {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	r.schema("acme", "1.0.0", schema.Active, betSchema)
	a := r.settled(post{body: bet(`{"legs":[{}]}`)}, func(a answer) bool { return len(a.Errors) == 3 })
	if a.Code != "field_missing" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// The value of a blocked field is nowhere: in no stream, no log, no metric and no answer, whatever becomes of the event.
func TestABlockedValueIsNowhere(t *testing.T) {
	const plant = "4111-1111-1111-1111"
	r := newRig(t, func(o *relayOptions) { o.Rejects.LineBurst = 1e6 })
	r.rejects()
	_, err := r.js.CreateStream(t.Context(), streams.DeadLettersConfig(streams.DeadLettersSpec{Region: "eu"}))
	r.must(err)
	r.schema("acme", "1.0.0", schema.Active, betSchema)
	r.schema("acme", "1.1.0", schema.Canary, `{"required":["x"]}`)
	r.rules("acme", rule.Set{UnknownTypes: rule.DeadLetter, BlockedFields: []string{"**.card"}, RequiredFields: []string{"payload.amount"}})
	r.settled(post{body: bet(`{"card":1}`)}, code("field_blocked"))
	var answers bytes.Buffer
	for _, value := range []string{`"` + plant + `"`, `{"` + plant + `":"` + plant + `"}`, `["` + plant + `",{"card":"` + plant + `"}]`} {
		for _, body := range []string{
			bet(`{"amount":1,"card":` + value + `}`), bet(`{"amount":0,"card":` + value + `}`), bet(`{"card":` + value + `}`), bet(`{"a":[{"card":` + value + `}]}`),
			bet(`{"amount":1,"card":`+value+`}`, "event_type", `"no.schema"`), bet(goodBet, "card", value), bet(goodBet, "ctx", `{"card":`+value+`}`),
			bet(`{"amount":1,"c\u0061rd":` + value + `}`), bet(`{"amount":1,"card":`+value+`}`, "schema_version", `"9.9.9"`), bet(`{"amount":1,"card":`+value+`}`, "event_id", `"x x"`),
		} {
			for _, p := range []post{{body: body}, {body: "[" + body + "]"}, {body: body + "\n" + body[:len(body)-1], ndjson: true}} {
				a := r.send(p)
				answers.WriteString(a.text)
				if a.status < 400 && a.Rejected == 0 {
					t.Errorf("taken: %s: %s", p.body, a.text)
				}
			}
		}
	}
	refused := int(r.counted("weft_relay_rejected_total"))
	rejects, err := r.js.Stream(t.Context(), "REJECTS")
	r.must(err)
	r.records(rejects, refused)
	for _, name := range []string{"EVENTS", "DLQ", "REJECTS", "GUARD"} {
		if text := r.everything(name); strings.Contains(text, plant) {
			t.Errorf("the value is in %s", name)
		}
	}
	for where, text := range map[string]string{"answers": answers.String(), "log": r.logged(), "metrics": string(r.counters()), "tallies": fmt.Sprintf("%+v", r.relay.SchemaTallies())} {
		if strings.Contains(text, plant) {
			t.Errorf("the value is in the %s", where)
		}
	}
}

// everything is what a stream holds, as text.
func (r *rig) everything(stream string) string {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), stream)
	r.must(err)
	info, err := s.Info(r.t.Context())
	r.must(err)
	var b strings.Builder
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && seq > 0; seq++ {
		m, err := s.GetMsg(r.t.Context(), seq)
		if err == nil {
			fmt.Fprintln(&b, m.Subject, m.Header, string(m.Data))
		} else if err != jetstream.ErrMsgNotFound { //nolint:errorlint // the client's own
			r.must(err)
		}
	}
	return b.String()
}
