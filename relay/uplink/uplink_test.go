package uplink_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/original"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a pool before a plain NATS server, on which the test plays the stream.
type rig struct {
	t    *testing.T
	s    *streamtest.JetStream
	conn *nats.Conn // the stream's side
	pool *uplink.Pool
	o    uplink.Options
}

func newRig(t *testing.T, change func(*uplink.Options)) *rig {
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
			key = map[uplink.Status]string{uplink.Stored: "stored", uplink.Duplicate: "duplicate"}[r.Status]
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
	msgs[1].Home, msgs[1].TTL = "us", "60"
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
	want := nats.Header{header.MsgID: {"e-1"}, header.Home: {"us"}, header.TTL: {"60"}, header.IngestedAt: {stamp.IngestedAt},
		header.Relay: {"r1"}, header.Kid: {"k"}, header.Source: {"default"}}
	if fmt.Sprint(headers[1]) != fmt.Sprint(want) {
		t.Errorf("headers %v, want %v", headers[1], want)
	}
	if headers[2].Get(header.Home) != "" || headers[2].Get(header.TTL) != "" {
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

func TestBrokenConnection(t *testing.T) {
	s := streamtest.Server(t, "eu")
	u, _ := url.Parse(s.URL())
	cutter := streamtest.NewCutter(t, u.Host)
	r := newRig(t, func(o *uplink.Options) { o.AckTimeout = 20 * time.Second })
	r.conn = s.Connect()
	o := r.o
	o.Connect = r.connect("nats://" + cutter.Addr())
	var err error
	if r.pool, err = uplink.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.pool.Close)
	arrived := make(chan *nats.Msg, 1000)
	r.stream("evt.>", func(m *nats.Msg) { arrived <- m })
	done := make(chan []uplink.Result, 1)
	go func() { done <- r.publish(messages(3)) }()
	for range 3 {
		<-arrived
	}
	cutter.Cut()
	begin := time.Now()
	expect(t, <-done, "ack_lost:3")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s to notice", took)
	}
	// nothing is kept for later while the connection is down
	expect(t, r.publish(messages(2)), "stream_unreachable:2")
	if down, all := r.pool.Down(); !all || len(down) != 1 {
		t.Errorf("down: %q, %v", down, all)
	}
	cutter.Heal()
	go func() {
		for m := range arrived {
			_ = m.Respond(ack("eu", 1))
		}
	}()
	defer close(arrived)
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		got := tally(r.publish(messages(2)))
		return got == "map[stored:2]", got
	})
	_ = r.conn.Drain()
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return r.conn.IsClosed(), "draining" })
}

func TestTenantsComeAndGo(t *testing.T) {
	var mu sync.Mutex
	dials := map[string]int{}
	broken := true
	now := time.Unix(0, 0)
	r := newRig(t, func(o *uplink.Options) {
		connect := o.Connect
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		o.Connect = func(ctx context.Context, tenant string) (*nats.Conn, error) {
			mu.Lock()
			dials[tenant]++
			refuse := broken
			mu.Unlock()
			if refuse {
				return nil, errors.New("no credential yet")
			}
			return connect(ctx, tenant)
		}
		o.Logger = zap.NewNop()
	})
	r.stream("evt.>", func(m *nats.Msg) { _ = m.Respond(ack("eu", 1)) })
	expect(t, r.publish(messages(1)), "stream_unreachable:1")
	expect(t, r.publish(messages(1)), "stream_unreachable:1")
	if dials["acme"] != 1 {
		t.Errorf("dialed %d times within the pause", dials["acme"])
	}
	mu.Lock()
	broken, now = false, now.Add(time.Second)
	mu.Unlock()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { expect(t, r.publish(messages(1)), "stored:1") })
	}
	wg.Wait()
	if dials["acme"] != 2 {
		t.Errorf("20 requests dialed %d times", dials["acme"]-1)
	}
	r.pool.Retain(func(tenant string) bool { return tenant != "acme" })
	expect(t, r.publish(messages(1)), "stored:1") // opened again
	if dials["acme"] != 3 {
		t.Errorf("dialed %d times", dials["acme"])
	}
	r.pool.Close()
	expect(t, r.publish(messages(1)), "stream_unreachable:1")
	r.pool.Close()
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

// digests plays the hub's service.
func (r *rig) digests(known map[uint64]original.Digest, batches *[]int) {
	r.stream(subject.Digest("eu"), func(m *nats.Msg) {
		var q original.Request
		if err := json.Unmarshal(m.Data, &q); err != nil {
			r.t.Error(err)
		}
		*batches = append(*batches, len(q.Seqs))
		var a original.Response
		for _, seq := range q.Seqs {
			d, ok := known[seq]
			if !ok {
				d = original.Digest{Error: original.NotFound}
			}
			d.Seq = seq
			a.Digests = append(a.Digests, d)
		}
		b, _ := json.Marshal(a)
		_ = m.Respond(b)
	})
}

func TestDuplicatesAreCompared(t *testing.T) {
	r := newRig(t, nil)
	msgs := messages(1203)
	known := map[uint64]original.Digest{}
	for i, m := range msgs {
		sum, err := event.Digest(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		known[uint64(i+1)] = original.Digest{EventID: m.ID, Digest: hex.EncodeToString(sum[:])}
	}
	known[1] = original.Digest{EventID: "e-0", Digest: strings.Repeat("0", 64)}
	known[2] = original.Digest{EventID: "e-other", Digest: known[2].Digest}
	delete(known, 3)
	var batches []int
	r.digests(known, &batches)
	seq := 0
	r.stream("evt.>", func(m *nats.Msg) {
		seq++
		_ = m.Respond(fmt.Appendf(nil, `{"stream":"EVENTS","domain":"eu","seq":%d,"duplicate": true}`, seq))
	})
	res := r.publish(msgs)
	expect(t, res, "digest_unavailable:1 duplicate:1200 event_id_conflict:2")
	if res[0].Status != uplink.Rejected || res[1].Status != uplink.Rejected || res[2].Status != uplink.Unavailable {
		t.Errorf("%+v", res[:3])
	}
	if !slices.Equal(batches, []int{500, 500, 203}) {
		t.Errorf("asked in batches of %d", batches)
	}
}

func TestDigestServiceFails(t *testing.T) {
	dup := func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"stream":"EVENTS","domain":"eu","seq":1,"duplicate": true}`))
	}
	for name, service := range map[string]nats.MsgHandler{
		"is not there": nil,
		"is silent":    func(*nats.Msg) {},
		"babbles":      func(m *nats.Msg) { _ = m.Respond([]byte("what?")) },
		"other seq":    func(m *nats.Msg) { _ = m.Respond([]byte(`{"digests":[{"seq":2,"event_id":"e-0"}]}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(o *uplink.Options) { o.DigestTimeout = 200 * time.Millisecond })
			r.stream("evt.>", dup)
			if service != nil {
				r.stream(subject.Digest("eu"), service)
			}
			expect(t, r.publish(messages(1)), "digest_unavailable:1")
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*uplink.Options){
		"region":  func(o *uplink.Options) { o.Region = "E U" },
		"connect": func(o *uplink.Options) { o.Connect = nil },
		"window":  func(o *uplink.Options) { o.Window = 0 },
		"huge":    func(o *uplink.Options) { o.Window = 1 << 20 },
		"timeout": func(o *uplink.Options) { o.AckTimeout = 0 },
	} {
		o := uplink.DefaultOptions()
		o.Region, o.Connect = "eu", func(context.Context, string) (*nats.Conn, error) { return nil, nil }
		change(&o)
		if _, err := uplink.New(o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
