package keyring

import (
	"cmp"
	"time"
)

// The days of keys for which nobody said otherwise.
const (
	DefaultRotation = 45
	DefaultGrace    = 7
)

const day = 24 * time.Hour

// Compare orders two records of one kid by how far the key has moved: positive when k is further than o, zero
// when neither is. Of concurrent writes the further one holds, whatever the clocks say:
//
//   - revoked beats all else;
//   - of two tenants that were given one kid at once the smaller name has it;
//   - then the state decides;
//   - a pending key that is active from some time on beats one that is not, and the earlier time the later;
//   - of two ends of a grace period the earlier one holds.
//
// It is a total preorder, so that the greatest of any set does not depend on the order of its arrival.
func (k *Key) Compare(o *Key) int {
	if d := compareBool(k.State == Revoked, o.State == Revoked); d != 0 {
		return d
	}
	if d := cmp.Or(cmp.Compare(o.Tenant, k.Tenant), cmp.Compare(k.State.Rank(), o.State.Rank())); d != 0 {
		return d
	}
	switch k.State {
	case Pending:
		if d := compareBool(!k.ActiveFrom.IsZero(), !o.ActiveFrom.IsZero()); d != 0 {
			return d
		}
		return o.ActiveFrom.Compare(k.ActiveFrom)
	case Grace:
		return o.GraceUntil.Compare(k.GraceUntil)
	}
	return 0
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Since is when the key became active, or was made.
func (k *Key) Since() time.Time {
	if k.ActiveFrom.IsZero() {
		return k.CreatedAt
	}
	return k.ActiveFrom
}

// Due is when the key should be rotated.
func (k *Key) Due() time.Time {
	return k.Since().Add(time.Duration(cmp.Or(k.Rotation, DefaultRotation)) * day)
}

// GracePeriod is how long the key is good after it was replaced.
func (k *Key) GracePeriod() time.Duration {
	return time.Duration(cmp.Or(k.GraceDays, DefaultGrace)) * day
}

// Successor is the record of a key that takes this one's place: pending, with the same owner, scopes and days.
func (k *Key) Successor(kid, sealed string, now time.Time) *Key {
	next := *k
	next.Kid, next.Sealed, next.State, next.Replaces, next.CreatedAt = kid, sealed, Pending, k.Kid, now
	next.ActiveFrom, next.GraceUntil = time.Time{}, time.Time{}
	return &next
}

// Activated is the record of the key once it is active.
func (k *Key) Activated(now time.Time) *Key {
	next := *k
	next.State = Active
	if next.ActiveFrom.IsZero() || next.ActiveFrom.After(now) {
		next.ActiveFrom = now
	}
	return &next
}

// Replaced is the record of the key once another has taken its place; it is good until then.
func (k *Key) Replaced(until time.Time) *Key {
	next := *k
	next.State, next.GraceUntil = Grace, until
	return &next
}

// Dead is the record of the key once it is revoked: without its secret.
func (k *Key) Dead() *Key {
	next := *k
	next.State, next.Sealed = Revoked, ""
	return &next
}
