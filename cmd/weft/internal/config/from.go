package config

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/consumers"
)

// From is where a new durable starts, as a person writes it: all, new, an RFC 3339 time, a duration ago (15m, 7d), or seq:N.
type From string

// Parse reads it; now is what durations count from.
func (f From) Parse(now time.Time) (consumers.From, error) {
	switch {
	case f == "all":
		return consumers.FromAll(), nil
	case f == "new":
		return consumers.FromNew(), nil
	case strings.HasPrefix(string(f), "seq:"):
		n, err := strconv.ParseUint(string(f[len("seq:"):]), 10, 64)
		if err != nil || n == 0 {
			return consumers.From{}, errors.New("a sequence is a whole number from 1")
		}
		return consumers.FromSequence(n), nil
	}
	t, err := ParseWhen(string(f), now)
	if err != nil {
		return consumers.From{}, errors.New("must be all, new, an RFC 3339 time, a duration such as 15m or 7d, or seq:N")
	}
	return consumers.FromTime(t), nil
}

// ParseWhen reads an RFC 3339 time or how long ago it was: 15m, 7d.
func ParseWhen(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	ago, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return time.Time{}, errors.New("must be an RFC 3339 time or a duration such as 15m or 7d")
	}
	return now.Add(-ago), nil
}
