package client_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = keyring.Secret("0123456789abcdef0123456789abcdef")

// step is what the fake relay does with one request.
type step func(w http.ResponseWriter, lines [][]byte)

// fake is a relay that stores in memory and follows a script; after the script it stores everything.
type fake struct {
	t        testing.TB
	server   *httptest.Server
	mu       sync.Mutex
	script   []step
	stored   map[string]int // event id -> how often it was new
	order    []string
	requests []string // request ids
	types    []string // content types
	tokens   []string // Authorization, as it came
}

func newFake(t testing.TB, script ...step) *fake {
	f := &fake{t: t, script: script, stored: map[string]int{}}
	f.server = httptest.NewUnstartedServer(f)
	f.server.EnableHTTP2 = true
	f.server.Config.ErrorLog = nil
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	signed := signature.Request{
		Kid: r.Header.Get(signature.KeyID), Timestamp: r.Header.Get(signature.Timestamp), RequestID: r.Header.Get(signature.RequestID),
		Method: r.Method, Host: r.Host, Target: r.RequestURI, ContentType: r.Header.Get("Content-Type"), BodySHA256: sha256.Sum256(body),
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !signature.Verify(secret, &signed, r.Header.Get(signature.Signature)) || slices.Contains(f.requests, signed.RequestID) {
		problem(w, http.StatusUnauthorized, "signature_invalid", "")
		return
	}
	f.requests, f.types = append(f.requests, signed.RequestID), append(f.types, signed.ContentType)
	f.tokens = append(f.tokens, r.Header.Get("Authorization"))
	lines := [][]byte{body}
	if signed.ContentType == "application/x-ndjson" {
		lines = slices.Collect(bytes.Lines(body))
	}
	do := f.store
	if len(f.script) > 0 {
		do, f.script = f.script[0], f.script[1:]
	}
	do(w, lines)
}

// keep stores a line and says whether it was new.
func (f *fake) keep(line []byte) (id string, fresh bool) {
	id, ok := event.Lookup(line, "/event_id")
	if !ok {
		f.t.Errorf("an event without id arrived: %.80s", line)
	}
	f.stored[id]++
	if f.stored[id] == 1 {
		f.order = append(f.order, id)
	}
	return id, f.stored[id] == 1
}

func (f *fake) store(w http.ResponseWriter, lines [][]byte) {
	stored := 0
	var listed []string
	for i, line := range lines {
		id, fresh := f.keep(line)
		if fresh {
			stored++
		} else {
			listed = append(listed, fmt.Sprintf(`{"index":%d,"event_id":%q,"status":"duplicate","region":"eu","seq":7}`, i, id))
		}
		if len(lines) == 1 {
			status := map[bool]string{true: "stored", false: "duplicate"}[fresh]
			w.WriteHeader(http.StatusAccepted)
			_, _ = fmt.Fprintf(w, `{"event_id":%q,"status":%q,"region":"eu","stream":"EVENTS","seq":3,"ack":"stored"}`, id, status)
			return
		}
	}
	_, _ = fmt.Fprintf(w, `{"stored":%d,"duplicates":%d,"ack":"stored","results":[%s]}`, stored, len(listed), strings.Join(listed, ","))
}

func (f *fake) storeThenBreak(_ http.ResponseWriter, lines [][]byte) {
	for _, line := range lines {
		f.keep(line)
	}
	panic(http.ErrAbortHandler)
}

func breakFirst(http.ResponseWriter, [][]byte) { panic(http.ErrAbortHandler) }

func problem(w http.ResponseWriter, status int, code, extra string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"type":"urn:weft:problem:%s","status":%d,"code":%q,"detail":"because"%s}`, code, status, code, extra)
}

func answers(status int, code, extra string) step {
	return func(w http.ResponseWriter, _ [][]byte) { problem(w, status, code, extra) }
}

func newClient(t testing.TB, f *fake, change func(*client.Options)) *client.Client {
	o := client.DefaultOptions()
	o.URL, o.Kid, o.Secret = f.server.URL, "acme-1", secret
	o.TLS = f.server.Client().Transport.(*http.Transport).TLSClientConfig
	o.MinBackoff, o.MaxBackoff = time.Millisecond, 5*time.Millisecond
	if change != nil {
		change(&o)
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func makeEvents(n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = fmt.Appendf(nil, `{"event_id":"e-%d","key":{"user_id":"u-%d"}}`, i, i%7)
	}
	return out
}

func statuses(rs []client.Result) map[client.Status]int {
	m := map[client.Status]int{}
	for i, r := range rs {
		if r.Index != i || r.EventID != "e-"+strconv.Itoa(i) {
			m["misplaced"]++
		}
		m[r.Status]++
	}
	return m
}
