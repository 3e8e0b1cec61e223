package hub

import (
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// Waive lets the region open without the word of some peers. Only an operator can know that nothing of what
// they hold was lost here; what is written otherwise may never reach them.
func (h *Hub) Waive(peers []string, by string) error {
	const op = "hub.open"
	g := h.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.open:
		return fault.New(op, fault.Conflict, "is_open", "region %s is open", h.opts.Identity.Region)
	case len(g.losses) > 0:
		return fault.New(op, fault.Conflict, "data_lost", "%s", h.closedReason(expel, g.losses, nil, true))
	case len(peers) == 0:
		return fault.New(op, fault.Invalid, "no_peers", "name the regions to do without")
	}
	for _, p := range peers {
		if _, ok := g.silent[p]; !ok {
			return fault.New(op, fault.Invalid, "peer_answers", "region %q is not one that is waited for", p)
		}
	}
	for _, p := range peers {
		g.waived[p] = by
	}
	h.log.Warn("opened without the word of other regions", zap.Strings("regions", peers), zap.String("by", by))
	g.look()
	return nil
}

// Status is where one server of a region stands.
type Status struct {
	Region string            `json:"region"`
	Server int               `json:"server"`
	Origin string            `json:"origin"`
	Open   bool              `json:"open"`
	Why    string            `json:"why,omitempty"` // it is not open, or not ready
	Losses []Loss            `json:"losses,omitempty"`
	Silent map[string]string `json:"silent,omitempty"` // peers that did not answer at the last look
	Waived map[string]string `json:"waived,omitempty"` // peers that an operator did without, and which one
	// Repair is the last comparison by tenant and peer; the server that leads the region alone has any.
	Repair map[string]map[string]RepairStatus `json:"repair,omitempty"`
}

// Waits says that the region stays closed until an operator acts, or a region answers that does not now.
func (s Status) Waits() bool { return !s.Open && len(s.Losses)+len(s.Silent) > 0 }

// Status tells where the gate stands.
func (h *Hub) Status() Status {
	s := Status{Region: h.opts.Identity.Region, Server: h.opts.Server, Origin: h.Origin().String()}
	if err := h.Ready(); err != nil {
		s.Why = err.Error()
	}
	s.Repair = h.repairStatus()
	g := h.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Open, s.Losses, s.Silent, s.Waived = g.open, slices.Clone(g.losses), maps.Clone(g.silent), maps.Clone(g.waived)
	return s
}

// requireOpen refuses writes to the control state while the region is closed.
func (h *Hub) requireOpen(op string) error {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	if h.gate.open {
		return nil
	}
	why := "starting"
	if w := h.ready.Load(); w != nil {
		why = *w
	}
	return fault.New(op, fault.Unavailable, "region_closed", "%s", why)
}
