package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// rejects makes the stream that a hub would have made. All tenants of a rig share one account.
func (r *rig) rejects() jetstream.Stream {
	r.t.Helper()
	s, err := r.js.CreateStream(r.t.Context(), streams.RejectsConfig(streams.RejectsSpec{Region: "eu"}))
	r.must(err)
	return s
}

// records reads everything of the stream once it accounts for n refusals, and all of its bytes.
func (r *rig) records(s jetstream.Stream, n int) (list []*deadletter.Record, all []byte) {
	r.t.Helper()
	streamtest.Eventually(r.t, 15*time.Second, func() (bool, string) {
		list, all = nil, nil
		sum := 0
		info, err := s.Info(r.t.Context())
		r.must(err)
		for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
			m, err := s.GetMsg(r.t.Context(), seq)
			r.must(err)
			rec, err := deadletter.Decode(m.Data)
			r.must(err)
			at, err := subject.ParseReject(m.Subject)
			if err != nil || at.Code != rec.Code || at.Cause != string(rec.Cause) || at.Region != "eu" {
				r.t.Errorf("record %s under %s: %v", m.Data, m.Subject, err)
			}
			list, sum = append(list, rec), sum+rec.Count+rec.Suppressed
			all = append(all, fmt.Sprintln(m.Subject, m.Header, string(m.Data))...)
		}
		return sum == n, fmt.Sprintf("the records account for %d refusals, want %d", sum, n)
	})
	return list, all
}

// counters is what the metrics say, one line for each.
func (r *rig) counters() []byte {
	r.t.Helper()
	families, err := r.metrics.Gather()
	r.must(err)
	var b bytes.Buffer
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			at := "{" + strings.Join(labels, ",") + "} "
			if h := m.GetHistogram(); h != nil {
				fmt.Fprintln(&b, f.GetName()+"_count"+at+fmt.Sprint(h.GetSampleCount()))
				continue
			}
			fmt.Fprintln(&b, f.GetName()+at+fmt.Sprint(m.GetCounter().GetValue()+m.GetGauge().GetValue()))
		}
	}
	return b.Bytes()
}

// Every refusal that names a tenant credibly is in its stream, and no other is.
func TestRefusalsAreRecorded(t *testing.T) {
	r := newRig(t)
	r.addBadKeys()
	s := r.rejects()
	var want []string
	for _, c := range slices.Concat(badRequests(), badSignatures(), badEvents()) {
		a := r.send(c.post)
		reason, ok := deadletter.ReasonOf(a.Code)
		if !ok || a.status != reason.Status {
			t.Errorf("%s: %d %s, the table says %+v", c.name, a.status, a.Code, reason)
		}
		if recorded(c) {
			want = append(want, a.Code)
		}
	}
	list, _ := r.records(s, len(want))
	var got []string
	for _, rec := range list {
		got = append(got, rec.Code)
		if rec.Relay != "r1" || rec.Region != "eu" || rec.Peer != "127.0.0.0/24" || rec.ReceivedAt.IsZero() || rec.Proof == "" || rec.Producer == "" {
			t.Errorf("incomplete: %+v", rec)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q\nwant     %q", got, want)
	}
}

// recorded says whether a case of the tables above names acme credibly, for a reason that is kept.
func recorded(c refusal) bool {
	reason, _ := deadletter.ReasonOf(c.code)
	if !reason.Cause.Kept() {
		return false
	}
	switch c.code {
	case "not_found", "method_not_allowed", "invalid_query", "header_forbidden", "key_unknown", "tenant_inactive", "invalid_key_id":
		return false // before the key is read, or without one that exists
	}
	switch c.name {
	case "kid missing", "kid twice", "10 MB body":
		return false
	}
	return true
}

// Who knows a key's id and has another tenant's certificate leaves nothing in the key's tenant's stream; who has the
// key itself does, because that is what its owner must hear of.
func TestAKidAloneIsNoProof(t *testing.T) {
	r := newRig(t)
	s := r.rejects()
	forged := func(req *http.Request) { req.Header.Set(signature.Signature, "v1="+strings.Repeat("0", 64)) }
	r.send(post{body: ev(), kid: "acme-1", who: globex, after: forged})
	r.send(post{body: ev(), kid: "acme-1", who: pki.Principal{Role: pki.RoleHub, Region: "eu"}, after: forged})
	r.send(post{body: ev(), kid: "acme-1", after: forged})
	if a := r.send(post{body: ev(), kid: "acme-1", who: globex}); a.Code != "identity_mismatch" {
		t.Fatalf("%d %s", a.status, a.text)
	}
	list, _ := r.records(s, 2)
	for i, want := range []struct {
		code  string
		proof deadletter.Proof
	}{{"signature_invalid", deadletter.ByCertificate}, {"identity_mismatch", deadletter.BySignature}} {
		if list[i].Code != want.code || list[i].Proof != want.proof || list[i].Kid != "acme-1" {
			t.Errorf("record %d: %+v", i, list[i])
		}
	}
	if text := string(r.counters()); !strings.Contains(text, `weft_relay_rejected_total{code="key_unknown",source="unknown",tenant="unknown"} 2`) ||
		!strings.Contains(text, `weft_relay_rejected_total{code="signature_invalid",source="default",tenant="acme"} 1`) {
		t.Errorf("counted:\n%s", text)
	}
}

// plants are what must not be found again.
var plants = []string{"bob.smith@example.com", "078-05-1120", "4111111111111111", "Plantagenet"}

// planted are requests with each plant in each place that a producer fills. An id of the right grammar is told by design:
// it is the event's name everywhere, so the ones in here are not of it.
func planted() []post {
	var out []post
	for _, p := range plants {
		q := fmt.Sprintf("%q", p)
		for _, body := range []string{
			ev("event_id", q+`,"x":1}`), ev("event_id", `"@`+p+`"`, "event_type", `"@`+p+`"`), ev("event_type", `"A `+p+`"`), ev("schema_version", q),
			ev("occurred_at", q), ev("key", `{"user_id":"`+p+`\u0001"}`), ev("key", `{"user_id":{`+q+`:`+q+`}}`), ev("key", q),
			ev("payload", q), ev("payload", `{`+q+`:1,`+q+`:2}`), ev("payload", `{`+q+`:[{"a":`+q+`,"a":1}]}`), ev("payload", `{`+q+`:`+q+` `+p+`}`),
			ev("payload", `{`+q+`:1e999}`), ev("payload", `{"a":"`+p+`\uD800"}`), ev("payload", `{"a":"`+p+"\xff"+`"}`), ev("payload", `{`+q+`:`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`}`),
			ev("ctx", q), ev("ctx", `{`+q+`:`), ev("source_seq", q), ev(p, q, "payload", ""), ev() + p, p, `["` + p + `"`,
			ev("occurred_at", `"2050-01-01T00:00:00Z"`, "payload", `{`+q+`:`+q+`}`), ev("occurred_at", `"2001-01-01T00:00:00Z"`, "ctx", `{`+q+`:`+q+`}`),
		} {
			out = append(out, post{body: body}, post{body: "[" + body + "]"}, post{body: body + "\n" + body, ndjson: true})
		}
		for _, name := range []string{signature.KeyID, signature.Timestamp, signature.RequestID, signature.Signature, "Content-Type", "Content-Encoding",
			"Traceparent", "User-Agent", "Authorization", "Nats-Msg-Id", "X-Forwarded-For", "Cookie", p} {
			out = append(out, post{body: ev("payload", q), after: func(req *http.Request) { req.Header[name] = []string{p + "@ "} }})
			out = append(out, post{body: ev("payload", q), after: func(req *http.Request) { req.Header.Add(name, p+"@ ") }})
		}
		out = append(out, post{body: ev(), query: "?" + p}, post{body: ev(), host: p}, post{body: ev(), before: func(req *http.Request) { req.URL.Path += "/" + p }})
	}
	return out
}

// Personal data in any place of a request is in no record, no line of the log and no metric.
func TestPersonalDataIsNowhere(t *testing.T) {
	r := newRig(t, func(o *relayOptions) {
		o.Rejects.PerCode, o.Rejects.CodeBurst, o.Rejects.PerTenant, o.Rejects.Burst = 1e6, 1e6, 1e6, 1e6
		o.Rejects.LineBurst = 1e6
	})
	s := r.rejects()
	cases, refused := planted(), 0
	for _, p := range cases {
		p.http1 = true // takes header names that HTTP/2 clients do not send
		a, ok := r.trySend(p)
		if ok && a.status >= 400 {
			refused++
		}
	}
	if refused < len(cases)/2 {
		t.Fatalf("only %d of %d are refused", refused, len(cases))
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		n := r.counted("weft_relay_reject_records_total")
		info, err := s.Info(t.Context())
		r.must(err)
		return n > 300 && float64(info.State.Msgs) == n, fmt.Sprintf("%v records, %d stored", n, info.State.Msgs)
	})
	info, err := s.Info(t.Context())
	r.must(err)
	var all bytes.Buffer
	for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		r.must(err)
		fmt.Fprintln(&all, m.Subject, m.Header, string(m.Data))
	}
	for _, hidden := range append(plants, marker) {
		for where, text := range map[string]string{"stream": all.String(), "log": r.logged(), "metrics": string(r.counters())} {
			for line := range strings.Lines(text) {
				if strings.Contains(line, hidden) {
					t.Errorf("%s is in the %s: %.600s", hidden, where, line)
					break
				}
			}
		}
	}
}

// trySend is send for a request that the client may refuse to send.
func (r *rig) trySend(p post) (a answer, ok bool) {
	req, err := http.NewRequest(http.MethodPost, "https://"+r.relay.Addr()+"/v1/events"+p.query, strings.NewReader(p.body))
	if err != nil {
		return a, false
	}
	req.Header.Set("Content-Type", "application/json")
	if p.ndjson {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	req.Host = p.host
	if p.before != nil {
		p.before(req)
	}
	signature.SignHTTP(r.secrets["acme-1"], req, "acme-1", fmt.Sprintf("req-%d", nextRequest.Add(1)), time.Now(), []byte(p.body))
	if p.after != nil {
		p.after(req)
	}
	res, err := r.client(acme, p.http1).Do(req)
	if err != nil {
		return a, false
	}
	defer func() { _ = res.Body.Close() }()
	_ = json.NewDecoder(res.Body).Decode(&a)
	a.status = res.StatusCode
	return a, true
}

// A broken batch is one request and makes a handful of records, which add up.
func TestABrokenBatchIsSummed(t *testing.T) {
	r := newRig(t)
	s := r.rejects()
	bad := strings.Repeat("{\"event_id\":1}\n", 9000) + strings.Repeat("{\n", 999)
	a := r.send(post{body: bad + ev() + "\n", ndjson: true})
	if a.status != 200 || a.Rejected != 9999 || a.Stored != 1 {
		t.Fatalf("%d: %d rejected, %d stored", a.status, a.Rejected, a.Stored)
	}
	list, _ := r.records(s, 9999)
	if len(list) != 18 {
		t.Errorf("%d records", len(list))
	}
	if n := r.counted("weft_relay_rejected_total"); n != 9999 {
		t.Errorf("%v are counted", n)
	}
}

// A flood of wrong signatures under a key that exists makes as many records as the tenant may have, all of them are
// accounted for, and another tenant's refusals are recorded meanwhile.
func TestAFloodIsCapped(t *testing.T) {
	r := newRig(t, func(o *relayOptions) {
		o.Rejects.PerCode, o.Rejects.CodeBurst, o.Rejects.Sweep = 1, 20, 300*time.Millisecond
	})
	s := r.rejects()
	const flood, workers = 2000, 8
	r.client(acme, false)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range flood / workers {
				r.send(post{body: ev(), after: func(req *http.Request) { req.Header.Set(signature.Signature, "v1="+strings.Repeat("0", 64)) }})
			}
		})
	}
	wg.Wait()
	r.send(post{body: "{", who: globex})
	list, _ := r.records(s, flood+1)
	if len(list) > 60 {
		t.Errorf("%d refusals made %d records", flood, len(list))
	}
	if !slices.ContainsFunc(list, func(rec *deadletter.Record) bool { return rec.Kid == "globex-1" }) {
		t.Error("the other tenant's refusal is not recorded")
	}
	if lines := r.logs.FilterMessage("request refused").Len(); lines > 60 {
		t.Errorf("%d lines are logged", lines)
	}
}

// Without the stream everything is answered as with it, and what is not recorded is counted; once it is there, the
// next record tells of it.
func TestWithoutTheStream(t *testing.T) {
	r := newRig(t, func(o *relayOptions) { o.Rejects.Sweep = 200 * time.Millisecond })
	for range 5 {
		if a := r.send(post{body: "{"}); a.Code != "syntax" {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	if a := r.send(post{body: ev()}); a.status != 202 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		text := string(r.counters())
		return strings.Contains(text, `weft_relay_reject_records_total{result="failed"} 5`), text
	})
	r.records(r.rejects(), 5)
}

// A client that is refused for its time learns how far it is off, by the relay's own clock.
func TestARefusedClientLearnsItsDrift(t *testing.T) {
	r := newRig(t)
	for _, at := range []time.Duration{-9 * time.Minute, 9 * time.Minute, -30 * time.Hour} {
		a := r.send(post{body: ev(), at: at})
		if a.Code != "timestamp_skew" || a.SkewS == nil || (time.Duration(*a.SkewS)*time.Second-at).Abs() > 2*time.Second || a.MaxSkewS != 300 {
			t.Errorf("%s off: %d %s", at, a.status, a.text)
		}
		date, err := http.ParseTime(a.header.Get("Date"))
		if err != nil || time.Since(date).Abs() > 5*time.Second {
			t.Errorf("Date %q: %v", a.header.Get("Date"), err)
		}
	}
	for range 5 {
		r.send(post{body: ev(), at: -100 * time.Second})
	}
	text := string(r.counters())
	if !strings.Contains(text, `weft_relay_clock_skew_abs_seconds_count{tenant="acme"} 7`) { // the one of 30 h was not authenticated
		t.Errorf("measured:\n%s", text)
	}
}

// A relay whose clock jumps says that it does not know the time, and refuses nobody for it.
func TestARelayWhoseClockJumps(t *testing.T) {
	var mu sync.Mutex
	var off time.Duration
	jump := func(d time.Duration) { mu.Lock(); off = d; mu.Unlock() }
	r := newRig(t, func(o *relayOptions) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(off) }
	})
	beat := time.Now()
	r.control.beat.Store(&beat)
	for _, d := range []time.Duration{10 * time.Minute, -10 * time.Minute, 30 * time.Hour} {
		jump(d)
		a := r.send(post{body: ev()})
		if a.status != 503 || a.Code != "clock_unsure" || a.header.Get("Retry-After") == "" || !strings.Contains(a.Detail, "jumped by") {
			t.Errorf("%s: %d %s", d, a.status, a.text)
		}
		if why := strings.Join(r.relay.Ready(), "; "); !strings.Contains(why, "jumped by") {
			t.Errorf("ready says %q", why)
		}
		jump(0)
		streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
			why := strings.Join(r.relay.Ready(), "; ")
			return why == "", why
		})
		if a := r.send(post{body: ev()}); a.status != 202 {
			t.Errorf("afterwards: %d %s", a.status, a.text)
		}
	}
	if n := r.counted("weft_relay_clock_jumps_total"); n != 6 {
		t.Errorf("%v jumps are counted", n)
	}
}
