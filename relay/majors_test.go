package relay_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/flag"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	inEuros = `{"type":"object","properties":{"amount":{"type":"number"}},"required":["amount"],"additionalProperties":false}`
	inCents = `{"type":"object","properties":{"stake":{"type":"integer","maximum":100000}},"required":["stake"],"additionalProperties":false}`
	toCents = `{"flag":"bet-v2","up":[{"op":"rename","at":"/amount","to":"stake"},{"op":"convert","at":"/stake","multiply":100}],"down":null,"samples":{"low":[],"high":[]}}`
)

// majors puts two major versions of bets into force, with a mapping between them, and the dead letters of the region.
func (r *rig) majors(percent int) jetstream.Stream {
	r.t.Helper()
	dlq, err := r.js.CreateStream(r.t.Context(), streams.DeadLettersConfig(streams.DeadLettersSpec{Region: "eu"}))
	r.must(err)
	r.schema("acme", "1.0.0", schema.Active, inEuros)
	r.schema("acme", "2.0.0", schema.Active, inCents)
	r.mapping(toCents)
	r.flag(percent)
	return dlq
}

func (r *rig) mapping(text string) {
	sum := sha256.Sum256([]byte(text))
	r.control.change(func(c *control.State) {
		m := &accounts.Mapping{Tenant: "acme", Subject: "bet.placed", Low: 1, High: 2, Flag: "bet-v2", Text: []byte(text), Hash: hex.EncodeToString(sum[:])}
		c.Mappings[m.ID()] = m
	})
}

func (r *rig) flag(percent int) {
	r.control.change(func(c *control.State) {
		f := &flag.Flag{Tenant: "acme", Name: "bet-v2", Percent: percent}
		c.Flags[flag.ID("acme", "bet-v2")] = f
	})
}

// becomes sends new events until an answer is as wanted: the relay has heard of the present control state.
func (r *rig) becomes(version, payload string, ok func(answer) bool) (a answer) {
	r.t.Helper()
	streamtest.Eventually(r.t, 10*time.Second, func() (bool, string) {
		a = r.send(post{body: bet(payload, "schema_version", `"`+version+`"`)})
		return ok(a), a.text
	})
	return a
}

func isCopied(a answer) bool { return a.Derived != nil }

func isWarned(a answer) bool { return len(a.Warnings) > 0 }

// both are an event of a version and a copy of it, as they stand in the stream.
func (r *rig) both(t *testing.T, a answer, id, topic, copyTopic string, major int) (original, copied *jetstream.RawStreamMsg) {
	t.Helper()
	if a.Derived != fmt.Sprintf("%s~v%d", id, major) {
		t.Fatalf("%d %s", a.status, a.text)
	}
	original, copied = r.message(a.Seq), r.message(a.Seq+1)
	if !strings.Contains(original.Subject, "."+topic+".bet.placed") || !strings.Contains(copied.Subject, "."+copyTopic+".bet.placed") {
		t.Errorf("in %s and %s", original.Subject, copied.Subject)
	}
	digest, err := event.Digest(original.Data)
	r.must(err)
	for name, want := range map[string]string{
		header.MsgID: id + "~v" + fmt.Sprint(major), header.DerivedFrom: id, header.DerivedDigest: hex.EncodeToString(digest[:]),
		header.Schema: fmt.Sprintf("bet.placed@%d.0.0", major), header.Source: "default", header.Kid: "acme-1", header.Relay: "r1",
	} {
		if got := copied.Header.Get(name); got != want {
			t.Errorf("the copy has %s %q, want %q", name, got, want)
		}
	}
	if !strings.HasPrefix(copied.Header.Get(header.Mapping), "bet.placed:1-2@") || original.Header.Get(header.DerivedFrom) != "" || original.Header.Get(header.Mapping) != "" {
		t.Errorf("%v and %v", original.Header, copied.Header)
	}
	return original, copied
}

// While two major versions live each event is stored in both, whichever it was sent in, and a retry stores nothing.
func TestBothMajorVersionsAreStored(t *testing.T) {
	r := newRig(t)
	r.majors(100)
	low := ev("event_id", `"low"`, "payload", `{"amount":90071992547409.31}`, "source_seq", "7", "sig", `{"mac":"x"}`)
	r.becomes("2.0.0", `{"stake":1}`, isCopied)
	a := r.send(post{body: strings.Replace(low, "90071992547409.31", "12.50", 1)})
	original, copied := r.both(t, a, "low", "events", "events~2", 2)
	want := strings.NewReplacer(`"1.0.0"`, `"2.0.0"`, `{"amount":12.50}`, `{"stake":1250}`, `,"sig":{"mac":"x"}`, "").Replace(string(original.Data))
	if string(copied.Data) != want || !strings.Contains(string(original.Data), `"sig":{"mac":"x"}`) {
		t.Errorf("%s becomes %s", original.Data, copied.Data)
	}
	before := r.stored()
	if again := r.send(post{body: string(original.Data)}); again.Status != "duplicate" || again.Derived != "low~v2" || r.stored() != before {
		t.Errorf("a retry: %s", again.text)
	}
	high := r.send(post{body: bet(`{"stake":99}`, "event_id", `"high"`, "schema_version", `"2.0.0"`)})
	if _, copied = r.both(t, high, "high", "events~2", "events", 1); !strings.Contains(string(copied.Data), `"payload":{"amount":0.99}`) {
		t.Errorf("%s", copied.Data)
	}
	batch := r.send(post{body: "[" + bet(`{"amount":1}`) + "," + bet(`{"stake":1}`, "schema_version", `"2.0.0"`) + "," + bet(`{"amount":"x"}`) + "]", query: "?results=all"})
	if batch.status != 200 || batch.Derived != 2.0 || batch.Stored != 2 || batch.Rejected != 1 || !strings.Contains(batch.text, `~v2"`) {
		t.Errorf("%d %s", batch.status, batch.text)
	}
	if n := r.counter("weft_relay_copies_total", prometheus.Labels{"tenant": "acme", "result": "duplicate"}); n != 1 {
		t.Errorf("%v copies that were there are counted", n)
	}
}

// The higher major version is behind a flag: a key is in both versions, or in the lower one alone.
func TestAMajorVersionIsBehindItsFlag(t *testing.T) {
	r := newRig(t)
	r.majors(0)
	a := r.becomes("2.0.0", `{"stake":1}`, code("schema_major_off"))
	if a.status != 422 || a.Errors[0].Pointer != "/schema_version" || !strings.Contains(a.Detail, "bet-v2") {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := r.send(post{body: bet(`{"amount":1}`)}); a.Status != "stored" || a.Derived != nil || !strings.Contains(r.message(r.stored()).Subject, ".events.") {
		t.Errorf("%s", a.text)
	}
	r.flag(50)
	both, refused := 0, 0
	f := flag.Flag{Tenant: "acme", Name: "bet-v2", Percent: 50}
	for i := range 20 {
		user := fmt.Sprintf("u-%d", i)
		a := r.send(post{body: bet(`{"stake":1}`, "schema_version", `"2.0.0"`, "key", `{"user_id":"`+user+`"}`)})
		switch {
		case f.On(user) && a.Derived != nil:
			both++
		case !f.On(user) && a.Code == "schema_major_off":
			refused++
		default:
			t.Errorf("%s: %s", user, a.text)
		}
	}
	if both == 0 || refused == 0 {
		t.Errorf("%d are in both, %d are refused", both, refused)
	}
	r.schema("acme", "1.0.0", schema.Retired, inEuros) // then the higher one is nobody's copy, and stays where it is
	r.flag(0)
	a = r.becomes("2.0.0", `{"stake":1}`, func(a answer) bool { return a.Status == "stored" })
	if m := r.message(a.Seq); a.Derived != nil || !strings.Contains(m.Subject, ".events~2.") {
		t.Errorf("%s in %s", a.text, m.Subject)
	}
}

// An event that no mapping carries over is stored, the producer is told, and the region's dead letters say what is missing
// in the other version.
func TestACopyThatCannotBe(t *testing.T) {
	r := newRig(t)
	dlq := r.majors(100)
	r.becomes("2.0.0", `{"stake":1}`, isCopied)
	for reason, amount := range map[string]string{"maximum": "777777.01", "integer": "0.001", "too many digits": "1" + strings.Repeat("0", 70) + ".5"} {
		before := r.stored()
		a := r.send(post{body: bet(`{"amount":` + amount + `}`)})
		if a.status != 202 || a.Status != "stored" || a.Derived != nil || len(a.Warnings) != 1 || a.Warnings[0].Code != "copy_dead_lettered" || r.stored() != before+1 {
			t.Fatalf("%d %s", a.status, a.text)
		}
		m, err := dlq.GetLastMsgForSubject(t.Context(), "dlq.eu.derivation.events~2.weft-relay")
		r.must(err)
		l, err := deadletter.LetterOf(m.Header)
		r.must(err)
		if string(m.Data) != string(r.message(a.Seq).Data) || l.EventID != a.EventID+"~v2" || l.OriginSeq != a.Seq || l.Origin != "eu_1" || !strings.Contains(l.LastError, reason) ||
			!strings.HasPrefix(l.LastError, "bet.placed:1-2@") || m.Header.Get(header.DerivedFrom) != "" {
			t.Errorf("%+v %v", l, m.Header)
		}
		if strings.Contains(r.logged()+l.LastError+a.text, amount) {
			t.Error("a value is told")
		}
	}
	if !strings.Contains(r.logged(), "cannot be carried over") {
		t.Error("nothing is logged")
	}
	if n := r.counter("weft_relay_copies_total", prometheus.Labels{"tenant": "acme", "result": "dead_lettered"}); n != 3 {
		t.Errorf("%v are counted", n)
	}
	r.rules("acme", rule.Set{BlockedFields: []string{"payload.stake"}}) // what no event may have, no copy may have
	a := r.becomes("1.0.0", `{"amount":3}`, isWarned)
	if a.Status != "stored" {
		t.Error(a.text)
	}
	c := dlq.CachedInfo().Config
	c.MaxMsgs = 1 // the dead letters are full: the producer is to come again, and the event is stored
	_, err := r.js.UpdateStream(t.Context(), c)
	r.must(err)
	if a := r.send(post{body: bet(`{"amount":3}`)}); a.status != 503 || a.Code != "copy_unavailable" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// What is refused as another one's conflict leaves no copy, and a copy that is missing is made up for by a retry, also if
// the mapping has changed.
func TestCopiesFollowTheirOriginals(t *testing.T) {
	r := newRig(t)
	r.majors(0)
	r.becomes("2.0.0", `{"stake":1}`, code("schema_major_off"))
	before := r.stored()
	first := ev("event_id", `"x"`, "payload", `{"amount":1}`)
	if a := r.send(post{body: first}); a.Status != "stored" || a.Derived != nil {
		t.Fatal(a.text)
	}
	r.flag(100)
	if a := r.send(post{body: ev("event_id", `"x"`, "payload", `{"amount":2}`)}); a.Code != "event_id_conflict" || r.stored() != before+1 {
		t.Errorf("%s, and %d are stored", a.text, r.stored()-before)
	}
	if a := r.send(post{body: first}); a.Status != "duplicate" || a.Derived != "x~v2" || r.stored() != before+2 {
		t.Errorf("%s, and %d are stored", a.text, r.stored()-before)
	}
	r.mapping(strings.Replace(toCents, "100}", "1000}", 1))
	r.becomes("1.0.0", `{"amount":1}`, func(a answer) bool { return strings.Contains(string(r.message(a.Seq+1).Data), `{"stake":1000}`) })
	before = r.stored()
	if a := r.send(post{body: first}); a.Status != "duplicate" || a.Derived != "x~v2" || r.stored() != before {
		t.Errorf("%s, and %d are stored", a.text, r.stored()-before)
	}
}

// A copy that its stream does not acknowledge makes the answer one that asks for a retry, which stores what is missing.
func TestACopyThatIsNotAcknowledged(t *testing.T) {
	r := newRig(t)
	r.majors(100)
	r.becomes("2.0.0", `{"stake":1}`, isCopied)
	s, err := r.js.Stream(t.Context(), subject.EventsStream)
	r.must(err)
	c := s.CachedInfo().Config
	all := c.Subjects
	c.Subjects = []string{"evt.eu_1.*.*.events.>"} // and nothing takes what goes to the other topic
	_, err = r.js.UpdateStream(t.Context(), c)
	r.must(err)
	before := r.stored()
	one, other := bet(`{"amount":1}`, "event_id", `"y"`), bet(`{"amount":"x"}`)
	if a := r.send(post{body: one}); a.status != 503 || a.Code != "copy_unavailable" || a.header.Get("Retry-After") == "" || r.stored() != before+1 {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := r.send(post{body: "[" + one + "," + other + "]"}); a.status != 503 || a.Unavailable != 1 || a.Rejected != 1 || a.Results[0].Code != "copy_unavailable" {
		t.Errorf("%d %s", a.status, a.text)
	}
	c.Subjects = all
	_, err = r.js.UpdateStream(t.Context(), c)
	r.must(err)
	if a := r.send(post{body: one}); a.Status != "duplicate" || a.Derived != "y~v2" || r.stored() != before+2 {
		t.Errorf("%d %s", a.status, a.text)
	}
	if n := r.counter("weft_relay_copies_total", prometheus.Labels{"tenant": "acme", "result": "unavailable"}); n != 2 {
		t.Errorf("%v are counted", n)
	}
}

// A copy goes where its original goes.
func TestCopiesGoToTheHomeRegion(t *testing.T) {
	r := newRig(t)
	r.majors(100)
	r.playHome()
	r.routes([]accounts.Topic{{Name: "bets", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Forward}})
	sent, err := r.conn.SubscribeSync("evt.us_1.>")
	r.must(err)
	r.must(r.conn.Flush())
	r.becomes("1.0.0", `{"amount":1}`, isCopied)
	a := r.send(post{body: bet(`{"amount":1}`, "key", `{"user_id":"`+userOf("us")+`"}`, "event_id", `"h"`)})
	if a.Status != "forwarded" || a.Region != "us" || a.Derived != "h~v2" {
		t.Fatalf("%d %s", a.status, a.text)
	}
	var got []string
	for len(got) < 2 {
		m, err := sent.NextMsg(5 * time.Second)
		r.must(err)
		s, err := subject.Parse(m.Subject)
		r.must(err)
		if id := m.Header.Get(header.MsgID); strings.HasPrefix(id, "h") { // else it was on the way here
			got = append(got, id+" "+s.Topic)
		}
	}
	if strings.Join(got, ", ") != "h bets, h~v2 bets~2" {
		t.Error(got)
	}
}

// A mapping that this relay does not compile lets no event be lost.
func TestAMappingThatDoesNotCompile(t *testing.T) {
	r := newRig(t)
	r.majors(100)
	r.mapping(strings.Replace(toCents, "rename", "transmogrify", 1))
	a := r.becomes("1.0.0", `{"amount":1}`, isWarned)
	if a.Status != "stored" || a.Warnings[0].Code != "copy_dead_lettered" || !strings.Contains(r.logged(), "does not compile") {
		t.Errorf("%s", a.text)
	}
}
