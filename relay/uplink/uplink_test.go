package uplink_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a pool before a plain NATS server, on which the test plays the stream.
type rig struct {
	t    testing.TB
	s    *streamtest.JetStream
	conn *nats.Conn // the stream's side
	pool *uplink.Pool
	o    uplink.Options
}

func newRig(t testing.TB, change func(*uplink.Options)) *rig {
	r := &rig{t: t, s: streamtest.Server(t, "eu")}
	r.conn = r.s.Connect()
	r.o = uplink.DefaultOptions()
	r.o.Region = "eu"
	r.o.Connect = r.connect(r.s.URL())
	if change != nil {
		change(&r.o)
	}
	var err error
	if r.pool, err = uplink.New(r.o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.pool.Close)
	return r
}

func (r *rig) connect(url string) uplink.Connect {
	return func(context.Context, string) (*nats.Conn, error) {
		return nats.Connect(url, nats.CustomInboxPrefix(subject.InboxPrefix("eu")+".r1"), nats.ReconnectBufSize(-1),
			nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	}
}

// stream plays the stream on a subject filter.
func (r *rig) stream(filter string, f nats.MsgHandler) *nats.Subscription {
	r.t.Helper()
	sub, err := r.conn.Subscribe(filter, f)
	if err == nil {
		err = r.conn.Flush()
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return sub
}

func ack(domain string, seq int) []byte {
	return fmt.Appendf(nil, `{"stream":"EVENTS","domain":%q,"seq":%d}`, domain, seq)
}

func messages(n int) []uplink.Message {
	out := make([]uplink.Message, n)
	for i := range out {
		id := fmt.Sprintf("e-%d", i)
		out[i] = uplink.Message{Subject: "evt.eu_1.g.1.events.bet.placed", Region: "eu", ID: id,
			Data: fmt.Appendf(nil, `{"event_id":%q,"event_type":"bet.placed","key":{"user_id":"u"},"payload":{"n":%d}}`, id, i)}
	}
	return out
}

var stamp = &uplink.Stamp{IngestedAt: "2026-01-01T00:00:00Z", Relay: "r1", Kid: "k", Source: "default"}

func (r *rig) publish(msgs []uplink.Message) []uplink.Result {
	res := make([]uplink.Result, len(msgs))
	for i := range res {
		res[i].Code = "untouched"
	}
	r.pool.Publish(r.t.Context(), "acme", stamp, msgs, res)
	return res
}

func tally(rs []uplink.Result) string {
	count := map[string]int{}
	for _, r := range rs {
		key := r.Code
		if key == "" {
			key = map[uplink.Status]string{uplink.Stored: "stored", uplink.Duplicate: "duplicate", uplink.Absent: "absent", uplink.Unasked: "unasked"}[r.Status]
		}
		count[key]++
	}
	return fmt.Sprint(count)
}

func expect(t *testing.T, rs []uplink.Result, want string) {
	t.Helper()
	if got := tally(rs); got != "map["+want+"]" {
		t.Errorf("results %s, want [%s]", got, want)
	}
}

func TestEveryEventIsAcknowledgedOnItsOwn(t *testing.T) {
	r := newRig(t, nil)
	var mu sync.Mutex
	var headers []nats.Header
	seq := 0
	r.stream("evt.>", func(m *nats.Msg) {
		mu.Lock()
		seq++
		headers = append(headers, m.Header)
		mu.Unlock()
		_ = m.Respond(ack("eu", seq))
	})
	msgs := messages(3000)
	msgs[1].Home, msgs[1].TTL, msgs[1].Class = "us", "60", "optional"
	res := r.publish(msgs)
	expect(t, res, "stored:3000")
	for i := range res {
		if res[i].Seq != uint64(i+1) {
			t.Fatalf("event %d has sequence %d", i, res[i].Seq)
		}
		if got := headers[i].Get(header.MsgID); got != msgs[i].ID {
			t.Fatalf("event %d travels as %q", i, got)
		}
	}
	want := nats.Header{header.MsgID: {"e-1"}, header.Home: {"us"}, header.TTL: {"60"}, header.Class: {"optional"}, header.IngestedAt: {stamp.IngestedAt},
		header.Relay: {"r1"}, header.Kid: {"k"}, header.Source: {"default"}}
	if fmt.Sprint(headers[1]) != fmt.Sprint(want) {
		t.Errorf("headers %v, want %v", headers[1], want)
	}
	if headers[2].Get(header.Home) != "" || headers[2].Get(header.TTL) != "" || headers[2].Get(header.Class) != "" {
		t.Error("the headers of one event went with the next")
	}
	if n := r.pool.InFlight(); n != 0 {
		t.Errorf("%d are in flight after all", n)
	}
}

func TestAnswersThatAreNoSuccess(t *testing.T) {
	r := newRig(t, func(o *uplink.Options) { o.AckTimeout = 200 * time.Millisecond })
	answers := map[string][]byte{
		"e-0": ack("eu", 1),
		"e-1": ack("us", 2),
		"e-2": []byte(`{"stream":"OTHER","domain":"eu","seq":3}`),
		"e-3": []byte(`{"error":{"code":429,"err_code":10167,"description":"too many requests"},"stream":"EVENTS","seq":0}`),
		"e-4": []byte(`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"},"stream":"EVENTS","seq":0}`),
		"e-5": nil, // withheld
	}
	r.stream("evt.>", func(m *nats.Msg) {
		if a := answers[m.Header.Get(header.MsgID)]; a != nil {
			_ = m.Respond(a)
		}
	})
	res := r.publish(messages(6))
	codes := make([]string, len(res))
	for i := range res {
		codes[i] = res[i].Code
	}
	want := []string{"", uplink.CodeWrongStream, uplink.CodeWrongStream, uplink.CodeOverloaded, uplink.CodeStreamFull, uplink.CodeAckTimeout}
	if !slices.Equal(codes, want) {
		t.Errorf("%q, want %q", codes, want)
	}
}

func TestNobodyAnswers(t *testing.T) {
	r := newRig(t, nil)
	msgs := messages(2)
	msgs[1].Region, msgs[1].Subject = "us", "evt.us_1.g.1.events.bet.placed"
	begin := time.Now()
	res := r.publish(msgs)
	if res[0].Code != uplink.CodeStreamUnreachable || res[1].Code != uplink.CodeHomeUnreachable {
		t.Errorf("%+v", res)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %s to notice", took)
	}
}

func TestLateAckSettlesNothingElse(t *testing.T) {
	r := newRig(t, func(o *uplink.Options) { o.AckTimeout, o.Window = 100*time.Millisecond, 1 })
	replies := make(chan string, 10)
	r.stream("evt.>", func(m *nats.Msg) { replies <- m.Reply })
	expect(t, r.publish(messages(1)), "ack_timeout:1")
	old := <-replies
	done := make(chan []uplink.Result, 1)
	go func() { done <- r.publish(messages(1)) }() // uses the same slot
	fresh := <-replies
	if old == fresh || old[:len(old)-8] != fresh[:len(fresh)-8] {
		t.Fatalf("reply subjects %q and %q: the slot should be the same, the generation another", old, fresh)
	}
	_ = r.conn.Publish(old, ack("eu", 99))
	_ = r.conn.Publish(old, ack("eu", 99))
	_ = r.conn.Publish(fresh, ack("eu", 5))
	_ = r.conn.Publish(fresh, ack("eu", 6)) // a second acknowledgement of the same
	res := <-done
	if res[0].Status != uplink.Stored || res[0].Seq != 5 {
		t.Errorf("settled as %+v", res[0])
	}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return r.pool.Late() == 3, fmt.Sprintf("%d late", r.pool.Late())
	})
}

func TestFullWindowSheds(t *testing.T) {
	r := newRig(t, func(o *uplink.Options) { o.Window = 8 })
	arrived := make(chan *nats.Msg, 100)
	r.stream("evt.>", func(m *nats.Msg) { arrived <- m })
	done := make(chan []uplink.Result, 4)
	for range 4 {
		go func() { done <- r.publish(messages(2)) }()
	}
	var held []*nats.Msg
	for range 8 {
		held = append(held, <-arrived)
	}
	begin := time.Now()
	expect(t, r.publish(messages(3)), "overloaded:3")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("shedding took %s", took)
	}
	if n := r.pool.InFlight(); n != 8 {
		t.Errorf("%d in flight", n)
	}
	for _, m := range held {
		_ = m.Respond(ack("eu", 1))
	}
	for range 4 {
		expect(t, <-done, "stored:2")
	}
	// a batch larger than the window goes through in waves
	go func() { done <- r.publish(messages(50)) }()
	for i := range 50 {
		_ = (<-arrived).Respond(ack("eu", i+1))
	}
	expect(t, <-done, "stored:50")
}

func TestStalledBatchIsGivenUpWhole(t *testing.T) {
	r := newRig(t, func(o *uplink.Options) { o.Window, o.AckTimeout = 8, 150*time.Millisecond })
	r.stream("evt.>", func(*nats.Msg) {})
	expect(t, r.publish(messages(5)), "ack_timeout:2 overloaded:3")
	if n := r.pool.InFlight(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

func TestTooLargeMessageFailsAlone(t *testing.T) {
	r := newRig(t, nil)
	r.stream("evt.>", func(m *nats.Msg) { _ = m.Respond(ack("eu", 1)) })
	msgs := messages(3)
	msgs[1].Data = make([]byte, 2<<20)
	res := r.publish(msgs)
	expect(t, res, "stored:2 too_large:1")
	if res[1].Status != uplink.Rejected {
		t.Errorf("%+v", res[1])
	}
}
