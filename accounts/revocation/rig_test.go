package revocation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority issues what a test asks for.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	id   pki.Issuer
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t testing.TB, name string) *authority {
	a := &authority{t: t, key: newKey(t), next: 100}
	a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, a.key)
	a.id = pki.IssuerOf(a.cert)
	return a
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	a.next++
	c.SerialNumber = big.NewInt(a.next)
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// client is a client's certificate for a tenant, with a responder's address if that is not empty.
func (a *authority) client(tenant, responder string) *x509.Certificate {
	u, err := url.Parse(pki.Principal{Role: pki.RoleTenant, Tenant: tenant, Producer: "p"}.URI())
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if responder != "" {
		c.OCSPServer = []string{responder}
	}
	return a.sign(c, newKey(a.t))
}

// handshake is what a connection with the certificate has verified.
func (a *authority) handshake(leaf *x509.Certificate, stapled []byte) tls.ConnectionState {
	return tls.ConnectionState{
		PeerCertificates: []*x509.Certificate{leaf}, VerifiedChains: [][]*x509.Certificate{{leaf, a.cert}}, OCSPResponse: stapled,
	}
}

// crl is a list as a test shapes it.
type crl struct {
	number  int64
	revoked []*x509.Certificate
	made    time.Duration // from now
	ends    time.Duration // from now; 0: an hour
	change  func(*x509.RevocationList)
}

func (a *authority) crl(l crl) []byte {
	a.t.Helper()
	if l.ends == 0 {
		l.ends = time.Hour
	}
	template := &x509.RevocationList{Number: big.NewInt(l.number), ThisUpdate: time.Now().Add(l.made), NextUpdate: time.Now().Add(l.ends)}
	for _, c := range l.revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	if l.change != nil {
		l.change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// trust lets every authority speak for the tenants given; the first is the mesh's own.
type trust struct {
	own    *authority
	others map[*authority][]string
}

func (t *trust) Authorities() []*x509.Certificate {
	out := []*x509.Certificate{t.own.cert}
	for a := range t.others {
		out = append(out, a.cert)
	}
	return out
}

func (t *trust) Own(i pki.Issuer) bool { return i == t.own.id }

func (t *trust) Speaks(i pki.Issuer, who pki.Principal) bool {
	if t.Own(i) {
		return true
	}
	for a, tenants := range t.others {
		for _, name := range tenants {
			if a.id == i && who.Tenant == name {
				return true
			}
		}
	}
	return false
}

// rig is a checker that trusts the mesh's own authority and a partner's, who speaks for acme.
type rig struct {
	*Checker
	t            testing.TB
	own, partner *authority
	logs         *observer.ObservedLogs
	state        *control.State

	mu  sync.Mutex
	now time.Time
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func newRig(t testing.TB) *rig {
	return &rig{t: t, own: newAuthority(t, "mesh"), partner: newAuthority(t, "partner"), state: control.NewState(), now: time.Now()}
}

// open makes the checker; it is driven by hand unless it is started.
func (r *rig) open(change func(*Options)) error {
	core, logs := observer.New(zapcore.DebugLevel)
	r.logs = logs
	o := DefaultOptions()
	o.Trust, o.Logger, o.Now = &trust{own: r.own, others: map[*authority][]string{r.partner: {"acme"}}}, zap.New(core), r.clock
	o.State = func() *control.State { return r.state }
	change(&o)
	c, err := New(context.Background(), o)
	if err != nil {
		return err
	}
	r.Checker = c
	r.t.Cleanup(c.Stop)
	return nil
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// verify is the handshake and the first request of a client.
func (r *rig) verify(a *authority, leaf *x509.Certificate, stapled []byte) (*Client, error) {
	s := a.handshake(leaf, stapled)
	if err := r.VerifyConnection(s); err != nil {
		return nil, err
	}
	c, err := r.Client(&s)
	r.must(err)
	return c, r.Check(c)
}
