package consumers

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Run hands events to the handler, one of a key at a time, until ctx ends; then it waits for the handler's
// current calls, tells the server what was handled, gives back what was fetched and not handled, and
// returns nil. It returns an error only if it cannot go on: the durable is gone (kind NotFound) or was
// replaced by another (Conflict), or the connection was closed by its owner (Unavailable). It may be
// called once.
func (s *Subscription) Run(ctx context.Context, handle Handler) error {
	if handle == nil {
		return fault.New(opRun, fault.Invalid, "no_handler", "a handler is needed")
	}
	if !s.ran.CompareAndSwap(false, true) {
		return fault.New(opRun, fault.Invalid, "already_run", "a subscription runs once: subscribe again")
	}
	b := newBacklog(s.opts.Workers, s.opts.keyOf)
	unregister, err := s.metrics.register(s.opts.Registerer, s.opts.Durable, b)
	if err != nil {
		s.Close()
		return err
	}
	defer unregister()
	reading, stopReading := context.WithCancelCause(ctx)
	// The handler's last calls may outlive ctx; their events are kept alive until they return.
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	ackWait := shortestAckWait(&s.durable.CachedInfo().Config)

	var reader, keeper, workers sync.WaitGroup
	reader.Go(func() { stopReading(s.read(reading, b)) })
	keeper.Go(func() { s.keepAlive(keeping, b, ackWait) })
	for range s.opts.Workers - 1 {
		workers.Go(func() {
			defer stopReading(nil) // a handler that ends its goroutine ends Run
			s.dispatch(reading, b, handle)
		})
	}
	// Deferred, so that a handler that ends its goroutine leaves nothing running or fetched either.
	defer func() {
		stopReading(nil)
		workers.Wait()
		reader.Wait()
		stopKeeping()
		keeper.Wait()
		s.giveBack(b)
		s.Close()
	}()

	s.dispatch(reading, b, handle)
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(reading)
}

// dispatch is the loop of a worker: one event at a time until ctx ends.
func (s *Subscription) dispatch(ctx context.Context, b *backlog, handle Handler) {
	for ctx.Err() == nil {
		it, next := b.take(time.Now())
		if it == nil {
			await(ctx, b.more, next)
			continue
		}
		s.handle(ctx, b, it, handle)
	}
}

// await returns when there may be something to do: a token, or the time, if there is one.
func await(ctx context.Context, more <-chan struct{}, next time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-more:
	case <-due:
	case <-ctx.Done():
	}
}

// settle acknowledges an event that was handled or parked, and lets the next one of its key go. A failed answer is
// logged and no more: the event comes again after AckWait.
func (s *Subscription) settle(ctx context.Context, b *backlog, it *item) {
	msg := b.settle(it)
	var err error
	if s.opts.ConfirmAck {
		// Not ctx itself: what was handled is acknowledged even when Run is ending.
		confirm, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.APITimeout)
		err = msg.DoubleAck(confirm)
		cancel()
	} else {
		err = msg.Ack()
	}
	if err != nil {
		s.log.Warn("event not settled, it will come again", zap.Error(err), zap.String("event_id", it.m.EventID), zap.Uint64("sequence", it.m.Sequence))
	}
	b.release(it)
}

// keepAlive tells the server, well before AckWait runs out, that what waits here is not lost: without
// it a slow handler would get the tail of each batch twice, and late.
func (s *Subscription) keepAlive(ctx context.Context, b *backlog, wait time.Duration) {
	tick := time.NewTicker(max(wait/6, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, msg := range b.due(now, wait/3) {
				_ = msg.InProgress() // settled meanwhile, or disconnected: either way nothing to do
			}
		}
	}
}

// shortestAckWait is the least time after which the server takes a delivery for lost.
func shortestAckWait(c *jetstream.ConsumerConfig) time.Duration {
	wait := c.AckWait
	for _, d := range c.BackOff {
		wait = min(wait, d)
	}
	return wait
}

// giveBack returns what was fetched and not handled, in order, so that the next Run (here or in
// another process) goes on where this one stopped instead of after AckWait; then it makes sure that
// the server has every answer.
func (s *Subscription) giveBack(b *backlog) {
	left := b.unsettled()
	if len(left) > 0 {
		s.forgetPull()
	}
	for _, it := range left {
		if err := it.msg.Nak(); err != nil {
			s.log.Warn("event not given back, it will come again", zap.Uint64("sequence", it.m.Sequence), zap.Error(err))
		}
	}
	if err := s.nc.FlushTimeout(s.opts.APITimeout); err != nil {
		s.log.Warn("answers may not have reached the server, some events may come again", zap.Error(err))
	}
}

// forgetPull makes the server drop our last pull request, which it keeps although nobody listens any
// more: it would take the first event given back for that request, notice, and put the event behind all
// the others. Being asked about the durable is when the server looks for such requests. A failure
// costs no more than that order.
func (s *Subscription) forgetPull() {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.APITimeout)
	defer cancel()
	if _, err := s.durable.Info(ctx); err != nil {
		s.log.Debug("durable not inspected", zap.Error(err))
	}
}

// accept puts a delivery into the backlog. What is no event is taken out of the durable for good:
// nothing in weft writes such a message to the stream, and it would come again for ever.
func (s *Subscription) accept(b *backlog, msg jetstream.Msg) {
	if subject.IsMarker(msg.Subject()) {
		if err := msg.Ack(); err != nil {
			s.log.Warn("marker not settled, it will come again", zap.Error(err))
		}
		return
	}
	m, err := decode(msg)
	if err != nil {
		s.log.Error("message is not an event, skipped for good", zap.String("subject", msg.Subject()), zap.Error(err))
		_ = msg.TermWithReason("not an event of weft")
		return
	}
	b.add(m, msg, time.Now())
}
