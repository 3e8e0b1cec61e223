package config

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/consumers"
)

func TestParseFrom(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for in, want := range map[string]consumers.From{
		"all": consumers.FromAll(), "new": consumers.FromNew(), "seq:7": consumers.FromSequence(7), "0s": consumers.FromTime(now),
		"90m": consumers.FromTime(now.Add(-90 * time.Minute)), "2d": consumers.FromTime(now.Add(-48 * time.Hour)),
		"2026-01-01T00:00:00Z": consumers.FromTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
	} {
		if got, err := From(in).Parse(now); err != nil || got.String() != want.String() {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "ALL", "yesterday", "-5m", "-1d", "d", "1.5d", "99999999d", "seq:", "seq:0", "seq:-1", "seq:x", "7", "2026-01-01"} {
		if got, err := From(in).Parse(now); err == nil {
			t.Errorf("%q: %s, want an error", in, got)
		}
	}
}
