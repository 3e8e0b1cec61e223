package consumers

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/reorder"
	"github.com/weft-mesh/weft/consumers/retry"
)

// failed is what is known of the failed calls of one event in this Run. It belongs to the worker that has the event.
type failed struct {
	calls    int // that failed
	counted  int // of those, the ones that count for the policy's limit
	givenUp  bool
	class    retry.Class // of the last one
	err      error       // of the last one
	firstErr error
	first    time.Time
	last     time.Time
}

// Parked is an event that is given up, with what its handler said. Attempts are the calls that failed in this Run:
// those of a process that died are not known.
type Parked struct {
	Message         *Message
	Cause           retry.Class
	Attempts        int
	First, Last     error
	FirstAt, LastAt time.Time
}

// handle brings one taken event a step further: it is settled, or rests, or stays for giveBack because Run is ending.
func (s *Subscription) handle(ctx context.Context, b *backlog, it *item, t ticket, handler Handler) {
	if it.failed != nil && it.failed.givenUp {
		s.breaker.abandon(t)
		s.park(ctx, b, it)
		return
	}
	if s.breaker.drops(it.m) {
		s.breaker.abandon(t)
		s.drop(ctx, b, it)
		return
	}
	err := guard(ctx, s.handlerOf(it.m, handler), it.m)
	if err != nil && ctx.Err() != nil {
		s.breaker.abandon(t)
		return
	}
	s.breaker.record(t, err, it.failed == nil)
	s.finish(ctx, b, it, err)
}

// drop takes an event of an optional topic out of the durable without handling it.
func (s *Subscription) drop(ctx context.Context, b *backlog, it *item) {
	s.log.Warn("optional event dropped, it is too old", zap.String("event_id", it.m.EventID), zap.Uint64("sequence", it.m.Sequence))
	s.settle(ctx, b, it)
	s.metrics.dropped.Inc()
}

// handlerOf is who handles an event: one that came after its window has a handler of its own.
func (s *Subscription) handlerOf(m *Message, handler Handler) Handler {
	if s.corrects(m) {
		return s.opts.Reorder.Correct
	}
	return handler
}

func (s *Subscription) corrects(m *Message) bool {
	return m.Order != nil && m.Order.Verdict == reorder.Late && s.opts.Reorder.Correct != nil
}

// finish does what follows from a call of the handler.
func (s *Subscription) finish(ctx context.Context, b *backlog, it *item, err error) {
	switch {
	case err == nil:
		s.settle(ctx, b, it)
		s.metrics.handled.Inc()
	case ctx.Err() == nil && s.fail(b, it, err):
		s.park(ctx, b, it)
	}
}

// guard calls the handler and turns a panic into an error.
func guard(ctx context.Context, handle Handler, m *Message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &retry.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return handle(ctx, m)
}

// fail notes a failed call and lets the event rest, unless it is given up.
func (s *Subscription) fail(b *backlog, it *item, err error) (givenUp bool) {
	now := time.Now()
	d := s.note(it, err, now, jitter)
	fields := []zap.Field{zap.String("event_id", it.m.EventID), zap.Uint64("sequence", it.m.Sequence), zap.Error(err),
		zap.Stringer("class", d.Class), zap.Int("attempt", it.m.Attempt), zap.Bool("given_up", d.GiveUp)}
	if p, ok := err.(*retry.PanicError); ok { //nolint:errorlint // guard's own
		fields = append(fields, zap.ByteString("stack", p.Stack))
	}
	if d.GiveUp {
		s.log.Warn("event not handled", fields...)
		return true
	}
	s.log.Warn("event not handled", append(fields, zap.Duration("retry_in", d.Wait))...)
	s.again(b, it, d, now)
	return false
}

// note keeps what a failed call says of its event, and decides what follows from it.
func (s *Subscription) note(it *item, err error, now time.Time, jitter func(time.Duration) time.Duration) retry.Decision {
	if it.failed == nil {
		it.failed = &failed{firstErr: err, first: now}
	}
	f := it.failed
	f.calls++
	if f.class = retry.Classify(err); f.class.Counts() {
		f.counted++
	}
	f.err, f.last = err, now
	d := s.opts.Retry.Decide(err, f.calls, f.counted, jitter)
	f.givenUp = d.GiveUp
	return d
}

// again lets an event rest until its next call.
func (s *Subscription) again(b *backlog, it *item, d retry.Decision, now time.Time) {
	s.metrics.retries[d.Class].Inc()
	again := *it.m // the handler may have kept the other
	again.Attempt++
	it.m = &again
	b.rest(it, now.Add(d.Wait))
}

// park puts an event away that is given up. While that fails its key waits.
func (s *Subscription) park(ctx context.Context, b *backlog, it *item) {
	f := it.failed
	err := s.callPark(ctx, &Parked{Message: it.m, Cause: f.class, Attempts: f.calls, First: f.firstErr, Last: f.err, FirstAt: f.first, LastAt: f.last})
	if err == nil {
		s.settle(ctx, b, it)
		s.metrics.parked[f.class].Inc()
		return
	}
	if ctx.Err() != nil {
		return
	}
	wait := jitter(s.opts.Retry.Most)
	s.log.Error("event not parked, its key waits", zap.String("event_id", it.m.EventID), zap.Uint64("sequence", it.m.Sequence),
		zap.Error(err), zap.Duration("retry_in", wait))
	s.metrics.parkFailures.Inc()
	b.rest(it, time.Now().Add(wait))
}

func (s *Subscription) callPark(ctx context.Context, p *Parked) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &retry.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if s.opts.Park == nil {
		return s.deadLetter(ctx, p)
	}
	return s.opts.Park(ctx, p)
}

// jitter draws from zero to most.
func jitter(most time.Duration) time.Duration { return rand.N(most + 1) } //nolint:gosec // no secret
