package group

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/streams/fault"
)

// Claim is a durable that this member owns, for as long as nobody else does.
type Claim struct {
	durable    string
	partitions []int
	lease      Lease
	log        *zap.Logger

	ctx   context.Context //nolint:containedctx // the claim's life, which ends from several sides
	end   context.CancelFunc
	track *tracker
	dealt func(m *consumers.Message) bool

	mu    sync.Mutex
	until time.Time // by our own clock
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
	c.until = until
}

func (c *Claim) good(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.until)
}

// lose ends the claim because another owner has the durable, or may have it.
func (c *Claim) lose(why string) {
	if c.ctx.Err() == nil {
		c.log.Warn("durable lost", zap.String("why", why))
	}
	c.end()
}

// guard lets a handler have an event only while the claim is good, and none that was dealt with before.
func (c *Claim) guard(handle consumers.Handler) consumers.Handler {
	return func(ctx context.Context, m *consumers.Message) error {
		if c.dealt(m) {
			return nil
		}
		if !c.good(time.Now()) {
			return c.stop(ctx, "no contact with the registry for half the ttl")
		}
		err := handle(ctx, m)
		if err != nil && fault.CodeOf(err) == idempotency.CodeStale {
			return c.stop(ctx, "the fence is another owner's")
		}
		return err
	}
}

// stop ends the claim and lets the event be: the next owner has it.
func (c *Claim) stop(ctx context.Context, why string) error {
	c.lose(why)
	<-ctx.Done()
	return ctx.Err()
}
