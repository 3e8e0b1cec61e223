package client_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestSendEndsStoredWhateverFails(t *testing.T) {
	partly := func(w http.ResponseWriter, _ [][]byte) {
		_, _ = io.WriteString(w, `{"stored":1,"results":[{"index":1,"status":"unavailable","code":"overloaded"},{"index":2,"status":"rejected","code":"topic_denied","detail":"no","pointer":"/event_type"}]}`)
	}
	for _, c := range []struct {
		name   string
		n      int
		script func(f *fake) []step
		want   map[client.Status]int
	}{
		{"all is well", 1200, nil, map[client.Status]int{client.Stored: 1200}},
		{"one event", 1, nil, map[client.Status]int{client.Stored: 1}},
		{"connection breaks before storing", 3, func(*fake) []step { return []step{breakFirst, breakFirst} }, map[client.Status]int{client.Stored: 3}},
		{"connection breaks after storing", 3, func(f *fake) []step { return []step{f.storeThenBreak} }, map[client.Status]int{client.Duplicate: 3}},
		{"one event, breaks after storing", 1, func(f *fake) []step { return []step{f.storeThenBreak} }, map[client.Status]int{client.Duplicate: 1}},
		{"503 problem", 2, func(*fake) []step { return []step{answers(503, "overloaded", "")} }, map[client.Status]int{client.Stored: 2}},
		{"503 with results", 2, func(*fake) []step {
			return []step{answers(503, "overloaded", `,"stored":0,"results":[{"index":0,"status":"unavailable","code":"overloaded"},{"index":1,"status":"rejected","code":"wrong_type"}]`)}
		}, map[client.Status]int{client.Stored: 1, client.Rejected: 1}},
		{"429, 500, 502", 2, func(*fake) []step {
			return []step{answers(429, "limited", ""), answers(500, "internal", ""), answers(502, "", "")}
		}, map[client.Status]int{client.Stored: 2}},
		{"some unavailable, some rejected", 3, func(*fake) []step { return []step{partly} },
			map[client.Status]int{client.Stored: 2, client.Rejected: 1}},
		{"too large is halved", 4, func(*fake) []step { return []step{answers(413, "too_large", ""), answers(413, "too_large", "")} },
			map[client.Status]int{client.Stored: 4}},
		{"one event is kept without a schema", 1, func(*fake) []step {
			return []step{func(w http.ResponseWriter, _ [][]byte) {
				w.WriteHeader(http.StatusAccepted)
				_, _ = io.WriteString(w, `{"event_id":"e","status":"dead_lettered","region":"eu","stream":"DLQ","seq":1,"ack":"stored","code":"unknown_type","detail":"no schema"}`)
			}}
		}, map[client.Status]int{client.DeadLettered: 1}},
		{"one event conflicts", 1, func(*fake) []step { return []step{answers(409, "event_id_conflict", "")} }, map[client.Status]int{client.Rejected: 1}},
		{"one event is wrong", 1, func(*fake) []step {
			return []step{answers(422, "wrong_type", `,"errors":[{"index":0,"pointer":"/payload"}]`)}
		}, map[client.Status]int{client.Rejected: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			if c.script != nil {
				f.script = c.script(f)
			}
			got, err := newClient(t, f, nil).Send(t.Context(), makeEvents(c.n))
			if err != nil {
				t.Fatal(err)
			}
			if s := statuses(got); fmt.Sprint(s) != fmt.Sprint(c.want) {
				t.Errorf("%v, want %v", s, c.want)
			}
			for _, r := range got {
				if r.Status == client.Rejected && r.Code == "" {
					t.Errorf("%+v is rejected without a code", r)
				}
			}
		})
	}
}

func TestSendStopsAtRefusal(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		kind   fault.Kind
	}{
		{401, "timestamp_skew", fault.Unauthenticated}, {403, "identity_mismatch", fault.Denied},
		{421, "host_unknown", fault.Invalid}, {404, "not_found", fault.NotFound}, {400, "header_repeated", fault.Invalid},
	} {
		f := newFake(t, answers(c.status, c.code, ""))
		got, err := newClient(t, f, func(o *client.Options) { o.BatchEvents = 2 }).Send(t.Context(), makeEvents(5))
		if fault.KindOf(err) != c.kind || fault.CodeOf(err) != c.code {
			t.Errorf("%d: error %v (%v)", c.status, err, fault.KindOf(err))
		}
		if s := statuses(got); s[client.Unknown] != 5 || len(f.requests) != 1 {
			t.Errorf("%d: %v after %d requests", c.status, s, len(f.requests))
		}
	}
}

func TestSendGivesUp(t *testing.T) {
	down := func(o *client.Options) { o.MaxRetries = 3 }
	f := newFake(t, slices.Repeat([]step{answers(503, "overloaded", "")}, 10)...)
	got, err := newClient(t, f, down).Send(t.Context(), makeEvents(3))
	if fault.CodeOf(err) != "not_stored" || !strings.Contains(err.Error(), "overloaded") || len(f.requests) != 4 {
		t.Errorf("error %v after %d requests", err, len(f.requests))
	}
	if s := statuses(got); s[client.Unknown] != 3 || got[0].Code != "overloaded" {
		t.Errorf("%v, code %q", s, got[0].Code)
	}

	f = newFake(t, slices.Repeat([]step{answers(503, "overloaded", "")}, 1000)...)
	_, err = newClient(t, f, func(o *client.Options) { o.Deadline, o.MaxRetries = 30*time.Millisecond, 1000 }).Send(t.Context(), makeEvents(3))
	if fault.CodeOf(err) != "not_stored" {
		t.Errorf("after the deadline: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = newClient(t, newFake(t), nil).Send(ctx, makeEvents(3)); err == nil {
		t.Error("no error although the context had ended")
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	asks := func(status int) step {
		return func(w http.ResponseWriter, _ [][]byte) {
			w.Header().Set("Retry-After", "1")
			problem(w, status, "overloaded", "")
		}
	}
	f := newFake(t, asks(503), asks(429))
	begin := time.Now()
	if _, err := newClient(t, f, nil).Send(t.Context(), makeEvents(2)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 2*time.Second {
		t.Errorf("came back twice within %s, each time asked for 1s", took)
	}
}

func TestContradictingAnswerIsNotBelieved(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, _ [][]byte) { _, _ = io.WriteString(w, `{"stored":1,"results":[]}`) })
	got, err := newClient(t, f, nil).Send(t.Context(), makeEvents(3))
	if fault.CodeOf(err) != "answer_malformed" || statuses(got)[client.Unknown] != 3 {
		t.Errorf("%v, %v", err, statuses(got))
	}
}

func TestEventsWithLineBreaksGoAloneAndUnchanged(t *testing.T) {
	pretty := []byte("{\n \"event_id\": \"e-1\"\n}")
	f := newFake(t)
	events := [][]byte{[]byte(`{"event_id":"e-0"}`), pretty, []byte(`{"event_id":"e-2"}`), []byte(`{"event_id":"e-3"}`)}
	got, err := newClient(t, f, nil).Send(t.Context(), events)
	if err != nil || statuses(got)[client.Stored] != 4 {
		t.Fatalf("%v, %v", err, statuses(got))
	}
	if want := []string{"application/json", "application/json", "application/x-ndjson"}; !slices.Equal(f.types, want) {
		t.Errorf("content types %q, want %q", f.types, want)
	}
}

func TestBatchesKeepTheirBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 300), 1, 60).Draw(rt, "sizes")
		maxEvents, maxBytes := rapid.IntRange(1, 10).Draw(rt, "events"), rapid.IntRange(1, 600).Draw(rt, "bytes")
		lanes := rapid.IntRange(1, 4).Draw(rt, "lanes")
		var events [][]byte
		for i, n := range sizes {
			events = append(events, fmt.Appendf(nil, `{"event_id":"e-%d","key":{"user_id":"u-%d"},"x":%q}`, i, i%5, strings.Repeat("x", n)))
		}
		f := newFake(t)
		defer f.server.Close()
		f.script = slices.Repeat([]step{func(w http.ResponseWriter, lines [][]byte) {
			bytes := 0
			for _, l := range lines {
				bytes += len(l)
			}
			if len(lines) > maxEvents || len(lines) > 1 && bytes > maxBytes {
				rt.Errorf("a batch of %d events, %d bytes", len(lines), bytes)
			}
			f.store(w, lines)
		}}, len(sizes))
		c := newClient(t, f, func(o *client.Options) { o.BatchEvents, o.BatchBytes, o.Concurrency = maxEvents, maxBytes, lanes })
		defer c.Close()
		got, err := c.Send(t.Context(), events)
		if err != nil || statuses(got)[client.Stored] != len(sizes) {
			rt.Fatalf("%v, %v", err, statuses(got))
		}
		last := map[int]int{}
		for _, id := range f.order {
			n, _ := strconv.Atoi(strings.TrimPrefix(id, "e-"))
			if before, ok := last[n%5]; ok && before > n {
				rt.Errorf("user %d: event %d came before event %d", n%5, before, n)
			}
			last[n%5] = n
		}
	})
}

func TestDriftIsNoticed(t *testing.T) {
	f := newFake(t)
	ahead := func(o *client.Options) { o.Now = func() time.Time { return time.Now().Add(100 * time.Second) } }
	c := newClient(t, f, ahead)
	if _, err := c.Send(t.Context(), makeEvents(2)); err != nil {
		t.Fatal(err)
	}
	if d := c.Drift(); d < 99*time.Second || d > 101*time.Second {
		t.Errorf("drift %s, want about 100s", d)
	}
}

func TestOnResultsSeesEveryEventOnce(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]int{}
	f := newFake(t, breakFirst)
	c := newClient(t, f, func(o *client.Options) {
		o.BatchEvents, o.Concurrency = 3, 3
		o.OnResults = func(rs []client.Result) {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range rs {
				seen[r.Index]++
			}
		}
	})
	if _, err := c.Send(t.Context(), makeEvents(50)); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if seen[i] != 1 {
			t.Errorf("event %d was reported %d times", i, seen[i])
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*client.Options){
		"no url":         func(o *client.Options) { o.URL = "" },
		"plain http":     func(o *client.Options) { o.URL = "http://127.0.0.1:1" },
		"kid":            func(o *client.Options) { o.Kid = "a b" },
		"secret":         func(o *client.Options) { o.Secret = nil },
		"batch":          func(o *client.Options) { o.BatchEvents = 0 },
		"concurrency":    func(o *client.Options) { o.Concurrency = 0 },
		"backoff":        func(o *client.Options) { o.MinBackoff = 0 },
		"logger":         func(o *client.Options) { o.Logger = nil },
		"max < min":      func(o *client.Options) { o.MaxBackoff = o.MinBackoff - 1 },
		"scheme":         func(o *client.Options) { o.Scheme = "none" },
		"no scheme":      func(o *client.Options) { o.Scheme = "" },
		"no private key": func(o *client.Options) { o.Scheme, o.Secret = keyring.StandardWebhooksV1a, secret[:31] },
		"retry budget":   func(o *client.Options) { o.MaxRetries = -1 },
	} {
		o := client.DefaultOptions()
		o.URL, o.Kid, o.Secret = "https://127.0.0.1:1", "k", secret
		change(&o)
		if _, err := client.New(o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRelayThatIsNotThere(t *testing.T) {
	o := client.DefaultOptions()
	o.URL, o.Kid, o.Secret, o.TLS = "https://127.0.0.1:1", "k", secret, &tls.Config{}
	o.MaxRetries, o.MinBackoff, o.MaxBackoff = 1, time.Millisecond, time.Millisecond
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := c.Send(t.Context(), makeEvents(1))
	if fault.KindOf(err) != fault.Unavailable || got[0].Status != client.Unknown || got[0].Code != "no_answer" {
		t.Errorf("%v, %+v", err, got[0])
	}
	if text := fmt.Sprintf("%+v %v", got, errors.Unwrap(err)); strings.Contains(text, string(secret)) {
		t.Error("the secret is in the answer")
	}
	if b, _ := json.Marshal(o.Secret); strings.Contains(string(b), string(secret)) {
		t.Error("the secret marshals")
	}
}

// What a relay says of events that it took is logged once, however often it says it.
func TestWarningsArePassedOnOnce(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	warns := func(w http.ResponseWriter, _ [][]byte) {
		_, _ = io.WriteString(w, `{"stored":2,"results":[],"warnings":[{"events":2,"code":"schema_deprecated","schema":"a@1.0.0","detail":"a 1.0.0 is deprecated: send 1.1.0"}]}`)
	}
	f := newFake(t, warns, warns)
	c := newClient(t, f, func(o *client.Options) { o.Logger = zap.New(core) })
	for range 2 {
		if _, err := c.Send(t.Context(), makeEvents(2)); err != nil {
			t.Fatal(err)
		}
	}
	if got := logs.All(); len(got) != 1 || !strings.Contains(got[0].Message, "send 1.1.0") {
		t.Errorf("%+v", got)
	}
	f.script = slices.Repeat([]step{warns}, 2)
	var heard []client.Warning
	c = newClient(t, f, func(o *client.Options) { o.OnWarning = func(w client.Warning) { heard = append(heard, w) } })
	for range 2 {
		if _, err := c.Send(t.Context(), makeEvents(2)); err != nil {
			t.Fatal(err)
		}
	}
	if len(heard) != 1 || heard[0].Schema != "a@1.0.0" {
		t.Errorf("%+v", heard)
	}
}
