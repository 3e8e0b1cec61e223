// Package keyring holds the keys that sign requests: their records in the control log, their states, and
// the sealing of the secrets in them.
//
// Hubs make keys, relays look them up and open their secrets, the command line prints them. Records are
// plain data, safe for concurrent reads; sealers are safe for concurrent use.
package keyring

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret is bytes that no log, error or JSON document may show: every way of printing the value itself
// says "[redacted]". fmt reads unexported struct fields past their methods, so a type that keeps a Secret
// in one and may be printed needs a Format method of its own.
type Secret []byte

// NewSecret returns n bytes from the system's random source.
func NewSecret(n int) Secret {
	s := make(Secret, n)
	_, _ = rand.Read(s) // crypto/rand.Read never fails: it ends the process instead
	return s
}

// Bytes is the secret itself, sharing its memory.
func (s Secret) Bytes() []byte { return s }

// String hides the value.
func (Secret) String() string { return redacted }

// GoString hides the value from %#v.
func (Secret) GoString() string { return redacted }

// Format hides the value from every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON hides the value.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText hides the value.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the value from log/slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
