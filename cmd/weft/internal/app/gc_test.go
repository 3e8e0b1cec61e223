package app

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Garbage is bounded by the machine's memory while the pace is kept, and by what was before from then on.
func TestGCPaceLimitsMemory(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	total, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil {
		t.Skip("this system does not tell how much memory there is: ", err)
	}
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	stop := PaceGC()
	if limit := debug.SetMemoryLimit(-1); limit <= 0 || uint64(limit) > total*4/5 || uint64(limit) < total/2 {
		t.Errorf("a limit of %d bytes, of %d that there are", limit, total)
	}
	stop()
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		t.Errorf("the limit is %d after the end", limit)
	}
	t.Setenv("GOMEMLIMIT", "123MiB")
	defer PaceGC()()
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		t.Errorf("the operator's limit became %d", limit)
	}
}

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
