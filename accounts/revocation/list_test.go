package revocation

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestListsThatAreRefused(t *testing.T) {
	r := newRig(t)
	victim := r.partner.client("acme", "")
	twin := newAuthority(t, "partner") // the same name, another key
	weak := newAuthority(t, "no lists")
	weak.cert = weak.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "no lists"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, weak.key)
	good := r.partner.crl(crl{number: 5, revoked: []*x509.Certificate{victim}})
	extension := func(critical bool, id ...int) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier(id), Critical: critical, Value: []byte{5, 0}}}
		}
	}
	ofEntry := func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: time.Now(),
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}}}
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	forged := bytes.Replace(good, []byte{byte(victim.SerialNumber.Int64())}, []byte{byte(victim.SerialNumber.Int64() + 1)}, 1)
	for name, tc := range map[string]struct {
		text []byte
		why  string
	}{
		"empty":                 {nil, "damaged"},
		"half":                  {good[:len(good)/2], "damaged"},
		"more":                  {append(bytes.Clone(good), 0), "same number"},
		"a certificate":         {r.partner.cert.Raw, "damaged"},
		"signature damaged":     {flipped, "signature"},
		"content changed":       {forged, ""},
		"same name, other key":  {twin.crl(crl{number: 9}), "signature"},
		"unknown authority":     {newAuthority(t, "stranger").crl(crl{number: 9}), "none that is trusted"},
		"older":                 {r.partner.crl(crl{number: 4}), "older"},
		"same number, emptied":  {r.partner.crl(crl{number: 5}), "same number"},
		"new number, made ago":  {r.partner.crl(crl{number: 6, made: -time.Hour}), "made before"},
		"of the future":         {r.partner.crl(crl{number: 6, made: 10 * time.Minute}), "future"},
		"delta":                 {r.partner.crl(crl{number: 6, change: extension(true, 2, 5, 29, 27)}), "not a whole list"},
		"delta, not critical":   {r.partner.crl(crl{number: 6, change: extension(false, 2, 5, 29, 27)}), "not a whole list"},
		"of some reasons alone": {r.partner.crl(crl{number: 6, change: extension(true, 2, 5, 29, 28)}), "not a whole list"},
		"of other authorities":  {r.partner.crl(crl{number: 6, change: ofEntry}), "other authorities"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "list.crl")
			r.must(os.WriteFile(file, good, 0o600))
			r.must(r.open(func(o *Options) { o.Lists = []string{file} }))
			if _, err := r.verify(r.partner, victim, nil); fault.CodeOf(err) != CodeRevoked {
				t.Fatal(err)
			}
			r.must(os.WriteFile(file, tc.text, 0o600))
			for range 3 {
				r.look(context.Background())
			}
			if _, err := r.verify(r.partner, victim, nil); fault.CodeOf(err) != CodeRevoked {
				t.Errorf("the list took the place of a good one: %v", err)
			}
			if _, err := r.verify(r.partner, r.partner.client("acme", ""), nil); err != nil {
				t.Errorf("and nobody else is let in: %v", err)
			}
			told := r.logs.FilterMessageSnippet("not taken").All()
			if len(told) != 1 || !strings.Contains(told[0].ContextMap()["error"].(string), tc.why) {
				t.Errorf("it is told %d times: %v", len(told), told)
			}
		})
	}
}

func TestListsAreFollowed(t *testing.T) {
	r := newRig(t)
	a, b := r.partner.client("acme", ""), r.partner.client("acme", "")
	file := filepath.Join(t.TempDir(), "list.crl")
	r.must(os.WriteFile(file, r.partner.crl(crl{number: 1}), 0o600))
	r.must(r.open(func(o *Options) { o.Lists = []string{file} }))
	open, err := r.verify(r.partner, a, nil)
	r.must(err)
	put := func(text []byte) {
		t.Helper()
		r.must(os.WriteFile(file+".new", text, 0o600))
		r.must(os.Rename(file+".new", file))
		r.look(context.Background())
	}
	put(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: r.partner.crl(crl{number: 2, revoked: []*x509.Certificate{a}})}))
	if err := r.Check(open); fault.CodeOf(err) != CodeRevoked || fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an open connection: %v", err)
	}
	if _, err := r.verify(r.partner, b, nil); err != nil {
		t.Error(err)
	}
	// the same number at another authority is another certificate
	own := r.own.sign(&x509.Certificate{}, newKey(t))
	for own.SerialNumber.Cmp(a.SerialNumber) < 0 {
		own = r.own.sign(&x509.Certificate{}, newKey(t))
	}
	if _, err := r.verify(r.own, own, nil); err != nil || own.SerialNumber.Cmp(a.SerialNumber) != 0 {
		t.Error(err)
	}
	put(r.partner.crl(crl{number: 3})) // an authority may take a hold back
	if err := r.Check(open); err != nil {
		t.Error(err)
	}
}

func TestStaleLists(t *testing.T) {
	for _, policy := range []Policy{Refuse, Warn} {
		t.Run(string(policy), func(t *testing.T) {
			r := newRig(t)
			file := filepath.Join(t.TempDir(), "list.crl")
			victim := r.partner.client("acme", "")
			r.must(os.WriteFile(file, r.partner.crl(crl{number: 1, revoked: []*x509.Certificate{victim}, ends: time.Minute}), 0o600))
			r.must(r.open(func(o *Options) { o.Lists, o.ListStale = []string{file}, policy }))
			open, err := r.verify(r.partner, r.partner.client("acme", ""), nil)
			r.must(err)
			r.pass(time.Minute + time.Second)
			err = r.Check(open)
			if policy == Refuse && (fault.CodeOf(err) != CodeUnknown || fault.KindOf(err) != fault.Unavailable) || policy == Warn && err != nil {
				t.Errorf("with a stale list: %v", err)
			}
			if err := r.VerifyConnection(r.partner.handshake(r.partner.client("acme", ""), nil)); err != nil {
				t.Errorf("who is not known to be revoked gets an alert, as if it was: %v", err)
			}
			_ = r.Check(open)
			if n := r.logs.FilterMessageSnippet("not known whether").Len(); n != map[Policy]int{Refuse: 0, Warn: 1}[policy] {
				t.Errorf("told %d times", n)
			}
			if _, err := r.verify(r.partner, victim, nil); fault.CodeOf(err) != CodeRevoked {
				t.Errorf("a stale list has forgotten: %v", err)
			}
			if _, err := r.verify(r.own, r.own.client("globex", ""), nil); err != nil {
				t.Errorf("the mesh's own clients: %v", err)
			}
			r.must(os.WriteFile(file, r.partner.crl(crl{number: 2, ends: 2 * time.Hour}), 0o600))
			r.look(context.Background())
			if err := r.Check(open); err != nil {
				t.Errorf("with a new list: %v", err)
			}
		})
	}
}

// listServer answers with a list and counts what was not asked conditionally.
type listServer struct {
	*httptest.Server
	text        atomic.Pointer[[]byte]
	down        atomic.Bool
	whole, same atomic.Int64
}

func newListServer(t *testing.T, text []byte) *listServer {
	s := &listServer{}
	s.text.Store(&text)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if s.down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		text := *s.text.Load()
		tag := `"` + big.NewInt(int64(len(text))).String() + `"`
		if q.Header.Get("If-None-Match") == tag {
			s.same.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		s.whole.Add(1)
		w.Header().Set("ETag", tag)
		_, _ = w.Write(text)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestListsFromURLs(t *testing.T) {
	r := newRig(t)
	state := t.TempDir()
	victim := r.partner.client("acme", "")
	server := newListServer(t, r.partner.crl(crl{number: 1}))
	conf := func(o *Options) { o.Lists, o.StateDir, o.HTTP = []string{server.URL}, state, server.Client() }
	r.must(r.open(conf))
	open, err := r.verify(r.partner, victim, nil)
	r.must(err)
	round := func() { r.pass(5 * time.Second); r.look(context.Background()) }
	round()
	round()
	if server.whole.Load() != 1 || server.same.Load() != 2 {
		t.Errorf("%d whole lists, %d unchanged", server.whole.Load(), server.same.Load())
	}
	second := r.partner.crl(crl{number: 2, revoked: []*x509.Certificate{victim}})
	server.text.Store(&second)
	r.pass(time.Second)
	r.look(context.Background())
	if err := r.Check(open); err != nil {
		t.Error("asked again before its time:", err)
	}
	r.pass(4 * time.Second)
	r.look(context.Background())
	if err := r.Check(open); fault.CodeOf(err) != CodeRevoked {
		t.Error(err)
	}
	huge := bytes.Repeat([]byte("x"), maxList+1)
	server.text.Store(&huge)
	round()
	server.down.Store(true)
	round()
	if err := r.Check(open); fault.CodeOf(err) != CodeRevoked {
		t.Error("a server that is down makes the list forgotten:", err)
	}
	if n := r.logs.FilterMessageSnippet("not taken").Len(); n != 2 {
		t.Errorf("told %d times", n)
	}
	r.Stop()
	r.must(r.open(conf)) // a restart while the server is down
	if _, err := r.verify(r.partner, victim, nil); fault.CodeOf(err) != CodeRevoked {
		t.Error("a restart makes the list forgotten:", err)
	}
	server.down.Store(false)
	first := r.partner.crl(crl{number: 1, ends: 90 * time.Minute})
	server.text.Store(&first)
	round()
	if _, err := r.verify(r.partner, victim, nil); fault.CodeOf(err) != CodeRevoked {
		t.Error("a list was rolled back over a restart:", err)
	}
}

func TestListThatNeverCame(t *testing.T) {
	r := newRig(t)
	server := newListServer(t, nil)
	server.down.Store(true)
	r.must(r.open(func(o *Options) { o.Lists, o.HTTP = []string{server.URL}, server.Client() }))
	if _, err := r.verify(r.partner, r.partner.client("acme", ""), nil); fault.CodeOf(err) != CodeUnknown {
		t.Error(err)
	}
	if _, err := r.verify(r.own, r.own.client("acme", ""), nil); err != nil {
		t.Error(err)
	}
	if err := r.open(func(o *Options) { o.Lists = []string{filepath.Join(t.TempDir(), "none")} }); fault.CodeOf(err) != "options" {
		t.Error("a file that is not there:", err)
	}
}

// TestOthersSpeakForTheirTenantsAlone has a partner certify identities that are not its own.
func TestOthersSpeakForTheirTenantsAlone(t *testing.T) {
	r := newRig(t)
	r.must(r.open(func(*Options) {}))
	for tenant, want := range map[string]string{"acme": "", "globex": CodeUntrusted} {
		if _, err := r.verify(r.partner, r.partner.client(tenant, ""), nil); fault.CodeOf(err) != want && (want != "" || err != nil) {
			t.Errorf("%s: %v", tenant, err)
		}
	}
	for _, a := range []*authority{newAuthority(t, "stranger"), newAuthority(t, "partner")} {
		if _, err := r.verify(a, a.client("acme", ""), nil); fault.CodeOf(err) != CodeUntrusted {
			t.Error("an authority that is not trusted any more:", err)
		}
	}
	if _, err := r.Client(&tls.ConnectionState{}); err == nil || r.Check(nil) == nil {
		t.Error("a connection without a verified certificate")
	}
}

func TestOwnRevocations(t *testing.T) {
	r := newRig(t)
	r.must(r.open(func(*Options) {}))
	a, b := r.own.client("acme", ""), r.own.client("acme", "")
	open, err := r.verify(r.own, a, nil)
	r.must(err)
	state := control.NewState()
	add := func(c *x509.Certificate, s accounts.CertificateState, end time.Time) {
		rec := &accounts.Certificate{Serial: pki.SerialText(c.SerialNumber), Issuer: pki.IssuerOf(r.own.cert).String(), State: s, NotAfter: end}
		state.Certificates[rec.ID()] = rec
	}
	add(a, accounts.CertificateRevoked, a.NotAfter)
	add(b, accounts.CertificateIssued, b.NotAfter)
	state.Certificates["damaged"] = &accounts.Certificate{Serial: "zz", Issuer: "zz", State: accounts.CertificateRevoked, NotAfter: a.NotAfter}
	r.state = state
	if err := r.Check(open); fault.CodeOf(err) != CodeRevoked {
		t.Error(err)
	}
	if _, err := r.verify(r.own, b, nil); err != nil {
		t.Error(err)
	}
	// the same number at the partner is another certificate
	for c := r.partner.client("acme", ""); ; c = r.partner.client("acme", "") {
		if c.SerialNumber.Cmp(a.SerialNumber) >= 0 {
			if _, err := r.verify(r.partner, c, nil); err != nil {
				t.Error(err)
			}
			break
		}
	}
}
