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

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/header"
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
				signature.SignHTTP(r.secrets["acme-1"], req, "acme-1", "bench-"+strconv.FormatInt(nextRequest.Add(1), 10), time.Now(), bodies[i])
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
