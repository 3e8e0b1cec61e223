package consumers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/reorder"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// life is the first one of a subscription, which ends while it is doing something with an event.
type life struct {
	name    string
	options func(*consumers.Options)
	handle  consumers.Handler // of bob-1, all others are handled well
	doing   func(consumers.State) bool

	sub *consumers.Subscription
	nc  *nats.Conn
	run *running

	mu      sync.Mutex
	handled []string
}

func (l *life) begin(r *region) {
	l.nc = r.s.Connect()
	o := consumers.Options{Conn: l.nc, Durable: l.name, Reorder: &consumers.Reorder{}, Retry: retry.Policy{First: time.Minute, Most: time.Minute}}
	l.options(&o)
	l.sub = r.subscribe(o)
	l.run = run(r.t, l.sub, func(ctx context.Context, m *consumers.Message) error {
		if m.EventID == "bob-1" && l.handle != nil {
			if err := l.handle(ctx, m); err != nil {
				return err
			}
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.handled = append(l.handled, m.EventID)
		return nil
	})
}

func (l *life) did(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.handled, id)
}

// lives are the states in which an event can be.
func lives() []*life {
	fail := func(err error) consumers.Handler {
		return func(context.Context, *consumers.Message) error { return err }
	}
	nothing := func(*consumers.Options) {}
	return []*life{
		{name: "held", options: nothing, doing: func(s consumers.State) bool { return s.Held == 2 && s.Unsettled == 2 }},
		{name: "handled", options: nothing, doing: func(s consumers.State) bool { return s.Unsettled == 4 && s.Held == 2 }, handle: func(ctx context.Context, _ *consumers.Message) error {
			<-ctx.Done()
			return ctx.Err()
		}},
		{name: "resting", options: nothing, handle: fail(errTest), doing: func(s consumers.State) bool { return s.WaitingKeys == 1 && s.Held == 2 }},
		{name: "paused", options: func(o *consumers.Options) { o.Breaker = consumers.Breaker{Failures: 1, First: time.Minute} },
			handle: fail(context.DeadlineExceeded), doing: func(s consumers.State) bool { return s.Breaker == consumers.BreakerOpen && s.WaitingKeys == 1 }},
		{name: "parking", options: func(o *consumers.Options) {
			o.Park = func(context.Context, *consumers.Parked) error { return errTest }
		}, handle: fail(retry.Permanent(errTest)), doing: func(s consumers.State) bool { return s.WaitingKeys == 1 && s.Held == 2 }},
	}
}

// Whatever a subscription is doing with an event when it is stopped, or when its process dies, the next one has every
// event that was not handled, each user's in order.
func TestNothingIsLostWhateverEndsIt(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "killed"}[kill], func(t *testing.T) {
			r := newRegion(t)
			r.deadLetters()
			all := lives()
			for _, l := range all {
				l.begin(r)
			}
			r.counted("ann", 1)
			r.counted("bob", 1)
			r.counted("ann", 3, 4)
			r.counted("bob", 2)
			for _, l := range all {
				streamtest.Eventually(t, patience, func() (bool, string) {
					return l.doing(l.sub.State()), fmt.Sprintf("%s: %+v", l.name, l.sub.State())
				})
				if kill {
					l.nc.Close()
					l.run.endsWithError()
					r.age(l.name)
				} else if err := l.run.end(); err != nil {
					t.Error(err)
				}
			}
			r.counted("ann", 2)
			for _, l := range all {
				l.next(r)
			}
		})
	}
}

// age lets the AckWait of what a dead process had fetched run out.
func (r *region) age(durable string) {
	r.t.Helper()
	c := r.info(durable).Config
	c.AckWait = time.Second
	if _, err := r.js.UpdateConsumer(r.t.Context(), subject.EventsStream, c); err != nil {
		r.t.Fatal(err)
	}
}

// next runs the subscription that comes after, and checks what it is given.
func (l *life) next(r *region) {
	r.t.Helper()
	o := r.options(l.name)
	o.AckWait = time.Second
	o.Reorder = &consumers.Reorder{Window: 500 * time.Millisecond, Last: func(_ context.Context, _, user string) (reorder.Position, bool, error) {
		return reorder.Position{Seq: 1}, l.did(user + "-1"), nil
	}}
	second := run(r.t, r.subscribe(o), nil)
	want := []string{"ann-1", "ann-2", "ann-3", "ann-4", "bob-1", "bob-2"}
	want = slices.DeleteFunc(want, l.did)
	streamtest.Eventually(r.t, patience, func() (bool, string) {
		got := second.verdicts()
		slices.Sort(got)
		return slices.Equal(got, want), fmt.Sprintf("%s: %v after %v", l.name, got, l.handled)
	})
	for _, user := range []string{"ann", "bob"} {
		got := slices.DeleteFunc(second.ids(), func(id string) bool { return !strings.HasPrefix(id, user) })
		if !slices.IsSorted(got) {
			r.t.Errorf("%s: %v", l.name, got)
		}
	}
	if err := second.end(); err != nil {
		r.t.Error(err)
	}
}
