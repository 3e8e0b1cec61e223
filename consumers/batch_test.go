package consumers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// batches is a RunBatches that keeps what its handler got.
type batches struct {
	t    *testing.T
	stop context.CancelFunc
	done chan error

	mu  sync.Mutex
	got [][]string // ids
}

func runBatches(t *testing.T, sub *consumers.Subscription, how consumers.Batching, answer func(ids []string) error) *batches {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &batches{t: t, stop: stop, done: make(chan error, 1)}
	go func() {
		r.done <- sub.RunBatches(ctx, how, func(_ context.Context, ms []*consumers.Message) error {
			ids := make([]string, len(ms))
			for i, m := range ms {
				ids[i] = m.EventID
			}
			r.mu.Lock()
			r.got = append(r.got, ids)
			r.mu.Unlock()
			return answer(ids)
		})
	}()
	t.Cleanup(func() { r.end() })
	return r
}

func (r *batches) end() {
	r.t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		r.done <- nil
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(patience):
		r.t.Error("RunBatches does not end")
	}
}

func (r *batches) all() [][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// settled waits until everything of a durable is acknowledged.
func (r *region) settled(durable string) {
	r.t.Helper()
	streamtest.Eventually(r.t, patience, func() (bool, string) {
		i := r.info(durable)
		return i.NumPending == 0 && i.NumAckPending == 0, fmt.Sprintf("%d to come, %d not acknowledged", i.NumPending, i.NumAckPending)
	})
}

// TestBatches: each event is in one batch, no batch has a key twice, and the order of each key holds.
func TestBatches(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	o.Key, o.Workers = byNumber, 2
	r.publish("bets", 1, 40)
	run := runBatches(t, r.subscribe(o), consumers.Batching{Most: 10}, func([]string) error { return nil })
	r.settled("d")
	run.end()
	var seen []string
	for _, ids := range run.all() {
		keys := map[string]bool{}
		for _, id := range ids {
			if keys[byNumber(&consumers.Message{EventID: id})] {
				t.Errorf("a key is twice in %v", ids)
			}
			keys[byNumber(&consumers.Message{EventID: id})] = true
		}
		seen = append(seen, ids...)
	}
	for key := range 3 {
		want := ofKey(ids("bets", 1, 40), key)
		if got := ofKey(seen, key); !slices.Equal(got, want) {
			t.Errorf("key %d came as %v", key, got)
		}
	}
}

// alike lets any events be in a batch.
func alike(m *consumers.Message) string { return m.EventID }

// TestBatchErrors: an event that fails comes again, the others of its batch are done.
func TestBatchErrors(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	o.Key, o.Retry = alike, quick
	r.publish("bets", 1, 20)
	run := runBatches(t, r.subscribe(o), consumers.Batching{Most: 20, Linger: time.Second}, func(ids []string) error {
		errs := make(consumers.BatchErrors, len(ids))
		if i := slices.Index(ids, "bets-7"); i >= 0 && len(ids) > 1 {
			errs[i] = errTest
		}
		return errs
	})
	r.settled("d")
	run.end()
	got := run.all()
	if len(got) != 2 || len(got[0]) != 20 || !slices.Equal(got[1], []string{"bets-7"}) {
		t.Errorf("the batches are %v", got)
	}
}

// TestBatchOutage: a batch that fails because of an outage rests and comes again as a whole, however often; it is told
// once for all of its events.
func TestBatchOutage(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	logs, seen := observer.New(zap.WarnLevel)
	o.Key, o.Retry, o.Logger = alike, quick, zap.New(logs)
	r.publish("bets", 1, 20)
	calls := 0
	run := runBatches(t, r.subscribe(o), consumers.Batching{Most: 20, Linger: time.Second}, func([]string) error {
		if calls++; calls <= 5 { // more than quick allows for failures that count
			return fault.New("test", fault.Unavailable, "down", "the database is down")
		}
		return nil
	})
	r.settled("d")
	run.end()
	got := run.all()
	if len(got) != 6 || seen.FilterMessage("batch not handled").Len() != 5 || seen.Len() != 5 {
		t.Errorf("%d batches, %d warnings: %v", len(got), seen.Len(), seen.All())
	}
	for _, ids := range got {
		if len(ids) != 20 {
			t.Errorf("%d events came together: %v", len(ids), ids)
		}
	}
}

// TestBatchPoison: when one of a batch makes the handler panic, or all of them fail for its sake, it alone is given up.
func TestBatchPoison(t *testing.T) {
	for name, poison := range map[string]func() error{
		"panic":     func() error { panic("poison") },
		"permanent": func() error { return retry.Permanent(errTest) },
		"each":      func() error { return consumers.BatchErrors{} }, // of another length: as good as none
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegion(t)
			o := r.options("d")
			park := &lot{}
			o.Key, o.Retry, o.Park = alike, quick, park.park
			r.publish("bets", 1, 20)
			run := runBatches(t, r.subscribe(o), consumers.Batching{Most: 20, Linger: time.Second}, func(ids []string) error {
				if slices.Contains(ids, "bets-7") {
					return poison()
				}
				return nil
			})
			r.settled("d")
			run.end()
			if got := park.parked(); len(got) != 1 || got[0].Message.EventID != "bets-7" {
				t.Errorf("parked: %v", got)
			}
			alone := 0
			for _, ids := range run.all()[1:] {
				if len(ids) > 1 {
					t.Errorf("%v came together again", ids)
				}
				if strings.Join(ids, "") == "bets-7" {
					alone++
				}
			}
			if alone == 0 {
				t.Error("the poison was never tried alone")
			}
		})
	}
}

// TestBatchIsGivenBack: what was gathered and not handled when Run ends is delivered to the next one, in order.
func TestBatchIsGivenBack(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	o.Key = alike
	r.publish("bets", 1, 5)
	first := runBatches(t, r.subscribe(o), consumers.Batching{Most: 100, Linger: time.Hour}, func(ids []string) error {
		t.Errorf("handled %v", ids)
		return nil
	})
	streamtest.Eventually(t, patience, func() (bool, string) { return r.info("d").NumAckPending == 5, "not all are delivered" })
	first.end()
	second := runBatches(t, r.subscribe(o), consumers.Batching{Most: 5, Linger: time.Minute}, func([]string) error { return nil })
	r.settled("d")
	if got := second.all(); len(got) != 1 || !slices.Equal(got[0], ids("bets", 1, 5)) {
		t.Errorf("the batches are %v", got)
	}
}

func TestRunBatchesRefuses(t *testing.T) {
	r := newRegion(t)
	handle := func(context.Context, []*consumers.Message) error { return nil }
	for name, c := range map[string]struct {
		how    consumers.Batching
		handle consumers.BatchHandler
		code   string
	}{
		"no handler":   {consumers.Batching{Most: 1}, nil, "no_handler"},
		"no size":      {consumers.Batching{}, handle, "invalid_batching"},
		"a long wait":  {consumers.Batching{Most: 1, Linger: 2 * time.Hour}, handle, "invalid_batching"},
		"a large size": {consumers.Batching{Most: 10_001}, handle, "invalid_batching"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := r.subscribe(r.options("d")).RunBatches(t.Context(), c.how, c.handle); fault.CodeOf(err) != c.code {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
}
