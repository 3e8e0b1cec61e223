package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/subject"
)

type relayOptions = relay.Options

func TestOneEvent(t *testing.T) {
	r := newRig(t)
	for i, http1 := range []bool{false, true} {
		body := " " + ev("event_id", fmt.Sprintf(`"one-%d"`, i), "ingested_at", `"ignored"`, "unknown", `[1, 2]`) + "\n"
		trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		a := r.send(post{http1: http1, body: body, before: setHeader("Traceparent", trace)})
		if a.status != 202 || a.Status != "stored" || a.EventID != fmt.Sprintf("one-%d", i) || a.Region != "eu" ||
			a.Stream != "EVENTS" || a.Seq != uint64(i+1) || a.Ack != "stored" {
			t.Fatalf("%d %s", a.status, a.text)
		}
		m := r.message(a.Seq)
		if string(m.Data) != strings.TrimSpace(body) {
			t.Errorf("stored %q", m.Data)
		}
		want := subject.Event{Origin: subject.Origin{Region: "eu", Epoch: 1}, Scope: subject.Global, Partition: partition.Of("u-1"),
			Topic: "events", Type: "bet.placed"}.String()
		if m.Subject != want {
			t.Errorf("subject %q, want %q", m.Subject, want)
		}
		for name, value := range map[string]string{
			header.MsgID: a.EventID, header.Relay: "r1", header.Kid: "acme-1", header.Source: "default", header.TraceParent: trace, header.TTL: "",
		} {
			if got := m.Header.Get(name); got != value {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
		}
		at, err := time.Parse(time.RFC3339Nano, m.Header.Get(header.IngestedAt))
		if err != nil || time.Since(at).Abs() > time.Minute || !strings.HasSuffix(m.Header.Get(header.IngestedAt), "Z") {
			t.Errorf("ingested at %q", m.Header.Get(header.IngestedAt))
		}
	}
}

func TestClockDriftWithinTheWindow(t *testing.T) {
	r := newRig(t)
	for _, at := range []time.Duration{-299 * time.Second, 299 * time.Second} {
		if a := r.send(post{body: ev(), at: at}); a.status != 202 {
			t.Errorf("%s: %s", at, a.text)
		}
	}
	if a := r.send(post{body: ev(), before: setHeader("Content-Encoding", "identity")}); a.status != 202 {
		t.Errorf("identity: %s", a.text)
	}
	if a := r.send(post{body: ev(), before: setHeader("Content-Type", "Application/JSON; Charset=UTF-8")}); a.status != 202 {
		t.Errorf("charset: %s", a.text)
	}
	if a := r.send(post{body: ev(), host: "LOCALHOST" + r.relay.Addr()[len("127.0.0.1"):]}); a.status != 202 {
		t.Errorf("the certificate's name as host: %s", a.text)
	}
}

func TestBatches(t *testing.T) {
	r := newRig(t)
	good := func(i int) string { return ev("event_id", fmt.Sprintf(`"b-%d"`, i)) }
	bad := ev("event_id", `"b b"`)
	lines := strings.Join([]string{good(0), bad, "", good(1), `{"broken":`, good(0), ev("event_id", `"b-0"`, "payload", `{"other":1}`)}, "\n")
	a := r.send(post{body: lines, ndjson: true})
	if a.status != 200 || a.Stored != 2 || a.Duplicates != 1 || a.Rejected != 3 || a.Ack != "stored" || len(a.Results) != 4 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	var got []string
	for _, x := range a.Results {
		got = append(got, fmt.Sprintf("%d %s %s", x.Index, x.Status, x.Code))
	}
	want := []string{"1 rejected invalid_event_id", "3 rejected syntax", "4 duplicate ", "5 rejected event_id_conflict"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if id := a.Results[0].EventID; id != "" {
		t.Errorf("an id outside the grammar comes back: %q", id)
	}
	if n := r.stored(); n != 2 {
		t.Errorf("%d stored", n)
	}

	a = r.send(post{body: "[" + good(2) + "," + good(3) + "]", query: "?results=all"})
	if a.status != 200 || a.Stored != 2 || len(a.Results) != 2 || a.Results[1].Status != "stored" || a.Results[1].Seq != 4 || a.Results[1].EventID != "b-3" {
		t.Errorf("%d %s", a.status, a.text)
	}
	a = r.send(post{body: "[" + good(4) + "]"})
	if a.status != 200 || a.Stored != 1 || len(a.Results) != 0 {
		t.Errorf("a batch of one: %d %s", a.status, a.text)
	}
	a = r.send(post{body: bad + "\n" + bad, ndjson: true})
	if a.status != 200 || a.Rejected != 2 || a.Ack != "" {
		t.Errorf("a batch of nothing good: %d %s", a.status, a.text)
	}
}

func TestKnownIDWithOtherContent(t *testing.T) {
	r := newRig(t)
	first := ev("event_id", `"c-1"`, "payload", `{"a":1,"b":2}`)
	if a := r.send(post{body: first}); a.status != 202 || a.Status != "stored" {
		t.Fatal(a.text)
	}
	same := ev("event_id", `"c-1"`, "payload", `{"b":2,"a":1.0}`, "ctx", `{"platform":"ios"}`)
	if a := r.send(post{body: same}); a.status != 202 || a.Status != "duplicate" || a.Seq != 1 {
		t.Errorf("the same content again: %d %s", a.status, a.text)
	}
	other := ev("event_id", `"c-1"`, "payload", `{"a":1,"b":3,"x":"`+marker+`"}`)
	a := r.send(post{body: other})
	if a.status != 409 || a.Code != "event_id_conflict" || a.EventID != "c-1" || !strings.Contains(a.Detail, "event_id") {
		t.Errorf("other content: %d %s", a.status, a.text)
	}
	if n := r.stored(); n != 1 {
		t.Errorf("%d stored", n)
	}
	r.checkSilence(t, a, "")
	if !strings.Contains(r.logged(), "other content") {
		t.Error("the conflict is not logged")
	}
	if n := r.counted("weft_relay_event_id_conflicts_total"); n != 1 {
		t.Errorf("%v conflicts are counted", n)
	}
}

func TestFullStream(t *testing.T) {
	r := newRig(t)
	s, err := r.js.Stream(t.Context(), subject.EventsStream)
	r.must(err)
	c := s.CachedInfo().Config
	c.MaxBytes = 1000
	_, err = r.js.UpdateStream(t.Context(), c)
	r.must(err)
	for range 20 {
		a := r.send(post{body: ev()})
		if a.status == 202 {
			continue
		}
		if a.status != 503 || a.Code != "stream_full" {
			t.Errorf("%d %s", a.status, a.text)
		}
		return
	}
	t.Error("the stream never was full")
}

// A key that names no producer is any producer's of its tenant, and the certificate says whose event it is.
func TestKeyOfATenant(t *testing.T) {
	r := newRig(t)
	r.control.change(func(s *control.State) { s.Keys["acme-any"] = r.key("acme-any", "acme", "") })
	a := r.send(post{body: ev(), kid: "acme-any", who: pki.Principal{Role: pki.RoleTenant, Tenant: "acme", Producer: "batch"}})
	if a.status != 202 || r.message(a.Seq).Header.Get(header.Source) != "batch" {
		t.Errorf("%d %s", a.status, a.text)
	}
	r.control.change(func(s *control.State) {
		k := r.key("acme-grace", "acme", "default")
		k.State, k.GraceUntil = keyring.Grace, time.Now().Add(time.Hour)
		s.Keys["acme-grace"] = k
	})
	if a := r.send(post{body: ev(), kid: "acme-grace"}); a.status != 202 {
		t.Errorf("in its grace period: %d %s", a.status, a.text)
	}
}
