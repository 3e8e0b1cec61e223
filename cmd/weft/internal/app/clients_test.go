package app

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/revocation"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// partner is the authority of somebody else, with its list and its responder.
type partner struct {
	*pki.Authority
	t         testing.TB
	key       crypto.Signer
	ca, list  string // files
	responder *httptest.Server
	number    int64

	mu      sync.Mutex
	revoked map[string]bool // by serial, as the responder says; not what the list says
}

func newPartner(t testing.TB) *partner {
	ca, err := pki.NewAuthority("partner")
	must(t, err)
	dir := t.TempDir()
	p := &partner{Authority: ca, t: t, ca: filepath.Join(dir, "partner.pem"), list: filepath.Join(dir, "partner.crl"), revoked: map[string]bool{}}
	block, _ := pem.Decode(ca.KeyPEM())
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	must(t, err)
	p.key = key.(crypto.Signer)
	must(t, os.WriteFile(p.ca, ca.CertPEM(), 0o600))
	p.publish()
	p.responder = httptest.NewServer(p)
	t.Cleanup(p.responder.Close)
	return p
}

// publish replaces the list with one of these certificates.
func (p *partner) publish(revoked ...tls.Certificate) {
	p.number++
	l := &x509.RevocationList{Number: big.NewInt(p.number), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, p.Certificate(), p.key)
	must(p.t, err)
	must(p.t, os.WriteFile(p.list+".new", der, 0o600))
	must(p.t, os.Rename(p.list+".new", p.list))
}

// withdraw makes the responder say of a certificate that it is revoked.
func (p *partner) withdraw(c tls.Certificate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked[c.Leaf.SerialNumber.String()] = true
}

// ServeHTTP is the responder.
func (p *partner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	q, err := ocsp.ParseRequest(raw)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-time.Second), NextUpdate: time.Now().Add(time.Hour)}
	p.mu.Lock()
	if p.revoked[q.SerialNumber.String()] {
		a.Status, a.RevokedAt = ocsp.Revoked, time.Now()
	}
	p.mu.Unlock()
	out, err := ocsp.CreateResponse(p.Certificate(), p.Certificate(), a, p.key)
	if err != nil {
		p.t.Error(err)
	}
	_, _ = w.Write(out)
}

// producer is a certificate of the partner's for a tenant's producer.
func (p *partner) producer(tenant string) tls.Certificate {
	p.t.Helper()
	who := pki.Principal{Role: pki.RoleTenant, Tenant: tenant, Producer: "default"}
	cert, key, err := p.Issue(pki.Spec{CommonName: "producer", URIs: []string{who.URI()}, Client: true, TTL: time.Hour})
	must(p.t, err)
	pair, err := tls.X509KeyPair(cert, key)
	must(p.t, err)
	return pair
}

// TestClientsOfAPartner is the whole way of a relay's settings: files of another authority, its list and its responder.
func TestClientsOfAPartner(t *testing.T) {
	p, other := newPair(t, time.Second), newPartner(t)
	at := p.runRelay("eu", func(c *RelayConfig) {
		c.ID, c.TLS = "partners", config.TLS{
			ClientCAs: []string{"acme=" + other.ca}, CRL: []string{other.list}, CRLRefresh: time.Second, CRLStale: "refuse",
			OCSP: "ask", OCSPResponder: other.responder.URL, OCSPRefresh: time.Second, OCSPUnreachable: "refuse",
		}
	}).Addr()
	with := func(at string, pair tls.Certificate) *client.Client {
		return p.newClient(at, &tls.Config{RootCAs: p.tls.RootCAs, Certificates: []tls.Certificate{pair}}, p.bundle)
	}
	next := 0
	send := func(c *client.Client) error {
		next++
		_, err := c.Send(t.Context(), [][]byte{remoteEvent(fmt.Sprint("partner-", next), "plain.x")})
		return err
	}
	own, listed, asked := p.tls.Certificates[0], other.producer("acme"), other.producer("acme")
	clients := map[string]*client.Client{}
	for name, pair := range map[string]tls.Certificate{"own": own, "listed": listed, "asked": asked} {
		clients[name] = with(at, pair)
		if err := send(clients[name]); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for what, c := range map[string]*client.Client{
		"the partner speaks for another tenant":             with(at, other.producer("globex")),
		"a relay that knows no partner lets its clients in": with(p.relay.Addr(), listed),
	} {
		streamtest.Eventually(t, 10*time.Second, func() (bool, string) { // a connection may break before the alert is read
			err := send(c)
			return fault.CodeOf(err) == client.CodeClientCertificate, fmt.Sprint(what, ": ", err)
		})
	}
	idle, err := tls.Dial("tcp", at, &tls.Config{RootCAs: p.tls.RootCAs, Certificates: []tls.Certificate{listed}})
	must(t, err)
	defer func() { _ = idle.Close() }()
	must(t, idle.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = fmt.Fprintf(idle, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", at)
	must(t, err)
	if _, err := idle.Read(make([]byte, 1)); err != nil {
		t.Fatalf("before its certificate is revoked the connection ends: %v", err)
	}

	other.publish(listed)
	other.withdraw(asked)
	for _, name := range []string{"listed", "asked"} {
		streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
			code := fault.CodeOf(send(clients[name]))
			return code == revocation.CodeRevoked || code == client.CodeClientCertificate, name + ": " + code
		})
	}
	must(t, idle.SetDeadline(time.Now().Add(10*time.Second)))
	if _, err := io.Copy(io.Discard, idle); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("an open connection outlives the certificate's revocation")
	}
	for name, pair := range map[string]tls.Certificate{"own": own, "new": other.producer("acme")} {
		if err := send(with(at, pair)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	other.responder.Close()
	if err := send(with(at, other.producer("acme"))); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("nobody knows whether it is revoked: %v", err)
	}
}
