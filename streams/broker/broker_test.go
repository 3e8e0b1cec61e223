package broker_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// single is one region of one server with one tenant.
func single(t *testing.T) (*mesh, *broker.Broker, *identity) {
	t.Helper()
	m := newMesh(t, map[string]int{"eu": 1})
	return m, m.regions[0].servers[0], m.addTenant("acme")
}

func TestRestartKeepsStreamsAndAccounts(t *testing.T) {
	m, b, acme := single(t)
	sites := m.openStreams("acme")
	sites["eu"].publish(0, 100)
	if !b.LeadsStream(acme.public, subject.EventsStream) || b.LeadsStream(acme.public, "OTHER") || b.LeadsStream(m.regions[0].sys.public, subject.EventsStream) {
		t.Error("the only server leads exactly the streams that exist")
	}
	if d := b.Durability(); d != (broker.Durability{SyncInterval: time.Second, Servers: 1, MaxStore: 1 << 30}) {
		t.Errorf("durability %+v", d)
	}
	began := time.Now()
	stop(t, b)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("stop with a client connected took %s", took)
	}
	stop(t, b)
	if b.ClientURL() != "" || b.LeadsStream(acme.public, subject.EventsStream) || len(b.Leaves()) != 0 || b.Durability() != (broker.Durability{}) {
		t.Error("a stopped server still answers")
	}
	start(t, b)
	start(t, b)
	sites["eu"].waitCount(100, 5*time.Second)
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return sites["eu"].conn.IsConnected(), "the client did not come back" })
}

func TestRunEndsWithItsContext(t *testing.T) {
	m := newMesh(t, nil)
	r := &region{mesh: m, name: "eu", sys: m.op.account("SYS", nil)}
	o := m.serverOptions(r, 0)
	o.Route = broker.Listen{}
	b := must(broker.New(o))(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, 10*time.Second) }()
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) { return b.ClientURL() != "", "not running" })
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run did not end")
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	m, running, _ := single(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := must(net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", m.port())))(t)
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	stranger := newOperator(t).account("SYS", nil)
	tests := []struct {
		name, code, detail string
		edit               func(*broker.Options)
	}{
		{"client port", "port_taken", fmt.Sprintf("127.0.0.1:%d is in use by another program: stop it or choose another --port-base", port), func(o *broker.Options) { o.Client.Port = port }},
		{"leaf port", "port_taken", fmt.Sprint(port), func(o *broker.Options) { o.Leaf.Port = port }},
		{"address", "address_unknown", "192.0.2.1", func(o *broker.Options) { o.Client.Host = "192.0.2.1" }},
		{"file in the way", "store_unwritable", file, func(o *broker.Options) { o.StoreDir = filepath.Join(file, "store") }},
		{"store in use", "store_locked", "another weft process", func(o *broker.Options) { o.StoreDir = m.regions[0].options[0].StoreDir }},
		{"foreign account", "untrusted_account", "not signed by this mesh's operator", func(o *broker.Options) {
			o.SystemAccount, o.Accounts = stranger.public, map[string]string{stranger.public: stranger.token}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := m.serverOptions(m.regions[0], 7)
			o.StoreDir, o.Route = filepath.Join(t.TempDir(), "new"), broker.Listen{}
			tt.edit(&o)
			err := must(broker.New(o))(t).Start(t.Context())
			if fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.detail) || strings.Contains(err.Error(), "\n") {
				t.Errorf("code %s: %v\nwant %s, %q", fault.CodeOf(err), err, tt.code, tt.detail)
			}
		})
	}
	if running.ClientURL() == "" {
		t.Error("the other server was harmed")
	}
}

func TestStartCanBeRepeatedAfterAFault(t *testing.T) {
	m := newMesh(t, nil)
	o := m.serverOptions(&region{mesh: m, name: "eu", sys: m.op.account("SYS", nil)}, 0)
	o.Route = broker.Listen{}
	taken := must(net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", o.Leaf.Port)))(t)
	b := must(broker.New(o))(t)
	if err := b.Start(t.Context()); fault.CodeOf(err) != "port_taken" {
		t.Fatalf("%v, want port_taken", err)
	}
	taken.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Start(ended); fault.CodeOf(err) != "start_timeout" {
		t.Errorf("with a context that has ended: %v", err)
	}
	start(t, b)
}

func TestAccountsChangeWhileRunning(t *testing.T) {
	m, b, acme := single(t)
	other := m.site("acme", "eu")

	globex := m.op.tenant("globex")
	r := m.regions[0]
	token, seed := globex.user(t, nil, nil)
	login := []nats.Option{nats.UserJWTAndSeed(token, string(seed)), nats.Secure(&tls.Config{RootCAs: m.pki.pool})}
	began := time.Now()
	if _, err := nats.Connect(b.ClientURL(), login...); err == nil {
		t.Fatal("an account that is not there connected")
	} else if took := time.Since(began); took > time.Second {
		t.Errorf("refusing an unknown account took %s", took)
	}

	if err := b.StoreAccount(globex.public, globex.token); err != nil {
		t.Fatal(err)
	}
	conn := r.connect(0, globex)
	js := must(jetstream.New(conn))(t)
	must(js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}}))(t)

	limited := func(streams, conns int64) string {
		return m.op.sign(globex, "globex", func(c *jwt.AccountClaims) {
			c.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: 64 << 20, Streams: streams, Consumer: -1}
			c.Limits.Conn = conns
		})
	}
	if err := b.StoreAccount(globex.public, limited(1, -1)); err != nil {
		t.Fatal(err)
	}
	var api *jetstream.APIError
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "B", Subjects: []string{"b"}}); !errors.As(err, &api) || api.ErrorCode != 10027 {
		t.Errorf("a second stream under a limit of one: %v", err)
	}
	if err := b.StoreAccount(globex.public, limited(1, 0)); err != nil {
		t.Fatal(err)
	}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return !conn.IsConnected(), "a connection survives a limit of none" })
	if err := b.StoreAccount(globex.public, limited(1, -1)); err != nil {
		t.Fatal(err)
	}
	conn = r.connect(0, globex)
	js = must(jetstream.New(conn))(t)
	must(js.Stream(t.Context(), "A"))(t)

	checkRemoval(t, m, globex, conn, login)
	if !other.conn.IsConnected() || other.conn.Reconnects != 0 {
		t.Error("the other tenant was disconnected")
	}
	stop(t, b)
	start(t, b)
	if _, err := nats.Connect(b.ClientURL(), login...); err == nil {
		t.Error("a removed account connected after a restart")
	}
	r.connect(0, acme).Close()
}

// checkRemoval removes an account that conn belongs to.
func checkRemoval(t *testing.T, m *mesh, a *identity, conn *nats.Conn, login []nats.Option) {
	t.Helper()
	b := m.regions[0].servers[0]
	var closed atomic.Bool
	conn.SetDisconnectErrHandler(func(*nats.Conn, error) { closed.Store(true) })
	for range 2 {
		if err := b.RemoveAccount(a.public); err != nil {
			t.Fatal(err)
		}
	}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return closed.Load(), "the connection survives its account" })
	if _, err := nats.Connect(b.ClientURL(), login...); err == nil {
		t.Error("a removed account connected")
	}
}

func TestStoreAccountRefuses(t *testing.T) {
	m, b, acme := single(t)
	stranger := newOperator(t).tenant("stranger")
	tests := []struct{ name, account, token, code string }{
		{"no key", "acme", acme.token, "invalid_account"},
		{"user key", m.op.public, acme.token, "invalid_account"},
		{"damaged", acme.public, acme.token[:len(acme.token)-4] + "AAAA", "invalid_account"},
		{"of another", stranger.public, acme.token, "invalid_account"},
		{"foreign operator", stranger.public, stranger.token, "untrusted_account"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := b.StoreAccount(tt.account, tt.token); fault.CodeOf(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
	if err := b.RemoveAccount(m.regions[0].sys.public); fault.CodeOf(err) != "system_account" {
		t.Errorf("removing the system account: %v", err)
	}
	stop(t, b)
	if err := b.StoreAccount(acme.public, acme.token); fault.CodeOf(err) != "stopped" {
		t.Errorf("while stopped: %v", err)
	}
}

func TestSetLinksRefuses(t *testing.T) {
	_, b, acme := single(t)
	creds := filepath.Join(t.TempDir(), "x.creds")
	tests := []struct {
		name, code string
		link       broker.Link
	}{
		{"no account", "invalid_link", broker.Link{URLs: []string{"tls://h:1"}, Credentials: creds}},
		{"no URL", "invalid_link", broker.Link{Account: acme.public, Credentials: creds}},
		{"bad URL", "invalid_url", broker.Link{Account: acme.public, URLs: []string{"tls://h"}, Credentials: creds}},
		{"no credentials", "no_credentials", broker.Link{Account: acme.public, URLs: []string{"tls://h:1"}, Credentials: creds}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := b.SetLinks([]broker.Link{tt.link}); fault.CodeOf(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
}

func TestListenersWantTLS(t *testing.T) {
	m := newMesh(t, map[string]int{"us": 3})
	m.addTenant("acme")
	o := m.regions[0].options[0]
	for name, port := range map[string]int{"client": o.Client.Port, "leaf": o.Leaf.Port} {
		var info struct {
			Required bool `json:"tls_required"`
			Verify   bool `json:"tls_verify"`
		}
		conn := must(net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)))(t)
		line := must(bufio.NewReader(conn).ReadString('\n'))(t)
		conn.Close()
		if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "INFO ")), &info); err != nil {
			t.Fatalf("%s: %v in %q", name, err, line)
		}
		if !info.Required {
			t.Errorf("the %s listener does not require TLS", name)
		}
		if info.Verify != (name == "leaf") {
			t.Errorf("the %s listener: client certificate required is %t", name, info.Verify)
		}
	}
	// On a route the handshake comes first; without a certificate it ends there.
	for _, certificate := range []bool{true, false} {
		config := m.pki.client()
		if !certificate {
			config.Certificates = nil
		}
		conn := must(tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", o.Route.Port), config))(t)
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := bufio.NewReader(conn).ReadString('\n')
		if (err == nil) != certificate {
			t.Errorf("a route with certificate %t: %v", certificate, err)
		}
		conn.Close()
	}
}

func TestClientsNeedCredentialsAndNoCertificate(t *testing.T) {
	m, b, acme := single(t)
	roots := nats.Secure(&tls.Config{RootCAs: m.pki.pool, MinVersion: tls.VersionTLS12})
	tests := []struct {
		name string
		url  string
		opts []nats.Option
		ok   bool
	}{
		{"credentials without certificate", b.ClientURL(), []nats.Option{roots, acme.credentials(t)}, true},
		{"credentials and certificate", b.ClientURL(), []nats.Option{nats.Secure(m.pki.client()), acme.credentials(t)}, true},
		{"nothing", b.ClientURL(), []nats.Option{roots}, false},
		{"a certificate alone", b.ClientURL(), []nats.Option{nats.Secure(m.pki.client())}, false},
		{"a foreign certificate", b.ClientURL(), []nats.Option{nats.Secure(&tls.Config{RootCAs: m.pki.pool, Certificates: newPKI(t).client().Certificates}), acme.credentials(t)}, false},
		{"in process", "", []nats.Option{b.InProcess(), acme.credentials(t)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := nats.Connect(tt.url, tt.opts...)
			if (err == nil) != tt.ok {
				t.Errorf("connect: %v", err)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}

func TestReloadOfManyLinks(t *testing.T) {
	m := newMesh(t, map[string]int{"eu": 1, "us": 1})
	for i := range 20 {
		name := fmt.Sprintf("t%02d", i)
		a := m.op.tenant(name)
		m.tenants[name] = a
		for _, r := range m.regions {
			if err := r.servers[0].StoreAccount(a.public, a.token); err != nil {
				t.Fatal(err)
			}
		}
	}
	began := time.Now()
	m.setLinks()
	all := time.Since(began)
	m.waitLinks()
	up := time.Since(began)
	ids := leafIDs(m)
	began = time.Now()
	m.setLinks()
	t.Logf("20 links: reload %s, up after %s; the same again %s", all, up, time.Since(began))
	delete(m.tenants, "t00")
	began = time.Now()
	m.setLinks()
	t.Logf("one link removed: reload %s", time.Since(began))
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return len(leafIDs(m)) == len(ids)-2, fmt.Sprintf("%d ends of links", len(leafIDs(m)))
	})
	for id := range leafIDs(m) {
		if !ids[id] {
			t.Errorf("link %s is new", id)
		}
	}
}
