package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/reorder"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// counted publishes events of a user of the source "shop": the ids are the user and the place in the count.
func (r *region) counted(user string, seqs ...int) {
	r.t.Helper()
	for _, n := range seqs {
		r.send("bets", fmt.Sprint(user, "-", n), user, fmt.Sprintf(`"source_seq":%d,`, n), "2026-03-04T05:06:07Z")
	}
}

// send publishes one whole event as a relay does.
func (r *region) send(topic, id, user, members, occurred string) {
	r.t.Helper()
	msg := nats.NewMsg(subject.Event{Origin: eu, Scope: subject.Global, Topic: topic, Type: "bet.placed"}.String())
	for name, value := range map[string]string{
		header.MsgID: id, header.Relay: "test", header.Source: "shop", header.IngestedAt: ingestedAt.Format(time.RFC3339Nano),
	} {
		msg.Header.Set(name, value)
	}
	msg.Data = fmt.Appendf(nil, `{"event_id":%q,"event_type":"bet.placed","schema_version":"1.0.0","occurred_at":%q,%s"key":{"user_id":%q},"payload":{}}`, id, occurred, members, user)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := r.js.PublishMsg(ctx, msg); err != nil {
		r.t.Fatalf("publish %s: %v", id, err)
	}
}

func (r *region) reordering(window time.Duration) consumers.Options {
	o := r.options("d")
	o.Reorder = &consumers.Reorder{Window: window}
	return o
}

// verdicts are what a handler was told, one word for each call.
func (r *running) verdicts() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.got {
		what := m.EventID
		if m.Order != nil {
			what += ":" + m.Order.Verdict.String()
		}
		out = append(out, what)
	}
	return out
}

func (r *running) told(want ...string) {
	r.t.Helper()
	streamtest.Eventually(r.t, patience, func() (bool, string) {
		got := r.verdicts()
		return slices.Equal(got, want), fmt.Sprintf("got %v, want %v", got, want)
	})
}

// A gap holds its user back until it is filled, and nobody else.
func TestReorderWaitsForWhatIsMissing(t *testing.T) {
	for _, workers := range []int{1, 3} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			r := newRegion(t)
			o := r.reordering(time.Minute)
			o.Workers = workers
			sub := r.subscribe(o)
			run := run(t, sub, nil)
			r.counted("ann", 1, 3, 4)
			r.counted("bob", 1, 2)
			r.send("bets", "plain", "ann", "", "2026-03-04T05:06:07Z") // of a source that does not count
			run.count(4)
			streamtest.Eventually(t, patience, func() (bool, string) {
				st := sub.State()
				return st.Held == 2 && st.HeldKeys == 1 && st.Unsettled == 2, fmt.Sprintf("%+v", st)
			})
			if got := run.ids(); slices.Contains(got, "ann-3") || slices.Contains(got, "ann-4") || !slices.Contains(got, "plain") {
				t.Errorf("before the gap is filled: %v", got)
			}
			r.counted("ann", 2)
			run.count(7)
			var ann []string
			for _, id := range run.verdicts() {
				if strings.HasPrefix(id, "ann") {
					ann = append(ann, id)
				}
			}
			if !slices.Equal(ann, []string{"ann-1", "ann-2", "ann-3", "ann-4"}) {
				t.Errorf("in order: %v", ann)
			}
		})
	}
}

// After the window the gap is told, and what comes later still goes to who corrects, with what was handled without it.
func TestReorderGivesUpAfterTheWindow(t *testing.T) {
	r := newRegion(t)
	registry := prometheus.NewRegistry()
	o := r.reordering(400 * time.Millisecond)
	o.Registerer = registry
	var mu sync.Mutex
	var late []consumers.Message
	fail := true
	o.Retry = quick
	o.Reorder.Correct = func(_ context.Context, m *consumers.Message) error {
		mu.Lock()
		defer mu.Unlock()
		late = append(late, *m)
		if fail {
			fail = false
			return errors.New("once")
		}
		return nil
	}
	start := time.Now()
	run := run(t, r.subscribe(o), nil)
	r.counted("ann", 1, 4, 5)
	run.told("ann-1", "ann-4:gap", "ann-5")
	if waited := time.Since(start); waited < o.Reorder.Window {
		t.Errorf("released after %s", waited)
	}
	if g := run.got[1].Order; g.Missing != 2 || g.Early || g.After != (reorder.Position{Seq: 1}) || !g.Known {
		t.Errorf("gap: %+v", g)
	}
	r.counted("ann", 3, 6)
	run.told("ann-1", "ann-4:gap", "ann-5", "ann-6")
	streamtest.Eventually(t, patience, func() (bool, string) {
		mu.Lock()
		defer mu.Unlock()
		return len(late) == 2, fmt.Sprintf("%d corrections", len(late))
	})
	l := late[1].Order
	if late[1].EventID != "ann-3" || late[1].Attempt != 2 || l.Verdict != reorder.Late || l.After != (reorder.Position{Seq: 5}) ||
		len(l.Ahead) != 2 || l.Ahead[0].EventID != "ann-4" || l.Ahead[1].Position.Seq != 5 || l.Ahead[0].OriginSeq != 2 {
		t.Errorf("late: %+v %+v", late[1], l)
	}
	metrics := `# HELP weft_consumer_gaps_total Gaps in a source's count that were given up, at the end of the window or (early) before it for want of room.
# TYPE weft_consumer_gaps_total counter
weft_consumer_gaps_total{durable="d",early="false"} 1
weft_consumer_gaps_total{durable="d",early="true"} 0
# HELP weft_consumer_late_total Events that came after later ones of their count were handed on; they go to the correction handler.
# TYPE weft_consumer_late_total counter
weft_consumer_late_total{durable="d"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(metrics), "weft_consumer_gaps_total", "weft_consumer_late_total"); err != nil {
		t.Error(err)
	}
}

// Where there is no room to hold more, order gives way and nothing else.
func TestReorderHoldsNoMoreThanItMay(t *testing.T) {
	for name, set := range map[string]func(*consumers.Reorder){
		"events": func(o *consumers.Reorder) { o.MaxHeld = 2 },
		"of key": func(o *consumers.Reorder) { o.MaxHeldPerKey = 2 },
		"bytes":  func(o *consumers.Reorder) { o.MaxHeldBytes = 400 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(t)
			o := r.reordering(time.Minute)
			set(o.Reorder)
			run := run(t, r.subscribe(o), nil)
			r.counted("ann", 2, 4, 6)
			run.told("ann-2:gap")
			if !run.got[0].Order.Early {
				t.Errorf("%+v", run.got[0].Order)
			}
			r.counted("ann", 3)
			run.told("ann-2:gap", "ann-3", "ann-4")
		})
	}
}

// What is held does not keep the server from delivering what it waits for.
func TestReorderLeavesRoomToFetch(t *testing.T) {
	r := newRegion(t)
	o := r.reordering(time.Minute)
	o.Batch, o.Reorder.MaxHeld = 4, 50
	run := run(t, r.subscribe(o), nil)
	for n := 2; n <= 40; n++ {
		r.counted("ann", n)
	}
	r.counted("ann", 1)
	run.count(40)
	if c := r.info("d").Config; c.MaxAckPending != 54 || c.AckWait != 90*time.Second {
		t.Errorf("durable: %d pending, %s", c.MaxAckPending, c.AckWait)
	}
}

// A durable from before keeps its position and is given what reordering takes.
func TestReorderWidensADurable(t *testing.T) {
	r := newRegion(t)
	r.counted("ann", 101, 102)
	first := run(t, r.subscribe(r.options("d")), nil)
	first.wants("ann-101", "ann-102")
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	second := run(t, r.subscribe(r.reordering(time.Minute)), nil)
	r.counted("ann", 103)
	second.wants("ann-103")
	if c := r.info("d").Config; c.MaxAckPending != 256+5000 || c.AckWait != 90*time.Second {
		t.Errorf("durable: %d pending, %s", c.MaxAckPending, c.AckWait)
	}
}

// An ended subscription gives back what it held, and the next one goes on in order: it is told where the count stood.
func TestReorderGoesOnAfterARestart(t *testing.T) {
	r := newRegion(t)
	o := r.reordering(time.Minute)
	o.Reorder.Last = func(_ context.Context, source, user string) (reorder.Position, bool, error) {
		if source != "shop" {
			return reorder.Position{}, false, errTest
		}
		return reorder.Position{Seq: 100}, user == "ann", nil
	}
	first := r.subscribe(o)
	running := run(t, first, nil)
	r.counted("ann", 101, 104, 103)
	running.wants("ann-101")
	streamtest.Eventually(t, patience, func() (bool, string) { return first.State().Held == 2, "not held" })
	if err := running.end(); err != nil {
		t.Fatal(err)
	}
	again := *o.Reorder
	o.Reorder = &again
	o.Reorder.Last = func(context.Context, string, string) (reorder.Position, bool, error) {
		return reorder.Position{Seq: 101}, true, nil
	}
	second := run(t, r.subscribe(o), nil)
	r.counted("ann", 102)
	second.told("ann-102", "ann-103", "ann-104")
}

// A process that dies while it holds events loses none of them, and the next one waits long enough to see them again.
func TestReorderOutlivesADeadProcess(t *testing.T) {
	r := newRegion(t)
	o := r.reordering(500 * time.Millisecond)
	o.AckWait = 2 * time.Second
	o.Reorder.Last = func(context.Context, string, string) (reorder.Position, bool, error) {
		return reorder.Position{Seq: 1}, true, nil
	}
	nc := r.s.Connect()
	dead := o
	dead.URLs, dead.Conn = nil, nc
	sub := r.subscribe(dead)
	dying := run(t, sub, nil)
	r.counted("ann", 3, 5) // 2 and 4 are missing
	streamtest.Eventually(t, patience, func() (bool, string) { return sub.State().Held == 2, "not held" })
	nc.Close() // what it held is neither acknowledged nor given back
	dying.endsWithError()

	second := run(t, r.subscribe(o), nil)
	r.counted("ann", 2, 4)
	second.told("ann-2", "ann-3", "ann-4", "ann-5")
}

func (r *running) endsWithError() {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		if err == nil {
			r.t.Error("Run ended well")
		}
	case <-time.After(patience):
		r.t.Error("Run goes on")
	}
}

// Events without a count go by their time where a topic asks for it, and without delay elsewhere.
func TestReorderByTime(t *testing.T) {
	r := newRegion(t)
	o := r.reordering(400 * time.Millisecond)
	o.Reorder.ByTime = []string{"kyc"}
	run := run(t, r.subscribe(o), nil)
	r.send("kyc", "b", "ann", "", "2026-03-04T05:06:09Z")
	r.send("kyc", "a", "ann", "", "2026-03-04T05:06:08Z")
	r.send("bets", "now", "ann", "", "2026-03-04T05:06:10Z")
	run.told("now", "a", "b")
	r.send("kyc", "old", "ann", "", "2026-03-04T05:06:07Z")
	run.told("now", "a", "b", "old:late")
	if got := run.got[3].Order.Latest; !got.Equal(time.Date(2026, 3, 4, 5, 6, 9, 0, time.UTC)) {
		t.Errorf("latest %s", got)
	}
}
