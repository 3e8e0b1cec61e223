package relay_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// region is a rig with three relays behind one name, whose clocks the test moves.
type region struct {
	*rig
	relays []*relay.Relay
	ahead  atomic.Int64
	change func(*relay.Options)
}

const sharedName = "relay.eu.test"

func newRegion(t *testing.T, change ...func(*relay.Options)) *region {
	g := &region{}
	g.change = func(o *relay.Options) {
		o.Hosts = []string{sharedName}
		began := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(began) + time.Duration(g.ahead.Load()) } // time goes by, nobody sets it
		o.Now = func() time.Time { return time.Now().Add(time.Duration(g.ahead.Load())) }
		for _, f := range change {
			f(o)
		}
	}
	g.rig = newRig(t, g.change)
	g.relays = []*relay.Relay{g.relay, g.run("r2", g.change), g.run("r3", g.change)}
	return g
}

// captured is a request as somebody on its way has it.
type captured struct {
	header http.Header
	body   string
}

// capture signs a request at a time from now.
func (g *region) capture(body string, at time.Duration) captured {
	req, err := http.NewRequest(http.MethodPost, "https://"+sharedName+"/v1/events", strings.NewReader(body))
	g.must(err)
	req.Header.Set("Content-Type", "application/json")
	signature.SignHTTP(g.secrets["acme-1"], req, "acme-1", fmt.Sprintf("req-%d", nextRequest.Add(1)), time.Now().Add(at), []byte(body))
	return captured{req.Header, body}
}

// sendTo sends a captured request as it is and returns the status and the code of the answer, or the event's status.
func (g *region) sendTo(at *relay.Relay, c captured) (int, string) {
	req, err := http.NewRequest(http.MethodPost, "https://"+at.Addr()+"/v1/events", strings.NewReader(c.body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header, req.Host = c.header.Clone(), sharedName
	res, err := g.client(acme, false).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	var a struct {
		Code   string
		Status any
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return 0, err.Error()
	}
	if a.Code == "" {
		a.Code = fmt.Sprint(a.Status)
	}
	return res.StatusCode, a.Code
}

// everywhere expects one answer of every relay.
func (g *region) everywhere(what string, c captured, status int, code string) {
	g.t.Helper()
	for i, at := range g.relays {
		if s, got := g.sendTo(at, c); s != status || got != code {
			g.t.Errorf("%s, at relay %d: %d %s, want %d %s", what, i+1, s, got, status, code)
		}
	}
}

// journal is the state of the stream GUARD.
func (g *region) journal() jetstream.StreamState {
	g.t.Helper()
	s, err := g.js.Stream(g.t.Context(), subject.GuardStream)
	g.must(err)
	return s.CachedInfo().State
}

// Ten thousand copies of one request at once, over three relays: one of its events is stored, and every other copy
// is told that it is a duplicate or a replay.
func TestTenThousandCopies(t *testing.T) {
	g := newRegion(t)
	c := g.capture(ev(), 0)
	const copies, senders = 10_000, 60
	var mu sync.Mutex
	answers := map[string]int{}
	var all sync.WaitGroup
	g.client(acme, false) // made before it is shared
	for i := range senders {
		all.Go(func() {
			for n := i; n < copies; n += senders {
				status, code := g.sendTo(g.relays[n%len(g.relays)], c)
				mu.Lock()
				answers[fmt.Sprint(status, " ", code)]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	t.Log(answers)
	if answers["202 stored"] != 1 || g.stored() != 1 {
		t.Errorf("%d answers say stored, the stream holds %d events: %v", answers["202 stored"], g.stored(), answers)
	}
	if n := answers["202 stored"] + answers["202 duplicate"] + answers["401 replayed"]; n != copies {
		t.Errorf("%d answers of %d are as they should be: %v", n, copies, answers)
	}
	if n := answers["202 duplicate"]; n > len(g.relays)-1 {
		t.Errorf("%d copies passed the guard of a relay that had let one in", n)
	}
}

// A copy is refused at every relay: soon after, later than the streams remember event ids, and by relays that were
// not there when the request was sent.
func TestCopiesComeLater(t *testing.T) {
	g := newRegion(t)
	c := g.capture(ev(), 290*time.Second) // valid as long as a request can be
	if s, code := g.sendTo(g.relays[0], c); s != 202 {
		t.Fatalf("the request itself: %d %s", s, code)
	}
	later := func(d time.Duration) {
		g.ahead.Store(int64(d))
		for _, at := range g.relays {
			g.guarded(at) // a relay whose clock jumps reads its journal's end first
		}
	}
	later(10 * time.Second)
	g.everywhere("after 10 s", c, 401, "replayed")
	later(5 * time.Minute)
	g.everywhere("after 5 min", c, 401, "replayed")
	for _, at := range g.relays {
		g.must(at.Stop(t.Context()))
	}
	for i := range g.relays {
		g.relays[i] = g.run(fmt.Sprintf("s%d", i), g.change, func(o *relay.Options) { o.Registerer = nil })
	}
	g.everywhere("after a restart", c, 401, "replayed")
	later(9*time.Minute + 30*time.Second)
	g.everywhere("after 9.5 min", c, 401, "replayed")
	if g.stored() != 1 {
		t.Errorf("%d events are stored", g.stored())
	}
	// the producer itself goes on
	if s, code := g.sendTo(g.relays[1], captured{g.capture(c.body, 9*time.Minute).header, c.body}); s != 202 || code != "duplicate" {
		t.Errorf("the same event in a new request: %d %s", s, code)
	}
}

// Requests that nobody with a key has signed leave no trace: not in the journal, not in memory.
func TestForgedRequestsAreNotRemembered(t *testing.T) {
	g := newRegion(t)
	if s, code := g.sendTo(g.relay, g.capture(ev(), 0)); s != 202 {
		t.Fatal(s, code)
	}
	before := g.journal()
	for i := range 3000 {
		c := g.capture(ev(), 0)
		switch i % 3 {
		case 0:
			c.header.Set(signature.RequestID, fmt.Sprintf("forged-%d", i))
		case 1:
			c.header.Set(signature.KeyID, fmt.Sprintf("nobody-%d", i))
		case 2:
			c.header.Set(signature.KeyID, "globex-1")
		}
		if s, code := g.sendTo(g.relays[i%len(g.relays)], c); s != 401 {
			t.Fatalf("forged request %d: %d %s", i, s, code)
		}
	}
	if held := g.gauge("weft_relay_guard_requests"); held != 1 {
		t.Errorf("the guard holds %v requests, one was genuine", held)
	}
	// the relays' own probes are empty
	if after := g.journal(); after.Bytes-before.Bytes > 200*(after.LastSeq-before.LastSeq) || after.LastSeq-before.LastSeq > 60 {
		t.Errorf("the journal grew from %+v to %+v", before, after)
	}
}

func (g *region) gauge(name string) float64 {
	families, err := g.metrics.Gather()
	g.must(err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	g.t.Fatalf("there is no gauge %s", name)
	return 0
}

// Without its journal a relay accepts nothing; when it is back, what was sent meanwhile is not known and may be sent.
func TestJournalUnreachable(t *testing.T) {
	g := newRegion(t)
	s, err := g.js.Stream(t.Context(), subject.GuardStream)
	g.must(err)
	conf := s.CachedInfo().Config
	away := conf
	away.Subjects = []string{"elsewhere.>"}
	_, err = g.js.UpdateStream(t.Context(), away)
	g.must(err)
	refused := g.capture(ev(), 0)
	g.everywhere("without a journal", refused, 503, "guard_unavailable")
	g.everywhere("without a journal, again", g.capture(ev(), 0), 503, "guard_unavailable")
	for _, at := range g.relays {
		if why := fmt.Sprint(at.Ready()); !strings.Contains(why, "takes no groups") {
			t.Errorf("ready: %s", why)
		}
	}
	_, err = g.js.UpdateStream(t.Context(), conf)
	g.must(err)
	for _, at := range g.relays {
		g.guarded(at)
	}
	if s, code := g.sendTo(g.relays[0], g.capture(ev(), 0)); s != 202 {
		t.Errorf("with the journal again: %d %s", s, code)
	}
	// Its events may have been stored beside the group that was not: the claim is owed and holds everywhere.
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		for _, at := range g.relays {
			if s, code := g.sendTo(at, refused); s != 401 {
				return false, fmt.Sprint(s, " ", code)
			}
		}
		return true, ""
	})
}

// A tenant that fills its share is told so, and another one sends on.
func TestOneTenantsShare(t *testing.T) {
	r := newRig(t, func(o *relay.Options) { o.Limits.Requests = 1024 })
	full := 0
	for range 400 {
		if a := r.send(post{body: ev()}); a.status == 429 && a.Code == "guard_full" && a.header.Get("Retry-After") != "" {
			full++
		} else if a.status != 202 {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	if full != 400-256 { // half of the space by two tenants
		t.Errorf("%d of 400 requests found no place, want 144", full)
	}
	for range 250 {
		if a := r.send(post{body: ev(), who: globex}); a.status != 202 {
			t.Fatalf("of the other tenant: %d %s", a.status, a.text)
		}
	}
}
