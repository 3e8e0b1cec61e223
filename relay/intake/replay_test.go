package intake_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay/guard"
	"github.com/weft-mesh/weft/relay/uplink"
)

// newGuarded is a world whose guard remembers.
func newGuarded(t testing.TB) *world {
	w := newSchemes(t)
	w.seen = map[guard.Key]bool{}
	return w
}

// A copy is refused; a retry that is signed anew passes, also where it keeps its id.
func TestCopiesAreRefused(t *testing.T) {
	for _, scheme := range []string{keyring.WeftV1, keyring.StandardWebhooks, keyring.StandardWebhooksV1a} {
		w := newGuarded(t)
		if got := w.serve(w.signed(scheme, scheme)); got.Code != 202 {
			t.Fatalf("%s: %d %s", scheme, got.Code, got.Body)
		}
		w.refused(t, scheme+", a copy", w.signed(scheme, scheme), 401, "replayed")
		if w.replayed != 1 || len(w.sent) != 1 {
			t.Errorf("%s: %d replays counted, %d requests published", scheme, w.replayed, len(w.sent))
		}
		if scheme == keyring.WeftV1 {
			continue
		}
		w.now = w.now.Add(time.Second) // and the same webhook-id
		if got := w.serve(w.signed(scheme, scheme)); got.Code != 202 {
			t.Errorf("%s, a retry: %d %s", scheme, got.Code, got.Body)
		}
	}
}

// Under the scheme that signs the body alone a retry is a copy: it is answered as a duplicate once all is settled, and
// published again until then.
func TestBodiesThatComeAgain(t *testing.T) {
	w := newGuarded(t)
	stored := w.publish
	w.publish = func(_ []uplink.Message, results []uplink.Result) {
		results[0] = uplink.Result{Status: uplink.Unavailable, Code: uplink.CodeStreamUnreachable}
	}
	for range 2 {
		if got := w.serve(w.signed(keyring.Body, keyring.Body)); got.Code != 503 {
			t.Fatalf("without a stream: %d %s", got.Code, got.Body)
		}
	}
	w.publish = stored
	if got := w.serve(w.signed(keyring.Body, keyring.Body)); got.Code != 202 || !strings.Contains(got.Body.String(), `"status":"stored"`) {
		t.Fatalf("with the stream: %d %s", got.Code, got.Body)
	}
	if got := w.serve(w.signed(keyring.Body, keyring.Body)); got.Code != 202 || !strings.Contains(got.Body.String(), `"status":"duplicate"`) {
		t.Errorf("again: %d %s", got.Code, got.Body)
	}
	if len(w.sent) != 3 || w.replayed != 0 {
		t.Errorf("%d requests published, want 3; %d replays counted", len(w.sent), w.replayed)
	}
	w.troubled = "the journal is away"
	w.refused(t, "guard unavailable", w.signed(keyring.Body, keyring.Body), 503, "guard_unavailable")
}

func TestNothingWithoutTheGuard(t *testing.T) {
	w := newGuarded(t)
	w.troubled = "the journal is away"
	got := w.serve(w.signed(keyring.WeftV1, keyring.WeftV1))
	if got.Code != 503 || got.Header().Get("Retry-After") == "" || !strings.Contains(got.Body.String(), w.troubled) || len(w.sent) > 0 {
		t.Errorf("guard unavailable: %d %s, %d published", got.Code, got.Body, len(w.sent))
	}
	w.troubled, w.full = "", true
	if got = w.serve(w.signed(keyring.WeftV1, keyring.WeftV1)); got.Code != 429 || got.Header().Get("Retry-After") == "" || len(w.sent) > 0 {
		t.Errorf("tenant's share full: %d %s, %d published", got.Code, got.Body, len(w.sent))
	}
	w.full, w.lost = false, true
	if got = w.serve(w.signed(keyring.WeftV1, keyring.WeftV1)); got.Code != 503 || !strings.Contains(got.Body.String(), "may be stored") {
		t.Errorf("not journaled: %d %s", got.Code, got.Body)
	}
}

// What is refused behind the guard has used up its id.
func TestRefusedRequestsKeepTheirClaim(t *testing.T) {
	w := newGuarded(t)
	bad := func() *http.Request {
		req := w.request("{}")
		w.sign(req, keyring.WeftV1, keyring.WeftV1, "one", []byte("{}"))
		return req
	}
	if got := w.serve(bad()); got.Code != 422 {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	w.refused(t, "a copy of what was refused", bad(), 401, "replayed")
}

// However many requests nobody signed: the guard is never asked, so they cannot fill it.
func TestForgedRequestsNeverReachTheGuard(t *testing.T) {
	w := newGuarded(t)
	const n, body = 50_000, "{}"
	req := w.request(body)
	w.sign(req, keyring.WeftV1, keyring.WeftV1, "id", []byte(body))
	in := strings.NewReader(body)
	req.Body = io.NopCloser(in)
	for i := range n {
		in.Reset(body)
		req.Header[signature.RequestID][0] = fmt.Sprintf("forged-%d", i)
		out := httptest.ResponseRecorder{}
		w.handler.ServeHTTP(&out, req)
		if out.Code != 401 {
			t.Fatalf("forged request %d: %d", i, out.Code)
		}
		w.answers = w.answers[:0]
	}
	if w.asked > 0 || len(w.seen) > 0 {
		t.Errorf("the guard was asked %d times", w.asked)
	}
}
