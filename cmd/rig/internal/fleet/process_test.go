package fleet

import (
	"os/exec"
	"testing"
	"testing/synctest"
	"time"
)

// What a process stored last is at risk as long as it did not run, and a while after; not after an end in order.
func TestUnsyncedCountsTheTimeAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Process{}
		check := func(when string, want time.Duration) {
			t.Helper()
			if got := p.Unsynced(); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		pass := func(d time.Duration) { <-time.After(d) } // virtual
		starts := func() { p.cmd, p.back = new(exec.Cmd), time.Now() }
		ends := func(clean bool) { p.cmd = nil; p.ended(clean) }

		starts()
		check("at its first start", Settle)
		ends(false)
		pass(300 * time.Millisecond)
		check("killed", Settle+300*time.Millisecond)
		starts()
		pass(100 * time.Millisecond)
		check("just back", Settle+400*time.Millisecond)
		ends(false)
		pass(time.Second)
		check("killed again before all was on disk", Settle+1400*time.Millisecond)
		starts()
		pass(Settle + time.Millisecond)
		check("back for a while", Settle)
		ends(false)
		pass(time.Second)
		check("killed after that", Settle+time.Second)
		starts()
		pass(Settle + time.Millisecond)
		p.left() // paused
		pass(3 * time.Second)
		check("paused, and never back", Settle+3*time.Second)
		ends(false)
		pass(time.Second)
		check("killed while it was paused", Settle+4*time.Second)
		starts()
		ends(true)
		starts()
		check("after an end in order", Settle)
	})
}
