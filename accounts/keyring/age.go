package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/weft-mesh/weft/streams/fault"
)

// Sealer encrypts secrets for storage in places that many can read, such as the control log.
type Sealer interface {
	// Seal returns plain encrypted, as one line of text. Two calls give two different texts.
	Seal(plain []byte) (string, error)
	// Open returns what was sealed, or an error if the text was not sealed for this Sealer or was changed.
	Open(sealed string) (Secret, error)
}

// agePrefix names the sealer in the sealed text, so that a later one can tell its own.
const agePrefix = "age:"

// AgeSealer seals for one X25519 identity in the age format (age-encryption.org/v1).
type AgeSealer struct {
	identity *age.X25519Identity
}

var _ Sealer = (*AgeSealer)(nil)

// NewAgeSealer makes a sealer with a fresh identity, in memory only.
func NewAgeSealer() (*AgeSealer, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, fault.Wrap("sealer.new", fault.Internal, err)
	}
	return &AgeSealer{identity: id}, nil
}

// ParseAgeSealer reads an identity file's content: one AGE-SECRET-KEY-1… line, comments allowed.
func ParseAgeSealer(text []byte) (*AgeSealer, error) {
	const op = "sealer.parse"
	ids, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil || len(ids) != 1 {
		// age's own error may quote the line, which is the secret
		return nil, fault.New(op, fault.Invalid, "identity_malformed", "not an age identity file with exactly one AGE-SECRET-KEY-1 line")
	}
	id, ok := ids[0].(*age.X25519Identity)
	if !ok {
		return nil, fault.New(op, fault.Invalid, "identity_malformed", "the age identity is not of type X25519")
	}
	return &AgeSealer{identity: id}, nil
}

// LoadAgeSealer reads an identity file.
func LoadAgeSealer(file string) (*AgeSealer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap("sealer.load", fault.NotFound, err)
	}
	s, err := ParseAgeSealer(text)
	if err != nil {
		return nil, fault.Wrap("sealer.load: "+file, fault.Invalid, err)
	}
	return s, nil
}

// Identity is the identity file's content, for ParseAgeSealer.
func (s *AgeSealer) Identity() Secret {
	return Secret(fmt.Sprintf("# public key: %s\n%s\n", s.identity.Recipient(), s.identity))
}

// String names the sealer by its public key.
func (s *AgeSealer) String() string { return "age sealer " + s.identity.Recipient().String() }

// Format prints String for every verb: the identity is in an unexported field.
func (s *AgeSealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// Seal encrypts plain; the result is "age:" and base64.
func (s *AgeSealer) Seal(plain []byte) (string, error) {
	const op = "secret.seal"
	var out bytes.Buffer
	w, err := age.Encrypt(&out, s.identity.Recipient())
	if err != nil {
		return "", fault.Wrap(op, fault.Internal, err)
	}
	if _, err := w.Write(plain); err != nil {
		return "", fault.Wrap(op, fault.Internal, err)
	}
	if err := w.Close(); err != nil {
		return "", fault.Wrap(op, fault.Internal, err)
	}
	return agePrefix + base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

// Open decrypts what Seal returned. It costs about 0.1 ms: keep the result of a key in use.
func (s *AgeSealer) Open(sealed string) (Secret, error) {
	const op = "secret.open"
	text, ok := strings.CutPrefix(sealed, agePrefix)
	if !ok {
		return nil, fault.New(op, fault.Invalid, "sealed_malformed", "the sealed secret does not begin with %q", agePrefix)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder skips line breaks
		return nil, fault.New(op, fault.Invalid, "sealed_malformed", "the sealed secret is not base64")
	}
	r, err := age.Decrypt(bytes.NewReader(raw), s.identity)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		return nil, fault.New(op, fault.Denied, "sealed_for_other", "the secret was sealed for another master key")
	}
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "sealed_damaged", "the sealed secret is damaged")
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "sealed_damaged", "the sealed secret is damaged")
	}
	return plain, nil
}
