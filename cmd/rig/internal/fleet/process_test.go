package fleet

import (
	"path/filepath"
	"testing"
	"time"
)

// What a process stored last is at risk as long as it did not run, and a while after; not after an end in order.
func TestUnsyncedCountsTheTimeAway(t *testing.T) {
	p := &Process{Name: "sleeper", bin: "/bin/sh", args: []string{"-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done"}, log: filepath.Join(t.TempDir(), "log")}
	start := func() {
		t.Helper()
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond) // until the shell has its trap
	}
	start()
	defer p.Kill()
	if got := p.Unsynced(); got != Settle {
		t.Errorf("at its first start: %s", got)
	}
	p.Kill()
	time.Sleep(300 * time.Millisecond)
	if got := p.Unsynced(); got < Settle+300*time.Millisecond {
		t.Errorf("killed: %s", got)
	}
	start()
	if got := p.Unsynced(); got < Settle+400*time.Millisecond {
		t.Errorf("just back: %s", got)
	}
	p.back = p.back.Add(-2 * Settle)
	if got := p.Unsynced(); got != Settle {
		t.Errorf("back for a while: %s", got)
	}
	p.Pause()
	time.Sleep(50 * time.Millisecond)
	p.Resume()
	if got := p.Unsynced(); got < Settle+50*time.Millisecond {
		t.Errorf("just paused: %s", got)
	}
	p.Terminate(5 * time.Second)
	start()
	if got := p.Unsynced(); got != Settle {
		t.Errorf("after an end in order: %s", got)
	}
}
