package header_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/streams/header"
)

func TestStripNats(t *testing.T) {
	h := map[string][]string{
		header.MsgID: {"e-1"}, header.StreamSource: {"EVENTS 1"}, "nats-ttl": {"5"}, "NATS-Expected-Stream": {"X"},
		header.IngestedAt: {"2026-01-01T00:00:00Z"}, header.TraceParent: {"00-…"}, "Nats": {"kept"}, "Natsy": {"kept"},
	}
	header.StripNats(h)
	got := slices.Sorted(maps.Keys(h))
	want := []string{"Nats", "Natsy", header.IngestedAt, header.TraceParent}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("left %q, want %q", got, want)
	}
	header.StripNats(nil)
}

func TestRepair(t *testing.T) {
	r := header.Repair{From: "us", Subject: "evt.us_1.g.5.bets.bet.placed", Seq: 42, TTL: 60}
	if got, ok := header.ParseRepair(r.String()); !ok || got != r {
		t.Errorf("%q is read as %+v, %v", r, got, ok)
	}
	for _, bad := range []string{"", "us", "us evt.a 1", "us evt.a 1 2 3", "us evt.a -1 0", "us evt.a 1 -1", "us evt.a 01 0", " evt.a 1 0", "us  1 0", "us evt.a 1 x", "us evt.a 1 0 "} {
		if got, ok := header.ParseRepair(bad); ok {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

func FuzzParseRepair(f *testing.F) {
	f.Add("us evt.us_1.g.5.bets.bet.placed 42 60")
	f.Fuzz(func(t *testing.T, value string) {
		if r, ok := header.ParseRepair(value); ok && r.String() != value {
			t.Errorf("%q is read as %+v", value, r)
		}
	})
}
