package relay_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/streamtest"
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

// routes puts topics in force for acme.
func (r *rig) routes(topics []accounts.Topic, rules ...accounts.Rule) {
	for i := range topics {
		if topics[i].Retention == 0 {
			topics[i].Retention = accounts.Duration(7 * 24 * time.Hour)
		}
	}
	r.control.change(func(s *control.State) {
		s.Routes["acme"] = &accounts.Routes{Tenant: "acme", Topics: topics, Rules: rules, Default: topics[0].Name}
	})
}

// userOf finds a user whose home is the region.
func userOf(region string) string {
	for i := 0; ; i++ {
		user := fmt.Sprintf("user-%d", i)
		if partition.Home(user, []partition.Region{{Name: "eu", Weight: 1}, {Name: "us", Weight: 1}}) == region {
			return user
		}
	}
}

// playHome is the home region us at the other end of a link.
func (r *rig) playHome() *nats.Subscription {
	seq := 100
	sub, err := r.conn.Subscribe("evt.us_1.>", func(m *nats.Msg) {
		seq++
		_ = m.Respond(fmt.Appendf(nil, `{"stream":"EVENTS","domain":"us","seq":%d}`, seq))
	})
	r.must(err)
	r.must(r.conn.Flush())
	return sub
}

func TestRouting(t *testing.T) {
	r := newRig(t)
	r.routes([]accounts.Topic{
		{Name: "local", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local},
		{Name: "money", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Forward},
		{Name: "here", Class: accounts.Standard, Scope: accounts.ScopeRegional, Home: accounts.Local},
		{Name: "short", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local, Retention: accounts.Duration(time.Hour)},
		{Name: "game", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local, Key: "/payload/game"},
		{Name: "closed", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local, Producers: []string{"other"}},
	}, accounts.Rule{Type: "money.>", Topic: "money"}, accounts.Rule{Type: "here.*", Topic: "here"}, accounts.Rule{Type: "short", Topic: "short"},
		accounts.Rule{Type: "game.>", Topic: "game"}, accounts.Rule{Type: "closed", Topic: "closed"})
	eu, us := `{"user_id":"`+userOf("eu")+`"}`, `{"user_id":"`+userOf("us")+`"}`
	home := r.playHome()
	for _, c := range []struct {
		name, body          string
		status              int
		result, region, hdr string // hdr: "name=value" of the stored message
		subject             string
	}{
		{"home is here", ev("event_type", `"money.in"`, "key", eu), 202, "stored", "eu", header.Home + "=", ".g."},
		{"home is elsewhere", ev("event_type", `"money.in"`, "key", us), 202, "forwarded", "us", "", ""},
		{"accepted locally", ev("event_type", `"other"`, "key", us), 202, "stored", "eu", header.Home + "=us", ".g."},
		{"regional stays", ev("event_type", `"here.x"`, "key", us), 202, "stored", "eu", header.Home + "=", ".l."},
		{"short-lived", ev("event_type", `"short"`, "key", eu), 202, "stored", "eu", header.TTL + "=3600", ".short."},
		{"other key", ev("event_type", `"game.x"`, "payload", `{"game":7}`), 202, "stored", "eu", "", fmt.Sprintf(".%d.game.", partition.Of("7"))},
	} {
		a := r.send(post{body: c.body})
		if a.status != c.status || a.Status != c.result || a.Region != c.region {
			t.Errorf("%s: %d %s", c.name, a.status, a.text)
			continue
		}
		if c.region != "eu" {
			continue
		}
		m := r.message(a.Seq)
		name, value, _ := strings.Cut(c.hdr, "=")
		if name != "" && m.Header.Get(name) != value || !strings.Contains(m.Subject, c.subject) {
			t.Errorf("%s: stored as %s with %v", c.name, m.Subject, m.Header)
		}
	}
	if a := r.send(post{body: ev("event_type", `"game.x"`)}); a.status != 422 || a.Code != "routing_key_missing" || a.Errors[0].Pointer != "/payload/game" {
		t.Errorf("no key: %d %s", a.status, a.text)
	}
	if a := r.send(post{body: ev("event_type", `"closed"`)}); a.status != 403 || a.Code != "topic_denied" {
		t.Errorf("other producer's topic: %d %s", a.status, a.text)
	}
	if a := r.send(post{body: ev("event_type", `"short"`, "occurred_at", `"`+time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339)+`"`)}); a.Code != "occurred_at_too_old" {
		t.Errorf("older than the topic keeps: %d %s", a.status, a.text)
	}
	before := r.stored()
	r.must(home.Unsubscribe())
	r.must(r.conn.Flush())
	a := r.send(post{body: ev("event_type", `"money.in"`, "key", us)})
	if a.status != 503 || a.Code != "home_unreachable" || a.header.Get("Retry-After") == "" || r.stored() != before {
		t.Errorf("home unreachable: %d %s", a.status, a.text)
	}
	// a batch of which something is stored is answered 200, the rest is told
	a = r.send(post{body: "[" + ev("event_type", `"money.in"`, "key", us) + "," + ev("event_type", `"money.in"`, "key", eu) + "]"})
	if a.status != 200 || a.Stored != 1 || a.Unavailable != 1 || a.Results[0].Code != "home_unreachable" || a.header.Get("Retry-After") == "" {
		t.Errorf("half of it unreachable: %d %s", a.status, a.text)
	}
	// one of which nothing is stored is a problem, and the results are in it
	a = r.send(post{body: "[" + ev("event_type", `"money.in"`, "key", us) + "," + ev("event_id", `"x x"`) + "]"})
	if a.status != 503 || a.Code != "home_unreachable" || a.Unavailable != 1 || a.Rejected != 1 || len(a.Results) != 2 {
		t.Errorf("all of it unreachable: %d %s", a.status, a.text)
	}
}

func TestResidency(t *testing.T) {
	r := newRig(t)
	r.routes([]accounts.Topic{{Name: "money", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Forward}})
	r.control.change(func(s *control.State) {
		s.Tenants["acme"] = &accounts.Tenant{Name: "acme", State: accounts.Active, Regions: []string{"eu"}}
		s.Tenants["globex"] = &accounts.Tenant{Name: "globex", State: accounts.Active, Regions: []string{"us"}}
	})
	if a := r.send(post{body: ev("key", `{"user_id":"`+userOf("us")+`"}`)}); a.status != 202 || a.Status != "stored" {
		t.Errorf("a tenant of eu alone: %d %s", a.status, a.text)
	}
	if a := r.send(post{body: ev(), who: globex}); a.status != 403 || a.Code != "residency" {
		t.Errorf("a tenant of us alone: %d %s", a.status, a.text)
	}
}

func TestCriticalTopics(t *testing.T) {
	r := newRig(t)
	r.routes([]accounts.Topic{{Name: "kyc", Class: accounts.Critical, Scope: accounts.ScopeGlobal, Home: accounts.Local},
		{Name: "rest", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local}}, accounts.Rule{Type: "rest", Topic: "rest"})
	region := func(ack string, relaxed bool) {
		r.control.change(func(s *control.State) {
			s.Regions["eu"] = &accounts.RegionInfo{Name: "eu", Epoch: 1, Weight: 1, Ack: ack, RelaxedCritical: relaxed}
		})
	}
	expect := func(name, kind string, status int, code string) {
		t.Helper()
		if a := r.send(post{body: ev("event_type", `"`+kind+`"`)}); a.status != status || a.Code != code {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	expect("acks before fsync", "kyc", 503, "durability")
	expect("acks before fsync, standard topic", "rest", 202, "")
	region(accounts.AckStored, true)
	expect("relaxed", "kyc", 202, "")
	region(accounts.AckStoredFsync, false)
	expect("acks after fsync", "kyc", 202, "")
	if a := r.send(post{body: ev("event_type", `"kyc"`)}); a.Ack != accounts.AckStoredFsync {
		t.Errorf("ack %q", a.Ack)
	}
	r.control.age.Store(int64(10*time.Minute + time.Second))
	expect("no heartbeat", "kyc", 503, "control_stale")
	expect("no heartbeat, standard topic", "rest", 202, "")
}

func TestControlStateTakesEffect(t *testing.T) {
	r := newRig(t)
	if a := r.send(post{body: ev()}); a.status != 202 {
		t.Fatal(a.text)
	}
	old := r.secrets["acme-1"]
	r.control.change(func(s *control.State) { s.Keys["acme-1"] = r.key("acme-1", "acme", "default") })
	if a := r.send(post{body: ev()}); a.status != 202 {
		t.Errorf("with the key's new secret: %s", a.text)
	}
	r.secrets["acme-1"] = old
	if a := r.send(post{body: ev()}); a.Code != "signature_invalid" {
		t.Errorf("with the key's old secret: %d %s", a.status, a.text)
	}
	r.control.change(func(s *control.State) { s.Tenants["acme"] = &accounts.Tenant{Name: "acme", State: accounts.Removed} })
	if a := r.send(post{body: ev()}); a.Code != "tenant_inactive" {
		t.Errorf("of a removed tenant: %d %s", a.status, a.text)
	}
	// its connection is closed; another tenant's opens
	opened := r.opened.Load()
	if a := r.send(post{body: ev(), who: globex}); a.status != 202 || r.opened.Load() != opened+1 {
		t.Errorf("of another tenant: %d %s", a.status, a.text)
	}
	r.control.change(func(s *control.State) { delete(s.Regions, "eu") })
	if a := r.send(post{body: ev(), who: globex}); a.status != 503 || a.Code != "region_unknown" {
		t.Errorf("of a region that nobody knows: %d %s", a.status, a.text)
	}
	if reasons := r.relay.Ready(); len(reasons) != 1 || !strings.Contains(reasons[0], "region eu") {
		t.Errorf("ready: %q", reasons)
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

// A stop while requests wait for their acknowledgements answers them all, and what it answers is stored.
func TestStopDrains(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		r := newRig(t)
		// the stream answers late: the requests of the wave are in flight when the relay stops
		release := make(chan struct{})
		arrived := make(chan struct{}, 100)
		s, err := r.js.Stream(t.Context(), subject.EventsStream)
		r.must(err)
		c := s.CachedInfo().Config
		c.Subjects = []string{"late.>"}
		_, err = r.js.UpdateStream(t.Context(), c)
		r.must(err)
		var wg sync.WaitGroup
		sub, err := r.conn.Subscribe("evt.eu_1.>", func(m *nats.Msg) {
			arrived <- struct{}{}
			wg.Go(func() {
				<-release
				_ = m.Respond([]byte(`{"stream":"EVENTS","domain":"eu","seq":1}`))
			})
		})
		r.must(err)
		r.must(r.conn.Flush())
		const n = 10
		r.client(acme, http1)
		answers := make(chan answer, n)
		for range n {
			go func() { answers <- r.send(post{http1: http1, body: ev()}) }()
		}
		for range n {
			<-arrived
		}
		stopped := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			stopped <- r.relay.Stop(ctx)
		}()
		streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
			reasons := r.relay.Ready()
			return len(reasons) == 1 && strings.Contains(reasons[0], "stopping"), fmt.Sprint(reasons)
		})
		close(release)
		for range n {
			if a := <-answers; a.status != 202 {
				t.Errorf("http1=%v: %d %s", http1, a.status, a.text)
			}
		}
		if err := <-stopped; err != nil {
			t.Errorf("http1=%v: stop: %v", http1, err)
		}
		wg.Wait()
		r.must(sub.Unsubscribe())
		if _, err := r.client(acme, http1).Get("https://" + r.relay.Addr()); err == nil {
			t.Error("it still answers")
		}
		if err := r.relay.Start(); fault.KindOf(err) != fault.Conflict {
			t.Errorf("started again: %v", err)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	var o relay.Options
	r := newRig(t, func(x *relay.Options) { o = *x })
	o.Registerer = nil
	second, err := relay.New(o)
	r.must(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- second.Run(ctx) }()
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		reasons := second.Ready()
		return len(reasons) == 0, fmt.Sprint(reasons)
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	var good relay.Options
	r := newRig(t, func(o *relay.Options) { good = *o })
	good.Registerer = nil
	for name, change := range map[string]func(*relay.Options){
		"origin":     func(o *relay.Options) { o.Origin = "EU" },
		"id":         func(o *relay.Options) { o.ID = "r 1" },
		"listen":     func(o *relay.Options) { o.Listen = "x" },
		"tls":        func(o *relay.Options) { o.TLS = nil },
		"client CAs": func(o *relay.Options) { o.TLS = o.TLS.Clone(); o.TLS.ClientCAs = nil },
		"control":    func(o *relay.Options) { o.Control = nil },
		"sealer":     func(o *relay.Options) { o.Sealer = nil },
		"window":     func(o *relay.Options) { o.Limits.Window = 0 },
		"body":       func(o *relay.Options) { o.Limits.BodyBytes = 0 },
		"timeout":    func(o *relay.Options) { o.Limits.ReadTimeout = 0 },
	} {
		o := good
		change(&o)
		if _, err := relay.New(o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.Listen = r.relay.Addr()
	if _, err := relay.New(good); fault.CodeOf(err) != "listen" || !strings.Contains(err.Error(), good.Listen) {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestConfiguredHosts(t *testing.T) {
	r := newRig(t, func(o *relay.Options) { o.Hosts = []string{"Events.Example.com", "other.example.com:8443"} })
	port := r.relay.Addr()[strings.LastIndexByte(r.relay.Addr(), ':'):]
	for host, want := range map[string]int{
		"events.example.com": 202, "EVENTS.example.com" + port: 202, "other.example.com:8443": 202,
		"other.example.com": 421, "127.0.0.1" + port: 421, "events.example.com.": 421, "events.example.com:1": 421,
	} {
		if a := r.send(post{body: ev(), host: host, http1: true}); a.status != want {
			t.Errorf("%s: %d %s", host, a.status, a.text)
		}
	}
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

func TestConcurrentTenants(t *testing.T) {
	r := newRig(t)
	r.client(acme, false)
	r.client(globex, false)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 20 {
				var lines []string
				for j := range 50 {
					lines = append(lines, ev("event_id", fmt.Sprintf(`"w%d-%d-%d"`, w, i, j)))
				}
				a := r.send(post{body: strings.Join(lines, "\n"), ndjson: true, who: []pki.Principal{acme, globex}[w%2]})
				if a.status != 200 || a.Stored != 50 {
					t.Errorf("%d %s", a.status, a.text)
				}
			}
		})
	}
	wg.Wait()
	if n := r.stored(); n != 8*20*50 {
		t.Errorf("%d stored", n)
	}
	if r.opened.Load() != 2 {
		t.Errorf("%d connections for two tenants", r.opened.Load())
	}
	if n := r.counted("weft_relay_events_total"); n != 8*20*50 {
		t.Errorf("%v events are counted", n)
	}
	if n := r.counted("weft_relay_requests_total"); n != 8*20 {
		t.Errorf("%v requests are counted", n)
	}
}
