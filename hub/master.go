package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// RingView is what one hub knows of a ring of master keys: ids, never keys.
type RingView struct {
	Held    []string            `json:"held"`    // by this server; the first seals
	Records map[string]int      `json:"records"` // master key -> secrets in the control state that are sealed with it
	Lacking map[string][]string `json:"lacking"` // master key -> relays of the region that do not hold it
}

// MasterView is what one server of a region tells of the master keys.
type MasterView struct {
	Region string                      `json:"region"`
	Server int                         `json:"server"`
	Relays int                         `json:"relays"` // that are heard of
	Rings  map[identity.Ring]*RingView `json:"rings"`
}

func (h *Hub) sealer(r identity.Ring) keyring.Sealer {
	if r == identity.SeedRing {
		return h.opts.Identity.Seeds
	}
	return h.opts.Identity.Sealer
}

// Masters tells which master keys are held and used here.
func (h *Hub) Masters(ctx context.Context) (*MasterView, error) {
	v := &MasterView{Region: h.opts.Identity.Region, Server: h.opts.Server, Relays: h.relays.count(time.Now()), Rings: map[identity.Ring]*RingView{}}
	for _, ring := range identity.Rings() {
		held, err := h.sealer(ring).Masters(ctx)
		if err != nil {
			return nil, fault.Wrap("kms.ls", fault.Unavailable, err)
		}
		rv := &RingView{Held: held, Records: map[string]int{}, Lacking: map[string][]string{}}
		for _, s := range sealedOf(h.State(), ring) {
			rv.Records[keyring.MasterOf(s.text)]++
		}
		if ring == identity.RequestRing {
			for _, id := range held {
				if left, _ := h.relays.lacking(time.Now(), holds(id)); len(left) > 0 {
					rv.Lacking[id] = left
				}
			}
		}
		v.Rings[ring] = rv
	}
	return v, nil
}

func holds(master string) func(accounts.RelayReport) bool {
	return func(r accounts.RelayReport) bool { return slices.Contains(r.Masters, master) }
}

// missingMasters waits until this server and the region's relays hold the master keys; or it says who does not.
func (h *Hub) missingMasters(ctx context.Context, want map[identity.Ring]string) string {
	for {
		why := ""
		for ring, id := range want {
			held, err := h.sealer(ring).Masters(ctx)
			if err != nil {
				why = err.Error()
			} else if !slices.Contains(held, id) {
				why = fmt.Sprintf("server %s does not hold master key %s", h.serverName(), id)
			}
		}
		left, changed := h.relays.lacking(time.Now(), holds(want[identity.RequestRing]))
		if why == "" && len(left) == 0 {
			return ""
		}
		if why == "" {
			why = "relays that do not hold master key " + want[identity.RequestRing] + ": " + strings.Join(left, ", ")
		}
		select {
		case <-ctx.Done():
			return why
		case <-changed:
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// sealedValue is one sealed secret of the control state, and how its value looks with another text.
type sealedValue struct {
	kind control.Kind
	id   string
	text string
	with func(sealed string) any
}

func sealedOf(state *control.State, ring identity.Ring) []sealedValue {
	var out []sealedValue
	if ring == identity.SeedRing {
		for name, t := range state.Tenants {
			if t.SigningSeed != "" {
				out = append(out, sealedValue{control.KindTenant, name, t.SigningSeed, func(s string) any {
					next := *t
					next.SigningSeed = s
					return &next
				}})
			}
		}
		return out
	}
	for kid, k := range state.Keys {
		if k.Sealed != "" {
			out = append(out, sealedValue{control.KindKey, kid, k.Sealed, func(s string) any {
				next := *k
				next.Sealed = s
				return &next
			}})
		}
	}
	return out
}

// Rewrapped tells what a rewrap did.
type Rewrapped struct {
	Masters map[identity.Ring]string `json:"masters"` // that everything is sealed with now
	Done    int                      `json:"done"`
	Left    int                      `json:"left"` // secrets that are not: written meanwhile, or of a master key that is not held here
}

// Rewrap seals every secret of the control state with the first master key, once every region and relay holds it.
// What it writes outranks the record that it was made from and no later one, so that a revocation, or any other
// change that is under way in a region that is cut off, wins over it. It may be interrupted and run again.
func (h *Hub) Rewrap(ctx context.Context, without []string, by string) (*Rewrapped, error) {
	const op = "kms.rewrap"
	if err := h.requireOpen(op); err != nil {
		return nil, err
	}
	r := &Rewrapped{Masters: map[identity.Ring]string{}}
	for _, ring := range identity.Rings() {
		held, err := h.sealer(ring).Masters(ctx)
		if err != nil {
			return nil, fault.Wrap(op, fault.Unavailable, err)
		}
		r.Masters[ring] = held[0]
	}
	everywhere := &accounts.Tenant{}
	if waiting := h.knownTo(ctx, everywhere, knownRequest{Masters: r.Masters}, without); len(waiting) > 0 {
		var said []string
		for _, region := range slices.Sorted(maps.Keys(waiting)) {
			said = append(said, region+": "+waiting[region])
		}
		return nil, fault.New(op, fault.Unavailable, "region_behind", "nothing is sealed anew before every region can open it (%s)", strings.Join(said, "; "))
	}
	for _, ring := range identity.Rings() {
		if err := h.rewrapRing(ctx, ring, r, by); err != nil {
			return r, err
		}
	}
	h.log.Info("secrets sealed anew", zap.Int("done", r.Done), zap.Int("left", r.Left), zap.String("by", by))
	return r, nil
}

func (h *Hub) rewrapRing(ctx context.Context, ring identity.Ring, r *Rewrapped, by string) error {
	state, sealer := h.State(), h.sealer(ring)
	for _, s := range sealedOf(state, ring) {
		if keyring.MasterOf(s.text) == r.Masters[ring] {
			continue
		}
		secret, err := sealer.Open(ctx, s.text)
		if err == nil {
			var sealed string
			if sealed, err = sealer.Seal(ctx, secret.Bytes()); err == nil {
				err = h.state.Restate(ctx, state.Restated(s.kind, s.id, s.with(sealed)), by)
			}
		}
		switch {
		case err == nil:
			r.Done++
		case fault.KindOf(err) == fault.Unavailable || ctx.Err() != nil:
			return fault.Wrap("kms.rewrap", fault.Unavailable, err)
		case fault.CodeOf(err) != "write_lost": // which is a change that came meanwhile
			h.log.Error("a secret cannot be sealed anew", zap.String("kind", string(s.kind)), zap.String("id", s.id), zap.Error(err))
		}
	}
	for _, s := range sealedOf(h.State(), ring) {
		if keyring.MasterOf(s.text) != r.Masters[ring] {
			r.Left++
		}
	}
	return nil
}
