package intake

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/relay/guard"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/event"
)

// stageSizes are the requests of the stage benchmarks below: one operation is one of them.
var stageSizes = []struct {
	name   string
	events int
}{{"event", 1}, {"batch100", 100}}

// surroundings play everything around a handler at no cost.
type surroundings struct{ state *control.State }

func (s *surroundings) State() *control.State                                  { return s.state }
func (*surroundings) HeartbeatAge() time.Duration                              { return 0 }
func (*surroundings) Request(int, string, time.Duration)                       {}
func (*surroundings) Events(string, string, string, int)                       {}
func (*surroundings) Copies(string, string, int)                               {}
func (*surroundings) Probed(string, string, int)                               {}
func (*surroundings) Published(time.Duration)                                  {}
func (*surroundings) Signature(string, string)                                 {}
func (*surroundings) Open(context.Context, string) (s keyring.Secret, _ error) { return s, nil }
func (*surroundings) Replayed(string)                                          {}
func (*surroundings) Reason() string                                           { return "" }
func (*surroundings) Check(string, guard.Key) guard.Verdict                    { return guard.Fresh }
func (*surroundings) Claim(string, guard.Key) (*guard.Group, guard.Verdict) {
	return guard.Settled(true), guard.Fresh
}
func (*surroundings) Probe(_ context.Context, _ string, _ []uplink.Message, results []uplink.Result) {
	for i := range results {
		results[i] = uplink.Result{Status: uplink.Absent}
	}
}
func (*surroundings) Publish(_ context.Context, _ string, _ *uplink.Stamp, _ []uplink.Message, results []uplink.Result) {
	for i := range results {
		results[i] = uplink.Result{Status: uplink.Stored, Seq: uint64(1_000_000 + i)}
	}
}

// stageRequest is an admitted request of n events that are decoded, in a mesh of two regions, from a tenant with
// two topics and a rule for each kind of pattern.
func stageRequest(b *testing.B, n int) (*Handler, *exchange) {
	b.Helper()
	s := &surroundings{state: control.NewState()}
	s.state.Regions["eu"] = &accounts.RegionInfo{Name: "eu", Epoch: 1, Weight: 1, Ack: accounts.AckStored}
	s.state.Regions["us"] = &accounts.RegionInfo{Name: "us", Epoch: 1, Weight: 1, Ack: accounts.AckStored}
	routes := accounts.DefaultRoutes("acme")
	routes.Topics = append(routes.Topics, routes.Topics[0])
	routes.Topics[1].Name = "bets"
	routes.Rules = []accounts.Rule{{Type: "account.*.closed", Topic: "events"}, {Type: "bet.>", Topic: "bets"}, {Type: "user.created", Topic: "events"}}
	s.state.Routes["acme"] = &routes
	lines, err := os.ReadFile("../../streams/event/testdata/hundred.ndjson")
	if err != nil {
		b.Fatal(err)
	}
	x := &exchange{state: s.state, caller: caller{
		key: &keyring.Key{Kid: "acme-1", Tenant: "acme", State: keyring.Active}, tenant: &accounts.Tenant{Name: "acme", State: accounts.Active}, producer: "default",
	}}
	if x.decoded, err = event.DecodeLines(lines, event.Limits{}, nil); err != nil || len(x.decoded) < n {
		b.Fatal(len(x.decoded), err)
	}
	x.decoded = x.decoded[:n]
	x.now = x.decoded[0].Event.OccurredAt.Add(time.Minute)
	h, err := New(Options{Region: "eu", RelayID: "r1", Hosts: []string{"relay"}, Control: s, Publisher: s, Guard: s, Sealer: s,
		Limits: DefaultLimits(), Recorder: s, Logger: zap.NewNop(), Now: func() time.Time { return x.now }})
	if err != nil {
		b.Fatal(err)
	}
	return h, x
}

// unroute takes what an earlier turn has filled out of x.
func (x *exchange) unroute() {
	x.outcomes, x.routes, x.msgs, x.sent = x.outcomes[:0], x.routes[:0], x.msgs[:0], x.sent[:0]
	x.subjects, x.ends = x.subjects[:0], x.ends[:0]
}

// BenchmarkStageRoute is the hot path's stage from decoded events to messages: topic, partition, home and subject.
func BenchmarkStageRoute(b *testing.B) {
	for _, size := range stageSizes {
		b.Run(size.name, func(b *testing.B) {
			h, x := stageRequest(b, size.events)
			b.ReportAllocs()
			for b.Loop() {
				x.unroute()
				if p := h.route(x); p != nil || len(x.msgs) != size.events {
					b.Fatal(p, len(x.msgs))
				}
			}
		})
	}
}

// answer is an HTTP answer that goes nowhere.
type answer struct {
	header http.Header
	status int
	length int
}

func (a *answer) Header() http.Header    { return a.header }
func (a *answer) WriteHeader(status int) { a.status = status }
func (a *answer) Write(b []byte) (int, error) {
	a.length += len(b)
	return len(b), nil
}

// BenchmarkStageAnswer is the hot path's last stage: from acknowledged messages to the counted outcomes and the
// JSON of the answer. "all100" lists every event, as ?results=all asks for.
func BenchmarkStageAnswer(b *testing.B) {
	for _, size := range append(stageSizes, struct {
		name   string
		events int
	}{"all100", 100}) {
		b.Run(size.name, func(b *testing.B) {
			h, x := stageRequest(b, size.events)
			if p := h.route(x); p != nil {
				b.Fatal(p)
			}
			h.publish(b.Context(), x, "")
			x.all = size.name == "all100"
			w := &answer{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				w.length = 0
				h.count(x)
				if size.events == 1 {
					h.answerOne(w, x)
				} else {
					h.answerBatch(w, x)
				}
				if w.status > 299 || w.length != len(x.out) || !bytes.HasPrefix(x.out, []byte(`{"`)) {
					b.Fatal(w.status, string(x.out))
				}
			}
			b.SetBytes(int64(w.length))
		})
	}
}
