package intake_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay/guard"
	"github.com/weft-mesh/weft/relay/intake"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/fault"
)

// world is everything around a handler, played by the test.
type world struct {
	t          testing.TB
	ca         *pki.Authority
	handler    *intake.Handler
	state      *control.State
	now        time.Time
	publish    func(msgs []uplink.Message, results []uplink.Result)
	sent       [][]uplink.Message
	answers    []string // of the recorder
	events     map[string]int
	signatures map[string]int // by scheme and code
	sealer     *sealer
	cert       *x509.Certificate
	logs       *observer.ObservedLogs

	troubled string             // why the guard cannot know
	full     bool               // the tenant's place in it
	seen     map[guard.Key]bool // by the guard; nil: nothing is a copy
	lost     bool               // the journal takes nothing
	replayed int
	asked    int // the guard was, for whatever
}

func (w *world) Replayed(string)            { w.replayed++ }
func (w *world) Copies(string, string, int) {}
func (w *world) Probed(string, string, int) {}
func (w *world) Reason() string             { return w.troubled }

func (w *world) Check(_ string, k guard.Key) guard.Verdict {
	w.asked++
	switch {
	case w.troubled != "":
		return guard.Unavailable
	case w.seen[k]:
		return guard.Replayed
	}
	return guard.Fresh
}

func (w *world) Claim(tenant string, k guard.Key) (*guard.Group, guard.Verdict) {
	v := w.Check(tenant, k)
	if v == guard.Fresh && w.full {
		v = guard.Full
	}
	if v == guard.Fresh && w.seen != nil {
		w.seen[k] = true
	}
	return guard.Settled(!w.lost), v
}

func (w *world) State() *control.State           { return w.state }
func (w *world) HeartbeatAge() time.Duration     { return 0 }
func (w *world) Published(time.Duration)         {}
func (w *world) Signature(scheme, code string)   { w.signatures[scheme+" "+code]++ }
func (w *world) Events(_, s, code string, n int) { w.events[s+"/"+code] += n }

func (w *world) Request(status int, code string, _ time.Duration) {
	w.answers = append(w.answers, fmt.Sprint(status, " ", code))
}

func (w *world) Probe(_ context.Context, _ string, _ []uplink.Message, results []uplink.Result) {
	for i := range results {
		results[i] = uplink.Result{Status: uplink.Absent}
	}
}

func (w *world) Publish(_ context.Context, _ string, _ *uplink.Stamp, msgs []uplink.Message, results []uplink.Result) {
	w.sent = append(w.sent, msgs)
	w.publish(msgs, results)
}

// sealer keeps secrets in the open and counts.
type sealer struct{ opened int }

func (s *sealer) Open(_ context.Context, text string) (keyring.Secret, error) {
	s.opened++
	return keyring.Secret(text), nil
}

const secret = "a secret of the test, never told"

func newWorld(t testing.TB) *world {
	core, logs := observer.New(zapcore.DebugLevel)
	w := &world{t: t, state: control.NewState(), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), events: map[string]int{}, signatures: map[string]int{}, sealer: &sealer{}, logs: logs}
	w.publish = func(_ []uplink.Message, results []uplink.Result) {
		for i := range results {
			results[i] = uplink.Result{Status: uplink.Stored, Seq: uint64(i + 1)}
		}
	}
	w.state.Regions["eu"] = &accounts.RegionInfo{Name: "eu", Epoch: 1, Weight: 1, Ack: accounts.AckStored}
	w.state.Tenants["acme"] = &accounts.Tenant{Name: "acme", State: accounts.Active}
	w.state.Keys["k"] = &keyring.Key{Kid: "k", Tenant: "acme", State: keyring.Active, Algorithms: []string{keyring.WeftV1}, Sealed: secret}
	var err error
	if w.ca, err = pki.NewAuthority("test"); err != nil {
		t.Fatal(err)
	}
	w.cert = w.issue(pki.Principal{Role: pki.RoleTenant, Tenant: "acme", Producer: "p"})
	w.now = w.cert.NotBefore.Add(time.Minute)
	o := w.options()
	o.Logger = zap.New(core)
	if w.handler, err = intake.New(o); err != nil {
		t.Fatal(err)
	}
	return w
}

// issue makes a client certificate for the principal.
func (w *world) issue(who pki.Principal) *x509.Certificate {
	text, _, err := w.ca.Issue(pki.Spec{CommonName: "c", URIs: []string{who.URI()}, Client: true, TTL: time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := pki.ParseCertificate(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return cert
}

func (w *world) options() intake.Options {
	return intake.Options{Region: "eu", RelayID: "r1", Hosts: []string{"relay"}, Control: w, Publisher: w, Guard: w, Sealer: w.sealer,
		Limits: intake.DefaultLimits(), Recorder: w, Logger: zap.NewNop(), Now: func() time.Time { return w.now }}
}

func (w *world) event(id string) string {
	return fmt.Sprintf(`{"event_id":%q,"event_type":"a.b","schema_version":"1.0.0","occurred_at":%q,"key":{"user_id":"u"},"payload":{}}`,
		id, w.now.UTC().Format(time.RFC3339))
}

func (w *world) post(body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body))
	req.Host = "relay"
	req.Header.Set("Content-Type", "application/json")
	req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{w.cert}}
	signature.SignHTTP([]byte(secret), req, "k", "r", w.now, []byte(body))
	return w.serve(req)
}

func (w *world) serve(req *http.Request) *httptest.ResponseRecorder {
	res := httptest.NewRecorder()
	w.handler.ServeHTTP(res, req)
	return res
}

func TestPanicIsAnswered(t *testing.T) {
	w := newWorld(t)
	w.publish = func([]uplink.Message, []uplink.Result) { panic("out of order") }
	res := w.post(w.event("e"))
	if res.Code != 500 || !strings.Contains(res.Body.String(), `"code":"internal"`) || strings.Contains(res.Body.String(), "out of order") {
		t.Errorf("%d %s", res.Code, res.Body)
	}
	if n := w.logs.FilterMessage("panic in a request").Len(); n != 1 || w.answers[0] != "500 internal" {
		t.Errorf("logged %d times, recorded %q", n, w.answers)
	}
	w.publish = func(_ []uplink.Message, r []uplink.Result) { r[0] = uplink.Result{Status: uplink.Stored, Seq: 1} }
	if res := w.post(w.event("e")); res.Code != 202 {
		t.Errorf("afterwards: %d %s", res.Code, res.Body)
	}
}

func TestSecretIsOpenedOnce(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		if res := w.post(w.event("e")); res.Code != 202 {
			t.Fatalf("%d %s", res.Code, res.Body)
		}
	}
	if w.sealer.opened != 1 {
		t.Errorf("opened %d times", w.sealer.opened)
	}
	w.handler.Follow(w.state)
	w.post(w.event("e"))
	if w.sealer.opened != 1 {
		t.Error("a key that is still there was forgotten")
	}
	w.handler.Follow(control.NewState())
	w.post(w.event("e"))
	if w.sealer.opened != 2 {
		t.Error("a key that is gone was kept")
	}
}

func TestCertificateThatExpiredMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.now = w.cert.NotAfter.Add(time.Second)
	res := w.post(w.event("e"))
	if res.Code != 403 || !strings.Contains(res.Body.String(), "expired") || len(w.sent) != 0 {
		t.Errorf("%d %s", res.Code, res.Body)
	}
}

func TestNothingIsPublishedBeforeAllIsRead(t *testing.T) {
	w := newWorld(t)
	if res := w.post("[" + w.event("a") + "," + w.event("b") + `,{"event_id"]`); res.Code != 400 || len(w.sent) != 0 {
		t.Errorf("%d %s, %d published", res.Code, res.Body, len(w.sent))
	}
	if res := w.post("[" + w.event("a") + `,{"event_id":1},` + w.event("b") + "]"); res.Code != 200 || len(w.sent) != 1 || len(w.sent[0]) != 2 {
		t.Errorf("%d %s, %d published", res.Code, res.Body, len(w.sent))
	}
	if w.events["stored/"] != 2 || w.events["rejected/wrong_type"] != 1 {
		t.Errorf("counted %v", w.events)
	}
}

func TestTooManyEvents(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Limits.BatchEvents = 2
	var err error
	if w.handler, err = intake.New(o); err != nil {
		t.Fatal(err)
	}
	res := w.post("[" + w.event("a") + "," + w.event("b") + "," + w.event("c") + "]")
	if res.Code != 413 || !strings.Contains(res.Body.String(), "too_many_events") || len(w.sent) != 0 {
		t.Errorf("%d %s", res.Code, res.Body)
	}
}

// Every answer is JSON, whatever the words in it.
func TestAnswersAreJSON(t *testing.T) {
	w := newWorld(t)
	w.publish = func(_ []uplink.Message, r []uplink.Result) {
		for i := range r {
			r[i] = uplink.Result{Status: uplink.Status(i % 4), Code: "c", Detail: "quote \" line\n\x00 \xff ü"}
		}
	}
	for _, body := range []string{w.event("a"), "[" + w.event("a") + "," + w.event("b") + "," + w.event("c") + "," + w.event("d") + "]", "[" + w.event("a") + "]", "\xff\"", "{\"\x01\n"} {
		res := w.post(body)
		if !json.Valid(res.Body.Bytes()) {
			t.Errorf("%d %q", res.Code, res.Body)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*intake.Options){
		"region":  func(o *intake.Options) { o.Region = "" },
		"hosts":   func(o *intake.Options) { o.Hosts = nil },
		"control": func(o *intake.Options) { o.Control = nil },
		"limits":  func(o *intake.Options) { o.Limits = intake.Limits{} },
	} {
		o := w.options()
		change(&o)
		if _, err := intake.New(o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkHandle100(b *testing.B) {
	w := newWorld(&testing.T{})
	var lines []string
	for i := range 100 {
		lines = append(lines, w.event(fmt.Sprint("e", i)))
	}
	body := "[" + strings.Join(lines, ",") + "]"
	b.ReportAllocs()
	for b.Loop() {
		w.sent = nil
		if res := w.post(body); res.Code != 200 {
			b.Fatal(res.Body)
		}
	}
}
