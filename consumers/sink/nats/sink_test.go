package nats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

var eu = subject.Origin{Region: "eu", Epoch: 1}

// target is a deployment with a stream that copies go to. It forgets ids at once, so nothing here rests on its window.
type target struct {
	t  *testing.T
	s  *streamtest.JetStream
	js jetstream.JetStream
}

func newTarget(t *testing.T, change ...func(*jetstream.StreamConfig)) *target {
	t.Helper()
	c := jetstream.StreamConfig{Name: "COPY", Subjects: []string{"copy.>"}, Duplicates: 100 * time.Millisecond}
	for _, f := range change {
		f(&c)
	}
	g := &target{t: t, s: streamtest.Server(t)}
	_, g.js = g.s.Stream(c)
	return g
}

func (g *target) options() Options {
	return Options{URLs: []string{g.s.URL()}, Stream: "COPY", Prefix: "copy.acme", Timeout: patience}
}

func (g *target) open(o Options) *Sink {
	g.t.Helper()
	s, err := Open(g.t.Context(), o)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = s.Close() })
	return s
}

// all are the messages of the target in order.
func (g *target) all() []*jetstream.RawStreamMsg {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream, err := g.js.Stream(ctx, "COPY")
	if err != nil {
		g.t.Fatal(err)
	}
	var ms []*jetstream.RawStreamMsg
	for seq := stream.CachedInfo().State.FirstSeq; seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(ctx, seq)
		if err != nil {
			g.t.Fatal(err)
		}
		ms = append(ms, m)
	}
	return ms
}

// wantOnce checks that the target has the events from 0 to last, each once and those of a user in order.
func (g *target) wantOnce(last int) {
	g.t.Helper()
	at := map[string]int{}
	ms := g.all()
	for i, m := range ms {
		id := m.Header.Get(header.MsgID)
		if before, twice := at[id]; twice {
			g.t.Errorf("%s is at %d and at %d", id, before, i)
		}
		at[id] = i
	}
	for n := range last + 1 {
		here, ok := at[fmt.Sprintf("e-%d", n)]
		if before := at[fmt.Sprintf("e-%d", n-users)]; !ok || n >= users && before > here {
			g.t.Errorf("event %d is there: %v, at %d, the one before it at %d", n, ok, here, before)
		}
	}
	if len(ms) != last+1 {
		g.t.Errorf("%d messages, not %d", len(ms), last+1)
	}
}

const users = 10

// message is event n, of one of the users in turn.
func message(n int) *consumers.Message {
	id := fmt.Sprintf("e-%d", n)
	m := &consumers.Message{
		Subject: subject.Event{Origin: eu, Scope: subject.Global, Partition: n % users, Topic: "bets", Type: "bet.placed"},
		Header:  client.Header{}, EventID: id, Origin: eu, OriginSeq: uint64(n) + 1, Sequence: uint64(n) + 1,
	}
	m.Header.Set(header.MsgID, id)
	m.Header.Set(header.Relay, "relay-1")
	m.Header.Set(header.TTL, "60")
	m.Header.Set(header.StreamSource, "EVENTS 7 > > evt")
	m.Raw = []byte(fmt.Sprintf(`{"event_id":%q,"event_type":"bet.placed","key":{"user_id":"u-%d"}, "payload":{"amount":%d}}`, id, n%users, n))
	return m
}

func messages(first, last int) []*consumers.Message {
	var ms []*consumers.Message
	for n := first; n <= last; n++ {
		ms = append(ms, message(n))
	}
	return ms
}

func (s *Sink) mustWrite(t *testing.T, ms []*consumers.Message) {
	t.Helper()
	if err := s.HandleBatch(t.Context(), ms); err != nil {
		t.Fatal(err)
	}
}

func TestACopy(t *testing.T) {
	g := newTarget(t)
	s := g.open(g.options())
	m := message(3)
	s.mustWrite(t, []*consumers.Message{m})
	got := g.all()[0]
	if got.Subject != "copy.acme.evt.eu_1.g.3.bets.bet.placed" || !bytes.Equal(got.Data, m.Raw) {
		t.Errorf("%s: %s", got.Subject, got.Data)
	}
	want := map[string]string{header.MsgID: "e-3", header.Relay: "relay-1", header.Position: "eu_1 4"}
	for name, value := range want {
		if got.Header.Get(name) != value {
			t.Errorf("%s is %q", name, got.Header.Get(name))
		}
	}
	for name := range got.Header {
		if header.IsNats(name) && name != header.MsgID && !strings.HasPrefix(name, "Nats-Expected-") {
			t.Errorf("%s was copied", name)
		}
	}
	if m.Header.Get(header.StreamSource) == "" || m.Header.Get(header.Position) != "" {
		t.Error("the event's own headers were changed")
	}
}

// What was stored and not acknowledged comes again to the next process, long after the target's window.
func TestTheNextProcess(t *testing.T) {
	g := newTarget(t)
	registry := prometheus.NewRegistry()
	o := g.options()
	s := g.open(o)
	s.mustWrite(t, messages(0, 59))
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	g.forget()
	o.Registerer = registry
	s = g.open(o)
	s.mustWrite(t, messages(20, 79))
	g.wantOnce(79)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP weft_sink_events_total Events, by what became of them for good: delivered, duplicate, conflict, refused, dropped.
# TYPE weft_sink_events_total counter
weft_sink_events_total{outcome="conflict",sink="nats"} 0
weft_sink_events_total{outcome="delivered",sink="nats"} 20
weft_sink_events_total{outcome="dropped",sink="nats"} 0
weft_sink_events_total{outcome="duplicate",sink="nats"} 40
weft_sink_events_total{outcome="refused",sink="nats"} 0
`), "weft_sink_events_total"); err != nil {
		t.Error(err)
	}
}

// forget waits until the target's own deduplication has forgotten what it has.
func (g *target) forget() {
	g.t.Helper()
	began := time.Now()
	streamtest.Eventually(g.t, patience, func() (bool, string) { return time.Since(began) > 300*time.Millisecond, "waiting" })
}

// Two processes with the same events, and one whose view of the target is old.
func TestTwoWriters(t *testing.T) {
	g := newTarget(t)
	old := g.open(g.options())
	var writers sync.WaitGroup
	for range 2 {
		s := g.open(g.options())
		writers.Go(func() {
			for first := 0; first < 200; {
				err := s.HandleBatch(context.Background(), messages(first, first+users-1))
				if err == nil {
					first += users
				} else if fault.CodeOf(err) != "target_busy" {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	g.wantOnce(199)
	g.forget()
	old.mustWrite(t, messages(195, 204)) // it expects an empty target
	g.wantOnce(204)
}

// Messages that are delayed on their way are stored at their place or not at all, although the target has grown to where
// one of them expected it.
func TestLateMessages(t *testing.T) {
	g := newTarget(t)
	s := g.open(g.options())
	var late []*client.Msg
	behind := ""
	for n := range 10 {
		late = append(late, s.message(message(n), s.last+uint64(n), behind))
		behind = message(n).EventID
	}
	s.mustWrite(t, messages(5, 9))
	g.forget()
	for n, msg := range late {
		if _, err := g.js.PublishMsg(t.Context(), msg); !isUnexpected(err) {
			t.Errorf("late message %d: %v", n, err)
		}
	}
	if got := g.all(); len(got) != 5 {
		t.Errorf("%d messages", len(got))
	}
}

func TestAnotherWriter(t *testing.T) {
	g := newTarget(t)
	s := g.open(g.options())
	s.mustWrite(t, messages(0, 9))
	for range 3 {
		if _, err := g.js.Publish(t.Context(), "copy.other", nil); err != nil {
			t.Fatal(err)
		}
	}
	s.mustWrite(t, messages(10, 19))
	if n := testutil.ToFloat64(s.metrics.rounds); n != 1 {
		t.Errorf("%v rounds", n)
	}
	if got := g.all(); len(got) != 23 || got[13].Header.Get(header.MsgID) != "e-10" || got[22].Header.Get(header.MsgID) != "e-19" {
		t.Errorf("%d messages, behind the others %s", len(got), got[13].Header.Get(header.MsgID))
	}
}

// Answers are lost, links break, the server restarts: nothing is lost, twice or out of order.
func TestBrokenLinks(t *testing.T) {
	g := newTarget(t)
	cutter := streamtest.NewCutter(t, strings.TrimPrefix(g.s.URL(), "nats://"))
	o := g.options()
	o.URLs, o.Timeout = []string{"nats://" + cutter.Addr()}, time.Second
	s := g.open(o)
	write := func(first int) error { return s.HandleBatch(t.Context(), messages(first, first+users-1)) }
	for n, breaks := range []func(){
		func() { cutter.Drop(streamtest.Backward) }, // stored, and nobody hears of it
		func() { cutter.Drop(streamtest.Forward) },
		cutter.Cut,
		g.s.Restart,
	} {
		s.mustWrite(t, messages(20*n, 20*n+users-1))
		breaks()
		if err := write(20*n + users); n < 3 && retry.Classify(err) != retry.Outage {
			t.Fatalf("fault %d: %v", n, err)
		}
		cutter.Heal()
		var err error
		streamtest.Eventually(t, patience, func() (bool, string) {
			err = write(20*n + users)
			return err == nil, fmt.Sprint(err)
		})
		g.wantOnce(20*n + 2*users - 1)
	}
}

func TestWhatComesAgain(t *testing.T) {
	g := newTarget(t)
	o := g.options()
	o.Remember, o.Batch = 15, 10
	s := g.open(o)
	moved := func(n int) *consumers.Message { // stored in another region, by a retry there
		m := message(n)
		m.Origin.Region, m.OriginSeq = "us", m.OriginSeq+100
		return m
	}
	other := func(n int) *consumers.Message {
		m := moved(n)
		m.Raw = bytes.Replace(m.Raw, []byte(`"amount":`), []byte(`"amount":1`), 1)
		return m
	}
	third := other(9)
	third.OriginSeq++
	errs, ok := errors.AsType[consumers.BatchErrors](s.HandleBatch(t.Context(), append(messages(0, 9), moved(9), other(9), third)))
	if !ok || errs[9] != nil || errs[10] != nil || retry.Classify(errs[11]) != retry.Hopeless || retry.Classify(errs[12]) != retry.Hopeless {
		t.Errorf("several of one id at once: %v", errs)
	}
	g.wantOnce(9)
	for name, s := range map[string]*Sink{"same process": s, "next process": g.open(o)} {
		errs, ok := errors.AsType[consumers.BatchErrors](s.HandleBatch(t.Context(), []*consumers.Message{moved(1), other(2), message(3)}))
		if !ok || errs[0] != nil || errs[2] != nil || fault.CodeOf(errors.Unwrap(errs[1])) != "event_id_conflict" || retry.Classify(errs[1]) != retry.Hopeless {
			t.Errorf("%s: %v", name, errs)
		}
	}
	g.wantOnce(9)
}

// What is not remembered any more may still be in the target's own window: its answer is then followed up.
func TestTheTargetRemembersLonger(t *testing.T) {
	g := newTarget(t, func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute })
	o := g.options()
	o.Remember, o.Batch = 10, 10
	s := g.open(o)
	for first := 0; first < 50; first += 10 {
		s.mustWrite(t, messages(first, first+9))
	}
	bad := message(2)
	bad.OriginSeq = 1000
	bad.Raw = bytes.Replace(bad.Raw, []byte(`"amount":2`), []byte(`"amount":3`), 1)
	errs, ok := errors.AsType[consumers.BatchErrors](s.HandleBatch(t.Context(), []*consumers.Message{message(50), message(1), bad, message(53)}))
	if !ok || errs[0] != nil || errs[1] != nil || errs[3] != nil || retry.Classify(errs[2]) != retry.Hopeless {
		t.Errorf("got %v", errs)
	}
	if got := g.all(); len(got) != 52 {
		t.Errorf("%d messages", len(got))
	}
}

func TestTooLarge(t *testing.T) {
	for name, change := range map[string]func(*jetstream.StreamConfig){"for the server": func(*jetstream.StreamConfig) {}, "for the stream": func(c *jetstream.StreamConfig) { c.MaxMsgSize = 2000 }} {
		g := newTarget(t, change)
		s := g.open(g.options())
		big := message(1)
		big.Raw = bytes.Replace(big.Raw, []byte(`"amount"`), []byte(`"x":"`+strings.Repeat("x", 2<<20)+`","amount"`), 1)
		if name == "for the stream" {
			big.Raw = bytes.Replace(message(1).Raw, []byte(`"amount"`), []byte(`"x":"`+strings.Repeat("x", 4000)+`","amount"`), 1)
		}
		errs, ok := errors.AsType[consumers.BatchErrors](s.HandleBatch(t.Context(), []*consumers.Message{message(0), big, message(2)}))
		if !ok || errs[0] != nil || errs[2] != nil || retry.Classify(errs[1]) != retry.Hopeless {
			t.Errorf("%s: %v", name, errs)
		}
		if got := g.all(); len(got) != 2 || got[1].Header.Get(header.MsgID) != "e-2" {
			t.Errorf("%s: %d messages", name, len(got))
		}
	}
}

// The target is full, then it is not; it is deleted and made anew.
func TestATargetInTrouble(t *testing.T) {
	g := newTarget(t, func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 5, jetstream.DiscardNew })
	s := g.open(g.options())
	if err := s.HandleBatch(t.Context(), messages(0, 9)); fault.KindOf(err) != fault.Unavailable || fault.CodeOf(err) != "target_refuses" {
		t.Errorf("full: %v", err)
	}
	c := jetstream.StreamConfig{Name: "COPY", Subjects: []string{"copy.>"}, Duplicates: 100 * time.Millisecond}
	if _, err := g.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.mustWrite(t, messages(0, 9))
	g.wantOnce(9)
	if err := g.js.DeleteStream(t.Context(), "COPY"); err != nil {
		t.Fatal(err)
	}
	if err := s.HandleBatch(t.Context(), messages(10, 11)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("deleted: %v", err)
	}
	if err := s.HandleBatch(t.Context(), messages(10, 11)); fault.CodeOf(err) != "no_target" {
		t.Errorf("deleted: %v", err)
	}
	if _, err := g.js.CreateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s.mustWrite(t, messages(0, 9)) // whoever wants the old ones replays them
	g.wantOnce(9)
}

func TestUnsuitable(t *testing.T) {
	g := newTarget(t)
	for name, c := range map[string]struct {
		stream jetstream.StreamConfig
		change func(*Options)
		kind   fault.Kind
		code   string
	}{
		"work queue":      {jetstream.StreamConfig{Name: "A", Subjects: []string{"a.>"}, Retention: jetstream.WorkQueuePolicy}, func(o *Options) { o.Stream, o.Prefix = "A", "a" }, fault.Invalid, "target_retention"},
		"last of each":    {jetstream.StreamConfig{Name: "B", Subjects: []string{"b.>"}, MaxMsgsPerSubject: 1}, func(o *Options) { o.Stream, o.Prefix = "B", "b" }, fault.Invalid, "target_retention"},
		"mirror":          {jetstream.StreamConfig{Name: "C", Mirror: &jetstream.StreamSource{Name: "COPY"}}, func(o *Options) { o.Stream, o.Prefix = "C", "c" }, fault.Invalid, "target_mirror"},
		"another stream":  {jetstream.StreamConfig{Name: "D", Subjects: []string{"d.>"}}, func(o *Options) { o.Stream = "D" }, fault.Invalid, "target_subjects"},
		"nobody":          {jetstream.StreamConfig{Name: "E", Subjects: []string{"e.>"}}, func(o *Options) { o.Stream, o.Prefix = "E", "" }, fault.Invalid, "target_subjects"},
		"no stream":       {jetstream.StreamConfig{Name: "F", Subjects: []string{"f.>"}}, func(o *Options) { o.Stream = "NONE" }, fault.NotFound, "no_target"},
		"nowhere":         {jetstream.StreamConfig{Name: "G", Subjects: []string{"g.>"}}, func(o *Options) { o.URLs = nil }, fault.Invalid, "invalid_options"},
		"prefix":          {jetstream.StreamConfig{Name: "H", Subjects: []string{"h.>"}}, func(o *Options) { o.Prefix = "a.>" }, fault.Invalid, "invalid_options"},
		"nobody listens":  {jetstream.StreamConfig{Name: "I", Subjects: []string{"i.>"}}, func(o *Options) { o.URLs = []string{"nats://127.0.0.1:1"} }, fault.Unavailable, "unavailable"},
		"no credentials":  {jetstream.StreamConfig{Name: "J", Subjects: []string{"j.>"}}, func(o *Options) { o.CredsFile = "/none" }, fault.Unavailable, "unavailable"},
		"another domain":  {jetstream.StreamConfig{Name: "K", Subjects: []string{"k.>"}}, func(o *Options) { o.Domain = "elsewhere" }, fault.Unavailable, "no_stream"},
		"both ways to it": {jetstream.StreamConfig{Name: "L", Subjects: []string{"l.>"}}, func(o *Options) { o.Conn = new(client.Conn) }, fault.Invalid, "invalid_options"},
	} {
		if _, err := g.js.CreateStream(t.Context(), c.stream); err != nil {
			t.Fatal(name, err)
		}
		o := g.options()
		c.change(&o)
		s, err := Open(t.Context(), o)
		if fault.KindOf(err) != c.kind || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %s %s: %v", name, fault.KindOf(err), fault.CodeOf(err), err)
		}
		if err == nil {
			_ = s.Close()
		}
	}
}

func TestPositions(t *testing.T) {
	for _, text := range []string{"eu_1 7", "eu-west_12 18446744073709551615"} {
		if got := position(parsePosition(text)); got != text {
			t.Errorf("%q is read as %q", text, got)
		}
	}
	for _, text := range []string{"", "eu_1", "eu 7", "eu_1 x", "eu_1  7", "eu_1 7 8"} {
		if got := parsePosition(text); got.Seq != 0 {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
