package main

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers/postgrestest"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// crm is somebody's endpoint: it checks what it gets, and counts how often each event came.
type crm struct {
	*httptest.Server
	secret []byte

	mu    sync.Mutex
	taken map[string]int // event id → how often
	order []string       // the ids as they came
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
	c.order = append(c.order, e.ID)
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

// consumerRig is a mesh with events, and where a consumer of it runs.
type consumerRig struct {
	t       *testing.T
	dir     string
	metrics string // of the consumer
	events  int
}

// configure writes files of the consumer; its configuration is that of every test, and the sink.
func (r *consumerRig) configure(durable, sink string, files map[string]string) {
	r.t.Helper()
	files[durable+".yaml"] = fmt.Sprintf("durable: %s\ndata: mesh\nregion: us\nretry: {first: 10ms, most: 100ms}\nlisten: {metrics: %q}\nsink:\n%s\n", durable, r.metrics, sink)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// run starts a consumer.
func (r *consumerRig) run(durable string, args ...string) *process {
	r.t.Helper()
	p := &process{t: r.t, name: "consumer", dir: r.dir, args: append([]string{"consumer", "run", "--config", durable + ".yaml"}, args...), ready: "http://" + r.metrics + "/readyz"}
	p.start()
	r.t.Cleanup(func() {
		p.kill()
		if r.t.Failed() {
			r.t.Logf("the consumer printed:\n%s", p.log)
		}
	})
	return p
}

func (r *consumerRig) send(seed uint64, n int) {
	r.t.Helper()
	file := fmt.Sprintf("%d.ndjson", seed)
	writeEvents(r.t, filepath.Join(r.dir, file), seed, n)
	runWeft(r.t, r.dir, "send", file, "--data", "mesh", "--tenant", "acme", "--region", "eu")
	r.events += n
}

// Events of a real mesh reach every kind of sink in the other region.
func TestConsumerRun(t *testing.T) {
	r := &consumerRig{t: t, dir: t.TempDir(), metrics: fmt.Sprintf("127.0.0.1:%d", streamtest.Ports(t).Port(1))}
	upProcess(t, r.dir, "--data", "mesh", "--port-base", upPortBase(t))
	r.send(1, 600)
	t.Run("webhook", r.testWebhook)
	t.Run("postgres", r.testPostgres)
	t.Run("files", r.testFiles)
	t.Run("nats", r.testStream)
	t.Run("order", r.testOrder)
	t.Run("group", r.testGroup)
	t.Run("down", r.testEndpointDown)
}

// ask is what the consumer answers to a path.
func (r *consumerRig) ask(path string) string {
	resp, err := http.Get("http://" + r.metrics + path) //nolint:noctx // the consumer is on this machine
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// An endpoint that is down is told by readiness, and holds up no stop.
func (r *consumerRig) testEndpointDown(t *testing.T) {
	r.t = t
	r.configure("down", `  kind: webhook
  webhook: {url: "http://127.0.0.1:9/", secret_file: crm.secret, state_file: down.gone.json, allow: [127.0.0.1]}
breaker: {failures: 2, first: 1h, most: 1h}`, map[string]string{})
	p := r.run("down")
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		said := r.ask("/readyz")
		return strings.Contains(said, "the sink fails since"), said
	})
	begin := time.Now()
	if err := p.terminate(); err != nil || time.Since(begin) > 10*time.Second {
		t.Errorf("the consumer left after %s: %v", time.Since(begin), err)
	}
}

// runsThrough runs a consumer until its sink has said of every event that it delivered it, and has it leave.
func (r *consumerRig) runsThrough(durable string) {
	r.t.Helper()
	p := r.run(durable)
	p.awaitReady()
	want := fmt.Sprintf("\nweft_sink_events_total{outcome=\"delivered\",sink=%q} %d\n", durable, r.events)
	streamtest.Eventually(r.t, 30*time.Second, func() (bool, string) {
		return strings.Contains(r.ask("/metrics"), want), fmt.Sprintf("no %q", want)
	})
	if err := p.terminate(); err != nil {
		r.t.Errorf("the consumer did not leave cleanly: %v", err)
	}
}

// webhook configures a consumer that posts to the endpoint; more is added to its file.
func (r *consumerRig) webhook(durable string, endpoint *crm, more string) {
	r.configure(durable, fmt.Sprintf("  kind: webhook\n  webhook: {url: %q, secret_file: crm.secret, state_file: crm.gone.json, ca_file: crm-ca.pem, allow: [127.0.0.1]}\n%s", endpoint.URL+"/hook", more), map[string]string{
		"crm.secret": "whsec_" + base64.StdEncoding.EncodeToString(endpoint.secret) + "\n",
		"crm-ca.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: endpoint.Certificate().Raw})),
	})
}

// What its source counted otherwise than it was stored is posted as it was counted.
func (r *consumerRig) testOrder(t *testing.T) {
	r.t = t
	endpoint := newCRM(t)
	r.webhook("ordered", endpoint, "from: new\nreorder_window: 30s")
	p := r.run("ordered")
	p.awaitReady()
	var events strings.Builder
	for _, n := range []int{1, 4, 3, 2, 5} {
		fmt.Fprintf(&events, `{"event_id":"counted-%d","event_type":"kyc.checked","schema_version":"1.0.0","occurred_at":"2026-01-01T00:00:00Z","key":{"user_id":"zoe"},"source_seq":%d,"payload":{}}`+"\n", n, n)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "counted.ndjson"), []byte(events.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	runWeft(t, r.dir, "send", "counted.ndjson", "--now", "--data", "mesh", "--tenant", "acme", "--region", "eu")
	r.events += 5
	endpoint.wants(t, 5)
	if err := p.terminate(); err != nil {
		t.Errorf("the consumer did not leave cleanly: %v", err)
	}
	if want := []string{"counted-1", "counted-2", "counted-3", "counted-4", "counted-5"}; !slices.Equal(endpoint.order, want) {
		t.Errorf("posted %v, want %v", endpoint.order, want)
	}
}

// Killed in the middle and started again, a consumer has posted every event in the end; stopped, it goes on behind the
// last one.
func (r *consumerRig) testWebhook(t *testing.T) {
	r.t = t
	endpoint := newCRM(t)
	r.webhook("crm", endpoint, "ack_wait: 1s")
	p := r.run("crm")
	endpoint.wants(t, r.events/10)
	p.kill()
	taken, _, _ := endpoint.counts()
	p.start()
	p.awaitReady()
	endpoint.wants(t, r.events)
	if err := p.terminate(); err != nil {
		t.Errorf("the consumer did not leave cleanly: %v", err)
	}
	_, again, _ := endpoint.counts()
	t.Logf("killed after %d of %d events; %d came twice", taken, r.events, again)

	r.send(2, 10)
	p.start()
	endpoint.wants(t, r.events)
	if _, after, _ := endpoint.counts(); after != again {
		t.Errorf("after a stop %d events came once more", after-again)
	}
}

func (r *consumerRig) testPostgres(t *testing.T) {
	r.t = t
	url := postgrestest.Database(t)
	r.configure("postgres", "  kind: postgres\n  postgres: {url_file: postgres.url, schema: acme_events}", map[string]string{"postgres.url": url + "\n"})
	r.runsThrough("postgres")
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.Background()) }()
	var rows, ids int
	if err := db.QueryRow(t.Context(), "SELECT count(*), count(DISTINCT event_id) FROM acme_events.event_log").Scan(&rows, &ids); err != nil || rows != r.events || ids != rows {
		t.Errorf("%d rows of %d events, %d wanted: %v", rows, ids, r.events, err)
	}
}

func (r *consumerRig) testFiles(t *testing.T) {
	r.t = t
	r.configure("files", "  kind: files\n  files: {dir: table, linger: 100ms}", map[string]string{})
	r.runsThrough("files")
	if written, err := filepath.Glob(filepath.Join(r.dir, "table", "dt=*", "hour=*", "*.parquet")); err != nil || len(written) == 0 {
		t.Errorf("no files: %v", err)
	}
}

func (r *consumerRig) testStream(t *testing.T) {
	r.t = t
	s := streamtest.Server(t)
	_, js := s.Stream(jetstream.StreamConfig{Name: "COPY", Subjects: []string{"copy.>"}})
	r.configure("nats", fmt.Sprintf("  kind: nats\n  nats: {urls: [%q], stream: COPY, prefix: copy}", s.URL()), map[string]string{})
	r.runsThrough("nats")
	copies, err := js.Stream(t.Context(), "COPY")
	if err != nil {
		t.Fatal(err)
	}
	if n := copies.CachedInfo().State.Msgs; n != uint64(r.events) {
		t.Errorf("%d copies of %d events", n, r.events)
	}
}
