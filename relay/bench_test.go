package relay_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

const (
	batchEvents = 100
	roundEvents = 20_000
	senders     = 16
	rawWindow   = 4000
)

// BenchmarkRelayBatch100 sends batches of 100 signed events of about 500 bytes through a relay, over TLS,
// and beside it, round by round in the same process, publishes events of the same size with ids and
// acknowledgements straight to the same server. One operation is one round of each, 20,000 events both
// ways; "ratio" is the relay's rate by the raw one. The load generator and the server share the cores.
func BenchmarkRelayBatch100(b *testing.B) {
	for _, http1 := range []bool{false, true} {
		b.Run(map[bool]string{false: "http2", true: "http1"}[http1], func(b *testing.B) {
			r := newRig(b, func(o *relay.Options) { o.Logger = zap.NewNop() })
			raw := newRawPublisher(b, r)
			client := r.client(acme, http1)
			if t := client.Transport.(*http.Transport); http1 {
				t.MaxIdleConnsPerHost = senders
			}
			var rawTime, relayTime time.Duration
			round := 0
			for b.Loop() {
				round++
				bodies := makeBodies(round)
				events := makeRaw(round)
				begin := time.Now()
				raw.publish(events)
				rawTime += time.Since(begin)
				begin = time.Now()
				r.sendAll(client, bodies)
				relayTime += time.Since(begin)
			}
			n := float64(round * roundEvents)
			b.ReportMetric(n/relayTime.Seconds(), "relay-events/s")
			b.ReportMetric(n/rawTime.Seconds(), "raw-events/s")
			b.ReportMetric(rawTime.Seconds()/relayTime.Seconds(), "ratio")
		})
	}
}

func benchEvent(id string, n int) []byte {
	return fmt.Appendf(nil, `{"event_id":"%s","event_type":"bet.placed","schema_version":"1.2.0","occurred_at":%q,"key":{"user_id":"user-%d"},`+
		`"source_seq":%d,"ctx":{"session_id":"s-%d","platform":"ios","geo":"DE","device_fp":"a8b7c6d5e4"},"payload":{"bet_id":"b-%d","game":"roulette",`+
		`"stake":{"amount":"12.50","currency":"EUR"},"odds":2.75,"selections":[{"market":"red","price":1.9},{"market":"odd","price":1.95}],"note":"%s"}}`,
		id, time.Now().UTC().Format(time.RFC3339), n%1000, n, n%5000, n, strings.Repeat("x", 100))
}

func makeBodies(round int) [][]byte {
	out := make([][]byte, roundEvents/batchEvents)
	for i := range out {
		var b bytes.Buffer
		for j := range batchEvents {
			n := i*batchEvents + j
			b.Write(benchEvent(fmt.Sprintf("relay-%08d-%010d", round, n), n))
			b.WriteByte('\n')
		}
		out[i] = b.Bytes()
	}
	return out
}

func makeRaw(round int) []nats.Msg {
	out := make([]nats.Msg, roundEvents)
	for n := range out {
		id := fmt.Sprintf("raw---%08d-%010d", round, n)
		out[n] = nats.Msg{Subject: fmt.Sprintf("evt.eu_1.g.%d.events.bet.placed", n%64), Header: nats.Header{header.MsgID: {id}}, Data: benchEvent(id, n)}
	}
	return out
}

// sendAll sends the bodies from as many senders as there are, each signing on its own.
func (r *rig) sendAll(client *http.Client, bodies [][]byte) {
	r.sendEach(client, bodies, []byte(`{"stored":100,`))
}

// sendEach is sendAll for bodies that are answered with another beginning.
func (r *rig) sendEach(client *http.Client, bodies [][]byte, answer []byte) {
	r.sendFrom(client, "acme-1", bodies, answer)
}

// sendFrom is sendEach with a key.
func (r *rig) sendFrom(client *http.Client, kid string, bodies [][]byte, answer []byte) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(bodies) {
					return
				}
				req, _ := http.NewRequest(http.MethodPost, "https://"+r.relay.Addr()+"/v1/events", bytes.NewReader(bodies[i]))
				req.Header.Set("Content-Type", "application/x-ndjson")
				signature.SignHTTP(r.secrets[kid], req, kid, "bench-"+strconv.FormatInt(nextRequest.Add(1), 10), time.Now(), bodies[i])
				res, err := client.Do(req)
				if err != nil {
					r.t.Error(err)
					return
				}
				text, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if !bytes.HasPrefix(text, answer) {
					r.t.Errorf("%d %s", res.StatusCode, text)
				}
			}
		})
	}
	wg.Wait()
}

// rawPublisher is what nats.go alone can do: core publish, an inbox, a window.
type rawPublisher struct {
	b      *testing.B
	conn   *nats.Conn
	window chan struct{}
}

func newRawPublisher(b *testing.B, r *rig) *rawPublisher {
	p := &rawPublisher{b: b, conn: r.nats.Connect(), window: make(chan struct{}, rawWindow)}
	_, err := p.conn.Subscribe("raw.acks.*", func(m *nats.Msg) {
		if !bytes.HasPrefix(m.Data, []byte(`{"stream":"EVENTS"`)) {
			b.Errorf("%s", m.Data)
		}
		<-p.window
	})
	r.must(err)
	return p
}

func (p *rawPublisher) publish(events []nats.Msg) {
	for i := range events {
		p.window <- struct{}{}
		events[i].Reply = "raw.acks." + strconv.Itoa(i)
		if err := p.conn.PublishMsg(&events[i]); err != nil {
			p.b.Fatal(err)
		}
	}
	for range rawWindow { // all acknowledged
		p.window <- struct{}{}
	}
	for range rawWindow {
		<-p.window
	}
}

// BenchmarkRelaySchema is BenchmarkRelayBatch100 over HTTP/2 twice in each round: for a tenant without schemas, and for
// one whose events are held to a schema and to rules. "cost" is the second time by the first.
func BenchmarkRelaySchema(b *testing.B) {
	r := newRig(b, func(o *relay.Options) { o.Logger = zap.NewNop() })
	r.schema("globex", "1.2.0", schema.Active, benchSchema)
	r.rules("globex", rule.Set{BlockedFields: []string{"payload.**.card_number", "payload.ssn"}, RequiredFields: []string{"ctx.session_id", "payload.selections.price"}})
	r.settled(post{body: bet(`{}`, "schema_version", `"1.2.0"`), who: globex}, func(a answer) bool { return a.status == 422 })
	raw := newRawPublisher(b, r)
	var rawTime time.Duration
	var times [2]time.Duration
	round := 0
	for b.Loop() {
		round++
		events := makeRaw(round)
		begin := time.Now()
		raw.publish(events)
		rawTime += time.Since(begin)
		for k := range 2 {
			i := (k + round) % 2 // each goes first as often as the other
			who := []pki.Principal{acme, globex}[i]
			bodies := makeBodies(2*round + i)
			client := r.client(who, false)
			begin = time.Now()
			r.sendFrom(client, who.Tenant+"-1", bodies, []byte(`{"stored":100,`))
			times[i] += time.Since(begin)
		}
	}
	b.ReportMetric(rawTime.Seconds()/times[0].Seconds(), "ratio")
	b.ReportMetric(rawTime.Seconds()/times[1].Seconds(), "ratio-schema")
	b.ReportMetric(times[1].Seconds()/times[0].Seconds(), "cost")
}

// benchSchema is of benchEvent.
const benchSchema = `{"type":"object","required":["bet_id","game","stake","odds","selections"],"additionalProperties":false,"properties":{
	"bet_id":{"type":"string","pattern":"^b-[0-9]+$"},"game":{"enum":["roulette","slots"]},"odds":{"type":"number","exclusiveMinimum":1},"note":{"type":"string","maxLength":200},
	"stake":{"$ref":"#/$defs/money"},"selections":{"type":"array","minItems":1,"items":{"type":"object","required":["market","price"],"additionalProperties":false,
	"properties":{"market":{"type":"string"},"price":{"type":"number","minimum":1}}}}},
	"$defs":{"money":{"type":"object","required":["amount","currency"],"additionalProperties":false,"properties":{"amount":{"type":"string","pattern":"^[0-9]+\\.[0-9]{2}$"},"currency":{"enum":["EUR","USD"]}}}}}`
