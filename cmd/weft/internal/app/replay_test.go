package app

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// copied sends one signed request to a relay as it is, whoever it was signed for.
func (p *pair) copied(head http.Header, host, addr string, body []byte) string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "https://"+addr+"/v1/events", bytes.NewReader(body))
	must(p.t, err)
	req.Header, req.Host = head.Clone(), host
	transport := &http.Transport{TLSClientConfig: p.tls.Clone()}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	must(p.t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	must(p.t, err)
	return fmt.Sprint(res.StatusCode, " ", string(text))
}

// A request that a relay of one region accepted is worth nothing in the other one, nor at a relay that is started
// there later; and of what happened while the regions were cut off from each other each knows once they are linked.
func TestReplayInTheOtherRegion(t *testing.T) {
	p := newPair(t, time.Second)
	host := p.relay.Addr()
	named := func(o *relay.Options) { o.Hosts = []string{host} }
	us := p.startRelay("us", "r1", named)
	secret, err := base64.StdEncoding.DecodeString(p.bundle.Secret)
	must(t, err)
	capture := func(n int) (http.Header, []byte) {
		body := remoteEvent(fmt.Sprintf("replayed-%d", n), "plain.x")
		req, err := http.NewRequest(http.MethodPost, "https://"+host+"/v1/events", nil)
		must(t, err)
		req.Header.Set("Content-Type", "application/json")
		signature.SignHTTP(secret, req, p.bundle.Kid, fmt.Sprintf("req-%d", n), time.Now(), body)
		return req.Header, body
	}
	knows := func(r *Relay, n int64) {
		t.Helper()
		streamtest.Eventually(t, 60*time.Second, func() (bool, string) {
			return r.Remembered() >= n, fmt.Sprintf("the relay knows %d requests, want %d", r.Remembered(), n)
		})
	}
	expect := func(what, answer, status, code string) {
		t.Helper()
		if !strings.HasPrefix(answer, status) || !strings.Contains(answer, code) {
			t.Errorf("%s: %s, want %s %s", what, answer, status, code)
		}
	}
	head, body := capture(1)
	expect("the request itself", p.copied(head, host, host, body), "202", "stored")
	knows(us, 1)
	expect("in the other region", p.copied(head, host, us.Addr(), body), "401", "replayed")
	p.cutter.Cut()
	head2, body2 := capture(2)
	expect("while cut off", p.copied(head2, host, host, body2), "202", "stored")
	late := p.startRelay("us", "r2", named)
	expect("at a relay that was started later", p.copied(head, host, late.Addr(), body), "401", "replayed")
	p.cutter.Heal()
	knows(late, 2)
	expect("of the time of the cut", p.copied(head2, host, late.Addr(), body2), "401", "replayed")
}
