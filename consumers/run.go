package consumers

import (
	"context"
	"slices"
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
	b := newBacklog(s.opts.Workers > 1, s.opts.keyOf, s.order)
	return s.run(ctx, b, func(ctx context.Context) { s.dispatch(ctx, b, handle) })
}

// run reads into the backlog while Options.Workers goroutines do the work, until ctx ends.
func (s *Subscription) run(ctx context.Context, b *backlog, work func(context.Context)) error {
	if !s.ran.CompareAndSwap(false, true) {
		return fault.New(opRun, fault.Invalid, "already_run", "a subscription runs once: subscribe again")
	}
	s.backlog.Store(b)
	unregister, err := s.register()
	if err != nil {
		s.Close()
		return err
	}
	defer unregister()
	reading, stopReading := context.WithCancelCause(ctx)
	// The handler's last calls may outlive ctx; their events are kept alive until they return.
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	info := s.durable.CachedInfo()
	ackWait := shortestAckWait(&info.Config)
	if s.order != nil && info.NumAckPending > 0 {
		s.order.from = time.Now().Add(ackWait + ackWait/4) // what a process that died had fetched comes again until then
	}

	var reader, keeper, workers sync.WaitGroup
	reader.Go(func() { stopReading(s.read(reading, b)) })
	if s.opts.Park == nil {
		reader.Go(func() { s.readRequeued(reading, b) })
	}
	keeper.Go(func() { s.keepAlive(keeping, b, ackWait) })
	for range s.opts.Workers - 1 {
		workers.Go(func() {
			defer stopReading(nil) // a handler that ends its goroutine ends Run
			work(reading)
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

	work(reading)
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(reading)
}

// dispatch is the loop of a worker: one event at a time until ctx ends.
func (s *Subscription) dispatch(ctx context.Context, b *backlog, handle Handler) {
	for ctx.Err() == nil {
		t, ok := s.breaker.enter(ctx)
		if !ok {
			return
		}
		it, next := b.take(time.Now(), t.probe)
		if it == nil {
			s.breaker.abandon(t)
			await(ctx, b.more, next)
			continue
		}
		s.handle(ctx, b, it, t, handle)
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
	if s.opts.Track != nil && it.m.Requeued == nil {
		s.opts.Track.Settled(it.m)
	}
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
// every answer counts.
func (s *Subscription) giveBack(b *backlog) {
	for _, last := range []jetstream.Msg{b.last, b.lastOf} {
		if last != nil {
			s.fence(last)
		}
	}
	left, again := b.unsettled()
	s.refuse(again)
	if len(left) == 0 {
		return
	}
	// An owner leaves what did not arrive to the next one, who takes all of it back.
	if s.opts.Owner == nil && s.fetchUndelivered(b, left[0].msg, len(left)) {
		more, _ := b.unsettled()
		left = append(left, more...)
		slices.SortFunc(left, bySequence)
	}
	s.refuse(left)
}

// refuse gives events back in their order.
func (s *Subscription) refuse(left []*item) {
	for _, it := range left {
		if err := it.msg.Nak(); err != nil {
			s.log.Warn("event not given back, it will come again", zap.Uint64("sequence", it.m.Sequence), zap.Error(err))
		}
	}
	if len(left) > 0 {
		s.fence(left[len(left)-1].msg)
	}
}

// fence returns when the server has acted on every answer given before, and knows which deliveries did not
// arrive. It has queues for both, so that answers reached it does not help: who subscribes in that moment gets
// what was not fetched before what is given back. Word of progress takes the same queues, is answered, and
// changes nothing about a settled event.
func (s *Subscription) fence(m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.APITimeout)
	defer cancel()
	if _, err := s.nc.RequestWithContext(ctx, m.Reply(), []byte("+WPI")); err != nil {
		s.log.Warn("answers may not have reached the server, some events may come again", zap.Error(err))
	}
}

// fetchUndelivered takes in what the server sent to our last pull request after we had stopped listening: it
// would be delivered before what is given back. Being asked about the durable is also when the server drops
// that request, for which it would otherwise take the first event given back, notice, and put it behind all the
// others. A failure costs no more than the order.
func (s *Subscription) fetchUndelivered(b *backlog, m jetstream.Msg, have int) bool {
	s.fence(m)
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.APITimeout)
	defer cancel()
	info, err := s.durable.Info(ctx)
	if err != nil {
		s.log.Debug("durable not inspected", zap.Error(err))
		return false
	}
	if info.NumAckPending <= have {
		return false
	}
	more, err := s.fetch(info.NumAckPending - have)
	if err != nil {
		s.log.Debug("undelivered events not fetched", zap.Error(err))
		return false
	}
	for msg := range more.Messages() {
		s.accept(b, msg)
	}
	return true
}

// fetch asks for events that the server has at hand.
func (s *Subscription) fetch(n int) (jetstream.MessageBatch, error) {
	if o := s.opts.Owner; o != nil {
		return s.durable.Fetch(n, jetstream.FetchPriorityGroup(o.group()), jetstream.FetchMaxWait(pullHeartbeat))
	}
	return s.durable.FetchNoWait(n)
}

// accept puts a delivery into the backlog. What is no event is taken out of the durable for good:
// nothing in weft writes such a message to the stream, and it would come again for ever.
func (s *Subscription) accept(b *backlog, msg jetstream.Msg) {
	if subject.IsMarker(msg.Subject()) {
		s.pass(msg)
		return
	}
	m, err := decode(msg)
	if err != nil {
		s.log.Error("message is not an event, skipped for good", zap.String("subject", msg.Subject()), zap.Error(err))
		_ = msg.TermWithReason("not an event of weft")
		return
	}
	if s.opts.Track != nil && !s.opts.Track.Arrived(m) {
		s.pass(msg)
		return
	}
	s.take(b, m, msg)
}

// take puts an event into the backlog.
func (s *Subscription) take(b *backlog, m *Message, msg jetstream.Msg) {
	var at *place
	if b.order != nil {
		at = s.locate(b, m)
	}
	b.add(m, msg, at, time.Now())
}

// pass acknowledges what no handler is to see.
func (s *Subscription) pass(msg jetstream.Msg) {
	if err := msg.Ack(); err != nil {
		s.log.Warn("marker or event passed over not settled, it will come again", zap.Error(err))
	}
}
