package hub

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

// These bound how long a region waits for its control state; then it opens all the same, and the rest follows
// while it serves. Of a peer that is closed itself little can be expected before it has rejoined too.
const (
	readBackMax     = time.Minute
	readBackPartial = 5 * time.Second
)

// readBack is how far a region that opens for the first time under a later epoch has read the control state.
type readBack struct {
	began time.Time
	watch watched
}

// unread says what such a region still has to read before it opens: whoever writes to a control state that is
// not all there could give a tenant's name away twice, and relays would find no tenants. It belongs to the
// goroutine of live.
func (h *Hub) unread(ctx context.Context) string {
	g, now, state := h.gate, h.opts.Now(), h.state.State()
	g.mu.Lock()
	want, most := g.records, readBackMax
	if g.partial {
		most = readBackPartial
	}
	g.mu.Unlock()
	if h.Origin().Epoch == 1 || state.Len() >= want || state.HasOf(h.Origin()) {
		return ""
	}
	if g.back.began.IsZero() {
		g.back.began = now
	}
	if now.Sub(g.back.began) > most {
		h.log.Warn("opens before the control state was read", zap.Int("records", state.Len()), zap.Int("of", want))
		return ""
	}
	if h.leads() {
		h.watchControl(ctx, &g.back.watch, h.leaves())
	}
	return fmt.Sprintf("starting: reads the control state back, %d of %d records", state.Len(), want)
}
