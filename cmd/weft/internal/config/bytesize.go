package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ByteSize is a number of bytes, written "512KiB", "8GiB", "10MB" or as a plain number.
type ByteSize int64

type byteUnit struct {
	name string
	size int64
}

// binaryUnits come first: String prefers them, and Parse must see "KiB" before "B".
func byteUnits() []byteUnit {
	return []byteUnit{
		{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
	}
}

// ParseByteSize reads a size: a number that may have a fraction, and a unit in any letter case.
func ParseByteSize(s string) (ByteSize, error) {
	text, unit := strings.TrimSpace(s), int64(1)
	for _, u := range byteUnits() {
		if n := len(text) - len(u.name); n > 0 && strings.EqualFold(text[n:], u.name) {
			text, unit = strings.TrimSpace(text[:n]), u.size
			break
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n > math.MaxInt64/unit || n < math.MinInt64/unit {
			return 0, fmt.Errorf("%q is more bytes than fit in 63 bits", s)
		}
		return ByteSize(n * unit), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "eExXpPnN_") {
		return 0, fmt.Errorf("%q is not a size: write it like 512KiB, 8GiB or 1000000", s)
	}
	if f *= float64(unit); math.Abs(f) >= 1<<63 || f != math.Trunc(f) {
		return 0, fmt.Errorf("%q is not a whole number of bytes", s)
	}
	return ByteSize(f), nil
}

// String is the size in the largest binary unit that divides it.
func (b ByteSize) String() string {
	for _, u := range byteUnits()[:4] {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText writes what String says.
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseByteSize.
func (b *ByteSize) UnmarshalText(text []byte) (err error) {
	*b, err = ParseByteSize(string(text))
	return err
}

// Set makes a ByteSize a flag value.
func (b *ByteSize) Set(s string) error { return b.UnmarshalText([]byte(s)) }

// Type is what help texts show in place of the flag's value.
func (b *ByteSize) Type() string { return "size" }
