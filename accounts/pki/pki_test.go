package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

func newCA(t *testing.T) *Authority {
	t.Helper()
	ca, err := NewAuthority("test authority")
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func serverSpec() Spec {
	return Spec{CommonName: "hub eu", DNS: []string{"localhost"}, IPs: []net.IP{net.ParseIP("127.0.0.1"), net.ParseIP("::1")},
		URIs: []string{Principal{Role: RoleHub, Region: "eu"}.URI()}, Server: true, Client: true, TTL: time.Hour}
}

func issue(t *testing.T, ca *Authority, s Spec) (*x509.Certificate, []byte, []byte) {
	t.Helper()
	certPEM, keyPEM, err := ca.Issue(s)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ParseCertificate(certPEM)
	if err != nil {
		t.Fatal(err)
	}
	return cert, certPEM, keyPEM
}

func TestPrincipal(t *testing.T) {
	for uri, want := range map[string]Principal{
		"spiffe://weft/tenant/acme/producer/default":   {Role: RoleTenant, Tenant: "acme", Producer: "default"},
		"spiffe://weft/tenant/a-1/producer/game-srv-2": {Role: RoleTenant, Tenant: "a-1", Producer: "game-srv-2"},
		"spiffe://weft/hub/eu":                         {Role: RoleHub, Region: "eu"},
		"spiffe://weft/relay/us-east":                  {Role: RoleRelay, Region: "us-east"},
		"spiffe://weft/operator":                       {Role: RoleOperator},
	} {
		got, err := ParseURI(uri)
		if err != nil || got != want {
			t.Errorf("ParseURI(%s) = %+v, %v", uri, got, err)
		}
		if want.URI() != uri {
			t.Errorf("URI of %+v = %s", want, want.URI())
		}
	}
	for _, uri := range []string{
		"", "spiffe://weft", "spiffe://weft/", "spiffe://other/hub/eu", "SPIFFE://weft/hub/eu", "https://weft/hub/eu", "spiffe://weft/hub", "spiffe://weft/hub/",
		"spiffe://weft/hub/eu/", "spiffe://weft/hub/EU", "spiffe://weft/hub/eu?x", "spiffe://weft/hub/eu#x", "spiffe://weft/hub/e%75", "spiffe://weft/operator/x",
		"spiffe://weft/tenant/acme", "spiffe://weft/tenant/acme/producer/", "spiffe://weft/tenant//producer/default", "spiffe://weft/tenant/acme/consumer/default",
		"spiffe://weft/tenant/acme/producer/a/b", "spiffe://weft/tenant/../producer/x", "spiffe://u@weft/hub/eu", "spiffe://weft:1/hub/eu", "spiffe://weft/admin",
	} {
		if p, err := ParseURI(uri); err == nil || fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("ParseURI(%q) = %+v, %v", uri, p, err)
		}
	}
}

func TestFromCertificate(t *testing.T) {
	ca := newCA(t)
	hub, operator := Principal{Role: RoleHub, Region: "eu"}, Principal{Role: RoleOperator}
	for _, tc := range []struct {
		name string
		uris []string
		want string
	}{
		{"one", []string{hub.URI()}, hub.URI()},
		{"one and a web address", []string{"https://example.com/", hub.URI()}, hub.URI()},
		{"none", nil, ""},
		{"two", []string{hub.URI(), operator.URI()}, ""},
		{"the same twice", []string{hub.URI(), hub.URI()}, ""},
		{"foreign trust domain", []string{"spiffe://elsewhere/operator"}, ""},
		{"foreign trust domain beside ours", []string{"spiffe://elsewhere/operator", operator.URI()}, ""},
		{"escaped", []string{"spiffe://weft/%6fperator"}, ""},
		{"query", []string{"spiffe://weft/operator?"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cert, _, _ := issue(t, ca, Spec{CommonName: "spiffe://weft/operator", URIs: tc.uris, Client: true, TTL: time.Hour})
			got, err := FromCertificate(cert)
			if tc.want == "" {
				if err == nil {
					t.Errorf("accepted as %+v", got)
				}
			} else if err != nil || got.URI() != tc.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	// a name that only looks like one after parsing
	if p, err := FromCertificate(&x509.Certificate{URIs: []*url.URL{{Scheme: "SPIFFE", Host: "weft", Path: "/operator"}}}); err == nil {
		t.Errorf("upper-case scheme accepted as %+v", p)
	}
}

func TestIssue(t *testing.T) {
	ca := newCA(t)
	cert, _, _ := issue(t, ca, serverSpec())
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := cert.VerifyHostname("example.com"); err == nil {
		t.Error("valid for any host")
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error("not for clients:", err)
	}
	if cert.IsCA {
		t.Error("an issued certificate may issue")
	}
	client, _, _ := issue(t, ca, Spec{CommonName: "acme", Client: true, TTL: time.Hour})
	if _, err := client.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a client's certificate serves")
	}
	if client.SerialNumber.Cmp(cert.SerialNumber) == 0 || client.SerialNumber.Sign() <= 0 {
		t.Error("serial numbers are not positive and distinct")
	}
	long, _, _ := issue(t, ca, Spec{CommonName: "acme", Client: true, TTL: 2 * authorityLife})
	if long.NotAfter.After(ca.Certificate().NotAfter) {
		t.Error("a certificate outlives its authority")
	}
	for name, s := range map[string]Spec{"no life": {Client: true}, "no usage": {TTL: time.Hour}, "bad URI": {Client: true, TTL: time.Hour, URIs: []string{"%zz"}}} {
		if _, _, err := ca.Issue(s); fault.CodeOf(err) != "certificate_malformed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAuthorityFiles(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, key := write("ca.pem", ca.CertPEM()), write("ca-key.pem", ca.KeyPEM())
	loaded, err := LoadAuthority(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	issued, _, _ := issue(t, loaded, serverSpec())
	if err := issued.CheckSignatureFrom(ca.Certificate()); err != nil {
		t.Error(err)
	}
	again, err := AuthorityFromKey("test authority", ca.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	if err := issued.CheckSignatureFrom(again.Certificate()); err != nil {
		t.Error("a certificate made anew for the key does not cover what the key signed:", err)
	}
	leaf, leafPEM, leafKey := issue(t, ca, serverSpec())
	_ = leaf
	for name, tc := range map[string]struct {
		cert, key string
		code      string
	}{
		"no certificate":   {filepath.Join(dir, "none"), key, "not_found"},
		"no key":           {cert, filepath.Join(dir, "none"), "not_found"},
		"other key":        {cert, write("other.pem", other.KeyPEM()), "ca_mismatch"},
		"not an authority": {write("leaf.pem", leafPEM), write("leaf-key.pem", leafKey), "ca_malformed"},
		"cut key":          {cert, write("cut.pem", ca.KeyPEM()[:100]), "key_malformed"},
		"empty cert":       {write("empty.pem", nil), key, "certificate_malformed"},
	} {
		if _, err := LoadAuthority(tc.cert, tc.key); fault.CodeOf(err) != tc.code {
			t.Errorf("%s: %v (%s)", name, err, fault.CodeOf(err))
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, ca); got != "authority test authority" {
			t.Errorf("%s: %q", verb, got)
		}
	}
}

// shake makes one TLS connection over loopback and returns both sides' errors.
func shake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer c.Close()
		s := tls.Server(c, server)
		if err := s.Handshake(); err != nil {
			done <- err
			return
		}
		_, err = s.Write([]byte("x")) // with TLS 1.3 the client learns here that it was accepted
		done <- err
	}()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	c := tls.Client(raw, client)
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	state = c.ConnectionState()
	raw.Close()
	return state, <-done, clientErr
}

type files struct{ ca, cert, key string }

func writePair(t *testing.T, dir string, ca *Authority, s Spec) files {
	t.Helper()
	_, certPEM, keyPEM := issue(t, ca, s)
	f := files{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls-key.pem")}
	for name, data := range map[string][]byte{f.ca: ca.CertPEM(), f.cert: certPEM, f.key: keyPEM} {
		if err := secretfile.Replace(name, data); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func configs(t *testing.T, sf, cf files, mode tls.ClientAuthType) (server, client *tls.Config) {
	t.Helper()
	server = opened(t, FilesOptions{Cert: sf.cert, Key: sf.key, CA: sf.ca}).Server(mode)
	client, err := ClientTLS(cf.cert, cf.key, cf.ca)
	if err != nil {
		t.Fatal(err)
	}
	client.ServerName = "127.0.0.1"
	return server, client
}

func TestTLS(t *testing.T) {
	ca, foreign := newCA(t), newCA(t)
	clientSpec := Spec{CommonName: "acme", URIs: []string{Principal{Role: RoleTenant, Tenant: "acme", Producer: "default"}.URI()}, Client: true, TTL: time.Hour}
	sf := writePair(t, t.TempDir(), ca, serverSpec())
	cf := writePair(t, t.TempDir(), ca, clientSpec)
	ff := writePair(t, t.TempDir(), foreign, clientSpec)
	ff.ca = cf.ca
	distrusting := cf
	distrusting.ca = writePair(t, t.TempDir(), foreign, clientSpec).ca
	none := files{ca: cf.ca}
	for _, tc := range []struct {
		name   string
		client files
		mode   tls.ClientAuthType
		ok     bool
	}{
		{"both", cf, tls.RequireAndVerifyClientCert, true},
		{"no client certificate", none, tls.RequireAndVerifyClientCert, false},
		{"no client certificate, not needed", none, tls.VerifyClientCertIfGiven, true},
		{"foreign client certificate", ff, tls.VerifyClientCertIfGiven, false},
		{"foreign authority", distrusting, tls.RequireAndVerifyClientCert, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server, client := configs(t, sf, tc.client, tc.mode)
			state, serverErr, clientErr := shake(t, server, client)
			if ok := serverErr == nil && clientErr == nil; ok != tc.ok {
				t.Errorf("server %v, client %v", serverErr, clientErr)
			}
			if tc.ok && state.Version < tls.VersionTLS12 {
				t.Error("old TLS")
			}
		})
	}
	server, client := configs(t, sf, cf, tls.RequireAndVerifyClientCert)
	client.MaxVersion, client.MinVersion = tls.VersionTLS11, tls.VersionTLS10
	if _, serverErr, _ := shake(t, server, client); serverErr == nil {
		t.Error("TLS 1.1 is accepted")
	}
	for name, f := range map[string]files{"no cert": {sf.ca, "/none", sf.key}, "no ca": {"/none", sf.cert, sf.key}, "crossed": {sf.ca, sf.cert, cf.key}, "key as ca": {sf.key, sf.cert, sf.key}} {
		if _, err := ClientTLS(f.cert, f.key, f.ca); err == nil {
			t.Errorf("ClientTLS with %s", name)
		}
	}
}

func opened(t *testing.T, o FilesOptions) *Files {
	t.Helper()
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPairFollowsItsFiles walks a pair through a renewal that stops between its two writes.
func TestPairFollowsItsFiles(t *testing.T) {
	ca, dir := newCA(t), t.TempDir()
	f := writePair(t, dir, ca, serverSpec())
	now := time.Now()
	p := opened(t, FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca, Now: func() time.Time { return now }})
	serial := func() string { return p.current().pair.Leaf.SerialNumber.String() }
	first := serial()
	_, newCert, newKey := issue(t, ca, serverSpec())
	want, err := ParseCertificate(newCert)
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil { // in place, as careless tools do
			t.Fatal(err)
		}
	}
	tick := func() { now = now.Add(checkEvery) }
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"nothing changed", tick, first},
		{"half a key", func() { put(f.key, newKey[:40]); tick() }, first},
		{"new key, old certificate", func() { put(f.key, newKey); tick() }, first},
		{"empty certificate", func() { put(f.cert, nil); tick() }, first},
		{"half a certificate", func() { put(f.cert, newCert[:len(newCert)/2]); tick() }, first},
		{"whole, not looked at yet", func() { put(f.cert, newCert) }, first},
		{"whole", tick, want.SerialNumber.String()},
		{"certificate gone", func() {
			if err := os.Remove(f.cert); err != nil {
				t.Fatal(err)
			}
			tick()
		}, want.SerialNumber.String()},
		{"back with the first writer's rename", func() { f = writePair(t, dir, ca, serverSpec()); tick() }, ""},
	} {
		step.do()
		got := serial()
		if step.want == "" {
			if got == first || got == want.SerialNumber.String() {
				t.Errorf("%s: still an old certificate", step.name)
			}
		} else if got != step.want {
			t.Errorf("%s: serial %s, want %s", step.name, got, step.want)
		}
	}
	now = now.Add(-time.Hour) // the clock was set back: looking at files must not stop for an hour
	before := serial()
	writePair(t, dir, ca, serverSpec())
	tick()
	_ = serial() // newer than now: it has to be at rest for a look
	tick()
	if serial() == before {
		t.Error("no look after the clock was set back")
	}
}

// TestServerTakesUpRenewedCertificate does the same through a real handshake.
func TestServerTakesUpRenewedCertificate(t *testing.T) {
	ca, dir := newCA(t), t.TempDir()
	f := writePair(t, dir, ca, serverSpec())
	server, client := configs(t, f, files{ca: f.ca}, tls.NoClientCert)
	first, _, err := shake(t, server, client)
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, dir, ca, serverSpec())
	for deadline := time.Now().Add(10 * time.Second); ; {
		next, serverErr, clientErr := shake(t, server, client)
		if serverErr != nil || clientErr != nil {
			t.Fatal(serverErr, clientErr)
		}
		if next.PeerCertificates[0].SerialNumber.Cmp(first.PeerCertificates[0].SerialNumber) != 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the server still presents the old certificate")
		}
	}
}

func TestErrorsShowNoKey(t *testing.T) {
	ca := newCA(t)
	key := string(ca.KeyPEM())
	_, err := ParseAuthority(ca.CertPEM(), []byte(strings.Replace(key, "M", "!", 1)))
	if err == nil || strings.Contains(err.Error(), key[40:60]) {
		t.Error(err)
	}
}
