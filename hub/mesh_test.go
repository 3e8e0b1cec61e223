package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// What tests do to the stores of a mesh, and how they look at its gates.

func region(name string) identity.Region { return identity.Region{Name: name, Servers: 1, Weight: 1} }

func cluster(name string) identity.Region { return identity.Region{Name: name, Servers: 3, Weight: 1} }

func (m *testMesh) index(name string) (region, server int) {
	for i, r := range m.mesh.Regions {
		for s := range max(1, r.Servers) {
			if fmt.Sprintf("%s-%d", r.Name, s) == name {
				return i, s
			}
		}
	}
	m.t.Fatalf("no server %s", name)
	return 0, 0
}

// startOnly starts some servers at once; a region that stays closed has started too.
func (m *testMesh) startOnly(names ...string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 40*time.Second)
	defer cancel()
	errs := make(chan error, len(names))
	for _, name := range names {
		o := m.options(m.index(name))
		o.AskPeers = 1500 * time.Millisecond
		h, err := New(o)
		if err != nil {
			m.t.Fatal(err)
		}
		m.hubs[name] = h
		go func() { errs <- h.Start(ctx) }()
	}
	for range names {
		if err := <-errs; err != nil {
			m.t.Fatal(err)
		}
	}
}

// restart is what a supervisor does when a hub says that it has to end.
func (m *testMesh) restart(name string) {
	m.t.Helper()
	m.stop(name)
	m.startOnly(name)
}

func (m *testMesh) store(name string) string { return filepath.Join(m.dir, "store", name) }

func (m *testMesh) wipe(names ...string) {
	m.t.Helper()
	for _, name := range names {
		m.stop(name)
		if err := os.RemoveAll(m.store(name)); err != nil {
			m.t.Fatal(err)
		}
	}
}

// backup stops servers, puts their stores aside and starts them again.
func (m *testMesh) backup(names ...string) {
	m.t.Helper()
	for _, name := range names {
		m.stop(name)
		if err := os.CopyFS(filepath.Join(m.dir, "backup", name), os.DirFS(m.store(name))); err != nil {
			m.t.Fatal(err)
		}
	}
	m.startOnly(names...)
	for _, name := range names {
		m.open(name)
	}
}

// rollback puts the stores of backup in the place of what was written since; the servers are stopped.
func (m *testMesh) rollback(names ...string) {
	m.t.Helper()
	m.wipe(names...)
	for _, name := range names {
		if err := os.CopyFS(m.store(name), os.DirFS(filepath.Join(m.dir, "backup", name))); err != nil {
			m.t.Fatal(err)
		}
	}
}

// last writes what a server's last life left, so that the next start finds it.
func (m *testMesh) last(name string, l life) {
	m.t.Helper()
	raw, err := json.Marshal(l)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(lifeFile(m.store(name)), raw, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// open waits until servers are open.
func (m *testMesh) open(names ...string) {
	m.t.Helper()
	for _, name := range names {
		streamtest.Eventually(m.t, 30*time.Second, func() (bool, string) {
			err := m.hubs[name].Ready()
			return err == nil, fmt.Sprintf("%s: %v", name, err)
		})
		streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) { return m.listens(name), name + " is ready and lets no client in" })
		if m.gauge(name) != 0 {
			m.t.Errorf("%s is open and its metric does not say so", name)
		}
	}
}

// closed insists that a server is closed, says why, and lets no client in.
func (m *testMesh) closed(name string, because ...string) {
	m.t.Helper()
	streamtest.Eventually(m.t, 10*time.Second, func() (bool, string) {
		err := m.hubs[name].Ready()
		if err == nil {
			m.t.Fatalf("%s is open", name)
		}
		for _, part := range because {
			if !strings.Contains(err.Error(), part) {
				return false, fmt.Sprintf("%s says %q, want %q in it", name, err, part)
			}
		}
		return true, ""
	})
	if m.listens(name) {
		m.t.Fatalf("%s is closed and lets clients in", name)
	}
	if s := m.hubs[name].Status(); s.Open || s.Why == "" {
		m.t.Fatalf("%s is closed and its status says %+v", name, s)
	}
	if m.gauge(name) != 1 {
		m.t.Errorf("%s is closed and its metric does not say so", name)
	}
}

// gauge is weft_hub_closed of a server.
func (m *testMesh) gauge(name string) float64 {
	m.t.Helper()
	families, err := m.hubs[name].opts.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "weft_hub_closed" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	m.t.Fatal("no metric weft_hub_closed")
	return 0
}

// listens says whether the client listener shakes hands.
func (m *testMesh) listens(name string) bool {
	i, s := m.index(name)
	conn, err := nats.Connect(fmt.Sprintf("tls://127.0.0.1:%d", m.port(i, s, 0)), nats.RootCAs(m.hubs[name].opts.Identity.CAFile), nats.Timeout(2*time.Second))
	if err == nil {
		conn.Close()
		return true
	}
	return errors.Is(err, nats.ErrAuthorization) // the server asked who we are
}

func (m *testMesh) rejoin(name string) *RejoinReport {
	m.t.Helper()
	var r *RejoinReport
	streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) {
		var err error
		r, err = m.hubs[name].Rejoin(m.t.Context(), false, "test")
		return err == nil, fmt.Sprint(err)
	})
	if r.Restart {
		m.failed(name)
	}
	return r
}

// failed waits for a hub to say that it has to end, and restarts it.
func (m *testMesh) failed(name string) {
	m.t.Helper()
	select {
	case <-m.hubs[name].Failed():
	case <-time.After(15 * time.Second):
		m.t.Fatalf("%s does not say that it has to end", name)
	}
	m.restart(name)
}

// flows publishes events on every server and waits until all of them have all.
func (m *testMesh) flows(tenant, prefix string, have, n int, servers ...string) int {
	m.t.Helper()
	for _, s := range servers {
		publish(m.t, m.publisher(s, tenant), m.hubs[s].Origin(), prefix+"-"+s, n)
	}
	have += n * len(servers)
	m.converged(tenant, have, 120*time.Second, servers...)
	return have
}

// same insists that the servers hold the same events, each once.
func (m *testMesh) same(tenant string, servers ...string) {
	m.t.Helper()
	want := m.events(servers[0], tenant)
	for _, s := range servers[1:] {
		got := m.events(s, tenant)
		for id := range want {
			if got[id] != want[id] {
				m.t.Errorf("%s is stored %d times in %s and %d times in %s", id, want[id], servers[0], got[id], s)
			}
		}
		if len(got) != len(want) {
			m.t.Errorf("%s holds %d events, %s %d", servers[0], len(want), s, len(got))
		}
	}
}

// refuses insists that an event forwarded from one region to a closed one is not stored.
func (m *testMesh) refuses(from, tenant string, to subject.Origin) {
	m.t.Helper()
	pub := m.publisher(from, tenant)
	for i := range 20 {
		ctx, cancel := context.WithTimeout(m.t.Context(), 200*time.Millisecond)
		ack, err := pub.js.PublishMsg(ctx, &nats.Msg{Subject: eventSubject(to, subject.Global, i), Data: []byte(`{}`), Header: nats.Header{nats.MsgIdHdr: {fmt.Sprintf("forwarded-%d", i)}}})
		cancel()
		if err == nil {
			m.t.Fatalf("a closed region stored a forwarded event: %+v", ack)
		}
	}
}

// tenants insists that a server knows a tenant with its key and routes.
func (m *testMesh) knows(tenant string, servers ...string) {
	m.t.Helper()
	for _, s := range servers {
		streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) {
			state := m.hubs[s].State()
			_, ok := state.Tenant(tenant)
			_, routes := state.Routes[tenant]
			return ok && len(state.TenantKeys(tenant)) == 1 && routes, fmt.Sprintf("%s: tenant %t, %d keys, routes %t", s, ok, len(state.TenantKeys(tenant)), routes)
		})
	}
}

// patience bounds what has to be read back over links that have just come up.
func (m *testMesh) patience() time.Duration { return 120 * time.Second }

// controlled waits until a server has a tenant's routes as they were set last.
func (m *testMesh) controlled(server, tenant string, want accounts.Routes) {
	m.t.Helper()
	streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) {
		got := m.hubs[server].State().RoutesOf(tenant)
		return got.Topics[0].Retention == want.Topics[0].Retention, fmt.Sprintf("%s has routes %+v", server, got)
	})
}

// holds waits until a server has n events of a prefix.
func (m *testMesh) holds(server, tenant, prefix string, n int) {
	m.t.Helper()
	streamtest.Eventually(m.t, m.patience(), func() (bool, string) {
		have := 0
		for id := range m.events(server, tenant) {
			if strings.HasPrefix(id, prefix+"-") {
				have++
			}
		}
		return have == n, fmt.Sprintf("%s holds %d of %d events %s", server, have, n, prefix)
	})
}

// once insists that no event is stored twice.
func (m *testMesh) once(tenant string, servers ...string) {
	m.t.Helper()
	for _, s := range servers {
		for id, n := range m.events(s, tenant) {
			if n > 1 {
				m.t.Errorf("%s: %s is stored %d times", s, id, n)
			}
		}
	}
}

func (m *testMesh) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// notify tells a peer that a region goes on under another epoch, as the first step of a rejoin does.
func (m *testMesh) notify(server, peer string, epoch int) {
	m.t.Helper()
	streamtest.Eventually(m.t, 10*time.Second, func() (bool, string) {
		err := m.hubs[server].notify(m.t.Context(), peer, rejoinNotice{Epoch: epoch, By: "test"})
		return err == nil, fmt.Sprint(err)
	})
}

// serves waits until a tenant's stream is there on servers.
func (m *testMesh) serves(tenant string, servers ...string) {
	m.t.Helper()
	for _, s := range servers {
		streamtest.Eventually(m.t, 20*time.Second, func() (bool, string) {
			ten := m.hubs[s].tenancyOf(tenant)
			if ten == nil || ten.openSession() == nil {
				return false, s + " does not know the tenant"
			}
			_, err := ten.openSession().js.Stream(m.t.Context(), subject.EventsStream)
			return err == nil, fmt.Sprintf("%s: %v", s, err)
		})
	}
}
