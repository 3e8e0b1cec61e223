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
