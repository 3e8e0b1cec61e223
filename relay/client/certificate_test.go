package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/fault"
)

// mtls is a relay that asks for certificates, and counts handshakes.
type mtls struct {
	*fake
	ca, stranger *pki.Authority
	handshakes   atomic.Int64
}

func newMTLS(t *testing.T, change func(*tls.Config)) *mtls {
	m := &mtls{fake: &fake{t: t, stored: map[string]int{}}}
	var err error
	if m.ca, err = pki.NewAuthority("mesh"); err != nil {
		t.Fatal(err)
	}
	if m.stranger, err = pki.NewAuthority("stranger"); err != nil {
		t.Fatal(err)
	}
	m.server = httptest.NewUnstartedServer(m.fake)
	m.server.EnableHTTP2 = true
	m.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	m.server.TLS = &tls.Config{
		Certificates: []tls.Certificate{issue(t, m.ca, pki.Spec{CommonName: "relay", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, TTL: time.Hour})},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool(m.ca),
	}
	m.server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m.handshakes.Add(1)
		return nil, nil
	}
	change(m.server.TLS)
	m.server.StartTLS()
	t.Cleanup(m.server.Close)
	return m
}

func issue(t *testing.T, ca *pki.Authority, s pki.Spec) tls.Certificate {
	t.Helper()
	cert, key, err := ca.Issue(s)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func pool(ca *pki.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Certificate())
	return p
}

// A certificate that is refused, by either end, is no failure of the network: retries are without hope, and the error
// says what it is.
func TestCertificatesThatAreRefused(t *testing.T) {
	spec := pki.Spec{CommonName: "producer", Client: true, TTL: time.Hour}
	revoked := func(tls.ConnectionState) error { return errors.New("revoked") }
	for name, c := range map[string]struct {
		relay  func(*tls.Config)
		client func(*testing.T, *mtls, *client.Options)
		code   string
		why    string
	}{
		"revoked": {relay: func(c *tls.Config) { c.VerifyConnection = revoked }, code: client.CodeClientCertificate, why: "(tls: bad certificate)"},
		"run out": {code: client.CodeClientCertificate, why: "(tls: expired certificate)", client: func(t *testing.T, m *mtls, o *client.Options) {
			ended := spec
			ended.TTL = time.Nanosecond
			o.TLS.Certificates[0] = issue(t, m.ca, ended)
		}},
		"of another authority": {code: client.CodeClientCertificate, why: "(tls: unknown certificate authority)", client: func(t *testing.T, m *mtls, o *client.Options) {
			pair := issue(t, m.stranger, spec)
			o.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}},
		"none": {code: client.CodeClientCertificate, why: "(tls: certificate required)", client: func(_ *testing.T, _ *mtls, o *client.Options) {
			o.TLS.Certificates = nil
		}},
		"relay of another authority": {code: client.CodeRelayCertificate, why: "unknown authority", client: func(_ *testing.T, m *mtls, o *client.Options) {
			o.TLS.RootCAs = pool(m.stranger)
		}},
		"relay of another name": {code: client.CodeRelayCertificate, why: "elsewhere.example", client: func(_ *testing.T, _ *mtls, o *client.Options) {
			o.TLS.ServerName = "elsewhere.example"
		}},
	} {
		for version, number := range map[string]uint16{"TLS 1.3": tls.VersionTLS13, "TLS 1.2": tls.VersionTLS12} {
			t.Run(name+", "+version, func(t *testing.T) {
				m := newMTLS(t, func(conf *tls.Config) {
					if conf.MaxVersion = number; c.relay != nil {
						c.relay(conf)
					}
				})
				sender := newClient(t, m.fake, func(o *client.Options) {
					o.TLS = &tls.Config{RootCAs: pool(m.ca), Certificates: []tls.Certificate{issue(t, m.ca, spec)}}
					o.MaxRetries, o.Deadline = 1<<30, 20*time.Second
					if c.client != nil {
						c.client(t, m, o)
					}
				})
				got, err := sender.Send(t.Context(), makeEvents(1000))
				if fault.KindOf(err) != fault.Unauthenticated || fault.CodeOf(err) != c.code {
					t.Fatalf("after %d handshakes: %v", m.handshakes.Load(), err)
				}
				why := c.why
				if number == tls.VersionTLS12 && name == "none" {
					why = "(tls: handshake failure)" // has no alert of its own for this
				}
				if n := m.handshakes.Load(); n > 50 {
					t.Errorf("%d handshakes", n)
				}
				if !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "\n") {
					t.Errorf("it says %q, want %q in it", err, why)
				}
				if got[0].Status != client.Unknown || got[0].Code != c.code || len(m.stored) > 0 {
					t.Errorf("%+v, %d stored", got[0], len(m.stored))
				}
			})
		}
	}
}
