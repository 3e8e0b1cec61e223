package consumers_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// While the breaker is open the stream is the buffer: nothing is fetched, nothing is called, nothing is parked, and
// when the handler is well again all of it comes in order.
func TestBreakerPausesThePull(t *testing.T) {
	for name, owner := range map[string]*consumers.Owner{"1 worker": nil, "3 workers": nil, "3 workers of an owner": {Epoch: 1}} {
		t.Run(name, func(t *testing.T) {
			workers := int(name[0] - '0')
			r := newRegion(t)
			registry := prometheus.NewRegistry()
			logs, seen := observer.New(zap.WarnLevel)
			var lot lot
			o := r.options("d")
			o.Workers, o.Key, o.Retry, o.Park, o.Registerer, o.Logger = workers, byNumber, quick, lot.park, registry, zap.New(logs)
			o.Owner, o.Breaker = owner, consumers.Breaker{Failures: 3, First: 200 * time.Millisecond, Most: 400 * time.Millisecond}
			var down atomic.Bool
			down.Store(true)
			sub := r.subscribe(o)
			run := run(t, sub, func(_ context.Context, m *consumers.Message) error {
				if down.Load() {
					return context.DeadlineExceeded
				}
				return nil
			})
			r.publish("bets", 1, 9)
			streamtest.Eventually(t, patience, func() (bool, string) {
				st := sub.State()
				return st.Breaker == consumers.BreakerOpen && len(run.ids()) >= 5, fmt.Sprintf("%+v, %d calls", st, len(run.ids()))
			})
			calls := len(run.ids())
			r.publish("bets", 10, 30)
			streamtest.Eventually(t, patience, func() (bool, string) {
				return len(run.ids()) >= calls+2, fmt.Sprintf("%d tries", len(run.ids())-calls)
			})
			if info := r.info("d"); info.Delivered.Stream > 9 {
				t.Errorf("fetched up to %d while it is open", info.Delivered.Stream)
			}
			open := "# HELP weft_consumer_breaker_state 1 for the state that the breaker is in.\n# TYPE weft_consumer_breaker_state gauge\n" +
				`weft_consumer_breaker_state{durable="d",state="closed"} 0` + "\n" +
				`weft_consumer_breaker_state{durable="d",state="half_open"} 0` + "\n" + `weft_consumer_breaker_state{durable="d",state="open"} 1` + "\n"
			streamtest.Eventually(t, patience, func() (bool, string) { // between two tries
				err := testutil.GatherAndCompare(registry, strings.NewReader(open), "weft_consumer_breaker_state")
				return err == nil, fmt.Sprint(err)
			})
			down.Store(false)
			streamtest.Eventually(t, patience, func() (bool, string) {
				info := r.info("d")
				return info.AckFloor.Stream == 30 && info.NumAckPending == 0 && sub.State().Breaker == consumers.BreakerClosed, fmt.Sprintf("%+v", info)
			})
			if err := run.end(); err != nil {
				t.Error(err)
			}
			for key := range 3 {
				var want []string
				for i := cmp.Or(key, 3); i <= 30; i += 3 {
					want = append(want, fmt.Sprint("bets-", i))
				}
				if got := slices.Compact(ofKey(run.ids(), key)); !slices.Equal(got, want) {
					t.Errorf("key %d: %v", key, got)
				}
			}
			// One that the server sent to a pull that had just ended comes a second time before the handler has seen it.
			first := map[string]bool{}
			for _, m := range run.got {
				if _, seen := first[m.EventID]; !seen {
					first[m.EventID] = m.Redelivered
				}
				if m.Redelivered != first[m.EventID] {
					t.Errorf("%s was delivered again after it was tried", m.EventID)
				}
			}
			if got := lot.parked(); len(got) != 0 {
				t.Errorf("parked: %+v", got)
			}
			if n := seen.FilterMessage("pulling stopped, binding again").Len(); n != 0 {
				t.Errorf("a pause was taken for trouble %d times", n)
			}
		})
	}
}

// When everything that was fetched has been given up there is nothing left to try with: something is fetched for it.
func TestBreakerFetchesWhatItTriesWith(t *testing.T) {
	r := newRegion(t)
	var lot lot
	o := r.options("d")
	o.Batch, o.Park, o.Breaker = 2, lot.park, consumers.Breaker{Failures: 2, First: 10 * time.Millisecond}
	run := run(t, r.subscribe(o), func(_ context.Context, m *consumers.Message) error {
		if m.Sequence <= 3 {
			panic("boom")
		}
		return nil
	})
	r.publish("bets", 1, 10)
	run.wants(ids("bets", 1, 10)...)
	if got := lot.parked(); len(got) != 3 {
		t.Errorf("%d parked", len(got))
	}
}

// Events of optional topics that grew old while the breaker was open are dropped and counted, and no others.
func TestBreakerDropsOldOptionalEvents(t *testing.T) {
	r := newRegion(t)
	registry := prometheus.NewRegistry()
	o := r.options("d")
	o.Retry, o.Registerer = quick, registry
	o.Breaker = consumers.Breaker{Failures: 1, First: 2 * time.Second, OptionalAfter: 200 * time.Millisecond}
	run := run(t, r.subscribe(o), func(_ context.Context, m *consumers.Message) error {
		if m.Attempt == 1 && m.EventID == "first" {
			return context.DeadlineExceeded
		}
		return nil
	})
	r.classed("first", "")
	run.count(1)
	r.classed("old", header.ClassOptional)
	r.classed("kept", "")
	run.wants("first", "first", "kept")
	dropped := "# HELP weft_consumer_dropped_total Events of optional topics that were too old to be handled after the breaker had opened.\n" +
		"# TYPE weft_consumer_dropped_total counter\n" + `weft_consumer_dropped_total{durable="d"} 1` + "\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(dropped), "weft_consumer_dropped_total"); err != nil {
		t.Error(err)
	}
	streamtest.Eventually(t, patience, func() (bool, string) {
		n := r.info("d").NumAckPending
		return n == 0, fmt.Sprintf("%d not acknowledged", n)
	})
}

// classed publishes an event of a topic's class.
func (r *region) classed(id, class string) {
	r.t.Helper()
	msg := nats.NewMsg(subject.Event{Origin: eu, Scope: subject.Global, Topic: "sessions", Type: "session.started"}.String())
	for name, value := range map[string]string{header.MsgID: id, header.Relay: "test", header.Class: class, header.IngestedAt: ingestedAt.Format(time.RFC3339Nano)} {
		msg.Header.Set(name, value)
	}
	if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
		r.t.Fatal(err)
	}
}
