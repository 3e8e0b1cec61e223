package consumers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/header"
)

// Breaker says when the handler is left alone because it fails call after call, whatever the event, and for how long.
// While the breaker is open nothing is fetched and no attempt is counted: the stream is the buffer. After each pause
// one event is tried; when that goes well all go on, or else the next pause is longer. Zero fields mean their defaults.
//
// What counts depends on the kind of failure: each call that met an outage or was told to come again (retry.After), of
// all other failures the first of each event, so that a few poison events open nothing.
type Breaker struct {
	Failures int           // that count, one after the other, open it; default 10, negative: it never opens
	First    time.Duration // the first pause, 1 ms or more; each further one is twice as long; default 1 s
	Most     time.Duration // the longest pause; default 1 min

	// OptionalAfter is the age beyond which events of optional topics are dropped, from when the breaker opens until
	// the subscription has caught up; others never are. Default 10 min, negative: none is dropped.
	OptionalAfter time.Duration
}

func (b Breaker) withDefaults() Breaker {
	b.Failures = cmp.Or(b.Failures, 10)
	b.First = cmp.Or(b.First, time.Second)
	b.Most = cmp.Or(b.Most, max(time.Minute, b.First))
	b.OptionalAfter = cmp.Or(b.OptionalAfter, 10*time.Minute)
	return b
}

func (b *Breaker) validate() string {
	if b.First < time.Millisecond || b.Most < b.First {
		return fmt.Sprintf("breaker pauses %s to %s: at least 1ms, the most not below the first", b.First, b.Most)
	}
	return ""
}

// BreakerState is what a breaker does.
type BreakerState uint8

// The states.
const (
	BreakerClosed   BreakerState = iota // every event is handled
	BreakerOpen                         // none is
	BreakerHalfOpen                     // one is, to see
)

var breakerStates = [...]string{"closed", "open", "half_open"}

// String is the state's name, as metrics show it.
func (s BreakerState) String() string { return breakerStates[s] }

// breaker asks the library's when to open and close; how long a pause is, and who is the one that tries, is its own.
type breaker struct {
	opts    Breaker
	log     *zap.Logger
	metrics *metrics
	failing atomic.Bool // not known to be closed and without failures: the usual case costs no lock

	mu       sync.Mutex
	state    *gobreaker.TwoStepCircuitBreaker[struct{}]
	moved    chan struct{} // closed when the state changes, and then replaced
	onOpen   func()        // nil while nothing is fetched
	since    time.Time     // of the state
	until    time.Time     // the end of the pause
	pause    time.Duration // the last one
	probing  bool
	shedding bool // optional events that are too old are dropped
}

var (
	errCounted = errors.New("counted")
	errIgnored = errors.New("ignored")
)

func newBreaker(o Breaker, log *zap.Logger, m *metrics) *breaker {
	b := &breaker{opts: o, log: log, metrics: m, moved: make(chan struct{}), since: time.Now()}
	b.state = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:       time.Nanosecond, // it may try as soon as it is asked: when it is asked is decided here
		ReadyToTrip:   func(c gobreaker.Counts) bool { return o.Failures > 0 && int(c.ConsecutiveFailures) >= o.Failures },
		IsSuccessful:  func(err error) bool { return err == nil },
		IsExcluded:    func(err error) bool { return errors.Is(err, errIgnored) },
		OnStateChange: b.change,
	})
	return b
}

// ticket is the right to call the handler once. It is given back by record or abandon.
type ticket struct{ probe bool }

// admit says whether a call may be made now. If not, it may be asked for again at next, if that is set, or when moved
// is closed.
func (b *breaker) admit(now time.Time) (t ticket, ok bool, next time.Time, moved <-chan struct{}) {
	if !b.failing.Load() {
		return t, true, next, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return t, true, next, nil
	case now.Before(b.until):
		return t, false, b.until, b.moved
	case b.probing:
		return t, false, next, b.moved
	}
	b.probing = true
	return ticket{probe: true}, true, next, nil
}

// enter waits until a call may be made; false when ctx ends first.
func (b *breaker) enter(ctx context.Context) (t ticket, ok bool) {
	for ctx.Err() == nil {
		t, ok, next, moved := b.admit(time.Now())
		if ok {
			return t, true
		}
		await(ctx, moved, next)
	}
	return t, false
}

// abandon gives a ticket back unused.
func (b *breaker) abandon(t ticket) {
	if !t.probe {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}

// record says what became of the call; first is whether it was its event's first.
func (b *breaker) record(t ticket, err error, first bool) {
	if err == nil && !b.failing.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case t.probe:
		b.probing = false
		defer b.broadcast()
	case !b.until.IsZero():
		return // of a call that was made before it opened
	}
	done, refused := b.state.Allow()
	if refused != nil {
		return
	}
	switch {
	case err == nil:
		done(nil)
		b.failing.Store(b.shedding)
	case t.probe || first || suspects(retry.Classify(err)):
		b.failing.Store(true)
		done(errCounted)
	default:
		done(errIgnored)
	}
}

// suspects says whether every failure of a class says something about what the handler needs, and nothing about its
// event.
func suspects(c retry.Class) bool { return c == retry.Outage || c == retry.Delayed }

// change follows the library's state. The lock is held: it is asked nowhere else.
func (b *breaker) change(_ string, from, to gobreaker.State) {
	now := time.Now()
	switch to {
	case gobreaker.StateOpen:
		b.open(now, from == gobreaker.StateHalfOpen)
	case gobreaker.StateClosed:
		b.until, b.since = time.Time{}, now
		b.log.Info("breaker closed, events are handled again")
	case gobreaker.StateHalfOpen:
		return // what follows is what the call that asked for it says
	}
	b.broadcast()
}

func (b *breaker) open(now time.Time, again bool) {
	if again || b.pause > 0 && now.Sub(b.since) < b.pause { // it did not last
		b.pause = min(2*b.pause, b.opts.Most)
	} else {
		b.pause = b.opts.First
	}
	if !again {
		b.metrics.opened.Inc()
		b.since = now
	}
	b.until = now.Add(b.pause/2 + jitter(b.pause/2))
	b.shedding = b.opts.OptionalAfter > 0
	b.log.Warn("breaker open, no event is handled", zap.Duration("for", b.until.Sub(now)))
	if b.onOpen != nil {
		b.onOpen()
	}
}

func (b *breaker) broadcast() {
	close(b.moved)
	b.moved = make(chan struct{})
}

// drops says whether an event is to be dropped instead of being handled. The first that is young enough ends the
// dropping: the subscription has caught up.
func (b *breaker) drops(m *Message) bool {
	if !b.failing.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.shedding {
		return false
	}
	if time.Since(m.StoredAt) <= b.opts.OptionalAfter {
		b.shedding = !b.until.IsZero()
		return false
	}
	return m.Requeued == nil && m.Header.Get(header.Class) == header.ClassOptional
}

// look is what the breaker does, since when, and until when at least.
func (b *breaker) look() (s BreakerState, since, until time.Time, moved <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		s = BreakerClosed
	case b.probing:
		s = BreakerHalfOpen
	default:
		s = BreakerOpen
	}
	return s, b.since, b.until, b.moved
}

// untilOpen calls stop when the breaker opens, or now if it just did, until done is called.
func (b *breaker) untilOpen(stop func()) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.onOpen = stop
	if time.Now().Before(b.until) {
		stop()
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.onOpen = nil
	}
}

// pausePoll is how often a pause is looked at: the connection may be closed, or nothing be left to try with.
const pausePoll = time.Second

// awaitPull returns when events may be fetched: the breaker is closed, or its pause is over and nothing is here that
// could be tried.
func (s *Subscription) awaitPull(ctx context.Context, b *backlog) {
	for ctx.Err() == nil && !s.nc.IsClosed() {
		state, _, until, moved := s.breaker.look()
		now := time.Now()
		if state == BreakerClosed || !now.Before(until) && b.idle() {
			return
		}
		next := now.Add(pausePoll)
		if now.Before(until) && until.Before(next) {
			next = until
		}
		await(ctx, moved, next)
	}
}
