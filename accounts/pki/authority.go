package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	// backdate lets machines whose clocks are a little behind accept a new certificate at once.
	backdate = 5 * time.Minute
)

// Authority issues certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time
}

// Spec describes a certificate.
type Spec struct {
	CommonName string
	DNS        []string
	IPs        []net.IP
	URIs       []string
	Server     bool // may be presented by a server
	Client     bool // may be presented by a client
	TTL        time.Duration
}

// NewAuthority makes an authority with a fresh ECDSA P-256 key, valid for ten years.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fault.Wrap("ca.new", fault.Internal, err)
	}
	return newAuthority(name, key, time.Now)
}

// AuthorityFromKey makes a new certificate for an existing key.
func AuthorityFromKey(name string, keyPEM []byte) (*Authority, error) {
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	return newAuthority(name, key, time.Now)
}

func newAuthority(name string, key *ecdsa.PrivateKey, now func() time.Time) (*Authority, error) {
	const op = "ca.new"
	t := now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name, Organization: []string{"weft"}},
		NotBefore: t.Add(-backdate), NotAfter: t.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return &Authority{cert: cert, key: key, now: now}, nil
}

// LoadAuthority reads an authority from its two files.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	const op = "ca.load"
	certPEM, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fault.Wrap(op, fault.NotFound, err)
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fault.Wrap(op, fault.NotFound, err)
	}
	return ParseAuthority(certPEM, keyPEM)
}

// ParseAuthority reads an authority from PEM.
func ParseAuthority(certPEM, keyPEM []byte) (*Authority, error) {
	const op = "ca.load"
	cert, err := ParseCertificate(certPEM)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA {
		return nil, fault.New(op, fault.Invalid, "ca_malformed", "the certificate is not an authority's")
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fault.New(op, fault.Invalid, "ca_mismatch", "the authority's key does not belong to its certificate")
	}
	return &Authority{cert: cert, key: key, now: time.Now}, nil
}

// String names the authority.
func (a *Authority) String() string { return "authority " + a.cert.Subject.CommonName }

// Format prints String for every verb: the key is in an unexported field.
func (a *Authority) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// Certificate is the authority's certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CertPEM is the authority's certificate in PEM.
func (a *Authority) CertPEM() []byte { return encode("CERTIFICATE", a.cert.Raw) }

// KeyPEM is the authority's private key in PEM (PKCS #8).
func (a *Authority) KeyPEM() keyring.Secret { return encodeKey(a.key) }

// Issue makes a key pair and a certificate for it. A certificate never outlives its authority.
func (a *Authority) Issue(s Spec) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fault.Wrap("certificate.issue", fault.Internal, err)
	}
	if certPEM, err = a.certify(s, &key.PublicKey); err != nil {
		return nil, nil, err
	}
	return certPEM, encodeKey(key), nil
}

// certify makes a certificate for a key.
func (a *Authority) certify(s Spec, public crypto.PublicKey) ([]byte, error) {
	const op = "certificate.issue"
	if s.TTL <= 0 || !s.Server && !s.Client {
		return nil, fault.New(op, fault.Invalid, "certificate_malformed", "certificate %q needs a time to live and a usage", s.CommonName)
	}
	now := a.now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: s.CommonName, Organization: []string{"weft"}},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(s.TTL),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		DNSNames: s.DNS, IPAddresses: s.IPs,
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	if s.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if s.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, raw := range s.URIs {
		u, err := url.Parse(raw)
		if err != nil {
			return nil, fault.New(op, fault.Invalid, "certificate_malformed", "certificate %q: %q is not a URI", s.CommonName, raw)
		}
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return encode("CERTIFICATE", der), nil
}

// ParseCertificate reads the first certificate of a PEM text.
func ParseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fault.New("certificate.read", fault.Invalid, "certificate_malformed", "no certificate in PEM form")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fault.New("certificate.read", fault.Invalid, "certificate_malformed", "the certificate is damaged: %v", err)
	}
	return cert, nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	const op = "key.read"
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fault.New(op, fault.Invalid, "key_malformed", "no private key in PEM form")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "key_malformed", "the private key is damaged")
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fault.New(op, fault.Invalid, "key_malformed", "the private key is not an ECDSA key")
	}
	return ec, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("pki: a fresh ECDSA key does not marshal: " + err.Error())
	}
	return encode("PRIVATE KEY", der)
}

// serial is 127 random bits: RFC 5280 wants it positive and at most 20 bytes.
func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic("pki: the system's random source failed: " + err.Error())
	}
	return n.Add(n, big.NewInt(1))
}
