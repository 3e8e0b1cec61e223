package hub

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// RotateSpec says how a key is replaced. Zero values stand for: now, and with the key's own grace period.
type RotateSpec struct {
	Grace   *accounts.Duration `json:"grace,omitempty"`   // how long the old key stays good
	At      time.Time          `json:"at,omitzero"`       // from when the new key is good; zero: when every region knows it
	Without []string           `json:"without,omitempty"` // regions that are not waited for
	// PublicKey is the next public key of a producer who keeps the private one, base64.
	PublicKey string `json:"public_key,omitempty"`
}

// RotateKey gives a key a successor. Nobody learns its secret before every region and relay knows the key, so
// that none refuses who signs with it:
//
//  1. the new key is written, pending, and every region confirms it;
//  2. it is made active, and every region confirms that;
//  3. the old key goes into its grace period.
//
// What was interrupted goes on where it stood when it is asked for again, and a rotation that is complete
// is answered as it was the first time. With a time (At) nothing is waited for: both records say when, and a
// region that is cut off until then follows by its clock.
func (h *Hub) RotateKey(ctx context.Context, kid string, spec RotateSpec, by string) (*IssuedKey, error) {
	const op = "key.rotate"
	old, tenant, err := h.keyOf(op, kid)
	if err != nil {
		return nil, err
	}
	now := h.opts.Now().UTC()
	if s := old.StateAt(now); s != keyring.Active && s != keyring.Grace {
		return nil, fault.New(op, fault.Conflict, "key_"+string(s), "key %s is %s: only an active key is rotated", kid, s)
	}
	grace := old.GracePeriod()
	if spec.Grace != nil {
		grace = spec.Grace.Std()
	}
	if grace < 0 || !spec.At.IsZero() && spec.At.Before(now) {
		return nil, fault.New(op, fault.Invalid, "bad_time", "a grace period is not negative, and a rotation not in the past")
	}
	next, secret, err := h.successor(ctx, old, spec.PublicKey, by)
	if err != nil {
		return nil, err
	}
	if !spec.At.IsZero() {
		return h.rotateAt(ctx, rotation{old, next, tenant, by}, secret, spec.At.UTC(), grace)
	}
	r := rotation{old, next, tenant, by}
	if waiting := h.confirmed(ctx, tenant, next, spec.Without); len(waiting) > 0 {
		return nil, behind(op, next, waiting)
	}
	if next.State == keyring.Pending {
		next = next.Activated(h.opts.Now().UTC())
		if err := h.moveKey(ctx, next, by); err != nil {
			return nil, err
		}
	}
	if waiting := h.confirmed(ctx, tenant, next, spec.Without); len(waiting) > 0 {
		return nil, behind(op, next, waiting)
	}
	return h.issued(next, secret, nil), h.replace(ctx, r, h.opts.Now().UTC().Add(grace))
}

// moveKey writes a key's next state. A write that lost against one which put the key into the same state has done
// what it was for.
func (h *Hub) moveKey(ctx context.Context, k *keyring.Key, by string) error {
	err := h.state.Put(ctx, control.KindKey, k.Kid, k, by)
	if fault.CodeOf(err) == "write_lost" {
		if have := h.State().Keys[k.Kid]; have.Tenant == k.Tenant && have.State == k.State {
			return nil
		}
	}
	return err
}

// rotation is one key on its way to be another.
type rotation struct {
	old, next *keyring.Key
	tenant    *accounts.Tenant
	by        string
}

// rotateAt writes down that the keys change places at a time.
func (h *Hub) rotateAt(ctx context.Context, r rotation, secret keyring.Secret, at time.Time, grace time.Duration) (*IssuedKey, error) {
	next := *r.next
	if next.State == keyring.Pending {
		next.ActiveFrom = at
		if err := h.moveKey(ctx, &next, r.by); err != nil {
			return nil, err
		}
	}
	if err := h.replace(ctx, r, at.Add(grace)); err != nil {
		return nil, err
	}
	return h.issued(&next, secret, h.confirmed(ctx, r.tenant, &next, nil)), nil
}

// replace puts the old key into its grace period, if it is not there.
func (h *Hub) replace(ctx context.Context, r rotation, until time.Time) error {
	if r.old.State == keyring.Grace {
		return nil
	}
	return h.moveKey(ctx, r.old.Replaced(until), r.by)
}

func behind(op string, next *keyring.Key, waiting map[string]string) error {
	var said []string
	for _, r := range slices.Sorted(maps.Keys(waiting)) {
		said = append(said, r+": "+waiting[r])
	}
	return fault.New(op, fault.Unavailable, "region_behind",
		"the old key stays as it is and its successor %s is %s, because not every region has confirmed it (%s); run it again, or go on --without that region",
		next.Kid, next.State, strings.Join(said, "; "))
}

// successor finds the key that was made to replace another, or makes it.
func (h *Hub) successor(ctx context.Context, old *keyring.Key, public, by string) (*keyring.Key, keyring.Secret, error) {
	const op = "key.rotate"
	if next := successorOf(h.State(), old); next != nil {
		if slices.Contains(next.Algorithms, keyring.StandardWebhooksV1a) {
			return next, nil, nil
		}
		secret, err := h.opts.Identity.Sealer.Open(ctx, next.Sealed)
		return next, secret, fault.Wrap(op, fault.Unavailable, err)
	}
	if old.State == keyring.Grace {
		return nil, nil, fault.New(op, fault.Conflict, "key_grace", "key %s was rotated, and its successor is revoked", old.Kid)
	}
	secret, sealed, err := h.sealNew(ctx, old.Algorithms, public)
	if err != nil {
		return nil, nil, err
	}
	next := old.Successor(h.newKid(old.Tenant), sealed, h.opts.Now().UTC())
	return next, secret, h.moveKey(ctx, next, by)
}

// successorOf is the key that is furthest of those made to replace another: two regions that were cut off from
// each other may both have made one.
func successorOf(state *control.State, old *keyring.Key) *keyring.Key {
	var best *keyring.Key
	for _, k := range state.TenantKeys(old.Tenant) {
		if k.Replaces == old.Kid && k.State != keyring.Revoked && (best == nil || cmp.Or(k.Compare(best), cmp.Compare(best.Kid, k.Kid)) > 0) {
			best = k
		}
	}
	return best
}

// buryAfter is how long after the end of its grace period a key is revoked in the control state, which takes its
// secret out of it. Until then the clock alone refuses it; a hub whose clock is further ahead than this has
// its records refused.
const buryAfter = 2 * control.MaxAhead

// buryKeys revokes keys whose grace period is over.
func (h *Hub) buryKeys(ctx context.Context) {
	before := h.opts.Now().Add(-buryAfter)
	for _, k := range h.State().Keys {
		if k.State != keyring.Grace || !k.GraceUntil.Before(before) {
			continue
		}
		call, cancel := context.WithTimeout(ctx, apiTimeout)
		err := h.moveKey(call, k.Dead(), "hub "+h.serverName())
		cancel()
		if err != nil && ctx.Err() == nil {
			h.log.Warn("a key after its grace period", zap.String("kid", k.Kid), zap.Error(err))
			return // what is left comes with the next beat
		}
		h.log.Info("grace period over", zap.String("kid", k.Kid), zap.String("ended", fmt.Sprint(k.GraceUntil.UTC())))
	}
}
