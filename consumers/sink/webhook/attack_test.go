package webhook_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/consumers/sink/webhook"
	"github.com/weft-mesh/weft/streams/fault"
)

// A name that leads to this machine is refused unless that is allowed, whatever the resolver says.
func TestNamesLeadNowherePrivate(t *testing.T) {
	e := serve(t, nil)
	o := e.options(t)
	o.URL = e.named()
	o.Resolver = serveNames(t, addrs("127.0.0.1")).resolver()
	if err := handle(t, open(t, o), "allowed"); err != nil {
		t.Fatalf("allowed: %v", err)
	}
	o.Allow = nil
	for _, private := range []string{"127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "169.254.169.254", "192.168.0.1", "100.64.0.1"} {
		o.Resolver = serveNames(t, addrs(private)).resolver()
		err := handle(t, open(t, o), "denied")
		if fault.CodeOf(err) != "address_denied" || retry.Classify(err) != retry.Outage {
			t.Errorf("%s: %v (%s)", private, err, fault.CodeOf(err))
		}
	}
	if n := len(e.requests()); n != 1 {
		t.Errorf("the endpoint got %d requests, want the one that was allowed", n)
	}
}

// The name means the endpoint when it is first asked for, and a neighbour that is not public the next time.
func TestRebindingIsRefused(t *testing.T) {
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	victim := e.neighbour(t, "127.0.0.2")
	o := e.options(t)
	o.URL = e.named()
	n := serveNames(t, addrs("127.0.0.1"), addrs("127.0.0.2"))
	o.Resolver = n.resolver()
	s := open(t, o)
	if err := handle(t, s, "before"); err != nil {
		t.Fatal(err)
	}
	err := handle(t, s, "after")
	if fault.CodeOf(err) != "address_denied" || victim.Load() != 0 || n.asked.Load() < 2 {
		t.Errorf("%v; the neighbour got %d connections, the name was asked for %d times", err, victim.Load(), n.asked.Load())
	}
}

// Of several addresses only those that may be dialled are.
func TestOfSeveralAddressesOnlyTheAllowedAreDialled(t *testing.T) {
	e := serve(t, nil)
	victim := e.neighbour(t, "127.0.0.2")
	o := e.options(t)
	o.URL = e.named()
	o.Resolver = serveNames(t, addrs("127.0.0.2", "127.0.0.1")).resolver()
	if err := handle(t, open(t, o), "e"); err != nil || victim.Load() != 0 {
		t.Errorf("%v, the neighbour got %d connections", err, victim.Load())
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	defer elsewhere.Close()
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		for _, to := range []string{elsewhere.URL, "http://169.254.169.254/latest/meta-data/", "/again"} {
			e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", to)
				w.WriteHeader(status)
			})
			err := handle(t, open(t, e.options(t)), "e")
			if fault.CodeOf(err) != "endpoint_moved" || retry.Classify(err) != retry.Outage || len(e.requests()) != 1 {
				t.Errorf("%d to %s: %v, %d requests", status, to, err, len(e.requests()))
			}
		}
	}
	if followed.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// A proxy would see the request, and dial whatever the name means to it. The environment of these tests names one that
// does not answer (TestMain).
func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	e := serve(t, nil)
	o := e.options(t)
	o.URL = e.named()
	o.Resolver = serveNames(t, addrs("127.0.0.1")).resolver()
	if err := handle(t, open(t, o), "e"); err != nil || os.Getenv("HTTPS_PROXY") == "" {
		t.Error(err)
	}
}

// stalled is an answer that never ends: it lasts until the test does.
func stalled(t *testing.T, begin func(http.ResponseWriter)) *endpoint {
	over := make(chan struct{})
	e := serve(t, func(w http.ResponseWriter, r *http.Request) {
		begin(w)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-over:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(over) }) // before the server closes, which waits for it
	return e
}

func TestAnEndpointThatNeverAnswersIsLeft(t *testing.T) {
	over := make(chan struct{})
	e := serve(t, func(http.ResponseWriter, *http.Request) { <-over })
	t.Cleanup(func() { close(over) })
	o := e.options(t)
	o.Timeout = 200 * time.Millisecond
	err := handle(t, open(t, o), "e")
	if fault.CodeOf(err) != "endpoint_slow" || retry.Classify(err) != retry.Outage {
		t.Errorf("%v (%s)", err, fault.CodeOf(err))
	}
}

// A status counts when it comes; the rest of the answer may take for ever.
func TestAnAnswerThatTricklesCountsByItsStatus(t *testing.T) {
	for status, delivered := range map[int]bool{200: true, 503: false} {
		e := stalled(t, func(w http.ResponseWriter) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "a")
		})
		begin := time.Now()
		if err := handle(t, open(t, e.options(t)), "e"); (err == nil) != delivered || time.Since(begin) > patience/2 {
			t.Errorf("%d: %v after %s", status, err, time.Since(begin))
		}
	}
}

// After 101 the connection is the caller's, and no deadline of the request holds for it any more.
func TestAProtocolThatNobodyAskedForIsLeft(t *testing.T) {
	over := make(chan struct{})
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chess\r\n\r\n")
		_ = rw.Flush()
		<-over
	})
	t.Cleanup(func() { close(over) })
	done := make(chan error, 1)
	go func() { done <- handle(t, open(t, e.options(t)), "e") }()
	select {
	case err := <-done:
		if retry.Classify(err) != retry.Outage {
			t.Errorf("got %v", err)
		}
	case <-time.After(patience / 2):
		t.Fatal("the request does not end")
	}
}

func TestAHugeAnswerIsNotRead(t *testing.T) {
	const most = 16 << 20
	var written atomic.Int64
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for written.Load() < most {
			n, err := w.Write(chunk)
			if written.Add(int64(n)); err != nil {
				return
			}
		}
	})
	if err := handle(t, open(t, e.options(t)), "e"); err != nil {
		t.Fatal(err)
	}
	e.Close() // waits for the answer to end
	if n := written.Load(); n >= most {
		t.Errorf("all %d bytes were taken", n)
	}
}

func TestAHugeHeaderIsNoAnswer(t *testing.T) {
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for i := range 64 {
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("a", 4<<10))
		}
	})
	if err := handle(t, open(t, e.options(t)), "e"); retry.Classify(err) != retry.Outage {
		t.Errorf("got %v", err)
	}
}

// A bomb is not unpacked: nothing asks for compression, and what is compressed all the same stays so.
func TestADecompressionBombIsNotUnpacked(t *testing.T) {
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = w.Write(make([]byte, 1<<20))
	_ = w.Close()
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	})
	if err := handle(t, open(t, e.options(t)), "e"); err != nil {
		t.Fatal(err)
	}
	if asked := e.requests()[0].header.Get("Accept-Encoding"); asked != "" {
		t.Errorf("compression is asked for: %q", asked)
	}
}

func TestAnEndpointOfAnotherAuthorityIsNotTrusted(t *testing.T) {
	e := serve(t, nil)
	o := e.options(t)
	o.CAs = nil
	err := handle(t, open(t, o), "e")
	if fault.CodeOf(err) != "endpoint_untrusted" || retry.Classify(err) != retry.Outage || len(e.requests()) != 0 {
		t.Errorf("%v (%s), %d requests", err, fault.CodeOf(err), len(e.requests()))
	}
}

func TestOptionsAreRefused(t *testing.T) {
	e := serve(t, nil)
	for name, c := range map[string]struct {
		change func(*webhook.Options)
		want   string
	}{
		"no URL":             {func(o *webhook.Options) { o.URL = "" }, "https://host/path"},
		"no host":            {func(o *webhook.Options) { o.URL = "https:///t0k3n" }, "https://host/path"},
		"broken URL":         {func(o *webhook.Options) { o.URL = "https://h/%zz?t0k3n" }, "https://host/path"},
		"plain":              {func(o *webhook.Options) { o.URL = "http://crm.example.com/t0k3n" }, "not https"},
		"plain to localhost": {func(o *webhook.Options) { o.URL = "http://localhost/t0k3n" }, "not https"},
		"plain, private": {func(o *webhook.Options) {
			o.URL, o.Allow = "http://10.0.0.1/t0k3n", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}, "not https"},
		"another scheme":  {func(o *webhook.Options) { o.URL = "ftp://crm.example.com/t0k3n" }, "not https"},
		"user":            {func(o *webhook.Options) { o.URL = "https://user:user-token@crm.example.com/" }, "names a user"},
		"fragment":        {func(o *webhook.Options) { o.URL = "https://crm.example.com/#t0k3n" }, "fragment"},
		"private address": {func(o *webhook.Options) { o.URL = "https://10.0.0.1/t0k3n" }, "10.0.0.1 is not dialled"},
		"mapped address":  {func(o *webhook.Options) { o.URL = "https://[::ffff:10.0.0.1]/t0k3n" }, "is not dialled"},
		"metadata":        {func(o *webhook.Options) { o.URL = "http://169.254.169.254/t0k3n" }, "is not dialled"},
		"no secret":       {func(o *webhook.Options) { o.Secrets = nil }, "0 secrets"},
		"empty secret":    {func(o *webhook.Options) { o.Secrets = make([]signature.WebhookKey, 1) }, "a secret is empty"},
		"many secrets":    {func(o *webhook.Options) { o.Secrets = make([]signature.WebhookKey, 5) }, "5 secrets"},
		"token":           {func(o *webhook.Options) { o.Token = []byte("user-token\nX: y") }, "token"},
		"timeout":         {func(o *webhook.Options) { o.Timeout = -1 }, "timeout"},
		"concurrency":     {func(o *webhook.Options) { o.Concurrency = 257 }, "257"},
		"told":            {func(o *webhook.Options) { o.MostTold = -1 }, "negative"},
	} {
		o := e.options(t)
		c.change(&o)
		_, err := webhook.Open(t.Context(), o)
		if fault.KindOf(err) != fault.Invalid || fault.CodeOf(err) != "invalid_options" || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			continue
		}
		tells(t, name, err.Error())
	}
}
