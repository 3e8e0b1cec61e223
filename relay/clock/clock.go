// Package clock watches the relay's own clock: everything that a relay says about the clocks of others holds only
// while its own is right.
//
// Two things are compared: the wall clock with the monotonic one, which shows a jump within a second, and the wall
// clock with the time of the hub's control heartbeats, which shows a clock that was wrong from the beginning, and
// says after a jump which of the two times is the right one. The relay makes one Watch and asks it at each
// request. A Watch is safe for concurrent use; Unsure is one atomic load.
package clock

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// Options of a Watch.
type Options struct {
	Now     func() time.Time
	Elapsed func() time.Duration // a clock that nobody sets
	// Heartbeat is the hub's time of the newest heartbeat that has arrived, zero before the first.
	Heartbeat  func() time.Time
	Jump       time.Duration // a step of the wall clock that is told
	Limit      time.Duration // a step or a difference from the hub's clock at which this one is not trusted
	Every      time.Duration
	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept and not published
}

// DefaultOptions look each second. Now, Elapsed and Heartbeat are the caller's.
func DefaultOptions() Options {
	return Options{Jump: 2 * time.Second, Limit: time.Minute, Every: time.Second, Logger: zap.NewNop()}
}

func (o *Options) validate() error {
	if o.Now == nil || o.Elapsed == nil || o.Heartbeat == nil || o.Logger == nil || o.Jump <= 0 || o.Limit < o.Jump || o.Every <= 0 {
		return fault.New("clock.new", fault.Invalid, "options", "Now, Elapsed, Heartbeat and Logger must be set, Jump and Every positive, Limit no less than Jump")
	}
	return nil
}

// Watch compares the clocks.
type Watch struct {
	o       Options
	metrics *metrics
	unsure  atomic.Pointer[string]

	mu     sync.Mutex
	begun  bool
	offset time.Duration // of the wall clock from the monotonic one, at the last look
	anchor time.Duration // the same when the hub agreed last, or at the first look
	heard  time.Time     // the heartbeat compared last
	apart  int           // heartbeats in a row that disagreed
	differ time.Duration // of the wall clock from the hub's, as the last of them showed
}

// New makes a Watch and takes the first look. Run it; Close takes its metrics back.
func New(o Options) (*Watch, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	w := &Watch{o: o}
	var err error
	if w.metrics, err = newMetrics(o.Registerer, w); err != nil {
		return nil, fault.Wrap("clock.new", fault.Invalid, err)
	}
	w.Look()
	return w, nil
}

// Run looks until quit is closed.
func (w *Watch) Run(quit <-chan struct{}) {
	tick := time.NewTicker(w.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
			w.Look()
		}
	}
}

// Close takes the metrics back.
func (w *Watch) Close() { w.metrics.unregister() }

// Unsure is why the clock is not to be trusted at present, "" while it is.
func (w *Watch) Unsure() string {
	if why := w.unsure.Load(); why != nil {
		return *why
	}
	return ""
}

// Look compares the clocks now and returns Unsure. Who is about to refuse a request for its time calls it, so that
// nobody honest is refused in the second before a jump is noticed.
func (w *Watch) Look() string {
	wall, offset, ok := w.read()
	if !ok {
		return w.Unsure()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.begun {
		w.begun, w.offset, w.anchor, w.heard = true, offset, offset, w.o.Heartbeat()
		return ""
	}
	if step := offset - w.offset; step.Abs() >= w.o.Jump {
		w.metrics.jumped(step)
		w.o.Logger.Warn("the clock of this machine jumped", zap.Duration("by", step.Round(time.Millisecond)))
	}
	w.offset = offset
	w.compare(wall)
	w.judge()
	return w.Unsure()
}

// reads is how often a reading that took too long is tried again; slow is how long that is: somebody stopped the
// process between the two clocks, and the difference would look like a jump.
const (
	reads = 3
	slow  = 100 * time.Millisecond
)

// read is the wall clock and its offset from the monotonic one.
func (w *Watch) read() (wall time.Time, offset time.Duration, ok bool) {
	for range reads {
		before := w.o.Elapsed()
		wall = w.o.Now().Round(0) // the wall clock alone
		after := w.o.Elapsed()
		if after-before <= slow {
			return wall, time.Duration(wall.UnixNano()) - after, true
		}
	}
	return wall, 0, false
}

// compare looks at a heartbeat that came since the last look. It is at most so old as a look and its way are long,
// so a difference of seconds says nothing, and one of Limit all.
func (w *Watch) compare(wall time.Time) {
	heard := w.o.Heartbeat()
	if heard.IsZero() || heard.Equal(w.heard) {
		return
	}
	w.heard, w.differ = heard, wall.Sub(heard)
	if w.differ.Abs() <= w.o.Limit {
		w.apart, w.anchor = 0, w.offset
		return
	}
	w.apart++
}

// apartMost is how many heartbeats in a row have to disagree: one may have been on its way for long.
const apartMost = 2

// judge says whether the clock is to be trusted.
func (w *Watch) judge() {
	why := ""
	switch moved := w.offset - w.anchor; {
	case w.apart >= apartMost:
		why = fmt.Sprintf("this relay's clock differs from the hub's by %d s", int64(w.differ.Round(time.Second)/time.Second))
	case moved.Abs() >= w.o.Limit:
		why = fmt.Sprintf("this relay's clock jumped by %d s, and the hub has not confirmed the new time", int64(moved.Round(time.Second)/time.Second))
	}
	before := w.Unsure()
	switch {
	case why != "" && before == "":
		w.o.Logger.Error("the clock of this relay is not trusted, requests are answered 503", zap.String("why", why))
	case why == "" && before != "":
		w.o.Logger.Info("the clock of this relay is trusted again")
	}
	w.unsure.Store(&why)
}
