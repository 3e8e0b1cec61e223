package main

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// crm is somebody's endpoint: it checks what it gets, and counts how often each event came.
type crm struct {
	*httptest.Server
	secret []byte

	mu    sync.Mutex
	taken map[string]int // event id → how often
	bad   []string
}

func newCRM(t *testing.T) *crm {
	t.Helper()
	c := &crm{secret: []byte("0123456789abcdef0123456789abcdef"), taken: map[string]int{}}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *crm) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed
	}
	id := r.Header.Get(signature.WebhookID)
	content := signature.AppendWebhook(nil, id, r.Header.Get(signature.WebhookTimestamp), body)
	var e event.Event
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := event.Decode(body, &e); err != nil || strings.ReplaceAll(e.ID, ".", "/") != id || !signature.VerifyWebhook(c.secret, content, r.Header.Get(signature.WebhookSignature)) {
		c.bad = append(c.bad, fmt.Sprintf("%s: %v: %.80s", id, err, body))
	}
	c.taken[e.ID]++
}

// counts are how many events came, and how many of them more than once.
func (c *crm) counts() (events, again int, bad []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.taken {
		if n > 1 {
			again++
		}
	}
	return len(c.taken), again, c.bad
}

func (c *crm) wants(t *testing.T, n int) {
	t.Helper()
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		events, _, bad := c.counts()
		return events >= n || len(bad) > 0, fmt.Sprintf("%d of %d events came", events, n)
	})
	if _, _, bad := c.counts(); len(bad) > 0 {
		t.Fatal(bad)
	}
}

// configure writes what a consumer needs to reach it.
func (c *crm) configure(t *testing.T, dir, metrics string) {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	for name, text := range map[string]string{
		"crm.secret": "whsec_" + base64.StdEncoding.EncodeToString(c.secret) + "\n",
		"crm-ca.pem": string(ca),
		"crm.yaml": fmt.Sprintf(`durable: crm
data: mesh
region: us
ack_wait: 1s
retry: {first: 10ms, most: 100ms}
listen: {metrics: %q}
sink:
  kind: webhook
  webhook: {url: %q, secret_file: crm.secret, state_file: crm.gone.json, ca_file: crm-ca.pem, allow: [127.0.0.1]}
`, metrics, c.URL+"/hook"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// Killed in the middle and started again, a consumer has posted every event in the end; stopped, it goes on behind the last one.
func TestConsumerRunSurvivesSIGKILL(t *testing.T) {
	dir := t.TempDir()
	ports := streamtest.Ports(t)
	upProcess(t, dir, "--data", "mesh", "--port-base", upPortBase(t))
	const events = 600
	writeEvents(t, filepath.Join(dir, "a.ndjson"), 1, events)
	runWeft(t, dir, "send", "a.ndjson", "--data", "mesh", "--tenant", "acme", "--region", "eu")
	endpoint := newCRM(t)
	metrics := fmt.Sprintf("127.0.0.1:%d", ports.Port(1))
	endpoint.configure(t, dir, metrics)

	p := &process{t: t, name: "consumer", dir: dir, args: []string{"consumer", "run", "--config", "crm.yaml"}, ready: "http://" + metrics + "/readyz"}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("the consumer printed:\n%s", p.log)
		}
	})
	endpoint.wants(t, events/10)
	p.kill()
	taken, _, _ := endpoint.counts()
	p.start()
	p.awaitReady()
	endpoint.wants(t, events)
	if err := p.terminate(); err != nil {
		t.Errorf("the consumer did not leave cleanly: %v", err)
	}
	_, again, _ := endpoint.counts()
	t.Logf("killed after %d of %d events; %d came twice", taken, events, again)

	writeEvents(t, filepath.Join(dir, "b.ndjson"), 2, 10)
	runWeft(t, dir, "send", "b.ndjson", "--data", "mesh", "--tenant", "acme", "--region", "eu")
	p.start()
	endpoint.wants(t, events+10)
	if _, after, _ := endpoint.counts(); after != again {
		t.Errorf("after a stop %d events came once more", after-again)
	}
}
