package capacity_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// BenchmarkIdleTenant is the memory, heap and stacks, that one tenant without traffic takes in two regions of bare
// servers in this process: what no code of weft's can save. Run it with -benchtime 1x.
func BenchmarkIdleTenant(b *testing.B) {
	const tenants = 100
	for _, c := range []struct {
		name                   string
		links, streams, source bool
	}{{"account", false, false, false}, {"link", true, false, false}, {"stream", true, true, false}, {"source", true, true, true}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				base := resident()
				m := newIdleMesh(b, tenants, c.links)
				if c.streams {
					m.makeStreams(c.source)
				}
				b.ReportMetric((resident()-base)/tenants/1e3, "kB/tenant")
				m.end()
			}
		})
	}
}

func resident() float64 {
	bytes := heap()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return bytes + float64(m.StackInuse)
}

// idleMesh is two servers with an account for each tenant and, between them, a link over TLS for each.
type idleMesh struct {
	b       *testing.B
	tenants []string
	eu, us  *server.Server
}

func newIdleMesh(b *testing.B, tenants int, links bool) *idleMesh {
	m := &idleMesh{b: b}
	for i := range tenants {
		m.tenants = append(m.tenants, "t"+strconv.Itoa(i))
	}
	serve, dial := leafTLS(b)
	leaf := freeAddr(b)
	host, port, _ := net.SplitHostPort(leaf)
	p, _ := strconv.Atoi(port)
	m.eu = m.server("eu", func(o *server.Options) {
		o.LeafNode = server.LeafNodeOpts{Host: host, Port: p, NoAdvertise: true, TLSConfig: serve, TLSTimeout: 5, Compression: server.CompressionOpts{Mode: server.CompressionOff}}
	})
	m.us = m.server("us", func(o *server.Options) {
		for _, t := range m.tenants {
			if links {
				o.LeafNode.Remotes = append(o.LeafNode.Remotes, &server.RemoteLeafOpts{
					LocalAccount: t, URLs: []*url.URL{{Scheme: "tls", Host: leaf, User: url.UserPassword(t, t)}},
					TLS: true, TLSConfig: dial, TLSTimeout: 5, Compression: server.CompressionOpts{Mode: server.CompressionOff},
				})
			}
		}
	})
	if links {
		streamtest.Eventually(b, 30*time.Second, func() (bool, string) {
			n := m.eu.NumLeafNodes()
			return n == tenants, fmt.Sprint(n, " links")
		})
	}
	return m
}

func (m *idleMesh) server(region string, change func(*server.Options)) *server.Server {
	return newRig(m.b, 1, func(o *server.Options) {
		o.ServerName, o.JetStreamDomain = region, region
		for _, t := range m.tenants {
			a := server.NewAccount(t)
			o.Accounts = append(o.Accounts, a)
			o.Users = append(o.Users, &server.User{Username: t, Password: t, Account: a})
		}
		change(o)
	}).servers[0]
}

// makeStreams makes every tenant's stream in both regions, which source each other or do not. A source of a stream that
// is not there yet is tried again much later, so sources come last.
func (m *idleMesh) makeStreams(source bool) {
	regions := []struct {
		server     *server.Server
		self, peer subject.Origin
	}{{m.eu, eu, us}, {m.us, us, eu}}
	for _, r := range regions {
		for _, t := range m.tenants {
			a, err := r.server.LookupAccount(t)
			if err == nil {
				err = a.EnableJetStream(map[string]server.JetStreamAccountLimits{"": {MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: -1}}, nil)
			}
			if err != nil {
				m.b.Fatal(err)
			}
			m.makeStream(r.server, t, streams.EventsConfig(streams.EventsSpec{Self: r.self}))
		}
	}
	if !source {
		return
	}
	for _, r := range regions {
		for _, t := range m.tenants {
			m.makeStream(r.server, t, streams.EventsConfig(streams.EventsSpec{Self: r.self, Peers: []subject.Origin{r.peer}}))
		}
	}
	for _, r := range regions {
		for _, t := range m.tenants {
			m.as(r.server, t, func(js jetstream.JetStream) error {
				streamtest.Eventually(m.b, time.Minute, func() (bool, string) {
					st, err := js.Stream(m.b.Context(), subject.EventsStream)
					return err == nil && st.CachedInfo().Sources[0].Active >= 0, "the stream is not sourced"
				})
				return nil
			})
		}
	}
}

func (m *idleMesh) makeStream(s *server.Server, tenant string, c jetstream.StreamConfig) {
	m.as(s, tenant, func(js jetstream.JetStream) error {
		ctx, cancel := context.WithTimeout(m.b.Context(), 10*time.Second)
		defer cancel()
		_, err := js.CreateOrUpdateStream(ctx, c)
		return err
	})
}

// as does something as a tenant, over a connection that is gone afterwards.
func (m *idleMesh) as(s *server.Server, tenant string, do func(jetstream.JetStream) error) {
	conn, err := nats.Connect(s.ClientURL(), nats.UserInfo(tenant, tenant))
	if err != nil {
		m.b.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err == nil {
		err = do(js)
	}
	if err != nil {
		m.b.Fatal(err)
	}
}

func (m *idleMesh) end() {
	for _, s := range []*server.Server{m.us, m.eu} {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

func leafTLS(b *testing.B) (serve, dial *tls.Config) {
	ca, err := pki.NewAuthority("idle")
	if err != nil {
		b.Fatal(err)
	}
	certPEM, keyPEM, err := ca.Issue(pki.Spec{CommonName: "leaf", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, Client: true, TTL: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	c := &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
	return c, c.Clone()
}
