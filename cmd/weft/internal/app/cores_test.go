package app

import (
	"runtime"
	"testing"
)

func TestShareCores(t *testing.T) {
	cores := runtime.NumCPU()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
	t.Setenv("GOMAXPROCS", "")
	undo := ShareCores()
	want := cores
	if cores <= fewCores {
		want = 2 * cores
	}
	if got := runtime.GOMAXPROCS(0); got != want {
		t.Errorf("%d threads on %d cores, want %d", got, cores, want)
	}
	undo()
	if got := runtime.GOMAXPROCS(0); got != cores {
		t.Errorf("%d threads after the end, %d before", got, cores)
	}
	runtime.GOMAXPROCS(cores + 1) // as after a limit of the control group
	ShareCores()
	if got := runtime.GOMAXPROCS(0); got != cores+1 {
		t.Errorf("%d threads where somebody had chosen %d", got, cores+1)
	}
	runtime.GOMAXPROCS(cores)
	t.Setenv("GOMAXPROCS", "1")
	ShareCores()
	if got := runtime.GOMAXPROCS(0); got != cores {
		t.Errorf("%d threads against the environment", got)
	}
}
