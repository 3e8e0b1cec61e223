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
	GraceUntil time.Time `json:"grace_until,omitzero"`
}

// Usable returns nil if requests signed with the key are accepted at now, else an Unauthenticated fault
// whose code says why: key_pending, key_expired, key_revoked or key_invalid.
func (k *Key) Usable(now time.Time) error {
	const op = "key.use"
	switch k.State {
	case Active:
		return nil
	case Grace:
		if !now.After(k.GraceUntil) {
			return nil
		}
		return fault.New(op, fault.Unauthenticated, "key_expired", "key %s was replaced and its grace period ended at %s",
			k.Kid, k.GraceUntil.UTC().Format(time.RFC3339))
	case Pending:
		return fault.New(op, fault.Unauthenticated, "key_pending", "key %s is not active yet", k.Kid)
	case Revoked:
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
