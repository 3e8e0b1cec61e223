package app

import (
	"testing"
)

func TestGCPace(t *testing.T) {
	const mb = 1 << 20
	tests := []struct {
		name      string
		live      uint64
		allocated []uint64 // in one second after the other
		want      int
	}{
		{"nothing collected yet", 0, []uint64{mb}, mostGarbage},
		{"idle", 100 * mb, []uint64{mb / 10}, leastGarbage},
		{"a hundred idle tenants", 110 * mb, []uint64{5 * mb}, 50},
		{"load", 100 * mb, []uint64{500 * mb}, mostGarbage},
		{"load begins", 100 * mb, []uint64{mb, mb, 100 * mb}, mostGarbage},
		{"a pause in a load", 100 * mb, []uint64{500 * mb, mb, mb, mb}, mostGarbage},
		{"a load that ended", 100 * mb, append([]uint64{500 * mb}, make([]uint64, 120)...), leastGarbage},
	}
	for _, tt := range tests {
		var p gcPace
		got := 0
		for _, n := range tt.allocated {
			got = p.next(tt.live, n)
		}
		if got != tt.want {
			t.Errorf("%s: %d%%, want %d%%", tt.name, got, tt.want)
		}
	}
}
