package keyring

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"filippo.io/age"

	"github.com/weft-mesh/weft/streams/fault"
)

// ageProvider begins what an AgeSealer seals.
const ageProvider = "age"

// AgeSealer seals for X25519 identities in the age format (age-encryption.org/v1). It is immutable.
type AgeSealer struct {
	identities []*age.X25519Identity // the first seals
}

var _ Sealer = (*AgeSealer)(nil)

// NewAgeSealer makes a sealer with a fresh identity, in memory only.
func NewAgeSealer() (*AgeSealer, error) { return new(AgeSealer).Add() }

// ParseAgeSealer reads an identity file's content: AGE-SECRET-KEY-1… lines, comments allowed. The first
// identity seals, all of them open.
func ParseAgeSealer(text []byte) (*AgeSealer, error) {
	const op = "sealer.parse"
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil || len(ids) == 0 {
		// age's own error may quote the line, which is the secret
		return nil, fault.New(op, fault.Invalid, "identity_malformed", "not an age identity file of AGE-SECRET-KEY-1 lines")
	}
	s := &AgeSealer{}
	for _, one := range ids {
		id, ok := one.(*age.X25519Identity)
		if !ok {
			return nil, fault.New(op, fault.Invalid, "identity_malformed", "the age identity is not of type X25519")
		}
		if s.find(masterID(id)) != nil {
			return nil, fault.New(op, fault.Invalid, "identity_malformed", "the identity file holds %s twice", masterID(id))
		}
		s.identities = append(s.identities, id)
	}
	return s, nil
}

// Add returns a sealer that has a fresh identity as well. It opens only, until it is promoted.
func (s *AgeSealer) Add() (*AgeSealer, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fault.Wrap("sealer.add", fault.Internal, err)
	}
	return &AgeSealer{identities: append(slices.Clone(s.identities), id)}, nil
}

// Promote returns a sealer that seals with the named identity and opens with all that it had.
func (s *AgeSealer) Promote(master string) (*AgeSealer, error) {
	id := s.find(master)
	if id == nil {
		return nil, fault.New("sealer.promote", fault.NotFound, "no_such_master", "master key %s is not in this file", master)
	}
	rest := slices.DeleteFunc(slices.Clone(s.identities), func(o *age.X25519Identity) bool { return o == id })
	return &AgeSealer{identities: append([]*age.X25519Identity{id}, rest...)}, nil
}

// Retire returns a sealer that has the sealing identity alone.
func (s *AgeSealer) Retire() *AgeSealer { return &AgeSealer{identities: s.identities[:1:1]} }

// Holds says whether every identity of o is one of s.
func (s *AgeSealer) Holds(o *AgeSealer) bool {
	return !slices.ContainsFunc(o.identities, func(id *age.X25519Identity) bool { return s.find(masterID(id)) == nil })
}

// Identity is the identity file's content, for ParseAgeSealer.
func (s *AgeSealer) Identity() Secret {
	var out bytes.Buffer
	for _, id := range s.identities {
		fmt.Fprintf(&out, "# master key %s, public key: %s\n%s\n", masterID(id), id.Recipient(), id)
	}
	return out.Bytes()
}

// String names the sealer by the master key that it seals with.
func (s *AgeSealer) String() string { return "age sealer " + masterID(s.identities[0]) }

// Format prints String for every verb: the identities are in an unexported field.
func (s *AgeSealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// Masters lists the identities by the hashes of their public keys.
func (s *AgeSealer) Masters(context.Context) ([]string, error) { return s.IDs(), nil }

// IDs lists the ids of the identities: the first seals.
func (s *AgeSealer) IDs() []string {
	out := make([]string, len(s.identities))
	for i, id := range s.identities {
		out[i] = masterID(id)
	}
	return out
}

func (s *AgeSealer) find(master string) *age.X25519Identity {
	for _, id := range s.identities {
		if masterID(id) == master {
			return id
		}
	}
	return nil
}

// masterID is "age:" and 64 bits of the hash of the public key.
func masterID(id *age.X25519Identity) string {
	sum := sha256.Sum256([]byte(id.Recipient().String()))
	return ageProvider + ":" + hex.EncodeToString(sum[:8])
}

// Seal encrypts plain for the first identity.
func (s *AgeSealer) Seal(_ context.Context, plain []byte) (string, error) {
	const op = "secret.seal"
	var out bytes.Buffer
	w, err := age.Encrypt(&out, s.identities[0].Recipient())
	if err != nil {
		return "", fault.Wrap(op, fault.Internal, err)
	}
	if _, err := w.Write(plain); err != nil {
		return "", fault.Wrap(op, fault.Internal, err)
	}
	if err := w.Close(); err != nil {
		return "", fault.Wrap(op, fault.Internal, err)
	}
	return sealedText(masterID(s.identities[0]), out.Bytes()), nil
}

// Open decrypts what Seal returned. It costs about 0.1 ms: keep the result of a key in use.
func (s *AgeSealer) Open(_ context.Context, sealed string) (Secret, error) {
	const op = "secret.open"
	master, raw, err := parseSealed(op, ageProvider, sealed)
	if err != nil {
		return nil, err
	}
	id := s.find(master)
	if id == nil {
		return nil, forOther(op, master)
	}
	r, err := age.Decrypt(bytes.NewReader(raw), id)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "sealed_damaged", "the sealed secret is damaged")
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "sealed_damaged", "the sealed secret is damaged")
	}
	return plain, nil
}
