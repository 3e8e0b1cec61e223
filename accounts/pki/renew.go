package pki

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"os"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

// Renewal asks for the successor of a hub's or relay's certificate. The proof, made with the present key, binds the
// request to the present certificate: who has stolen the credentials of a connection alone gets nothing.
type Renewal struct {
	Request     string `json:"request"`     // of the new key, PKCS #10 in PEM
	Certificate string `json:"certificate"` // the present one in PEM
	Proof       []byte `json:"proof"`       // ECDSA with SHA-256 over renewalPrefix and Request
}

const renewalPrefix = "weft certificate renewal\n"

// maxRenewed bounds the life of a renewed certificate; it lives as long as the one before it otherwise.
const maxRenewed = 30 * 24 * time.Hour

// Due says whether a certificate has lived two thirds of its life.
func Due(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2))
}

// Renew replaces the pair on disk if it is due. ask has the certificate signed. Processes that share the files take
// turns, and the second finds nothing to do.
func (f *Files) Renew(ctx context.Context, ask func(context.Context, Renewal) (certPEM []byte, err error)) (renewed bool, err error) {
	const op = "certificate.renew"
	if leaf := f.Leaf(); leaf == nil || !Due(leaf, f.o.Now()) {
		return false, nil
	}
	release, err := secretfile.Lock(f.o.Cert + ".lock")
	if err != nil {
		return false, err
	}
	defer release()
	pair, err := readPair(f.o.Cert, f.o.Key, f.o.Now())
	if err != nil || !Due(pair.Leaf, f.o.Now()) {
		return false, err
	}
	renewal, key, err := newRenewal(pair)
	if err != nil {
		return false, err
	}
	cert, err := ask(ctx, renewal)
	if err != nil {
		return false, err
	}
	next, err := tls.X509KeyPair(cert, key.Bytes())
	switch {
	case err != nil:
		return false, &fault.Error{Op: op, Kind: fault.Invalid, Code: "certificate_malformed", Detail: "what came back does not fit the request", Err: err}
	case next.Leaf.NotAfter.Before(pair.Leaf.NotAfter):
		return false, fault.New(op, fault.Conflict, "no_gain", "the new certificate ends at %s, before the present one", next.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if err := replacePair(f.o.Cert, f.o.Key, cert, key.Bytes()); err != nil {
		return false, err
	}
	return true, nil
}

func newRenewal(pair *tls.Certificate) (r Renewal, key keyring.Secret, err error) {
	const op = "certificate.renew"
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return r, nil, fault.New(op, fault.Invalid, "key_malformed", "the present key does not sign")
	}
	request, key, err := NewRequest()
	if err != nil {
		return r, nil, err
	}
	r = Renewal{Request: string(request), Certificate: string(encode("CERTIFICATE", pair.Leaf.Raw))}
	sum := sha256.Sum256([]byte(renewalPrefix + r.Request))
	if r.Proof, err = signer.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
		return r, nil, fault.Wrap(op, fault.Internal, err)
	}
	return r, key, nil
}

// Renewing checks who asks for a renewal: the holder of a certificate of this authority that is valid now. The
// principal and the life of its successor are returned.
func (a *Authority) Renewing(r Renewal) (Principal, time.Duration, error) {
	const op = "certificate.renew"
	bad := func(why string) (Principal, time.Duration, error) {
		return Principal{}, 0, fault.New(op, fault.Denied, "renewal_refused", "%s", why)
	}
	if len(r.Certificate) > maxRequest {
		return bad("the present certificate is too long")
	}
	cert, err := ParseCertificate([]byte(r.Certificate))
	if err != nil {
		return Principal{}, 0, err
	}
	now := a.now()
	switch {
	case cert.CheckSignatureFrom(a.cert) != nil:
		return bad("the present certificate is not of this authority")
	case now.Before(cert.NotBefore) || now.After(cert.NotAfter):
		return bad("the present certificate has run out: make one with the mesh's files")
	case cert.CheckSignature(x509.ECDSAWithSHA256, []byte(renewalPrefix+r.Request), r.Proof) != nil:
		return bad("the request is not signed with the present key")
	}
	who, err := FromCertificate(cert)
	if err != nil {
		return Principal{}, 0, err
	}
	if who.Role != RoleHub && who.Role != RoleRelay {
		return bad("hubs and relays renew their certificates, nobody else")
	}
	return who, min(max(cert.NotAfter.Sub(cert.NotBefore)-backdate, time.Minute), maxRenewed), nil
}

// nextKey is where a new key waits while its certificate is being put in place.
func nextKey(keyFile string) string { return keyFile + ".next" }

// replacePair puts a new pair in the place of another one. A crash at any point leaves a pair that readPair finds: the
// old one, the new certificate with its key under nextKey, or the new one.
func replacePair(certFile, keyFile string, cert, key []byte) error {
	const op = "certificate.replace"
	if err := secretfile.Replace(nextKey(keyFile), key); err != nil {
		return err
	}
	if err := secretfile.Replace(certFile, cert); err != nil {
		return err
	}
	return fault.Wrap(op, fault.Unavailable, os.Rename(nextKey(keyFile), keyFile))
}

// fit reads the pair out of its files' content, with the key that waits for the certificate if it has one.
func fit(cert, key []byte, keyFile string) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err == nil {
		return pair, nil
	}
	if next, missing := readFile(nextKey(keyFile)); missing == nil && !bytes.Equal(next, key) {
		if pair, second := tls.X509KeyPair(cert, next); second == nil {
			return pair, nil
		}
	}
	return tls.Certificate{}, err
}
