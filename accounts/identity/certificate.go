package identity

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/secretfile"
)

// certLife is how long the certificates of hubs, relays and the operator are valid that are made with the mesh's files;
// hubs and relays renew theirs while they run, for shorter lives.
const certLife = 365 * 24 * time.Hour

// ServerSpec describes the certificate of a region's hub or relay, which serves and, towards hubs, is a client.
func ServerSpec(role string, r Region, ttl time.Duration) pki.Spec {
	spec := pki.Spec{
		CommonName: role + " " + r.Name, URIs: []string{pki.Principal{Role: role, Region: r.Name}.URI()},
		Server: true, Client: true, TTL: ttl,
	}
	for _, h := range r.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			spec.IPs = append(spec.IPs, ip)
		} else {
			spec.DNS = append(spec.DNS, h)
		}
	}
	return spec
}

// serverPair makes or renews the certificate of a hub or relay.
func (mk *maker) serverPair(folder string, r Region, role string) error {
	return mk.pair(filepath.Join(folder, certFile), filepath.Join(folder, keyFile), ServerSpec(role, r, certLife))
}

// pair makes a certificate if the present one will not do. The key goes first: a crash in between leaves a
// pair that does not fit, which the next run replaces, and which running processes do not take up.
func (mk *maker) pair(cert, key string, spec pki.Spec) error {
	if mk.good(cert, key, spec) {
		return secretfile.Tighten(key)
	}
	certPEM, keyPEM, err := mk.ca.Issue(spec)
	if err != nil {
		return err
	}
	if err := secretfile.Replace(key, keyPEM); err != nil {
		return err
	}
	return secretfile.Replace(cert, certPEM)
}

// good says whether the pair is whole, of this authority, for these names, and long enough valid.
func (mk *maker) good(certFile, keyFile string, spec pki.Spec) bool {
	loaded, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return false
	}
	c := loaded.Leaf
	roots := x509.NewCertPool()
	roots.AddCert(mk.ca.Certificate())
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: mk.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return false
	}
	if left := c.NotAfter.Sub(mk.now); left < c.NotAfter.Sub(c.NotBefore)/3 && c.NotAfter.Before(mk.ca.Certificate().NotAfter) {
		return false
	}
	if len(c.URIs) != len(spec.URIs) || len(c.DNSNames) != len(spec.DNS) || len(c.IPAddresses) != len(spec.IPs) {
		return false
	}
	for i, u := range c.URIs {
		if u.String() != spec.URIs[i] {
			return false
		}
	}
	for _, h := range spec.DNS {
		if c.VerifyHostname(h) != nil {
			return false
		}
	}
	for _, ip := range spec.IPs {
		if c.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}
