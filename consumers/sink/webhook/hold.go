package webhook

import (
	"context"
	"sync"
	"time"
)

// hold keeps requests back for as long as the endpoint said (Retry-After).
type hold struct {
	most time.Duration // the longest that is believed

	mu    sync.Mutex
	until time.Time
}

// tell notes what the endpoint said, and returns until when requests are kept back by it if that is news: nothing was kept back before.
func (h *hold) tell(wait time.Duration) (until time.Time, news bool) {
	now := time.Now()
	until = now.Add(min(wait, h.most))
	h.mu.Lock()
	defer h.mu.Unlock()
	news = !h.until.After(now)
	if until.After(h.until) {
		h.until = until
	}
	return h.until, news
}

// left is how long requests are still kept back; 0 or less: not at all.
func (h *hold) left() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Until(h.until)
}

// wait returns when a request may go.
func (h *hold) wait(ctx context.Context) error {
	for {
		left := h.left()
		if left <= 0 {
			return nil
		}
		if err := sleep(ctx, left); err != nil {
			return err
		}
	}
}

// sleep returns after d, or when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
