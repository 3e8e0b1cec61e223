package pki

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"sync/atomic"

	"github.com/weft-mesh/weft/streams/fault"
)

// Server is a server's configuration: TLS 1.2 or later, and clients checked as mode says against the authorities of
// the files. When the files change, new connections get the new ones within two looks; open ones are not touched.
// Callers may change the configuration, NextProtos say, until the first handshake.
func (f *Files) Server(mode tls.ClientAuthType) *tls.Config {
	first := f.set.Load()
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		ClientAuth:     mode,
		ClientCAs:      first.clients,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.current().pair, nil },
	}
	type derived struct {
		from *set
		conf *tls.Config
	}
	var last atomic.Pointer[derived]
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := f.current()
		if now.clients == first.clients {
			return nil, nil // the configuration itself
		}
		if d := last.Load(); d != nil && d.from == now {
			return d.conf, nil
		}
		d := &derived{from: now, conf: c.Clone()}
		d.conf.ClientCAs, d.conf.GetConfigForClient = now.clients, nil
		last.Store(d)
		return d.conf, nil
	}
	return c
}

// Client is a client's configuration that trusts the authority of the files alone, as it was when this is called; see
// Roots. Without a pair it presents none; with one it presents what the files have at each handshake.
func (f *Files) Client() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.set.Load().roots}
	if f.o.Cert != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return f.current().pair, nil }
	}
	return c
}

// Roots are the mesh's own authorities as the files have them, for clients that ask before each connection.
func (f *Files) Roots() *x509.CertPool { return f.current().roots }

// ClientTLS is Client of three files. The pair may be left out (both names empty).
func ClientTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	f, err := Open(FilesOptions{Cert: certFile, Key: keyFile, CA: caFile})
	if err != nil {
		return nil, err
	}
	return f.Client(), nil
}

// Leaf is the certificate that is presented, nil without a pair.
func (f *Files) Leaf() *x509.Certificate {
	if p := f.set.Load().pair; p != nil {
		return p.Leaf
	}
	return nil
}

// Authorities are all that are trusted: the mesh's own and, of servers, those of others.
func (f *Files) Authorities() []*x509.Certificate {
	s := f.set.Load()
	return slices.Concat(s.mine, s.others)
}

// Own says whether an authority is the mesh's. It takes no lock.
func (f *Files) Own(authority Issuer) bool { return f.set.Load().own[authority] }

// Speaks says whether an authority's certificates may name a principal: the mesh's own any, another one the producers
// of its tenants. It takes no lock.
func (f *Files) Speaks(authority Issuer, who Principal) bool {
	s := f.set.Load()
	if s.own[authority] {
		return true
	}
	return who.Role == RoleTenant && slices.Contains(s.speak[authority], who.Tenant)
}

// readAuthorities reads certificates in PEM. There is nothing else in such a file: whatever does not parse may be the
// half of something.
func readAuthorities(file string, text []byte) ([]*x509.Certificate, error) {
	const op = "tls.ca"
	certs, err := parseCertificates(text)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "ca_malformed", "%s: %v", file, err)
	}
	for _, c := range certs {
		if !c.IsCA || !c.BasicConstraintsValid {
			return nil, fault.New(op, fault.Invalid, "ca_malformed", "%s: %q is not an authority's certificate", file, c.Subject.CommonName)
		}
	}
	return certs, nil
}
