package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// maxRequest is the longest signing request, in bytes.
const maxRequest = 16 << 10

// NewRequest makes a key pair and a request to certify it (PKCS #10). The request proves that its maker has the
// key, and asks for nothing else: names and times are the authority's to decide.
func NewRequest() (requestPEM []byte, keyPEM keyring.Secret, err error) {
	const op = "certificate.request"
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fault.Wrap(op, fault.Internal, err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, fault.Wrap(op, fault.Internal, err)
	}
	return encode("CERTIFICATE REQUEST", der), encodeKey(key), nil
}

// Sign makes the certificate that s describes for the key of a request, whose signature must hold. Nothing but the
// key is taken from the request.
func (a *Authority) Sign(requestPEM []byte, s Spec) (certPEM []byte, err error) {
	const op = "certificate.sign"
	bad := func(format string, args ...any) error {
		return fault.New(op, fault.Invalid, "request_malformed", format, args...)
	}
	if len(requestPEM) > maxRequest {
		return nil, bad("the signing request is longer than %d bytes", maxRequest)
	}
	block, _ := pem.Decode(requestPEM)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, bad("no signing request in PEM form")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, bad("the signing request is damaged: %v", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, bad("the signing request is not signed with its own key: %v", err)
	}
	switch key := request.PublicKey.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 {
			return nil, bad("an RSA key of %d bits: 2048 to 8192 are taken", bits)
		}
	default:
		return nil, bad("a key of this kind is not taken: ECDSA, Ed25519 and RSA are")
	}
	return a.certify(s, request.PublicKey)
}
