// Package flag says whether a feature is on for a key of a tenant: for all keys, for none, or for a share of them that
// only grows while the percentage does.
//
// The control log holds flags, hubs write them, and whoever follows the log may ask. All values are immutable and all
// functions pure and safe for concurrent use.
package flag

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
	"unicode/utf8"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
)

// Bounds of what the control log holds of flags.
const (
	MaxOfTenant = 100 // flags, those that are off included
	MaxWhy      = 256 // bytes of a reason
)

// Flag is one feature of one tenant.
type Flag struct {
	Tenant  string    `json:"tenant"`
	Name    string    `json:"name"`
	Percent int       `json:"percent"` // of keys: 0 is off, 100 is on
	By      string    `json:"by"`      // who set it last: a principal
	At      time.Time `json:"at"`
	Why     string    `json:"why,omitempty"`
}

// ID names a flag among those of all tenants.
func ID(tenant, name string) string { return tenant + "." + name }

// Validate says what is wrong with a flag.
func (f *Flag) Validate() error {
	switch {
	case !accounts.ValidName(f.Name):
		return fault.New("flag.set", fault.Invalid, "flag_name", "%q is no name of a flag: a lower-case letter, then up to 31 of a-z, 0-9 and -", f.Name)
	case f.Percent < 0 || f.Percent > 100:
		return fault.New("flag.set", fault.Invalid, "flag_percent", "%d is no percentage: 0 is off, 100 is on", f.Percent)
	case len(f.Why) > MaxWhy || !utf8.ValidString(f.Why):
		return fault.New("flag.set", fault.Invalid, "flag_why", "the reason is longer than %d bytes, or no UTF-8", MaxWhy)
	}
	return nil
}

// On says whether the feature is on for a key, such as a user's id. It is the same everywhere, and a key that it is on
// for stays in when the percentage grows. Which keys come first differs from flag to flag and from tenant to tenant.
// Of no flag, nil, it is off.
//
// The key's place is the first 8 bytes of SHA-256 of tenant, 0, name, 0, key, as a big-endian number, modulo 100.
func (f *Flag) On(key string) bool {
	switch {
	case f == nil || f.Percent <= 0:
		return false
	case f.Percent >= 100:
		return true
	}
	var room [192]byte
	text := append(append(append(append(append(room[:0], f.Tenant...), 0), f.Name...), 0), key...)
	sum := sha256.Sum256(text)
	return binary.BigEndian.Uint64(sum[:8])%100 < uint64(f.Percent)
}
