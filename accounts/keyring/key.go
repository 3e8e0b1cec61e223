package keyring

import (
	"slices"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// State is where a key stands in its life. It only moves forward.
type State string

// The states of a key.
const (
	Pending State = "pending" // made, not yet valid
	Active  State = "active"
	Grace   State = "grace"   // replaced; verifies until GraceUntil
	Revoked State = "revoked" // verifies nothing any more
)

// Rank orders the states by age; of two records of one key the greater rank holds. A state that this
// program does not know ranks below all.
func (s State) Rank() int {
	return slices.Index([]State{Pending, Active, Grace, Revoked}, s)
}

// MaxKid is the longest kid, in bytes.
const MaxKid = 64

// ValidKid says whether s is a key id: [A-Za-z0-9_-]{1,64}.
func ValidKid(s string) bool {
	if s == "" || len(s) > MaxKid {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// Key is one signing key as the control log holds it. The secret is in it sealed: the bytes of an HMAC key,
// or for StandardWebhooksV1a the 32 bytes of an Ed25519 public key.
type Key struct {
	Kid        string    `json:"kid"`
	Tenant     string    `json:"tenant"`
	Producer   string    `json:"producer"` // whose requests it signs
	State      State     `json:"state"`
	Algorithms []string  `json:"algorithms"`       // signature schemes it may be used with: CheckAlgorithms says which lists are
	Topics     []string  `json:"topics,omitempty"` // topics it may send to; empty means all
	Sealed     string    `json:"sealed,omitempty"` // the secret, sealed; empty once revoked
	CreatedAt  time.Time `json:"created_at"`
	ActiveFrom time.Time `json:"active_from,omitzero"` // a pending key is active from then on; zero: until it is said
	GraceUntil time.Time `json:"grace_until,omitzero"`
	Replaces   string    `json:"replaces,omitempty"`          // the kid whose rotation made it
	Rotation   int       `json:"rotation_days,omitempty"`     // age at which a rotation is due, in days; 0: DefaultRotation
	GraceDays  int       `json:"grace_period_days,omitempty"` // how long it is good after its rotation; 0: DefaultGrace
}

// StateAt is where the key stands at now. The record says where it was put, the clock moves it on: a pending
// key is active from ActiveFrom on, and one in grace is as good as revoked after GraceUntil.
func (k *Key) StateAt(now time.Time) State {
	switch {
	case k.State == Pending && !k.ActiveFrom.IsZero() && !now.Before(k.ActiveFrom):
		return Active
	case k.State == Grace && now.After(k.GraceUntil):
		return Revoked
	}
	return k.State
}

// Usable returns nil if requests signed with the key are accepted at now, else an Unauthenticated fault
// whose code says why: key_pending, key_expired, key_revoked or key_invalid.
func (k *Key) Usable(now time.Time) error {
	const op = "key.use"
	switch k.StateAt(now) {
	case Active, Grace:
		return nil
	case Pending:
		return fault.New(op, fault.Unauthenticated, "key_pending", "key %s is not active yet", k.Kid)
	case Revoked:
		if k.State == Grace {
			return fault.New(op, fault.Unauthenticated, "key_expired", "key %s was replaced and its grace period ended at %s",
				k.Kid, k.GraceUntil.UTC().Format(time.RFC3339))
		}
		return fault.New(op, fault.Unauthenticated, "key_revoked", "key %s is revoked", k.Kid)
	}
	return fault.New(op, fault.Unauthenticated, "key_invalid", "key %s is in a state that this program does not know", k.Kid)
}

// Allows says whether the key may be used with the signature scheme. A list that leaves open whether the
// secret is public allows nothing.
func (k *Key) Allows(algorithm string) bool {
	return slices.Contains(k.Algorithms, algorithm) && unambiguous(k.Algorithms)
}

// MaySend says whether the key may send to the topic.
func (k *Key) MaySend(topic string) bool {
	return len(k.Topics) == 0 || slices.Contains(k.Topics, topic)
}
