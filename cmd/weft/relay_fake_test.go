package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/streams/event"
)

const fakeSecret = "0123456789abcdef0123456789abcdef"

// result is what one run of the command left.
type result struct {
	code        int
	out, stderr string
}

// run executes a command line in this process.
func run(ctx context.Context, stdin io.Reader, args ...string) result {
	var out, stderr bytes.Buffer
	root := newRootCommand()
	root.SetIn(stdin)
	root.SetOut(&out)
	root.SetErr(&stderr)
	code := execute(ctx, root, args)
	return result{code, out.String(), stderr.String()}
}

// expect checks the exit code and what standard error says.
func (r result) expect(t *testing.T, code int, stderr ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; stderr:\n%s", r.code, code, r.stderr)
	}
	for _, want := range stderr {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("stderr lacks %q:\n%s", want, r.stderr)
		}
	}
	if strings.Contains(r.stderr, fakeSecret) || strings.Contains(r.stderr, base64.StdEncoding.EncodeToString([]byte(fakeSecret))) {
		t.Error("the secret is on standard error")
	}
}

// fault is what a fake relay does wrong with one request.
type fakeFault uint8

const (
	works       fakeFault = iota
	unavailable           // 503, nothing stored
	lostRequest           // the connection breaks before anything is stored
	lostAnswer            // everything is stored, the connection breaks before the answer
	halfStored            // the first half is stored, the rest "unavailable"
	refusedKey            // 401 for every request
)

// fakeRelay keeps events in memory behind real mTLS; it fails the test on a request that is not signed.
type fakeRelay struct {
	t      testing.TB
	server *httptest.Server
	dir    string                          // with mesh.json and credentials
	fails  func(request int) fakeFault     // request counts from 0
	reject func(id string) (code string)   // "" stores
	enter  func(request int, ids []string) // before the request is handled

	mu       sync.Mutex
	stored   map[string][]byte
	order    []string
	requests [][]string
	tokens   []string // Authorization, as it came
}

func newFakeRelay(t *testing.T) *fakeRelay {
	t.Helper()
	f := &fakeRelay{t: t, dir: t.TempDir(), stored: map[string][]byte{}}
	ca, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	f.write("ca.pem", ca.CertPEM())
	f.issue(ca, "server", pki.Spec{CommonName: "relay", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true, TTL: time.Hour})
	f.issue(ca, "client", pki.Spec{CommonName: "acme", Client: true, TTL: time.Hour})
	f.write("acme.key", []byte(base64.StdEncoding.EncodeToString([]byte(fakeSecret))+"\n"))
	f.server = httptest.NewUnstartedServer(f)
	files, err := pki.Open(pki.FilesOptions{Cert: f.path("server.pem"), Key: f.path("server-key.pem"), CA: f.path("ca.pem")})
	if err != nil {
		t.Fatal(err)
	}
	f.server.TLS = files.Server(tls.RequireAndVerifyClientCert)
	pair, err := tls.LoadX509KeyPair(f.path("server.pem"), f.path("server-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	f.server.TLS.Certificates = []tls.Certificate{pair} // else StartTLS adds one of its own
	f.server.EnableHTTP2 = true
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	err = meshfile.Write(f.dir, &meshfile.Mesh{
		CA:      "ca.pem",
		Regions: []meshfile.Region{{Name: "eu", Origin: "eu_1", Relay: f.server.URL, NATS: "tls://127.0.0.1:1"}},
		Tenants: []meshfile.Tenant{{Name: "acme", Kid: "acme-1", SecretFile: "acme.key", ClientCert: "client.pem", ClientKey: "client-key.pem"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fakeRelay) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fakeRelay) write(name string, content []byte) string {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return f.path(name)
}

func (f *fakeRelay) issue(ca *pki.Authority, name string, s pki.Spec) {
	f.t.Helper()
	cert, key, err := ca.Issue(s)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(name+".pem", cert)
	f.write(name+"-key.pem", key)
}

// send runs `weft send` on lines against the relay.
func (f *fakeRelay) send(lines string, args ...string) result {
	f.t.Helper()
	return run(f.t.Context(), strings.NewReader(lines), append([]string{"send", "-", "--data", f.dir}, args...)...)
}

func (f *fakeRelay) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.checkSignature(r, body)
	lines := [][]byte{body}
	if r.Header.Get("Content-Type") == "application/x-ndjson" {
		lines = bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	}
	ids := make([]string, len(lines))
	for i, line := range lines {
		var e event.Event
		if err := event.Decode(line, &e); err != nil {
			f.t.Errorf("a line that no relay takes was sent: %v", err)
		}
		ids[i] = e.ID
	}
	f.mu.Lock()
	n := len(f.requests)
	f.requests, f.tokens = append(f.requests, ids), append(f.tokens, r.Header.Get("Authorization"))
	f.mu.Unlock()
	if f.enter != nil {
		f.enter(n, ids)
	}
	how := works
	if f.fails != nil {
		how = f.fails(n)
	}
	f.answer(w, how, ids, lines)
}

func (f *fakeRelay) checkSignature(r *http.Request, body []byte) {
	h := r.Header
	req := signature.Request{
		Kid: h.Get(signature.KeyID), Timestamp: h.Get(signature.Timestamp), RequestID: h.Get(signature.RequestID),
		Method: r.Method, Host: r.Host, Target: r.URL.RequestURI(), ContentType: h.Get("Content-Type"), BodySHA256: sha256.Sum256(body),
	}
	if req.Kid != "acme-1" || !signature.Verify([]byte(fakeSecret), &req, h.Get(signature.Signature)) {
		f.t.Errorf("request %s %s is not signed by acme-1", r.Method, r.URL)
	}
}

func (f *fakeRelay) answer(w http.ResponseWriter, how fakeFault, ids []string, lines [][]byte) {
	switch how {
	case lostRequest:
		panic(http.ErrAbortHandler)
	case lostAnswer:
		f.store(ids, lines, len(ids))
		panic(http.ErrAbortHandler)
	case unavailable:
		w.Header().Set("Retry-After", "0")
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"code": "overloaded", "detail": "the window is full"})
	case refusedKey:
		writeJSON(w, http.StatusUnauthorized, map[string]any{"code": "key_unknown", "detail": "no such key"})
	default:
		take := len(ids)
		if how == halfStored {
			take /= 2
		}
		results, stored := f.store(ids, lines, take)
		if len(ids) > 1 {
			writeJSON(w, http.StatusOK, map[string]any{"stored": stored, "ack": "stored", "results": results})
			return
		}
		if len(results) == 0 {
			results = []map[string]any{{"status": "stored"}}
		}
		if results[0]["status"] == "rejected" {
			writeJSON(w, http.StatusUnprocessableEntity, map[string]any{"code": results[0]["code"], "detail": results[0]["detail"]})
			return
		}
		writeJSON(w, http.StatusAccepted, results[0])
	}
}

// sent are the ids of every request so far; a handler may still be at work when the command has ended.
func (f *fakeRelay) sent() [][]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// store takes the first of the events and returns the results that are not plainly stored.
func (f *fakeRelay) store(ids []string, lines [][]byte, take int) (results []map[string]any, stored int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, id := range ids {
		item := map[string]any{"index": i, "event_id": id}
		code := ""
		if f.reject != nil {
			code = f.reject(id)
		}
		switch {
		case i >= take:
			item["status"], item["code"] = "unavailable", "stream_unavailable"
		case code != "":
			item["status"], item["code"], item["detail"], item["pointer"] = "rejected", code, "because of the test", "/event_id"
		case f.stored[id] != nil:
			item["status"] = "duplicate"
		default:
			f.stored[id] = slices.Clone(lines[i])
			f.order = append(f.order, id)
			stored++
			continue
		}
		results = append(results, item)
	}
	return results, stored
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// testEvents are n lines of events of a few users; source_seq counts per user.
func testEvents(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, `{"event_id":"e-%d","event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2026-01-01T00:00:00Z","key":{"user_id":"u%d"},"source_seq":%d,"payload":{"n":%d}}`+"\n", i, i%7, i/7, i)
	}
	return out.String()
}
