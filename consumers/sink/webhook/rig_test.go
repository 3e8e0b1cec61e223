package webhook_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink/webhook"
)

const (
	patience = 20 * time.Second
	payload  = `{"event_id":"e.1","payload":{"iban":"DE02120300000000202051"}}`
)

func TestMain(m *testing.M) {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		_ = os.Setenv(name, "http://127.0.0.1:9") // read once by whoever uses it
	}
	goleak.VerifyTestMain(m)
}

// secret is the nth of the tests' secrets.
func secret(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

func key(t *testing.T, prefix string, n byte) signature.WebhookKey {
	t.Helper()
	k, err := signature.ParseWebhookKey(prefix + base64.StdEncoding.EncodeToString(secret(n)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func keys(t *testing.T, list ...byte) (out []signature.WebhookKey) {
	t.Helper()
	for _, n := range list {
		out = append(out, key(t, "whsec_", n))
	}
	return out
}

// request is what an endpoint got.
type request struct {
	header http.Header
	body   []byte
}

// endpoint is a server that keeps what it gets and then answers.
type endpoint struct {
	*httptest.Server
	answer http.HandlerFunc // nil: 204

	mu  sync.Mutex
	got []request
}

func serve(t *testing.T, answer http.HandlerFunc) *endpoint {
	t.Helper()
	e := &endpoint{answer: answer}
	e.Server = httptest.NewTLSServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // a sender that was cut off
	}
	e.mu.Lock()
	e.got = append(e.got, request{r.Header.Clone(), body})
	e.mu.Unlock()
	if e.answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	e.answer(w, r)
}

func (e *endpoint) requests() []request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]request{}, e.got...)
}

// options are good for an endpoint on this machine.
func (e *endpoint) options(t *testing.T) webhook.Options {
	t.Helper()
	return webhook.Options{URL: e.URL + "/hooks/t0k3n", Secrets: []signature.WebhookKey{key(t, "whsec_", 1)}, CAs: e.authorities(), Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Timeout: patience}
}

func (e *endpoint) authorities() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(e.Certificate())
	return pool
}

// named is the endpoint's URL under a name that its certificate has.
func (e *endpoint) named() string {
	return "https://hooks.example.com:" + e.port() + "/hooks"
}

func (e *endpoint) port() string {
	_, port, _ := net.SplitHostPort(e.Listener.Addr().String())
	return port
}

func open(t *testing.T, o webhook.Options) *webhook.Sink {
	t.Helper()
	s, err := webhook.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// event is one as a subscription hands it on.
func event(id string) *consumers.Message {
	return &consumers.Message{EventID: id, Raw: []byte(payload), Header: nats.Header{}, Attempt: 1}
}

func handle(t *testing.T, s *webhook.Sink, id string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return s.Handle(ctx, event(id))
}

// names is a DNS server that answers every question for an IPv4 address with the next list of addresses, the last one for ever.
type names struct {
	conn    net.PacketConn
	answers [][]netip.Addr
	asked   atomic.Int64
}

func serveNames(t *testing.T, answers ...[]netip.Addr) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn, answers: answers}
	var served sync.WaitGroup
	served.Go(n.serve)
	t.Cleanup(func() {
		_ = conn.Close()
		served.Wait()
	})
	return n
}

func addrs(list ...string) []netip.Addr {
	out := make([]netip.Addr, len(list))
	for i, s := range list {
		out[i] = netip.MustParseAddr(s)
	}
	return out
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
}

func (n *names) serve() {
	question := make([]byte, 512)
	for {
		size, from, err := n.conn.ReadFrom(question)
		if err != nil {
			return
		}
		if reply := n.reply(question[:size]); reply != nil {
			_, _ = n.conn.WriteTo(reply, from)
		}
	}
}

// reply answers the one question of a message (RFC 1035, 4.1).
func (n *names) reply(m []byte) []byte {
	const head = 12
	end := bytes.IndexByte(m[head:], 0) + head + 1 // of the name
	if len(m) < end+4 {
		return nil
	}
	isA := m[end] == 0 && m[end+1] == 1
	var list []netip.Addr
	if isA {
		i := min(int(n.asked.Add(1)), len(n.answers)) - 1
		list = n.answers[i]
	}
	out := bytes.Clone(m[:end+4])
	out[2], out[3] = 0x84, 0x80                                // an answer, with authority
	out[6], out[7] = 0, byte(len(list))                        // how many
	out[8], out[9], out[10], out[11] = 0, 0, 0, 0              // nothing else
	record := []byte{0xc0, head, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4} // the name asked for, A, IN, TTL 0, 4 bytes
	for _, a := range list {
		out = append(append(out, record...), a.AsSlice()...)
	}
	return out
}

// listen accepts connections at another address of this machine, at the endpoint's port, and counts them.
func (e *endpoint) neighbour(t *testing.T, addr string) *atomic.Int64 {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, e.port()))
	if err != nil {
		t.Fatal(err)
	}
	var came atomic.Int64
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
	})
	return &came
}

// tells fails if a text shows what must stay hidden.
func tells(t *testing.T, what, text string) {
	t.Helper()
	for _, hidden := range []string{"t0k3n", "DE02", "user-token", base64.StdEncoding.EncodeToString(secret(1)), fmt.Sprint(secret(1)), string(secret(1))} {
		if strings.Contains(text, hidden) {
			t.Errorf("%s tells %q: %s", what, hidden, text)
		}
	}
}

func serveHTTP2(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{}
	e.Server = httptest.NewUnstartedServer(e)
	e.EnableHTTP2 = true
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}
