package revocation

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// said is what a responder says, and with which certificate it signs.
type said struct {
	status int
	made   time.Duration // from now
	ends   time.Duration // from now; 0: not said
	serial *big.Int      // nil: the one that is asked for
	signer *x509.Certificate
	key    *ecdsa.PrivateKey
}

// says makes the answer about a certificate of the partner's.
func (r *rig) says(leaf *x509.Certificate, s said) []byte {
	template := ocsp.Response{Status: s.status, SerialNumber: leaf.SerialNumber, ThisUpdate: r.clock().Add(s.made)}
	if s.ends != 0 {
		template.NextUpdate = r.clock().Add(s.ends)
	}
	if s.status == ocsp.Revoked {
		template.RevokedAt = r.clock()
	}
	if s.serial != nil {
		template.SerialNumber = s.serial
	}
	responder, key := r.partner.cert, r.partner.key
	if s.signer != nil {
		responder, key = s.signer, s.key
		template.Certificate = s.signer
	}
	raw, err := ocsp.CreateResponse(r.partner.cert, responder, template, key)
	r.must(err)
	return raw
}

func TestStapledAnswers(t *testing.T) {
	r := newRig(t)
	r.must(r.open(func(o *Options) { o.OCSP = OCSPStapled }))
	leaf := r.partner.client("acme", "")
	delegateKey, thief := newKey(t), newKey(t)
	delegate := r.partner.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}, delegateKey)
	old := r.partner.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}, delegateKey)
	client := r.partner.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, thief)
	stranger := newAuthority(t, "partner")
	good := r.says(leaf, said{status: ocsp.Good, ends: time.Hour})
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for _, tc := range []struct {
		name    string
		stapled []byte
		code    string
	}{
		{"none", nil, CodeUnknown},
		{"damaged", good[:len(good)/2], CodeUnknown},
		{"signature damaged", flipped, CodeUnknown},
		{"about another certificate", r.says(leaf, said{status: ocsp.Good, ends: time.Hour, serial: big.NewInt(1)}), CodeUnknown},
		{"stale", r.says(leaf, said{status: ocsp.Good, made: -time.Hour, ends: -time.Minute}), CodeUnknown},
		{"without an end, old", r.says(leaf, said{status: ocsp.Good, made: -2 * bareLife}), CodeUnknown},
		{"of the future", r.says(leaf, said{status: ocsp.Good, made: time.Hour, ends: 2 * time.Hour}), CodeUnknown},
		{"of another authority", r.says(leaf, said{status: ocsp.Good, ends: time.Hour, signer: stranger.cert, key: stranger.key}), CodeUnknown},
		{"signed by a client of the authority", r.says(leaf, said{status: ocsp.Good, ends: time.Hour, signer: client, key: thief}), CodeUnknown},
		{"signed by a responder that has run out", r.says(leaf, said{status: ocsp.Good, ends: time.Hour, signer: old, key: delegateKey}), CodeUnknown},
		{"unknown", r.says(leaf, said{status: ocsp.Unknown, ends: time.Hour}), CodeUnknown},
		{"signed by the authority's responder", r.says(leaf, said{status: ocsp.Good, ends: time.Minute, signer: delegate, key: delegateKey}), ""},
		{"good", good, ""},
		{"an older revocation counts", r.says(leaf, said{status: ocsp.Revoked, made: -2 * time.Hour, ends: time.Hour}), CodeRevoked},
		{"and is never taken back", good, CodeRevoked},
	} {
		if _, err := r.verify(r.partner, leaf, tc.stapled); fault.CodeOf(err) != tc.code && (tc.code != "" || err != nil) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := r.verify(r.own, r.own.client("acme", ""), nil); err != nil {
		t.Error("the mesh's own clients:", err)
	}
}

func TestStapledAnswerRunsOut(t *testing.T) {
	for policy, want := range map[Policy]string{Refuse: CodeUnknown, Warn: ""} {
		r := newRig(t)
		r.must(r.open(func(o *Options) { o.OCSP, o.OCSPUnreachable = OCSPStapled, policy }))
		leaf := r.partner.client("acme", "")
		open, err := r.verify(r.partner, leaf, r.says(leaf, said{status: ocsp.Good, ends: time.Minute}))
		r.must(err)
		r.pass(time.Minute + time.Second)
		if err := r.Check(open); fault.CodeOf(err) != want && (want != "" || err != nil) {
			t.Errorf("%s: %v", policy, err)
		}
	}
}

// responder is a real server that answers for the partner.
type responder struct {
	*httptest.Server
	status atomic.Int64
	down   atomic.Bool
	asked  atomic.Int64
	hold   chan struct{} // nil: it answers at once
}

func newResponder(r *rig, hold chan struct{}) *responder {
	s := &responder{hold: hold}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		s.asked.Add(1)
		if s.hold != nil {
			<-s.hold
		}
		raw, err := io.ReadAll(q.Body)
		if err != nil || s.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		question, err := ocsp.ParseRequest(raw)
		if err != nil || q.Header.Get("Content-Type") != "application/ocsp-request" {
			http.Error(w, "no question", http.StatusBadRequest)
			return
		}
		_, _ = w.Write(r.says(&x509.Certificate{SerialNumber: question.SerialNumber}, said{status: int(s.status.Load()), ends: time.Hour}))
	}))
	r.t.Cleanup(s.Close)
	return s
}

func TestResponderIsAsked(t *testing.T) {
	r := newRig(t)
	s := newResponder(r, nil)
	r.must(r.open(func(o *Options) { o.OCSP, o.Responder, o.HTTP = OCSPAsk, s.URL, s.Client() }))
	leaf := r.partner.client("acme", "http://127.0.0.1:1/") // what the certificate names is not asked
	open, err := r.verify(r.partner, leaf, nil)
	r.must(err)
	for range 5 {
		if _, err := r.verify(r.partner, leaf, nil); err != nil {
			t.Error(err)
		}
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times about one certificate", n)
	}
	s.status.Store(ocsp.Revoked)
	r.ask()
	if err := r.Check(open); err != nil {
		t.Error("asked again before its time:", err)
	}
	r.pass(DefaultOptions().OCSPRefresh)
	r.ask()
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return fault.CodeOf(r.Check(open)) == CodeRevoked, "an open connection is not refused"
	})
	if _, err := r.verify(r.partner, leaf, nil); fault.CodeOf(err) != CodeRevoked {
		t.Error(err)
	}
	if _, err := r.verify(r.own, r.own.client("acme", s.URL), nil); err != nil || s.asked.Load() != 2 {
		t.Error("the mesh's own clients are not asked about:", err, s.asked.Load())
	}
}

func TestResponderIsDown(t *testing.T) {
	for policy, want := range map[Policy]string{Refuse: CodeUnknown, Warn: ""} {
		t.Run(string(policy), func(t *testing.T) {
			r := newRig(t)
			s := newResponder(r, nil)
			s.down.Store(true)
			r.must(r.open(func(o *Options) { o.OCSP, o.Responder, o.HTTP, o.OCSPUnreachable = OCSPAsk, s.URL, s.Client(), policy }))
			leaf := r.partner.client("acme", "")
			if _, err := r.verify(r.partner, leaf, nil); fault.CodeOf(err) != want && (want != "" || err != nil) {
				t.Error(err)
			}
			s.down.Store(false)
			r.pass(DefaultOptions().OCSPRefresh)
			open, err := r.verify(r.partner, leaf, nil)
			r.must(err)
			s.down.Store(true)
			r.pass(30 * time.Minute)
			r.ask()
			if err := r.Check(open); err != nil {
				t.Error("an answer holds until its end:", err)
			}
			r.pass(31 * time.Minute)
			if err := r.Check(open); fault.CodeOf(err) != want && (want != "" || err != nil) {
				t.Error(err)
			}
		})
	}
}

func TestResponderOfTheCertificate(t *testing.T) {
	r := newRig(t)
	s := newResponder(r, nil)
	r.must(r.open(func(o *Options) { o.OCSP, o.Responder, o.HTTP = OCSPAsk, FromCertificate, s.Client() }))
	if _, err := r.verify(r.partner, r.partner.client("acme", s.URL), nil); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "file:///etc/passwd", "http://u:p@127.0.0.1/"} {
		if _, err := r.verify(r.partner, r.partner.client("acme", bad), nil); fault.CodeOf(err) != CodeUnknown {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if s.asked.Load() != 1 {
		t.Error(s.asked.Load())
	}
}

// TestResponderThatHangs holds a question: handshakes wait a moment, requests do not, and Stop ends it.
func TestResponderThatHangs(t *testing.T) {
	r := newRig(t)
	hold := make(chan struct{})
	s := newResponder(r, hold)
	t.Cleanup(func() { close(hold) }) // before the server is closed
	r.must(r.open(func(o *Options) { o.OCSP, o.Responder, o.HTTP = OCSPAsk, s.URL, s.Client() }))
	r.Start()
	leaf := r.partner.client("acme", "")
	began := time.Now()
	if _, err := r.verify(r.partner, leaf, nil); fault.CodeOf(err) != CodeUnknown {
		t.Error(err)
	}
	if took := time.Since(began); took > awaitTime+3*time.Second {
		t.Errorf("a handshake waited %s", took)
	}
	r.Stop()
	r.Stop()
	if flight := r.question(&answer{leaf: leaf, issuer: r.partner.cert}); flight != nil {
		t.Error("a question after the end")
	}
}

func TestOptions(t *testing.T) {
	r := newRig(t)
	for name, change := range map[string]func(*Options){
		"policy of lists": func(o *Options) { o.ListStale = "maybe" },
		"policy of OCSP":  func(o *Options) { o.OCSPUnreachable = "" },
		"list's URL":      func(o *Options) { o.Lists = []string{"ftp://x/y"} },
		"refresh":         func(o *Options) { o.ListRefresh = 0 },
		"mode":            func(o *Options) { o.OCSP = "on" },
		"no responder":    func(o *Options) { o.OCSP = OCSPAsk },
		"responder":       func(o *Options) { o.OCSP, o.Responder = OCSPAsk, "ldap://x" },
		"lists, no trust": func(o *Options) { o.Lists, o.Trust = []string{"x"}, nil },
		"nothing to log":  func(o *Options) { o.Logger = nil },
	} {
		if err := r.open(change); fault.CodeOf(err) != "options" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkCheck is what each request pays: with the mesh's own revocations alone, and with lists and OCSP as well.
func BenchmarkCheck(b *testing.B) {
	r := newRig(b)
	leaf := r.partner.client("acme", "")
	stapled := r.says(leaf, said{status: ocsp.Good, ends: time.Hour})
	file := filepath.Join(b.TempDir(), "list.crl")
	r.must(os.WriteFile(file, r.partner.crl(crl{number: 1}), 0o600))
	for name, change := range map[string]func(*Options){
		"own": func(*Options) {},
		"all": func(o *Options) { o.Lists, o.OCSP = []string{file}, OCSPStapled },
	} {
		b.Run(name, func(b *testing.B) {
			r.must(r.open(change))
			c, err := r.verify(r.partner, leaf, stapled)
			r.must(err)
			b.ReportAllocs()
			for b.Loop() {
				if r.Check(c) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}
