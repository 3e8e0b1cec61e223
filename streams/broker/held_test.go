package broker_test

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// A server that holds its clients takes no link of a tenant either, whatever is done to the account meanwhile, and
// links of the accounts that it was started with come up.
func TestHeldServerTakesNobodyIn(t *testing.T) {
	m := newMesh(t, map[string]int{"eu": 1, "us": 1})
	acme, globex := m.addTenant("acme"), m.addTenant("globex")
	eu := m.regions[0]
	stop(t, eu.servers[0])
	o := eu.options[0]
	o.HoldClients = true
	o.Accounts = map[string]string{eu.sys.public: eu.sys.token, globex.public: globex.token}
	b := must(broker.New(o))(t)
	start(t, b)
	t.Cleanup(func() { stop(t, b) })
	up := func(a *identity) bool {
		for _, l := range b.Leaves() {
			if l.Account == a.public {
				return true
			}
		}
		return false
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) { return up(globex), "the link of an account of the server's own is down" })

	held := func(name string) {
		t.Helper()
		began := time.Now() // longer than a link waits before it dials again
		streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
			if up(acme) {
				t.Fatalf("%s: the link of a tenant is up", name)
			}
			return time.Since(began) > 2500*time.Millisecond, ""
		})
	}
	held("after the start")
	if err := b.StoreAccount(acme.public, acme.token); err != nil {
		t.Fatal(err)
	}
	if err := b.SetLinks([]broker.Link{}); err != nil {
		t.Fatal(err)
	}
	held("after the account was stored again")
	token, seed := acme.user(t, nil, nil)
	login := []nats.Option{nats.UserJWTAndSeed(token, string(seed)), nats.Secure(&tls.Config{RootCAs: m.pki.pool})}
	if _, err := nats.Connect(b.ClientURL(), login...); err == nil {
		t.Error("a client was let in")
	}

	for range 2 {
		if err := b.OpenClients(); err != nil {
			t.Fatal(err)
		}
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) { return up(acme), "the tenant's link does not come up" })
	conn, err := nats.Connect(b.ClientURL(), login...)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
