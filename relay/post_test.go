package relay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/subject"
)

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
	SkewS                               *int64 `json:"skew_s"`
	MaxSkewS                            int64  `json:"max_skew_s"`
	Errors                              []struct {
		Index                 int
		Pointer, Code, Detail string
		Rule, Expected        string
		Schema                string
	}
	ErrorsCapped bool `json:"errors_capped"`
	DeadLettered int  `json:"dead_lettered"`
	Derived      any  // an id, or of a batch how many
	Pointer      string
	Warnings     []struct {
		Events               int
		Code, Schema, Detail string
	}
	Stored, Duplicates, Forwarded int
	Rejected, Unavailable         int
	Results                       []struct {
		Index                                              int
		EventID                                            string `json:"event_id"`
		Derived                                            string
		Status, Code, Detail, Pointer, Region, Stream, Ack string
		Seq                                                uint64
		Errors                                             []struct{ Pointer, Code, Rule, Expected, Schema string }
		ErrorsCapped                                       bool `json:"errors_capped"`
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
