package relay_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeControl is a control state that the test sets.
type fakeControl struct {
	mu      sync.Mutex
	state   *control.State
	changed chan struct{}
	age     atomic.Int64
}

func (c *fakeControl) State() *control.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

func (c *fakeControl) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *fakeControl) HeartbeatAge() time.Duration { return time.Duration(c.age.Load()) }

// change publishes a new snapshot with the change made.
func (c *fakeControl) change(f func(*control.State)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := control.NewState()
	for k, v := range c.state.Tenants {
		next.Tenants[k] = v
	}
	for k, v := range c.state.Keys {
		next.Keys[k] = v
	}
	for k, v := range c.state.Routes {
		next.Routes[k] = v
	}
	for k, v := range c.state.Regions {
		next.Regions[k] = v
	}
	f(next)
	c.state = next
	close(c.changed)
	c.changed = make(chan struct{})
}

// rig is a relay of region eu before a real stream, with two tenants.
type rig struct {
	t       testing.TB
	control *fakeControl
	nats    *streamtest.JetStream
	conn    *nats.Conn
	js      jetstream.JetStream
	relay   *relay.Relay
	logs    *observer.ObservedLogs
	metrics *prometheus.Registry
	ca      *pki.Authority
	sealer  *keyring.AgeSealer
	secrets map[string]keyring.Secret // by kid
	clients map[string]*http.Client   // by principal's URI and protocol
	opened  atomic.Int64              // connections made by the relay
	publish func(string) string       // rewrites the NATS URL, or nil
}

var (
	acme   = pki.Principal{Role: pki.RoleTenant, Tenant: "acme", Producer: "default"}
	globex = pki.Principal{Role: pki.RoleTenant, Tenant: "globex", Producer: "default"}
)

func newRig(t testing.TB, change ...func(*relay.Options)) *rig {
	t.Helper()
	r := &rig{t: t, secrets: map[string]keyring.Secret{}, clients: map[string]*http.Client{}, metrics: prometheus.NewRegistry()}
	r.nats = streamtest.Server(t, "eu")
	r.conn, r.js = r.nats.Stream(jetstream.StreamConfig{
		Name: subject.EventsStream, Subjects: []string{"evt.eu_1.>"}, Duplicates: 2 * time.Minute, AllowMsgTTL: true,
		Discard: jetstream.DiscardNew,
	})
	r.serveDigests()
	var err error
	r.ca, err = pki.NewAuthority("test")
	r.must(err)
	r.sealer, err = keyring.NewAgeSealer()
	r.must(err)
	r.control = &fakeControl{state: control.NewState(), changed: make(chan struct{})}
	r.control.change(func(s *control.State) {
		s.Regions["eu"] = &accounts.RegionInfo{Name: "eu", Epoch: 1, Weight: 1, Replicas: 1, Ack: accounts.AckStored}
		s.Regions["us"] = &accounts.RegionInfo{Name: "us", Epoch: 1, Weight: 1, Replicas: 1, Ack: accounts.AckStored}
		for _, name := range []string{"acme", "globex"} {
			s.Tenants[name] = &accounts.Tenant{Name: name, State: accounts.Active}
			s.Keys[name+"-1"] = r.key(name+"-1", name, "default")
		}
	})
	r.start(change)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// key makes a key and remembers its secret.
func (r *rig) key(kid, tenant, producer string) *keyring.Key {
	r.secrets[kid] = keyring.NewSecret(32)
	sealed, err := r.sealer.Seal(r.secrets[kid])
	r.must(err)
	return &keyring.Key{Kid: kid, Tenant: tenant, Producer: producer, State: keyring.Active, Algorithms: []string{signature.Scheme}, Sealed: sealed}
}

func (r *rig) pair(s pki.Spec) tls.Certificate {
	s.TTL = time.Hour
	cert, key, err := r.ca.Issue(s)
	r.must(err)
	pair, err := tls.X509KeyPair(cert, key)
	r.must(err)
	return pair
}

func (r *rig) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(r.ca.Certificate())
	return pool
}

func (r *rig) start(change []func(*relay.Options)) {
	core, logs := observer.New(zapcore.DebugLevel)
	r.logs = logs
	o := relay.DefaultOptions()
	o.Origin, o.ID, o.Listen = "eu", "r1", "127.0.0.1:0"
	o.TLS = &tls.Config{
		Certificates: []tls.Certificate{r.pair(pki.Spec{CommonName: "relay", DNS: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true})},
		ClientCAs:    r.roots(),
	}
	o.Control, o.Sealer, o.Logger, o.Registerer = r.control, r.sealer, zap.New(core), r.metrics
	o.Connect = func(_ context.Context, _ string) (*nats.Conn, error) {
		r.opened.Add(1)
		at := r.nats.URL()
		if r.publish != nil {
			at = r.publish(at)
		}
		return nats.Connect(at, nats.CustomInboxPrefix(subject.InboxPrefix("eu")+".r1"), nats.ReconnectBufSize(-1),
			nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	}
	for _, f := range change {
		f(&o)
	}
	var err error
	r.relay, err = relay.New(o)
	r.must(err)
	r.must(r.relay.Start())
	r.t.Cleanup(func() {
		for _, c := range r.clients {
			c.CloseIdleConnections()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := r.relay.Stop(ctx); err != nil {
			r.t.Errorf("stop: %v", err)
		}
	})
}

// serveDigests plays the hub's service over the real stream.
func (r *rig) serveDigests() {
	_, err := r.conn.Subscribe(subject.Digest("eu"), func(m *nats.Msg) {
		var q original.Request
		_ = json.Unmarshal(m.Data, &q)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var a original.Response
		s, err := r.js.Stream(ctx, subject.EventsStream)
		for _, seq := range q.Seqs {
			d := original.Digest{Seq: seq, Error: original.NotFound}
			if err == nil {
				if stored, err := s.GetMsg(ctx, seq); err == nil {
					sum, _ := event.Digest(stored.Data)
					d = original.Digest{Seq: seq, EventID: stored.Header.Get(header.MsgID), Digest: hex.EncodeToString(sum[:])}
				}
			}
			a.Digests = append(a.Digests, d)
		}
		b, _ := json.Marshal(a)
		_ = m.Respond(b)
	})
	r.must(err)
	r.must(r.conn.Flush())
}

// client is an HTTP client with the principal's certificate.
func (r *rig) client(who pki.Principal, http1 bool) *http.Client {
	id := fmt.Sprint(who.URI(), http1)
	if c := r.clients[id]; c != nil {
		return c
	}
	t := &http.Transport{
		ForceAttemptHTTP2: !http1,
		TLSClientConfig: &tls.Config{RootCAs: r.roots(),
			Certificates: []tls.Certificate{r.pair(pki.Spec{CommonName: "client", URIs: []string{who.URI()}, Client: true})}},
	}
	if http1 {
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	r.clients[id] = &http.Client{Transport: t, Timeout: 30 * time.Second}
	return r.clients[id]
}

// post is one request as a test shapes it.
type post struct {
	who      pki.Principal
	http1    bool
	kid      string
	body     string
	ndjson   bool
	query    string
	host     string
	at       time.Duration // of the timestamp, from now
	before   func(*http.Request)
	after    func(*http.Request) // after signing
	sendBody io.Reader           // instead of body
}

// answer is what came back.
type answer struct {
	status   int
	protocol string
	header   http.Header
	text     string
	// parsed
	Type, Title, Code, Detail, Instance string
	EventID                             string `json:"event_id"`
	Status                              any
	Region, Stream, Ack                 string
	Seq                                 uint64
	Errors                              []struct {
		Index                 int
		Pointer, Code, Detail string
	}
	Stored, Duplicates, Forwarded int
	Rejected, Unavailable         int
	Results                       []struct {
		Index                                         int
		EventID                                       string `json:"event_id"`
		Status, Code, Detail, Pointer, Region, Stream string
		Seq                                           uint64
	}
}

func (r *rig) send(p post) answer {
	r.t.Helper()
	if p.who.Role == "" {
		p.who = acme
	}
	if p.kid == "" {
		p.kid = p.who.Tenant + "-1"
	}
	target := "https://" + r.relay.Addr() + "/v1/events" + p.query
	var body io.Reader = strings.NewReader(p.body)
	if p.sendBody != nil {
		body = p.sendBody
	}
	req, err := http.NewRequest(http.MethodPost, target, body)
	r.must(err)
	req.Header.Set("Content-Type", "application/json")
	if p.ndjson {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	if p.host != "" {
		req.Host = p.host
	}
	if p.before != nil {
		p.before(req)
	}
	secret := r.secrets[p.kid]
	if secret == nil {
		secret = keyring.NewSecret(32)
	}
	signature.SignHTTP(secret, req, p.kid, fmt.Sprintf("req-%d", nextRequest.Add(1)), time.Now().Add(p.at), []byte(p.body))
	if p.after != nil {
		p.after(req)
	}
	res, err := r.client(p.who, p.http1).Do(req)
	if err != nil {
		r.t.Fatalf("no answer: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	r.must(err)
	a := answer{status: res.StatusCode, protocol: res.Proto, header: res.Header, text: string(text)}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		r.t.Errorf("the answer %q does not parse: %v", text, err)
	}
	if res.Header.Get("Date") == "" {
		r.t.Error("the answer has no Date")
	}
	return a
}

var nextRequest atomic.Int64

// stored is how many messages the stream holds.
func (r *rig) stored() uint64 {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), subject.EventsStream)
	r.must(err)
	return s.CachedInfo().State.Msgs
}

func (r *rig) message(seq uint64) *jetstream.RawStreamMsg {
	r.t.Helper()
	s, err := r.js.Stream(r.t.Context(), subject.EventsStream)
	r.must(err)
	m, err := s.GetMsg(r.t.Context(), seq)
	r.must(err)
	return m
}

// logged is everything that was logged, as text.
func (r *rig) logged() string {
	var b strings.Builder
	for _, e := range r.logs.All() {
		fmt.Fprintf(&b, "%s %v\n", e.Message, e.ContextMap())
	}
	return b.String()
}

// counted is the sum of a counter over all its labels.
func (r *rig) counted(name string) float64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	r.must(err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// marker stands in every payload: it must be in no answer to a refused event and in no log.
const marker = "PAYLOAD-MARKER"

var nextEvent atomic.Int64

// ev makes an event; pairs replace members by raw JSON, "" removes one.
func ev(pairs ...string) string {
	members := []string{"event_id", "event_type", "schema_version", "occurred_at", "key", "payload"}
	values := map[string]string{
		"event_id":       fmt.Sprintf(`"e-%d"`, nextEvent.Add(1)),
		"event_type":     `"bet.placed"`,
		"schema_version": `"1.0.0"`,
		"occurred_at":    `"` + time.Now().UTC().Format(time.RFC3339) + `"`,
		"key":            `{"user_id":"u-1"}`,
		"payload":        `{"note":"` + marker + `"}`,
	}
	for i := 0; i < len(pairs); i += 2 {
		if _, ok := values[pairs[i]]; !ok {
			members = append(members, pairs[i])
		}
		values[pairs[i]] = pairs[i+1]
	}
	var parts []string
	for _, m := range members {
		if values[m] != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", m, values[m]))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}
