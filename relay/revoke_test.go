package relay_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
)

// revoke does what a record from the control log does.
func (r *rig) revoke(cert *x509.Certificate) {
	c := &accounts.Certificate{
		Serial: pki.SerialText(cert.SerialNumber), Issuer: pki.IssuerOf(r.ca.Certificate()).String(), Tenant: "acme", Producer: "default",
		State: accounts.CertificateRevoked, NotAfter: cert.NotAfter,
	}
	r.control.change(func(s *control.State) { s.Certificates[c.ID()] = c })
}

// within is more than the relay takes to refuse, and less than the 10 s that are promised.
const within = 8 * time.Second

// line is one TLS connection on which a test writes requests byte by byte.
type line struct {
	*tls.Conn
	rig *rig
	in  *bufio.Reader
}

func (r *rig) dial(pair tls.Certificate, change func(*tls.Config)) (*line, error) {
	conf := &tls.Config{RootCAs: r.roots(), ServerName: "localhost", Certificates: []tls.Certificate{pair}}
	if change != nil {
		change(conf)
	}
	c, err := tls.Dial("tcp", r.relay.Addr(), conf)
	if err != nil {
		return nil, err
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return &line{Conn: c, rig: r, in: bufio.NewReader(c)}, c.SetDeadline(time.Now().Add(within))
}

// request is a signed request as bytes.
func (r *rig) request(id string) []byte {
	body := ev()
	req, err := http.NewRequest(http.MethodPost, "https://"+r.relay.Addr()+"/v1/events", strings.NewReader(body))
	r.must(err)
	req.Header.Set("Content-Type", "application/json")
	signature.SignHTTP(r.secrets["acme-1"], req, "acme-1", id, time.Now(), []byte(body))
	var out bytes.Buffer
	r.must(req.Write(&out))
	return out.Bytes()
}

// answer reads one answer; 0 is a connection that ended instead.
func (l *line) answer() (int, string) {
	l.rig.t.Helper()
	res, err := http.ReadResponse(l.in, nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.rig.t.Fatalf("neither an answer nor an end within %s", within)
	}
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	l.rig.must(err)
	return res.StatusCode, string(text)
}

func (l *line) post(id string) (int, string) {
	if _, err := l.Write(l.rig.request(id)); err != nil {
		return 0, err.Error()
	}
	return l.answer()
}

func (r *rig) clientPair(who pki.Principal) tls.Certificate {
	return r.pair(pki.Spec{CommonName: "client", URIs: []string{who.URI()}, Client: true})
}

// TestRevokedOnResumedConnections shows the trap first: the session is resumed, so that no certificate hook runs.
func TestRevokedOnResumedConnections(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.3": tls.VersionTLS13, "TLS 1.2": tls.VersionTLS12} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			pair := r.clientPair(acme)
			conf := func(c *tls.Config) { c.MaxVersion = version }
			cache := tls.NewLRUClientSessionCache(4)
			again := func(c *tls.Config) { conf(c); c.ClientSessionCache = cache }
			first, err := r.dial(pair, again)
			r.must(err)
			if code, text := first.post("e-1"); code != 202 {
				t.Fatal(code, text)
			}
			second, err := r.dial(pair, again)
			r.must(err)
			if code, text := second.post("e-2"); code != 202 || !second.ConnectionState().DidResume {
				t.Fatal(code, text, second.ConnectionState().DidResume)
			}
			r.revoke(pair.Leaf)
			for kind, change := range map[string]func(*tls.Config){"resumed": again, "new": conf} {
				deadline := time.Now().Add(within)
				for {
					l, err := r.dial(pair, change)
					if err != nil {
						break // TLS 1.2 tells in the handshake
					}
					code, text := l.post("e-" + kind)
					if code == 0 {
						if want := kind == "resumed"; l.ConnectionState().DidResume != want {
							t.Errorf("%s: resumed %v", kind, !want)
						}
						break
					}
					if code != 401 && time.Now().After(deadline) {
						t.Fatalf("%s: answered %d %s", kind, code, text)
					}
				}
			}
			if !strings.Contains(r.logged(), "the client certificate is revoked") {
				t.Error("the relay does not say why")
			}
			other, err := r.dial(r.clientPair(acme), conf)
			r.must(err)
			if code, text := other.post("e-other"); code != 202 {
				t.Error("another certificate of the same producer:", code, text)
			}
		})
	}
}

func TestRevokedOnOpenHTTP1(t *testing.T) {
	r := newRig(t)
	pair := r.clientPair(acme)
	busy, err := r.dial(pair, nil)
	r.must(err)
	idle, err := r.dial(pair, nil)
	r.must(err)
	other, err := r.dial(r.clientPair(acme), nil)
	r.must(err)
	for i, l := range []*line{busy, idle, other} {
		if code, text := l.post("e-" + string(rune('a'+i))); code != 202 {
			t.Fatal(code, text)
		}
	}
	head, body, _ := bytes.Cut(r.request("e-busy"), []byte("\r\n\r\n"))
	_, err = busy.Write(append(bytes.Clone(head), "\r\nExpect: 100-continue\r\n\r\n"...))
	r.must(err)
	if code, text := busy.answer(); code != 100 { // the relay reads the body: this request was let in
		t.Fatal(code, text)
	}
	r.revoke(pair.Leaf)
	_, err = busy.Write(append(body, r.request("e-next")...))
	r.must(err)
	if code, text := busy.answer(); code != 202 {
		t.Errorf("a request that was admitted before did not finish: %d %s", code, text)
	}
	if code, text := busy.answer(); code != 401 || !strings.Contains(text, `"code":"certificate_revoked"`) {
		t.Errorf("the next request on the open connection: %d %s", code, text)
	}
	for name, l := range map[string]*line{"busy": busy, "idle": idle} {
		if code, text := l.answer(); code != 0 {
			t.Errorf("%s connection: %d %s", name, code, text)
		}
	}
	if code, text := other.post("e-z"); code != 202 {
		t.Error("a connection with another certificate:", code, text)
	}
	if n := r.stored(); n != 5 {
		t.Errorf("%d events are stored", n)
	}
}

func TestRevokedOnOpenHTTP2(t *testing.T) {
	r := newRig(t)
	if a := r.send(post{body: ev()}); a.status != 202 || a.protocol != "HTTP/2.0" {
		t.Fatal(a.status, a.protocol, a.text)
	}
	cert := r.client(acme, false).Transport.(*http.Transport).TLSClientConfig.Certificates[0].Leaf
	read, write := io.Pipe()
	waiting := make(chan answer)
	slow := ev()
	go func() { waiting <- r.send(post{body: slow, sendBody: read}) }() // keeps the connection busy
	_, err := write.Write([]byte(slow[:10]))
	r.must(err)
	if a := r.send(post{who: globex, body: ev()}); a.status != 202 {
		t.Fatal(a.text)
	}
	r.revoke(cert)
	if a := r.send(post{body: ev()}); a.status != 401 || a.Code != "certificate_revoked" {
		t.Errorf("a request on an open connection: %d %s", a.status, a.text)
	}
	_, err = write.Write([]byte(slow[10:]))
	r.must(err)
	r.must(write.Close())
	if a := <-waiting; a.status != 202 {
		t.Error("a request that was admitted before did not finish:", a.text)
	}
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
	if a := r.send(post{who: globex, body: ev(), after: func(q *http.Request) { *q = *q.WithContext(httptrace.WithClientTrace(q.Context(), trace)) }}); a.status != 202 || !reused {
		t.Error("the other tenant's connection was touched:", a.status, reused)
	}
	// the idle connection ends, and no new one comes up
	deadline := time.Now().Add(within)
	for {
		req, err := http.NewRequest(http.MethodPost, "https://"+r.relay.Addr()+"/v1/events", http.NoBody)
		r.must(err)
		res, err := r.client(acme, false).Do(req)
		if err != nil {
			break
		}
		_ = res.Body.Close()
		if res.StatusCode != 401 || time.Now().After(deadline) {
			t.Fatal("still open: ", res.StatusCode)
		}
	}
}
