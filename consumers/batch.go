package consumers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

// BatchHandler handles several events at once, no two of one key. Returning nil acknowledges all of them, BatchErrors
// tells of each. Any other error is that of all: if it is an outage, or says when to come again, they rest and come
// again together; otherwise one of them may be to blame, and the handler is called for each alone.
type BatchHandler func(ctx context.Context, ms []*Message) error

// BatchErrors are the errors of a batch's events, one for each: nil acknowledges it.
type BatchErrors []error

// Error counts.
func (e BatchErrors) Error() string {
	failed, first := 0, error(nil)
	for _, err := range e {
		if err != nil {
			if failed++; first == nil {
				first = err
			}
		}
	}
	return fmt.Sprintf("%d of %d events failed, the first one: %v", failed, len(e), first)
}

// Batching says how events are gathered: a batch is handled when it has Most of them, or when Linger has passed since
// its first one; without a Linger, when no other one is there. While a batch is being handled the next one gathers.
type Batching struct {
	Most   int           // 1 to 10,000; more than Options.Batch are never there
	Linger time.Duration // 0 to 1 h
}

func (h Batching) validate() error {
	if h.Most < 1 || h.Most > maxBatch || h.Linger < 0 || h.Linger > time.Hour {
		return fault.New(opRun, fault.Invalid, "invalid_batching", "batches of %d events within %s: 1 to %d, and up to an hour", h.Most, h.Linger, maxBatch)
	}
	return nil
}

// RunBatches is Run for a handler of batches. Options.Workers batches are handled at a time, and one event of a key at
// a time: where order does not matter, let Options.Key tell all events apart, or a busy user's make batches small.
func (s *Subscription) RunBatches(ctx context.Context, how Batching, handle BatchHandler) error {
	if handle == nil {
		return fault.New(opRun, fault.Invalid, "no_handler", "a handler is needed")
	}
	if err := how.validate(); err != nil {
		return err
	}
	b := newBacklog(true, s.opts.keyOf, s.order)
	return s.run(ctx, b, func(ctx context.Context) {
		for ctx.Err() == nil {
			s.handleBatch(ctx, b, gather(ctx, b, how), handle)
		}
	})
}

// gather takes a batch. When ctx ends it returns what it has, for giveBack.
func gather(ctx context.Context, b *backlog, how Batching) []*item {
	var its []*item
	var due time.Time
	for ctx.Err() == nil {
		now := time.Now()
		had := len(its)
		var next time.Time
		its, next = b.takeUpTo(how.Most-had, now, its)
		if had == 0 && len(its) > 0 {
			due = now.Add(how.Linger)
		}
		if len(its) == how.Most || len(its) > 0 && !due.After(now) {
			break
		}
		if !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
		await(ctx, b.more, next)
	}
	return its
}

// handleBatch brings taken events a step further, as handle does with one.
func (s *Subscription) handleBatch(ctx context.Context, b *backlog, its []*item, handle BatchHandler) {
	if ctx.Err() != nil {
		return
	}
	live := s.sift(ctx, b, its)
	if len(live) == 0 {
		return
	}
	t, ok := s.breaker.enter(ctx)
	if !ok {
		return
	}
	switch err := callBatch(ctx, handle, live); {
	case err == nil:
		s.breaker.record(t, nil, true)
		for _, it := range live {
			s.finish(ctx, b, it, nil)
		}
	case ctx.Err() != nil:
		s.breaker.abandon(t)
	case len(live) > 1 && shared(err):
		s.breaker.record(t, err, true)
		s.failTogether(ctx, b, live, err)
	default:
		s.finishEach(ctx, b, live, t, verdict{err, handle})
	}
}

// sift deals with those that no batch is called for, and returns the others.
func (s *Subscription) sift(ctx context.Context, b *backlog, its []*item) []*item {
	live := its[:0]
	for _, it := range its {
		switch {
		case it.failed != nil && it.failed.givenUp:
			s.park(ctx, b, it)
		case s.corrects(it.m):
			if t, ok := s.breaker.enter(ctx); ok {
				s.handle(ctx, b, it, t, nil)
			}
		case s.breaker.drops(it.m):
			s.drop(ctx, b, it)
		default:
			live = append(live, it)
		}
	}
	return live
}

// shared says whether a batch failed for a reason that none of its events is to blame for.
func shared(err error) bool {
	if _, each := errors.AsType[BatchErrors](err); each {
		return false
	}
	c := retry.Classify(err)
	return c == retry.Outage || c == retry.Delayed
}

// verdict is what a handler said of a batch that failed.
type verdict struct {
	err    error
	handle BatchHandler
}

// finishEach does what follows for each event of a batch that failed: by its own error, or by that of a call alone. The
// breaker is told of each call; of a call that some events came through, that it went well.
func (s *Subscription) finishEach(ctx context.Context, b *backlog, its []*item, t ticket, of verdict) {
	each, told := errors.AsType[BatchErrors](of.err)
	told = told && len(each) == len(its)
	well := told && slices.Contains(each, nil)
	if well {
		s.breaker.record(t, nil, true)
	}
	for i, it := range its {
		own := of.err
		switch {
		case told:
			own = each[i]
		case len(its) > 1:
			own = callBatch(ctx, of.handle, its[i:i+1])
			if one, ok := errors.AsType[BatchErrors](own); ok && len(one) == 1 {
				own = one[0]
			}
		}
		if !well {
			s.breaker.record(t, own, it.failed == nil)
			t = ticket{} // the first of them decides about a try
		}
		s.finish(ctx, b, it, own)
	}
}

// failTogether lets the events of a batch rest for the same time, and tells it once. Those that are given up are put
// away.
func (s *Subscription) failTogether(ctx context.Context, b *backlog, its []*item, err error) {
	now, share := time.Now(), rand.Float64() //nolint:gosec // no secret
	same := func(most time.Duration) time.Duration { return time.Duration(share * float64(most)) }
	var longest retry.Decision
	attempt := 0
	for _, it := range its {
		attempt = max(attempt, it.m.Attempt)
		if d := s.note(it, err, now, same); d.Wait >= longest.Wait {
			longest = d
		}
	}
	s.log.Warn("batch not handled", zap.Int("events", len(its)), zap.String("event_id", its[0].m.EventID), zap.Uint64("sequence", its[0].m.Sequence),
		zap.Error(err), zap.Stringer("class", longest.Class), zap.Int("attempt", attempt), zap.Duration("retry_in", longest.Wait))
	for _, it := range its {
		if it.failed.givenUp {
			s.park(ctx, b, it)
		} else {
			s.again(b, it, longest, now)
		}
	}
}

func callBatch(ctx context.Context, handle BatchHandler, its []*item) error {
	ms := make([]*Message, len(its))
	for i, it := range its {
		ms[i] = it.m
	}
	return guard(ctx, func(ctx context.Context, _ *Message) error { return handle(ctx, ms) }, nil)
}
