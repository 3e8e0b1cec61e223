package group

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

// Claim is a durable that this member owns, for as long as nobody else does.
type Claim struct {
	durable    string
	partitions []int
	lease      Lease
	log        *zap.Logger
	track      *tracker

	ctx context.Context //nolint:containedctx // the claim's life, which ends from several sides
	end context.CancelFunc

	mu    sync.Mutex
	until *time.Timer // ends the claim, by our own clock
	taken bool        // another owner has the durable, or may have it
}

// Durable is its name.
func (c *Claim) Durable() string { return c.durable }

// Epoch rises with each owner of the durable.
func (c *Claim) Epoch() uint64 { return c.lease.Epoch }

// Partitions are those whose events it delivers.
func (c *Claim) Partitions() []int { return c.partitions }

// Fence is for each batch that the claim's handler applies: it commits for as long as nobody took over.
func (c *Claim) Fence() idempotency.Fence {
	return idempotency.Fence{Durable: c.durable, Epoch: c.lease.Epoch}
}

// extend says until when the claim is good without further word.
func (c *Claim) extend(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil || c.until != nil && !c.until.Stop() {
		return // it is over
	}
	c.until = time.AfterFunc(time.Until(until), func() { c.lose("no word from the registry for half the ttl") })
}

// over releases the clock.
func (c *Claim) over() {
	c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until.Stop()
}

// lose ends the claim because another owner has the durable, or may have it.
func (c *Claim) lose(why string) {
	c.mu.Lock()
	c.taken = true
	c.mu.Unlock()
	if c.ctx.Err() == nil {
		c.log.Warn("durable lost", zap.String("why", why))
	}
	c.end()
}

func (c *Claim) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taken
}

// Fenced is a store whose batches commit only for as long as nobody took the claim over: what package once and others apply
// through it needs no fence of its own.
func Fenced[T any](s idempotency.Store[T], c *Claim) idempotency.Store[T] {
	return fenced[T]{s, c.Fence()}
}

type fenced[T any] struct {
	idempotency.Store[T]
	fence idempotency.Fence
}

// Apply implements idempotency.Store.
func (f fenced[T]) Apply(ctx context.Context, b idempotency.Batch, effect idempotency.Effect[T]) ([]idempotency.Result, error) {
	b.Fence = f.fence
	return f.Store.Apply(ctx, b, effect)
}
