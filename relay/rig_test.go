package relay_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/token/issuertest"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestMain(m *testing.M) {
	issuertest.Serve()
	goleak.VerifyTestMain(m)
}

// fakeControl is a control state that the test sets.
type fakeControl struct {
	mu      sync.Mutex
	state   *control.State
	changed chan struct{}
	age     atomic.Int64
	beat    atomic.Pointer[time.Time]
}

func (c *fakeControl) State() *control.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *fakeControl) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *fakeControl) HeartbeatAge() time.Duration { return time.Duration(c.age.Load()) }

func (c *fakeControl) Heartbeat() time.Time {
	if at := c.beat.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// change publishes a new snapshot with the change made.
func (c *fakeControl) change(f func(*control.State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := control.NewState()
	for k, v := range c.state.Tenants {
		next.Tenants[k] = v
	}
	for k, v := range c.state.Keys {
		next.Keys[k] = v
	}
	for k, v := range c.state.Routes {
		next.Routes[k] = v
	}
	for k, v := range c.state.Regions {
		next.Regions[k] = v
	}
	for k, v := range c.state.Certificates {
		next.Certificates[k] = v
	}
	for k, v := range c.state.Schemas {
		next.Schemas[k] = v
	}
	for k, v := range c.state.Rules {
		next.Rules[k] = v
	}
	maps.Copy(next.Flags, c.state.Flags)
	maps.Copy(next.Mappings, c.state.Mappings)
	f(next)
	c.state = next
	close(c.changed)
	c.changed = make(chan struct{})
}

// rig is a relay of region eu before a real stream, with two tenants.
type rig struct {
	t       testing.TB
	control *fakeControl
	nats    *streamtest.JetStream
	conn    *nats.Conn
	js      jetstream.JetStream
	relay   *relay.Relay
	logs    *observer.ObservedLogs
	metrics *prometheus.Registry
	ca      *pki.Authority
	sealer  *keyring.AgeSealer
	secrets map[string]keyring.Secret // by kid
	clients map[string]*http.Client   // by principal's URI and protocol
	opened  atomic.Int64              // connections made by the relay
	publish func(string) string       // rewrites the NATS URL, or nil
}

var (
	acme   = pki.Principal{Role: pki.RoleTenant, Tenant: "acme", Producer: "default"}
	globex = pki.Principal{Role: pki.RoleTenant, Tenant: "globex", Producer: "default"}
)

func newRig(t testing.TB, change ...func(*relay.Options)) *rig {
	t.Helper()
	r := &rig{t: t, secrets: map[string]keyring.Secret{}, clients: map[string]*http.Client{}, metrics: prometheus.NewRegistry()}
	r.nats = streamtest.Server(t, "eu")
	r.conn, r.js = r.nats.Stream(jetstream.StreamConfig{
		Name: subject.EventsStream, Subjects: []string{"evt.eu_1.>"}, Duplicates: 2 * time.Minute, AllowMsgTTL: true,
		Discard: jetstream.DiscardNew,
	})
	r.serveDigests()
	_, err := r.js.CreateStream(t.Context(), streams.GuardConfig(streams.GuardSpec{Self: subject.Origin{Region: "eu", Epoch: 1}}))
	r.must(err)
	r.ca, err = pki.NewAuthority("test")
	r.must(err)
	r.sealer, err = keyring.NewAgeSealer()
	r.must(err)
	r.control = &fakeControl{state: control.NewState(), changed: make(chan struct{})}
	r.control.change(func(s *control.State) {
		s.Regions["eu"] = &accounts.RegionInfo{Name: "eu", Epoch: 1, Weight: 1, Replicas: 1, Ack: accounts.AckStored}
		s.Regions["us"] = &accounts.RegionInfo{Name: "us", Epoch: 1, Weight: 1, Replicas: 1, Ack: accounts.AckStored}
		for _, name := range []string{"acme", "globex"} {
			s.Tenants[name] = &accounts.Tenant{Name: name, State: accounts.Active}
			s.Keys[name+"-1"] = r.key(name+"-1", name, "default")
		}
	})
	r.start(change)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// key makes a key and remembers its secret.
func (r *rig) key(kid, tenant, producer string) *keyring.Key {
	r.secrets[kid] = keyring.NewSecret(32)
	sealed, err := r.sealer.Seal(context.Background(), r.secrets[kid])
	r.must(err)
	return &keyring.Key{Kid: kid, Tenant: tenant, Producer: producer, State: keyring.Active, Algorithms: []string{keyring.WeftV1}, Sealed: sealed}
}

func (r *rig) pair(s pki.Spec) tls.Certificate {
	s.TTL = time.Hour
	cert, key, err := r.ca.Issue(s)
	r.must(err)
	pair, err := tls.X509KeyPair(cert, key)
	r.must(err)
	return pair
}

func (r *rig) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(r.ca.Certificate())
	return pool
}

func (r *rig) start(change []func(*relay.Options)) {
	core, logs := observer.New(zapcore.DebugLevel)
	r.logs = logs
	r.relay = r.run("r1", append([]func(*relay.Options){func(o *relay.Options) { o.Logger, o.Registerer = zap.New(core), r.metrics }}, change...)...)
}

// run starts another relay of the region and stops it with the test.
func (r *rig) run(id string, change ...func(*relay.Options)) *relay.Relay {
	r.t.Helper()
	o := relay.DefaultOptions()
	o.Origin, o.ID, o.Listen = "eu", id, "127.0.0.1:0"
	o.TLS = &tls.Config{
		Certificates: []tls.Certificate{r.pair(pki.Spec{CommonName: "relay", DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})},
		ClientCAs:    r.roots(),
	}
	o.Control, o.Journal, o.Sealer = r.control, r.js, r.sealer
	o.Connect = func(_ context.Context, _ string) (*nats.Conn, error) {
		r.opened.Add(1)
		at := r.nats.URL()
		if r.publish != nil {
			at = r.publish(at)
		}
		return nats.Connect(at, nats.CustomInboxPrefix(subject.InboxPrefix("eu")+"."+id), nats.ReconnectBufSize(-1),
			nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	}
	for _, f := range change {
		f(&o)
	}
	one, err := relay.New(o)
	r.must(err)
	r.must(one.Start())
	r.guarded(one)
	r.t.Cleanup(func() {
		for _, c := range r.clients {
			c.CloseIdleConnections()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := one.Stop(ctx); err != nil {
			r.t.Errorf("stop: %v", err)
		}
	})
	return one
}

// guarded waits until a relay tells copies from requests.
func (r *rig) guarded(at *relay.Relay) {
	r.t.Helper()
	streamtest.Eventually(r.t, 10*time.Second, func() (bool, string) {
		why := fmt.Sprint(at.Ready())
		return !strings.Contains(why, "journal"), why
	})
}

// serveDigests plays the hub's service over the real stream.
func (r *rig) serveDigests() {
	_, err := r.conn.Subscribe(subject.Digest("eu"), func(m *nats.Msg) {
		var q original.Request
		_ = json.Unmarshal(m.Data, &q)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var a original.Response
		s, err := r.js.Stream(ctx, subject.EventsStream)
		for _, seq := range q.Seqs {
			d := original.Digest{Seq: seq, Error: original.NotFound}
			if err == nil {
				if stored, err := s.GetMsg(ctx, seq); err == nil {
					sum, _ := event.Digest(stored.Data)
					d = original.Digest{Seq: seq, EventID: stored.Header.Get(header.MsgID), Digest: hex.EncodeToString(sum[:])}
					if e, err := subject.Parse(stored.Subject); err == nil && e.Scope == subject.Global {
						d.Origin = e.Origin.String()
					}
				}
			}
			a.Digests = append(a.Digests, d)
		}
		b, _ := json.Marshal(a)
		_ = m.Respond(b)
	})
	r.must(err)
	r.must(r.conn.Flush())
}

func clientSpec(who pki.Principal) pki.Spec {
	return pki.Spec{CommonName: "client", URIs: []string{who.URI()}, Client: true}
}

// client is an HTTP client with the principal's certificate.
func (r *rig) client(who pki.Principal, http1 bool) *http.Client {
	id := fmt.Sprint(who.URI(), http1)
	if c := r.clients[id]; c != nil {
		return c
	}
	t := &http.Transport{
		ForceAttemptHTTP2: !http1,
		TLSClientConfig: &tls.Config{RootCAs: r.roots(),
			Certificates: []tls.Certificate{r.pair(clientSpec(who))}},
	}
	if http1 {
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	r.clients[id] = &http.Client{Transport: t, Timeout: 30 * time.Second}
	return r.clients[id]
}
