package hub

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// testMesh is the hubs of a mesh in this process, each pair of regions linked through a cutter.
type testMesh struct {
	t       *testing.T
	dir     string
	base    int
	mesh    identity.Mesh
	cutters map[string]*streamtest.Cutter // "us-eu": the larger name dials
	hubs    map[string]*Hub               // by server name, such as "eu-0"
	tune    func(*Options)                // may be nil
}

func newTestMesh(t *testing.T, regions ...identity.Region) *testMesh {
	t.Helper()
	m := &testMesh{
		t: t, dir: t.TempDir(), base: streamtest.Ports(t).Base(), mesh: identity.Mesh{Name: "test", Home: regions[0].Name, Regions: regions},
		cutters: map[string]*streamtest.Cutter{}, hubs: map[string]*Hub{},
	}
	if err := identity.Create(m.dir, m.mesh); err != nil {
		t.Fatal(err)
	}
	for i, a := range regions {
		for _, b := range regions {
			if b.Name > a.Name {
				m.cutters[b.Name+"-"+a.Name] = streamtest.NewCutter(t, fmt.Sprintf("127.0.0.1:%d", m.port(i, 0, 1)))
			}
		}
	}
	return m
}

// port numbers: 10 for each region, 3 for each of its servers.
func (m *testMesh) port(region, server, of int) int { return m.base + 1 + region*10 + server*3 + of }

func (m *testMesh) options(region, server int) Options {
	m.t.Helper()
	r := m.mesh.Regions[region]
	id, err := identity.LoadHub(m.dir, r.Name)
	if err != nil {
		m.t.Fatal(err)
	}
	o := DefaultOptions()
	o.Identity, o.Server, o.StoreDir = id, server, filepath.Join(m.dir, "store", fmt.Sprintf("%s-%d", r.Name, server))
	at := func(of int) broker.Listen { return broker.Listen{Host: "127.0.0.1", Port: m.port(region, server, of)} }
	o.Client, o.Leaf, o.Route = at(0), at(1), at(2)
	o.MaxStore, o.TenantLimits.DiskBytes, o.RelaxedCritical = 2<<30, 256<<20, true
	o.WatchEvery, o.StaleAfter = 500*time.Millisecond, 3*time.Second
	for s := range r.Servers {
		if r.Servers > 1 {
			o.Routes = append(o.Routes, fmt.Sprintf("tls://127.0.0.1:%d", m.port(region, s, 2)))
		}
	}
	for j, peer := range m.mesh.Regions {
		if j == region {
			continue
		}
		p := Peer{Name: peer.Name}
		if c, ok := m.cutters[r.Name+"-"+peer.Name]; ok {
			p.Leaf = []string{"tls://" + c.Addr()}
		}
		o.Peers = append(o.Peers, p)
	}
	o.Logger = zaptest.NewLogger(m.t, zaptest.Level(zap.WarnLevel)).WithOptions(zap.AddStacktrace(zap.DPanicLevel))
	if m.tune != nil {
		m.tune(&o)
	}
	return o
}

// start starts every server that does not run yet, all at once, and stops them with the test.
func (m *testMesh) start() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 40*time.Second)
	defer cancel()
	type result struct {
		name string
		err  error
	}
	results, n := make(chan result), 0
	for i, r := range m.mesh.Regions {
		for s := range max(1, r.Servers) {
			name := fmt.Sprintf("%s-%d", r.Name, s)
			if m.hubs[name] != nil {
				continue
			}
			h, err := New(m.options(i, s))
			if err != nil {
				m.t.Fatal(err)
			}
			m.hubs[name] = h
			n++
			go func() { results <- result{name, h.Start(ctx)} }()
		}
	}
	for range n {
		if r := <-results; r.err != nil {
			m.t.Fatalf("%s: %v", r.name, r.err)
		}
	}
	m.t.Cleanup(func() {
		for name := range m.hubs {
			m.stop(name)
		}
	})
}

func (m *testMesh) stop(name string) {
	h := m.hubs[name]
	if h == nil {
		return
	}
	delete(m.hubs, name)
	// A server ends no stream that is just catching up before its third attempt at that failed, after 15 s.
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	if err := h.Stop(ctx); err != nil {
		m.t.Errorf("stop %s: %v", name, err)
	}
}

// tenant adds a tenant and insists that every region is ready.
func (m *testMesh) tenant(name string) *Bundle {
	m.t.Helper()
	b, err := m.hubs[m.mesh.Home+"-0"].AddTenant(m.t.Context(), TenantSpec{Name: name}, "test")
	if err != nil {
		m.t.Fatal(err)
	}
	if len(b.Waiting) > 0 {
		m.t.Fatalf("tenant %s is not ready: %v", name, b.Waiting)
	}
	return b
}

// publisher is a connection with a relay's rights in a tenant's account at one server.
func (m *testMesh) publisher(server, tenant string) *session {
	m.t.Helper()
	h := m.hubs[server]
	ten := h.tenancyOf(tenant)
	token, seed, err := issuer.User(issuer.UserSpec{
		Name: "relay-test", Permissions: grant.Relay(h.Origin().Region, "test"), Account: ten.tenant.Account, SigningSeed: ten.signing,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	conn, err := nats.Connect("", h.broker.InProcess(), nats.UserJWTAndSeed(token, string(seed.Bytes())), nats.CustomInboxPrefix(grant.RelayInbox(h.Origin().Region, "test")))
	if err != nil {
		m.t.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		m.t.Fatal(err)
	}
	s := &session{conn: conn, js: js}
	m.t.Cleanup(s.conn.Close)
	return s
}

func eventSubject(o subject.Origin, scope subject.Scope, n int) string {
	return subject.Event{Origin: o, Scope: scope, Partition: n % 64, Topic: "events", Type: "test.event"}.String()
}

// publish stores n events under an origin and insists on an acknowledgement from the right region for each.
func publish(t *testing.T, s *session, o subject.Origin, prefix string, n int) {
	t.Helper()
	futures := make([]jetstream.PubAckFuture, n)
	var err error
	for i := range n {
		msg := &nats.Msg{Subject: eventSubject(o, subject.Global, i), Data: []byte(`{}`), Header: nats.Header{nats.MsgIdHdr: {fmt.Sprintf("%s-%d", prefix, i)}}}
		if futures[i], err = s.js.PublishMsgAsync(msg, jetstream.WithStallWait(20*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range futures {
		select {
		case ack := <-f.Ok():
			if ack.Stream != "EVENTS" || ack.Domain != o.Region {
				t.Fatalf("event %d acknowledged by %s@%s, not by EVENTS@%s", i, ack.Stream, ack.Domain, o.Region)
			}
		case err := <-f.Err():
			t.Fatalf("event %d: %v", i, err)
		case <-time.After(10 * time.Second):
			t.Fatalf("event %d was not acknowledged", i)
		}
	}
}

// events counts the events of a region's stream, markers left out, by id.
func (m *testMesh) events(server, tenant string) map[string]int {
	m.t.Helper()
	ten := m.hubs[server].tenancyOf(tenant)
	ids := map[string]int{}
	ctx, cancel := context.WithTimeout(m.t.Context(), 20*time.Second)
	defer cancel()
	cons, err := ten.openSession().js.OrderedConsumer(ctx, "EVENTS", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject.Events()}, InactiveThreshold: time.Second, // a poll must not use up the consumers of the tenant
	})
	if err != nil {
		m.t.Fatal(err)
	}
	info, err := cons.Info(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	if info.NumPending == 0 {
		return ids
	}
	it, err := cons.Messages()
	if err != nil {
		m.t.Fatal(err)
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			m.t.Fatal(err)
		}
		ids[msg.Headers().Get(nats.MsgIdHdr)]++
		if meta, err := msg.Metadata(); err != nil || meta.NumPending == 0 {
			return ids
		}
	}
}

// converged waits until the servers hold the same number of events, none twice.
func (m *testMesh) converged(tenant string, want int, within time.Duration, servers ...string) {
	m.t.Helper()
	streamtest.Eventually(m.t, within, func() (bool, string) {
		for _, s := range servers {
			ids := m.events(s, tenant)
			for id, n := range ids {
				if n > 1 {
					m.t.Fatalf("%s: %s is stored %d times", s, id, n)
				}
			}
			if len(ids) != want {
				return false, fmt.Sprintf("%s holds %d of %d events", s, len(ids), want)
			}
		}
		return true, ""
	})
}

func TestTwoRegionsConvergeThroughACut(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 1, Weight: 1})
	m.start()
	m.tenant("acme")
	eu, us := m.publisher("eu-0", "acme"), m.publisher("us-0", "acme")
	publish(t, eu, m.hubs["eu-0"].Origin(), "eu-a", 5000)
	publish(t, us, m.hubs["us-0"].Origin(), "us-a", 5000)
	m.converged("acme", 10000, 20*time.Second, "eu-0", "us-0")

	// Both sides go on accepting through a cut of 30 s, in which a request for the source dies on the way.
	m.cutters["us-eu"].Cut()
	end, tick, n := time.After(30*time.Second), time.NewTicker(250*time.Millisecond), 0
	defer tick.Stop()
	for cut := true; cut; {
		select {
		case <-end:
			cut = false
		case <-tick.C:
			publish(t, eu, m.hubs["eu-0"].Origin(), fmt.Sprintf("eu-%d", n), 10)
			publish(t, us, m.hubs["us-0"].Origin(), fmt.Sprintf("us-%d", n), 10)
			n++
		}
	}
	if have := len(m.events("eu-0", "acme")); have != 10000+10*n {
		t.Fatalf("eu holds %d events while cut off, want %d", have, 10000+10*n)
	}
	m.cutters["us-eu"].Heal()
	healed := time.Now()
	m.converged("acme", 10000+20*n, 10*time.Second, "eu-0", "us-0")
	t.Logf("%d events of a 30 s cut are on both sides %s after it", 20*n, time.Since(healed).Round(10*time.Millisecond))
}

func TestRestartKeepsEverything(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 1, Weight: 1})
	m.start()
	m.tenant("acme")
	publish(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), "one", 300)
	m.converged("acme", 300, 10*time.Second, "eu-0", "us-0")
	m.stop("eu-0")
	m.stop("us-0")
	m.start()
	publish(t, m.publisher("us-0", "acme"), m.hubs["us-0"].Origin(), "two", 300)
	m.converged("acme", 600, 20*time.Second, "eu-0", "us-0")
	if _, err := m.hubs["eu-0"].AddTenant(t.Context(), TenantSpec{Name: "acme"}, "test"); err == nil {
		t.Error("a tenant was added a second time after the restart")
	}
}
