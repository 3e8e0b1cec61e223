package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

// steps is Files of a folder whose looks are the test's.
type steps struct {
	*Files
	t    *testing.T
	now  time.Time
	logs *observer.ObservedLogs
}

func openSteps(t *testing.T, o FilesOptions) *steps {
	core, logs := observer.New(zapcore.DebugLevel)
	s := &steps{t: t, now: time.Now(), logs: logs}
	o.Logger, o.Now = zap.New(core), func() time.Time { return s.now }
	s.Files = opened(t, o)
	return s
}

// look is two looks: what was written in between is at rest then.
func (s *steps) look() {
	for range 2 {
		s.now = s.now.Add(checkEvery)
		s.Refresh()
	}
}

func (s *steps) trusts(ca *Authority) bool {
	c, _, _ := issue(s.t, ca, Spec{CommonName: "x", Client: true, TTL: time.Hour})
	_, err := c.Verify(x509.VerifyOptions{Roots: s.set.Load().clients, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err == nil
}

func put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil { // in place, as careless tools do
		t.Fatal(err)
	}
}

func TestAuthoritiesFollowTheirFile(t *testing.T) {
	ca, next := newCA(t), newCA(t)
	f := writePair(t, t.TempDir(), ca, serverSpec())
	s := openSteps(t, FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca})
	both := append(bytes.Clone(ca.CertPEM()), next.CertPEM()...)
	for _, step := range []struct {
		name      string
		text      []byte
		old, next bool
		refused   string
	}{
		{"both", append([]byte("# during the change\n"), both...), true, true, ""},
		{"half of the second", both[:len(both)-100], true, true, "damaged"},
		{"the first one damaged", bytes.Replace(both, both[100:104], []byte("!!!!"), 1), true, true, "damaged"},
		{"nothing", nil, true, true, "no certificate"},
		{"a key", next.KeyPEM(), true, true, "PRIVATE KEY"},
		{"no authority", mustRead(t, f.cert), true, true, "not an authority"},
		{"huge", bytes.Repeat([]byte("\n"), maxFile+1), true, true, "longer"},
		{"the new one alone", next.CertPEM(), false, true, ""},
	} {
		before := s.logs.Len()
		put(t, f.ca, step.text)
		s.look()
		s.look()
		if s.trusts(ca) != step.old || s.trusts(next) != step.next {
			t.Errorf("%s: trusts %v and %v", step.name, s.trusts(ca), s.trusts(next))
		}
		told := s.logs.All()[before:]
		if (step.refused == "") != (len(told) == 0) || len(told) > 1 || len(told) == 1 && !strings.Contains(told[0].ContextMap()["error"].(string), step.refused) {
			t.Errorf("%s: told %v", step.name, told)
		}
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestSlowWriter writes a bundle in place, a certificate a second: each state parses, and none but the last counts.
func TestSlowWriter(t *testing.T) {
	ca, second, third := newCA(t), newCA(t), newCA(t)
	f := writePair(t, t.TempDir(), ca, serverSpec())
	s := openSteps(t, FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca})
	whole := bytes.Join([][]byte{ca.CertPEM(), second.CertPEM(), third.CertPEM()}, nil)
	put(t, f.ca, whole)
	s.look()
	for i, text := range [][]byte{third.CertPEM(), append(third.CertPEM(), second.CertPEM()...)} {
		put(t, f.ca, text)
		if err := os.Chtimes(f.ca, time.Time{}, s.now.Add(checkEvery)); err != nil { // it is being written as it is looked at
			t.Fatal(err)
		}
		s.now = s.now.Add(checkEvery)
		s.Refresh()
		if !s.trusts(ca) {
			t.Errorf("state %d was taken", i)
		}
	}
	put(t, f.ca, append(third.CertPEM(), second.CertPEM()...))
	s.look()
	if s.trusts(ca) || !s.trusts(second) {
		t.Error("what came to rest was not taken")
	}
}

func TestOthersAreBoundToTenants(t *testing.T) {
	ca, partner := newCA(t), newCA(t)
	dir := t.TempDir()
	f := writePair(t, dir, ca, serverSpec())
	file := filepath.Join(dir, "partner.pem")
	put(t, file, partner.CertPEM())
	s := openSteps(t, FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca, Others: []ClientCA{{"acme", file}, {"globex", file}}})
	tenant := func(name string) Principal { return Principal{Role: RoleTenant, Tenant: name, Producer: "p"} }
	own, other := IssuerOf(ca.Certificate()), IssuerOf(partner.Certificate())
	for _, tc := range []struct {
		issuer Issuer
		who    Principal
		want   bool
	}{
		{own, tenant("acme"), true}, {own, tenant("initech"), true}, {own, Principal{Role: RoleOperator}, true},
		{other, tenant("acme"), true}, {other, tenant("globex"), true}, {other, tenant("initech"), false},
		{other, Principal{Role: RoleOperator, Tenant: "acme"}, false}, {other, Principal{Role: RoleHub, Region: "eu"}, false}, {other, Principal{}, false},
		{IssuerOf(newCA(t).Certificate()), tenant("acme"), false},
	} {
		if got := s.Speaks(tc.issuer, tc.who); got != tc.want {
			t.Errorf("%s for %+v: %v", tc.issuer, tc.who, got)
		}
	}
	if len(s.Authorities()) != 3 || !s.Own(own) || s.Own(other) {
		t.Error("authorities")
	}
	if _, err := partner.Certificate().Verify(x509.VerifyOptions{Roots: s.Roots()}); err == nil {
		t.Error("another's authority vouches for servers")
	}
	put(t, file, newCA(t).CertPEM())
	s.look()
	if s.Speaks(other, tenant("acme")) || s.trusts(partner) {
		t.Error("an authority that was taken away still counts")
	}
}

func TestExpiredPairIsNotTaken(t *testing.T) {
	ca := newCA(t)
	f := writePair(t, t.TempDir(), ca, serverSpec())
	s := openSteps(t, FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca})
	serial := s.Leaf().SerialNumber
	ca.now = func() time.Time { return time.Now().Add(-3 * time.Hour) }
	writePair(t, filepath.Dir(f.cert), ca, serverSpec())
	s.look()
	if s.Leaf().SerialNumber.Cmp(serial) != 0 {
		t.Error("an expired certificate took the place of a good one")
	}
	if _, err := Open(FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca}); fault.CodeOf(err) != "certificate_expired" {
		t.Error(err)
	}
}

// TestRenameRace replaces certificate, key and authorities without end, in place and by renaming, while clients send
// over open and new connections: no request fails.
func TestRenameRace(t *testing.T) {
	ca, spare := newCA(t), newCA(t)
	f := writePair(t, t.TempDir(), ca, serverSpec())
	files := opened(t, FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }),
		TLSConfig: files.Server(tls.RequireAndVerifyClientCert), ReadHeaderTimeout: time.Minute,
	}
	server.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	go func() { _ = server.ServeTLS(l, "", "") }()
	defer server.Close()
	url := "https://" + l.Addr().String()

	cert, key, err := ca.Issue(Spec{CommonName: "client", Client: true, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var sent, dials atomic.Int64
	serials := sync.Map{}
	for i := range 4 {
		http2, fresh := i%2 == 0, i < 2
		transport := &http.Transport{ForceAttemptHTTP2: http2, TLSClientConfig: &tls.Config{
			RootCAs: roots, Certificates: []tls.Certificate{pair},
			VerifyConnection: func(s tls.ConnectionState) error {
				dials.Add(1)
				serials.Store(SerialText(s.PeerCertificates[0].SerialNumber), true)
				return nil
			},
		}}
		wg.Go(func() {
			defer transport.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := (&http.Client{Transport: transport}).Get(url)
				if err != nil {
					t.Error("a request failed:", err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				sent.Add(1)
				if fresh {
					transport.CloseIdleConnections()
				}
			}
		})
	}
	both := append(bytes.Clone(ca.CertPEM()), spare.CertPEM()...)
	deadline := time.Now().Add(5 * time.Second)
	for i := 0; time.Now().Before(deadline); i++ {
		_, newCert, newKey := issue(t, ca, serverSpec())
		switch i % 3 {
		case 0:
			put(t, f.key, newKey[:len(newKey)/2])
			put(t, f.cert, newCert[:len(newCert)/2])
			put(t, f.ca, both[:len(both)/2])
			files.Refresh()
			fallthrough
		default:
			if err := errors.Join(secretfile.Replace(f.key, newKey), secretfile.Replace(f.cert, newCert), secretfile.Replace(f.ca, both[:len(both)*(1+i%2)/2])); err != nil {
				t.Fatal(err)
			}
		}
		if i%20 == 0 { // now and then it comes to rest
			put(t, f.ca, both)
			for range 3 {
				files.next.Store(0)
				files.current()
			}
		}
	}
	close(stop)
	wg.Wait()
	n := 0
	serials.Range(func(any, any) bool { n++; return true })
	if n < 2 {
		t.Errorf("%d certificates were presented: nothing was reloaded", n)
	}
	t.Logf("%d requests, %d connections, %d certificates, no failure", sent.Load(), dials.Load(), n)
}

// short writes a pair that is due at once.
func short(t *testing.T, dir string, ca *Authority) files {
	spec := serverSpec()
	spec.URIs, spec.TTL = []string{Principal{Role: RoleRelay, Region: "eu"}.URI()}, 2*time.Minute
	return writePair(t, dir, ca, spec)
}

func TestRenew(t *testing.T) {
	ca := newCA(t)
	f := short(t, t.TempDir(), ca)
	s := openSteps(t, FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca})
	first := s.Leaf()
	ca.now = func() time.Time { return time.Now().Add(time.Minute) } // the next one must live longer
	sign := func(_ context.Context, r Renewal) ([]byte, error) {
		who, life, err := ca.Renewing(r)
		if err != nil {
			return nil, err
		}
		if who.URI() != "spiffe://weft/relay/eu" || life != 2*time.Minute {
			t.Errorf("%+v for %s", who, life)
		}
		spec := serverSpec()
		spec.TTL = time.Hour
		return ca.Sign([]byte(r.Request), spec)
	}
	for name, bad := range map[string]func(context.Context, Renewal) ([]byte, error){
		"refused":     func(context.Context, Renewal) ([]byte, error) { return nil, errors.New("no") },
		"another key": func(context.Context, Renewal) ([]byte, error) { return mustRead(t, f.cert), nil },
		"no gain": func(_ context.Context, r Renewal) ([]byte, error) {
			spec := serverSpec()
			spec.TTL = time.Second
			return ca.Sign([]byte(r.Request), spec)
		},
	} {
		if renewed, err := s.Renew(t.Context(), bad); renewed || err == nil {
			t.Errorf("%s: %v %v", name, renewed, err)
		}
	}
	if renewed, err := s.Renew(t.Context(), sign); !renewed || err != nil {
		t.Fatal(renewed, err)
	}
	s.look()
	if s.Leaf().SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the new certificate is not taken")
	}
	if renewed, err := s.Renew(t.Context(), sign); renewed || err != nil {
		t.Error("renewed although it is not due:", renewed, err)
	}
	if _, err := os.Stat(nextKey(f.key)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the waiting key was left behind")
	}
}

// TestRenewingRefuses is what a thief of a relay's connection would try.
func TestRenewingRefuses(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	pair := func(ca *Authority, uri string) *tls.Certificate {
		spec := serverSpec()
		spec.URIs = []string{uri}
		c, k, err := ca.Issue(spec)
		if err != nil {
			t.Fatal(err)
		}
		p, err := tls.X509KeyPair(c, k)
		if err != nil {
			t.Fatal(err)
		}
		return &p
	}
	relay := pair(ca, "spiffe://weft/relay/eu")
	renewal := func(p *tls.Certificate, change func(*Renewal)) Renewal {
		r, _, err := newRenewal(p)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(&r)
		}
		return r
	}
	if _, _, err := ca.Renewing(renewal(relay, nil)); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]Renewal{
		"no proof":                renewal(relay, func(r *Renewal) { r.Proof = nil }),
		"another request":         renewal(relay, func(r *Renewal) { r.Request = renewal(relay, nil).Request }),
		"another's certificate":   renewal(relay, func(r *Renewal) { r.Certificate = renewal(pair(ca, "spiffe://weft/hub/eu"), nil).Certificate }),
		"another authority":       renewal(pair(other, "spiffe://weft/relay/eu"), nil),
		"a tenant":                renewal(pair(ca, acmeURI), nil),
		"the operator":            renewal(pair(ca, "spiffe://weft/operator"), nil),
		"no principal":            renewal(pair(ca, "https://example.com"), nil),
		"nothing":                 {},
		"a very long certificate": {Certificate: strings.Repeat("x", maxRequest+1)},
	} {
		if who, _, err := ca.Renewing(r); err == nil {
			t.Errorf("%s: %+v", name, who)
		}
	}
	ca.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, _, err := ca.Renewing(renewal(relay, nil)); fault.CodeOf(err) != "renewal_refused" {
		t.Error("a certificate that has run out:", err)
	}
}

const acmeURI = "spiffe://weft/tenant/acme/producer/default"

// TestCrashWhileReplacing stops between the writes of a renewal: a process that starts then finds a pair.
func TestCrashWhileReplacing(t *testing.T) {
	ca := newCA(t)
	_, newCert, newKey := issue(t, ca, serverSpec())
	for stage, write := range []func(f files){
		func(files) {},
		func(f files) { put(t, nextKey(f.key), newKey) },
		func(f files) { put(t, nextKey(f.key), newKey); put(t, f.cert, newCert) },
		func(f files) { put(t, f.cert, newCert); put(t, f.key, newKey) },
	} {
		f := writePair(t, t.TempDir(), ca, serverSpec())
		old := mustRead(t, f.cert)
		write(f)
		s := openSteps(t, FilesOptions{Cert: f.cert, Key: f.key, CA: f.ca})
		want, err := ParseCertificate(newCert)
		if stage < 2 {
			want, err = ParseCertificate(old)
		}
		if err != nil {
			t.Fatal(err)
		}
		if s.Leaf().SerialNumber.Cmp(want.SerialNumber) != 0 {
			t.Errorf("stage %d: another certificate", stage)
		}
	}
}
