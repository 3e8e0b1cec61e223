package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// identity is a key pair and the JWT that goes with it.
type identity struct {
	key    nkeys.KeyPair
	public string
	token  string
}

// operator signs accounts, as the control home of a mesh does.
type operator struct {
	t *testing.T
	identity
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	key := must(nkeys.CreateOperator())(t)
	public := must(key.PublicKey())(t)
	c := jwt.NewOperatorClaims(public)
	return &operator{t, identity{key, public, must(c.Encode(key))(t)}}
}

// account makes an account; edit may be nil.
func (o *operator) account(name string, edit func(*jwt.AccountClaims)) *identity {
	o.t.Helper()
	key := must(nkeys.CreateAccount())(o.t)
	a := &identity{key: key, public: must(key.PublicKey())(o.t)}
	a.token = o.sign(a, name, edit)
	return a
}

// tenant is an account with JetStream.
func (o *operator) tenant(name string) *identity {
	return o.account(name, func(c *jwt.AccountClaims) {
		c.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: 64 << 20, Streams: 10, Consumer: -1}
	})
}

func (o *operator) sign(a *identity, name string, edit func(*jwt.AccountClaims)) string {
	o.t.Helper()
	c := jwt.NewAccountClaims(a.public)
	c.Name = name
	if edit != nil {
		edit(c)
	}
	return must(c.Encode(o.key))(o.t)
}

// user mints a user; without permissions it may do everything within its account.
func (a *identity) user(t *testing.T, pub, sub []string) (token string, seed []byte) {
	t.Helper()
	key := must(nkeys.CreateUser())(t)
	c := jwt.NewUserClaims(must(key.PublicKey())(t))
	c.Permissions.Pub.Allow, c.Permissions.Sub.Allow = pub, sub
	return must(c.Encode(a.key))(t), must(key.Seed())(t)
}

func (a *identity) credentials(t *testing.T) nats.Option {
	token, seed := a.user(t, nil, nil)
	return nats.UserJWTAndSeed(token, string(seed))
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// pki is one authority and one certificate for both ends of every connection on 127.0.0.1.
type pki struct {
	pool *x509.CertPool
	cert tls.Certificate
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	caKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER := must(x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey))(t)
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der := must(x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey))(t)
	p := &pki{pool: x509.NewCertPool(), cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	p.pool.AddCert(must(x509.ParseCertificate(caDER))(t))
	return p
}

func (p *pki) server(mode tls.ClientAuthType) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.cert}, ClientCAs: p.pool, RootCAs: p.pool, ClientAuth: mode, MinVersion: tls.VersionTLS12}
}

func (p *pki) client() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{p.cert}, RootCAs: p.pool, MinVersion: tls.VersionTLS12}
}
