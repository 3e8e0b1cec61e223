package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// pair is two regions in this process, their link through a cutter, and a relay in eu with a client.
type pair struct {
	t      testing.TB
	dir    string
	base   int
	log    *zap.Logger
	cutter *streamtest.Cutter
	hubs   map[string]*hub.Hub
	bundle *hub.Bundle
	relay  *Relay
	client *client.Client
	tls    *tls.Config // of the tenant's clients
	next   atomic.Int64
}

func newPair(t testing.TB, remoteTimeout time.Duration, tune ...func(*hub.Options)) *pair {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir, base := t.TempDir(), streamtest.Ports(t).Base()
	must(t, identity.Create(dir, identity.Mesh{Name: "test", Regions: []identity.Region{{Name: "eu"}, {Name: "us"}}}))
	log := zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	p := &pair{t: t, dir: dir, base: base, log: log, hubs: map[string]*hub.Hub{}, cutter: streamtest.NewCutter(t, fmt.Sprintf("127.0.0.1:%d", base+2))}
	for i, peer := range map[int]hub.Peer{0: {Name: "us"}, 1: {Name: "eu", Leaf: []string{"tls://" + p.cutter.Addr()}}} {
		id, err := identity.LoadHub(dir, []string{"eu", "us"}[i])
		must(t, err)
		o := hub.DefaultOptions()
		o.Identity, o.StoreDir, o.Logger, o.Peers = id, filepath.Join(dir, "store", id.Region), log, []hub.Peer{peer}
		o.Client, o.Leaf = broker.Listen{Host: "127.0.0.1", Port: base + 1 + 10*i}, broker.Listen{Host: "127.0.0.1", Port: base + 2 + 10*i}
		o.MaxStore, o.TenantLimits.DiskBytes, o.WatchEvery = 2<<30, 512<<20, 500*time.Millisecond
		for _, f := range tune {
			f(&o)
		}
		h, err := hub.New(o)
		must(t, err)
		must(t, h.Start(ctx))
		t.Cleanup(func() { stop(t, h.Stop) })
		p.hubs[id.Region] = h
	}
	routes := accounts.DefaultRoutes("acme")
	safe := routes.Topics[0]
	safe.Name, safe.Ack = "safe", accounts.AckRemote
	routes.Topics, routes.Rules = append(routes.Topics, safe), []accounts.Rule{{Type: "safe.>", Topic: "safe"}}
	b, err := p.hubs["eu"].AddTenant(ctx, hub.TenantSpec{Name: "acme", Routes: &routes}, "test")
	must(t, err)
	if len(b.Waiting) > 0 {
		t.Fatalf("the tenant is not ready: %v", b.Waiting)
	}
	p.bundle = b
	p.relay = p.startRelay("eu", "r1", func(o *relay.Options) { o.Limits.RemoteTimeout = remoteTimeout })
	p.connect(p.relay.Addr(), filepath.Join(dir, "pki", "ca.pem"), b)
	return p
}

func (p *pair) startRelay(region, relayID string, tune ...func(*relay.Options)) *Relay {
	p.t.Helper()
	return p.runRelay(region, func(c *RelayConfig) {
		c.ID, c.Tune = relayID, func(o *relay.Options) {
			for _, f := range tune {
				f(o)
			}
		}
	})
}

// runRelay starts a relay as it is configured, waits until it serves, and stops it with the test.
func (p *pair) runRelay(region string, configure func(*RelayConfig)) *Relay {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	id, err := identity.LoadRelay(p.dir, region)
	must(p.t, err)
	port := p.base + 1
	if region == "us" {
		port += 10
	}
	c := RelayConfig{Identity: id, Listen: "127.0.0.1:0", HubURLs: []string{fmt.Sprintf("tls://127.0.0.1:%d", port)}, Logger: p.log}
	configure(&c)
	r, err := NewRelay(ctx, c)
	must(p.t, err)
	must(p.t, r.Start())
	p.t.Cleanup(func() { stop(p.t, r.Stop) })
	streamtest.Eventually(p.t, 20*time.Second, func() (bool, string) { return r.Check() == nil, fmt.Sprint(r.Check()) })
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func stop(t testing.TB, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := f(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func (p *pair) connect(addr, ca string, b *hub.Bundle) {
	pair, err := tls.X509KeyPair([]byte(b.ClientCert), []byte(b.ClientKey))
	must(p.t, err)
	pem, err := os.ReadFile(ca)
	must(p.t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	p.tls = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	p.client = p.newClient(addr, p.tls, b)
}

// newClient signs with a tenant's first key, and never tries again unless it is told to.
func (p *pair) newClient(addr string, conf *tls.Config, b *hub.Bundle, tune ...func(*client.Options)) *client.Client {
	p.t.Helper()
	secret, err := base64.StdEncoding.DecodeString(b.Secret)
	must(p.t, err)
	o := client.DefaultOptions()
	o.URL, o.TLS, o.Kid, o.Secret = "https://"+addr, conf, b.Kid, keyring.Secret(secret)
	o.MaxRetries = 0
	for _, f := range tune {
		f(&o)
	}
	c, err := client.New(o)
	must(p.t, err)
	p.t.Cleanup(c.Close)
	return c
}

func remoteEvent(id, kind string) []byte {
	return fmt.Appendf(nil, `{"event_id":%q,"event_type":%q,"schema_version":"1.0.0","occurred_at":%q,"key":{"user_id":"u"},"payload":{"text":"%0400d"}}`,
		id, kind, time.Now().UTC().Format(time.RFC3339), 7)
}

// send sends one event once and says what became of it and how long that took.
func (p *pair) send(id, kind string) (client.Result, time.Duration) {
	begin := time.Now()
	res, err := p.client.Send(p.t.Context(), [][]byte{remoteEvent(id, kind)})
	if err != nil && res[0].Code == "" {
		p.t.Fatal(err)
	}
	return res[0], time.Since(begin)
}

// The whole way: a signed request to a relay, the stream of its region, the link, the other region's stream and back.
func TestRemoteAckThroughARelay(t *testing.T) {
	p := newPair(t, time.Second)
	if r, _ := p.send("plain", "plain.x"); r.Status != client.Stored || r.Ack != accounts.AckStored {
		t.Errorf("another topic: %+v", r)
	}
	r, took := p.send("one", "safe.x")
	if r.Status != client.Stored || r.Ack != accounts.AckRemote || took > 900*time.Millisecond {
		t.Errorf("linked: %+v after %s", r, took)
	}
	p.cutter.Cut()
	if r, took = p.send("two", "safe.x"); r.Settled() || r.Code != "remote_unconfirmed" || took > 3*time.Second {
		t.Errorf("cut off: %+v after %s", r, took)
	}
	if r, took = p.send("two", "safe.x"); r.Settled() || r.Code != "remote_unconfirmed" || took > 3*time.Second {
		t.Errorf("a retry while cut off: %+v after %s", r, took)
	}
	if r, took = p.send("plain-2", "plain.x"); r.Ack != accounts.AckStored || took > 900*time.Millisecond {
		t.Errorf("another topic while cut off: %+v after %s", r, took)
	}
	p.cutter.Heal()
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		r, took = p.send("two", "safe.x")
		return r.Settled(), fmt.Sprintf("a retry after the link is back: %+v after %s", r, took)
	})
	if r.Status != client.Duplicate || r.Ack != accounts.AckRemote {
		t.Errorf("a retry after the link is back: %+v", r)
	}
}

// BenchmarkRemoteAck compares, in turns and in one process, single events of a topic that asks for another region with
// those of one that does not; one operation is one of each from every sender.
func BenchmarkRemoteAck(b *testing.B) {
	p := newPair(b, 5*time.Second)
	for _, senders := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("senders=%d", senders), func(b *testing.B) {
			times := map[string][]time.Duration{}
			for b.Loop() {
				for kind, want := range map[string]string{"plain.x": accounts.AckStored, "safe.x": accounts.AckRemote} {
					times[kind] = append(times[kind], p.volley(b, senders, kind, want)...)
				}
			}
			for kind, name := range map[string]string{"plain.x": "stored", "safe.x": "remote"} {
				all := times[kind]
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name+"-p50-ms")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, name+"-p99-ms")
			}
		})
	}
}

// BenchmarkRemoteAckBatches is the rate of batches of 100 from 16 senders, in turns: what waits must not stop what comes.
func BenchmarkRemoteAckBatches(b *testing.B) {
	const senders, batch, each = 16, 100, 5
	p := newPair(b, 5*time.Second)
	took := map[string]time.Duration{}
	rounds := 0
	for b.Loop() {
		rounds++
		for _, kind := range []string{"plain.x", "safe.x"} {
			begin := time.Now()
			var all sync.WaitGroup
			for range senders {
				all.Go(func() {
					for range each {
						events := make([][]byte, batch)
						for i := range events {
							events[i] = remoteEvent(fmt.Sprintf("c-%d", p.next.Add(1)), kind)
						}
						if _, err := p.client.Send(b.Context(), events); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
			took[kind] += time.Since(begin)
		}
	}
	n := float64(rounds * senders * batch * each)
	b.ReportMetric(n/took["plain.x"].Seconds(), "stored-events/s")
	b.ReportMetric(n/took["safe.x"].Seconds(), "remote-events/s")
}

func (p *pair) volley(b *testing.B, senders int, kind, want string) []time.Duration {
	out := make([]time.Duration, senders)
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			r, took := p.send(fmt.Sprintf("b-%d", p.next.Add(1)), kind)
			if out[i] = took; r.Ack != want {
				b.Errorf("%+v", r)
			}
		})
	}
	all.Wait()
	return out
}
