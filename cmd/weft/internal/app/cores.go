package app

import (
	"os"
	"runtime"
)

// On fewCores or less, threadsPerCore run Go code for each. Go takes a thread away from what computes (a block that is
// compressed, events that are indexed) after ten milliseconds, and until then whatever came in over the network waits if
// all threads are taken. The system's own scheduler shares the cores among more threads in finer slices.
const (
	fewCores       = 4
	threadsPerCore = 2
)

// ShareCores sets GOMAXPROCS on machines of few cores until the returned function is called. What the environment or a
// CPU limit of the control group asks for stays: under a limit more threads only use it up sooner.
func ShareCores() (undo func()) {
	before := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") != "" || before != runtime.NumCPU() || before > fewCores {
		return func() {}
	}
	runtime.GOMAXPROCS(threadsPerCore * before)
	return func() { runtime.GOMAXPROCS(before) }
}

// TuneRuntime is ShareCores and PaceGC, for every process that serves.
func TuneRuntime() (undo func()) {
	cores, collector := ShareCores(), PaceGC()
	return func() {
		collector()
		cores()
	}
}
