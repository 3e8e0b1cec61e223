// Package accounts is the vocabulary of the control state: tenants, topics, routes and regions as they
// are written to the control log and read by every role.
//
// It holds data and pure checks only; its child packages (keyring, signature, grant, issuer, pki,
// identity, routing) import it and it imports none of them. Values are plain data: they are safe for
// concurrent reads, and those that a snapshot of the control state hands out must not be changed.
package accounts

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxName is the longest name of a tenant or producer, in bytes.
const MaxName = 32

// ValidName says whether s names a tenant or a producer: [a-z][a-z0-9-]{0,31}. Such a name is one
// subject token, one path segment and one DNS label at once.
func ValidName(s string) bool {
	if s == "" || len(s) > MaxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Duration is a time.Duration that reads and writes itself as text such as "168h" or "1m30s". It reads
// whole days ("7d") as well.
type Duration time.Duration

// Std is the standard library's form.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String is the shortest form that ParseDuration reads back: "168h", not "168h0m0s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ParseDuration reads what String writes, everything that time.ParseDuration reads, and whole days.
func ParseDuration(s string) (Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		const most = int64(1<<63-1) / int64(24*time.Hour)
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil || n > most || n < -most {
			return 0, fmt.Errorf("%q is not a duration such as 36h or 7d", s)
		}
		return Duration(n) * Duration(24*time.Hour), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 36h or 7d", s)
	}
	return Duration(d), nil
}

// MarshalText writes String; encoding/json and YAML use it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// UnmarshalJSON reads the text form alone: a bare number has no unit that a reader could know.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%s is not a duration such as \"36h\" or \"7d\"", b)
	}
	return d.UnmarshalText([]byte(s))
}
