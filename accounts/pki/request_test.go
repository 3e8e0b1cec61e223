package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

func TestSign(t *testing.T) {
	ca := newCA(t)
	request, key, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{CommonName: "acme", URIs: []string{"spiffe://weft/tenant/acme/producer/default"}, Client: true, TTL: time.Hour}
	text, err := ca.Sign(request, spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair(text, key.Bytes()); err != nil {
		t.Error("the certificate is not for the request's key:", err)
	}
	cert, err := ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.CheckSignatureFrom(ca.Certificate()); err != nil {
		t.Error(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, weak)
	if err != nil {
		t.Fatal(err)
	}
	block := bytes.SplitN(request, []byte("\n"), 3)
	forged := bytes.Replace(request, block[1][20:24], []byte("AAAA"), 1)
	for name, bad := range map[string][]byte{
		"nothing": nil, "a certificate": text, "forged": forged, "weak": encode("CERTIFICATE REQUEST", der), "huge": bytes.Repeat([]byte("x"), maxRequest+1),
	} {
		if _, err := ca.Sign(bad, spec); fault.CodeOf(err) != "request_malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSignTakesTheKeyAlone asks for another's name, for a server's use and to be an authority.
func TestSignTakesTheKeyAlone(t *testing.T) {
	ca := newCA(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "operator"}, DNSNames: []string{"relay.example"},
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ca.Sign(encode("CERTIFICATE REQUEST", der), Spec{CommonName: "acme", URIs: []string{"spiffe://weft/tenant/acme/producer/p"}, Client: true, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ParseCertificate(text)
	if err != nil {
		t.Fatal(err)
	}
	if cert.IsCA || len(cert.DNSNames) > 0 || cert.Subject.CommonName != "acme" || len(cert.URIs) != 1 || len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Errorf("the request decided: %+v", cert)
	}
}

func TestID(t *testing.T) {
	ca := newCA(t)
	again, err := AuthorityFromKey("renamed", ca.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	cert, _, _ := issue(t, ca, serverSpec())
	id := IDOf(cert, ca.Certificate())
	if id != IDOf(cert, again.Certificate()) {
		t.Error("another certificate for the authority's key is another issuer")
	}
	if id == IDOf(cert, newCA(t).Certificate()) {
		t.Error("the same number of two authorities is one certificate")
	}
	issuer, serial := IssuerOf(ca.Certificate()).String(), SerialText(cert.SerialNumber)
	if back, err := ParseID(issuer, serial); err != nil || back != id {
		t.Errorf("%v, %v", back, err)
	}
	for _, bad := range [][2]string{{issuer, "0"}, {issuer, ""}, {issuer, "-1"}, {issuer, "0" + serial}, {issuer, strings.ToUpper(serial) + "F"}, {issuer[2:], serial}, {"zz" + issuer[2:], serial}} {
		if _, err := ParseID(bad[0], bad[1]); err == nil {
			t.Errorf("%v is an ID", bad)
		}
	}
}
