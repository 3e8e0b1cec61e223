package consumers

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

const (
	pullHeartbeat = 3 * time.Second // two missed ones mean that a pull was lost
	drainLimit    = 2 * time.Second

	rebindFirst = 250 * time.Millisecond
	rebindMost  = 2 * time.Second
)

// read fills the backlog until ctx ends (nil) or the durable cannot be read any more (why).
func (s *Subscription) read(ctx context.Context, b *backlog) error {
	for {
		s.awaitPull(ctx, b)
		why := s.pull(ctx, b)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(why, errPaused) {
			s.recall(b)
			continue
		}
		s.log.Warn("pulling stopped, binding again", zap.Error(why))
		if err := s.rebind(ctx); err != nil {
			return err
		}
	}
}

// errPaused is why a pull ends when the breaker opens.
var errPaused = errors.New("paused")

// recall takes in what the server sent after a pull had ended: until AckWait nobody else would get it, and then out of
// order.
func (s *Subscription) recall(b *backlog) {
	if n, some := b.delivered(); some != nil {
		s.fetchUndelivered(b, some, n)
	}
}

// pull reads through one iterator until it fails, the breaker opens (errPaused) or ctx ends. Whatever had arrived by
// then is in the backlog when it returns.
func (s *Subscription) pull(ctx context.Context, b *backlog) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer s.breaker.untilOpen(func() { stop(errPaused) })()
	cfg := s.durable.CachedInfo().Config
	batch, expiry, beat := s.opts.Batch, s.opts.PullExpiry, min(pullHeartbeat, s.opts.PullExpiry/2)
	if cfg.MaxRequestBatch > 0 {
		batch = min(batch, cfg.MaxRequestBatch)
	}
	if cfg.MaxRequestExpires > 0 {
		expiry = min(expiry, cfg.MaxRequestExpires)
		beat = min(beat, expiry/2)
	}
	opts := []jetstream.PullMessagesOpt{jetstream.PullMaxMessages(batch), jetstream.PullExpiry(expiry),
		jetstream.PullHeartbeat(beat), jetstream.WithMessagesErrOnMissingHeartbeat(true)}
	if s.opts.Owner != nil {
		opts = append(opts, jetstream.PullPriorityGroup(s.opts.Owner.group()))
	}
	it, err := s.durable.Messages(opts...)
	if err != nil {
		return err
	}
	defer s.drain(it, b)
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		switch {
		case err == nil:
			s.accept(b, msg)
		case errors.Is(err, jetstream.ErrNoHeartbeat) && !s.nc.IsConnected():
			// The connection is being restored; the iterator pulls again when it is.
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			return err
		}
	}
}

// drain ends an iterator. What the server had sent by then is still taken in: it counts as delivered,
// and would otherwise be out of order after AckWait.
func (s *Subscription) drain(it jetstream.MessagesContext, b *backlog) {
	it.Drain()
	limit := time.Now().Add(drainLimit)
	for {
		left := time.Until(limit)
		if left <= 0 {
			return
		}
		msg, err := it.Next(jetstream.NextMaxWait(left))
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) || errors.Is(err, nats.ErrTimeout) {
			return
		}
		if err == nil {
			s.accept(b, msg)
		}
	}
}

// rebind looks the durable up until it is there again. A server that is starting may deny for a moment
// that it has it, so only a lasting denial ends the subscription: to create the durable anew would
// silently start from elsewhere.
func (s *Subscription) rebind(ctx context.Context) error {
	var missing time.Time // since when, zero while not known to be missing
	for wait := rebindFirst; ; wait = min(2*wait, rebindMost) {
		err := s.find(ctx)
		if err == nil {
			err = s.takeOver(ctx, false)
		}
		if err == nil || ctx.Err() != nil {
			return nil
		}
		switch kind := fault.KindOf(err); {
		case s.nc.IsClosed():
			return fault.New(opRun, fault.Unavailable, "connection_closed", "the connection was closed")
		case kind == fault.Conflict:
			return err
		case kind == fault.NotFound && missing.IsZero():
			missing = time.Now()
		case kind == fault.NotFound && time.Since(missing) >= s.goneAfter:
			return &fault.Error{Op: opRun, Kind: fault.NotFound, Code: fault.CodeOf(err),
				Detail: "the durable was deleted; subscribing again creates it, and starts where From says", Err: err}
		case kind != fault.NotFound:
			missing = time.Time{}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}
