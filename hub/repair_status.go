package hub

import (
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/digest"
)

// RepairStatus is how the last comparison of a tenant with one peer ended.
type RepairStatus struct {
	ComparedAt time.Time      `json:"compared_at"`     // when the last one that came to its end began
	Missing    int            `json:"missing"`         // events of the peer that this region lacked then
	Repaired   int            `json:"repaired"`        // of those; another peer may have given the same events
	Left       map[string]int `json:"left,omitempty"`  // reason -> events that are still missing
	Error      string         `json:"error,omitempty"` // the last attempt did not come to its end

	failures int // in a row
}

// repairStatus is a copy of what is known, nil when nothing is.
func (h *Hub) repairStatus() map[string]map[string]RepairStatus {
	h.repairs.mu.Lock()
	defer h.repairs.mu.Unlock()
	if len(h.repairs.status) == 0 {
		return nil
	}
	out := make(map[string]map[string]RepairStatus, len(h.repairs.status))
	for tenant, peers := range h.repairs.status {
		out[tenant] = maps.Clone(peers)
	}
	return out
}

// conclude remembers what was found out, and tells it.
func (c *comparison) conclude() {
	c.settle()
	r := c.h.repairs
	r.mu.Lock()
	status := r.status[c.t.name]
	if status == nil {
		status = map[string]RepairStatus{}
		r.status[c.t.name] = status
	}
	for _, p := range c.peers {
		last := status[p.peer]
		next := RepairStatus{ComparedAt: c.window.Now, Missing: p.missing, Repaired: p.repaired, Left: p.left}
		if p.err != nil {
			// The first one is no news: a peer that has just started has no index yet.
			if next.failures = last.failures + 1; next.failures == 2 && !p.skipped {
				c.h.log.Warn("comparison with a peer failed; it is tried again in every round", zap.String("tenant", c.t.name), zap.String("peer", p.peer), zap.Error(p.err))
			}
			next.Error = p.err.Error()
			if p.missing == 0 { // nothing new is known
				next.ComparedAt, next.Missing, next.Repaired, next.Left = last.ComparedAt, last.Missing, last.Repaired, last.Left
			}
		}
		status[p.peer] = next
	}
	r.mu.Unlock()
	for _, p := range c.peers {
		c.h.metrics.repaired.WithLabelValues(c.t.name, p.peer).Add(float64(p.repaired))
		if p.err == nil {
			c.h.metrics.drift.WithLabelValues(c.t.name, p.peer).Set(float64(p.missing))
			c.h.metrics.repairSuccess.WithLabelValues(c.t.name, p.peer).Set(float64(c.window.Now.UnixMilli()) / 1000)
		}
	}
	c.report()
}

// settle remembers buckets of which nothing is missing although their sums differ.
func (c *comparison) settle() {
	open := map[*compared]map[digest.Key]bool{}
	for _, l := range c.lost {
		for _, at := range l.copies {
			if open[at.peer] == nil {
				open[at.peer] = map[digest.Key]bool{}
			}
			open[at.peer][at.key] = true
		}
	}
	c.h.repairs.mu.Lock()
	defer c.h.repairs.mu.Unlock()
	for _, p := range c.peers {
		if p.err != nil {
			continue
		}
		for k, sums := range p.listed {
			if !open[p][k] {
				c.tr.settled[settledKey{p.peer, 1, k}] = sums
			}
		}
		for k, sums := range p.groups {
			c.tr.settled[settledKey{p.peer, groupSlots, k}] = sums
		}
	}
}

// report writes one line when something was missing: a warning, unless all of it is only on its way.
func (c *comparison) report() {
	missing, repaired, left := map[string]int{}, 0, map[string]int{}
	for _, p := range c.peers {
		if p.missing > 0 {
			missing[p.peer] = p.missing
		}
		repaired += p.repaired
		for why, n := range p.left {
			left[why] += n
		}
	}
	if len(missing) == 0 {
		return
	}
	from, to := c.timeRange()
	fields := []zap.Field{
		zap.String("tenant", c.t.name), zap.Any("missing", missing), zap.Int("repaired", repaired), zap.Any("left", left),
		zap.Time("from", from), zap.Time("to", to),
	}
	if repaired == 0 && left[leftToSource]+left[leftToHistory] == len(c.lost) {
		c.h.log.Info("events of another region are on their way", fields...)
		return
	}
	c.h.log.Warn("events were missing in this region", fields...)
}
