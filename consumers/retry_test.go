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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/streamtest"
)

var errTest = errors.New("not now")

// byNumber spreads the test's events over three keys: bets-1, bets-4, … are one.
func byNumber(m *consumers.Message) string {
	var n int
	_, _ = fmt.Sscanf(m.EventID, "bets-%d", &n)
	return fmt.Sprint(n % 3)
}

// quick is a policy that does not make tests wait.
var quick = retry.Policy{First: 10 * time.Millisecond, Most: 50 * time.Millisecond, Attempts: 3}

// lot is where a test parks.
type lot struct {
	mu  sync.Mutex
	got []consumers.Parked
	err error
}

func (l *lot) park(_ context.Context, p *consumers.Parked) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = append(l.got, *p)
	return l.err
}

func (l *lot) parked() []consumers.Parked {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// ofKey are the ids of one key, in the order of the calls.
func ofKey(ids []string, key int) (of []string) {
	for _, id := range ids {
		if byNumber(&consumers.Message{EventID: id}) == fmt.Sprint(key) {
			of = append(of, id)
		}
	}
	return of
}

func TestFailingKeyWaitsAlone(t *testing.T) {
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			r := newRegion(t)
			logs, seen := observer.New(zap.WarnLevel)
			registry := prometheus.NewRegistry()
			o := r.options("d")
			o.Key, o.Workers, o.Retry, o.Logger, o.Registerer = byNumber, workers, quick, zap.New(logs), registry
			o.Retry.Attempts = -1
			heal := make(chan struct{})
			run := run(t, r.subscribe(o), func(_ context.Context, m *consumers.Message) error {
				select {
				case <-heal:
				default:
					if m.EventID == "bets-4" {
						return errTest
					}
				}
				return nil
			})
			r.publish("bets", 1, 30)
			others := func() int { return len(ofKey(run.ids(), 0)) + len(ofKey(run.ids(), 2)) }
			streamtest.Eventually(t, patience, func() (bool, string) {
				tries := len(ofKey(run.ids(), 1)) - 1
				return others() == 20 && tries > 3, fmt.Sprintf("%d others, %d tries", others(), tries)
			})
			if got := slices.Compact(ofKey(run.ids(), 1)); !slices.Equal(got, []string{"bets-1", "bets-4"}) {
				t.Errorf("while it fails: %v", got)
			}
			close(heal)
			var want []string
			for i := 1; i <= 30; i += 3 {
				want = append(want, fmt.Sprint("bets-", i))
			}
			streamtest.Eventually(t, patience, func() (bool, string) {
				got := slices.Compact(ofKey(run.ids(), 1))
				return slices.Equal(got, want) && r.info("d").NumAckPending == 0, fmt.Sprint(got)
			})
			if others() != 20 {
				t.Errorf("the other keys were called %d times", others())
			}
			for _, m := range run.got {
				if m.Redelivered || m.EventID != "bets-4" && m.Attempt != 1 {
					t.Errorf("%s: %d deliveries, attempt %d", m.EventID, m.Deliveries, m.Attempt)
				}
			}
			if n := seen.FilterMessage("event not handled").FilterField(zap.String("event_id", "bets-4")).Len(); n < 3 {
				t.Errorf("%d failures logged", n)
			}
			handled := "# HELP weft_consumer_handled_total Events that the handler took.\n# TYPE weft_consumer_handled_total counter\n" +
				`weft_consumer_handled_total{durable="d"} 30` + "\n"
			streamtest.Eventually(t, patience, func() (bool, string) {
				err := testutil.GatherAndCompare(registry, strings.NewReader(handled), "weft_consumer_handled_total")
				return err == nil, fmt.Sprint(err)
			})
		})
	}
}

// Several workers handle different keys at once, and never two events of one.
func TestWorkersShareTheKeys(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	o.Key, o.Workers = byNumber, 3
	var mu sync.Mutex
	busy := map[string]bool{}
	all := make(chan struct{})
	run := run(t, r.subscribe(o), func(_ context.Context, m *consumers.Message) error {
		mu.Lock()
		if busy[byNumber(m)] {
			t.Errorf("%s while another of its key is being handled", m.EventID)
		}
		busy[byNumber(m)] = true
		if len(busy) == 3 {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		mu.Unlock()
		<-all // returns only if three are here at once
		mu.Lock()
		delete(busy, byNumber(m))
		mu.Unlock()
		return nil
	})
	r.publish("bets", 1, 90)
	run.count(90)
	for key := range 3 {
		if got := ofKey(run.ids(), key); !slices.IsSortedFunc(got, byID) || len(got) != 30 {
			t.Errorf("key %d: %v", key, got)
		}
	}
}

func byID(a, b string) int { return len(a)*1000 - len(b)*1000 + strings.Compare(a, b) }

func TestGivenUpEventsAreParked(t *testing.T) {
	for name, c := range map[string]struct {
		fail     func() error
		cause    retry.Class
		attempts int
	}{
		"error":     {func() error { return errTest }, retry.Failure, 3},
		"permanent": {func() error { return retry.Permanent(errTest) }, retry.Hopeless, 1},
		"panic":     {func() error { panic("boom") }, retry.Panicked, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(t)
			var lot lot
			o := r.options("d")
			o.Key, o.Retry, o.Park = byNumber, quick, lot.park
			run := run(t, r.subscribe(o), func(_ context.Context, m *consumers.Message) error {
				if m.EventID == "bets-2" {
					return c.fail()
				}
				return nil
			})
			r.publish("bets", 1, 9)
			streamtest.Eventually(t, patience, func() (bool, string) {
				return len(run.ids()) == 8+c.attempts && r.info("d").NumAckPending == 0, fmt.Sprint(run.ids())
			})
			if got := slices.Compact(ofKey(run.ids(), 2)); !slices.Equal(got, []string{"bets-2", "bets-5", "bets-8"}) {
				t.Errorf("its key: %v", got)
			}
			got := lot.parked()
			if len(got) != 1 || got[0].Message.EventID != "bets-2" || got[0].Cause != c.cause || got[0].Attempts != c.attempts ||
				got[0].First == nil || got[0].Last == nil || got[0].FirstAt.IsZero() || got[0].LastAt.Before(got[0].FirstAt) {
				t.Errorf("parked: %+v", got)
			}
			if err := run.end(); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// An outage does not give events up, however long it lasts.
func TestOutagesParkNothing(t *testing.T) {
	r := newRegion(t)
	var lot lot
	o := r.options("d")
	o.Retry, o.Park = quick, lot.park
	run := run(t, r.subscribe(o), func(_ context.Context, m *consumers.Message) error {
		if m.Attempt <= 10 {
			return fmt.Errorf("database: %w", context.DeadlineExceeded)
		}
		return nil
	})
	r.publish("bets", 1, 1)
	run.count(11)
	streamtest.Eventually(t, patience, func() (bool, string) { return r.info("d").NumAckPending == 0, "not acknowledged" })
	if got := lot.parked(); len(got) != 0 {
		t.Errorf("parked: %+v", got)
	}
}

// What cannot be parked is neither lost nor handled again, and the process that comes next has it.
func TestParkingThatFailsLosesNothing(t *testing.T) {
	r := newRegion(t)
	lot := lot{err: errTest}
	o := r.options("d")
	o.Key, o.Retry, o.Park = byNumber, quick, lot.park
	fail := func(_ context.Context, m *consumers.Message) error {
		if m.EventID == "bets-1" {
			return retry.Permanent(errTest)
		}
		return nil
	}
	first := run(t, r.subscribe(o), fail)
	r.publish("bets", 1, 6)
	streamtest.Eventually(t, patience, func() (bool, string) {
		return len(lot.parked()) > 3 && len(first.ids()) == 5, fmt.Sprintf("%d times, %v", len(lot.parked()), first.ids())
	})
	if err := first.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := first.ids(); !slices.Equal(got, []string{"bets-1", "bets-2", "bets-3", "bets-5", "bets-6"}) {
		t.Errorf("calls: %v", got)
	}
	second := run(t, r.subscribe(o), nil)
	second.wants("bets-1", "bets-4")
}

// Retry-After is waited for, and longer than AckWait too: the server is told that the event is alive.
func TestAfterIsWaitedFor(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	o.Retry, o.AckWait = quick, time.Second
	told := 1500 * time.Millisecond
	start := time.Now()
	run := run(t, r.subscribe(o), func(_ context.Context, m *consumers.Message) error {
		if m.Attempt == 1 {
			return retry.After(errTest, told)
		}
		return nil
	})
	r.publish("bets", 1, 1)
	run.count(2)
	if waited := time.Since(start); waited < told {
		t.Errorf("came again after %s", waited)
	}
	if run.got[1].Redelivered || run.got[1].Attempt != 2 || run.got[0].Attempt != 1 {
		t.Errorf("second call: %+v", run.got[1])
	}
}
