package app

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// mostGarbage, in percent of what is live, is worth its memory under load: brokers hold many small long-lived objects,
	// relays make short-lived ones at every event. Batches of 100 through a relay gained a fifth over Go's own 100
	// (BenchmarkRelayBatch100).
	mostGarbage = 200
	// leastGarbage keeps collections rare enough that an idle process stays idle.
	leastGarbage = 25
	// garbageSeconds is for how long garbage may come in before it is collected, between those two: a process of many
	// tenants of which few are busy would otherwise keep three times what it needs.
	garbageSeconds = 10
	// paceStep is how coarse the target is: changing it stops the process for a moment.
	paceStep = 25
	// mostMemory is the part of what the machine, or the process's control group, has that garbage may grow into: what is
	// live and garbage together stay below it as long as what is live alone does.
	mostMemory = 0.75
	// paceMemory is how much of a past rate is left after a second without any: load comes in bursts.
	paceMemory = 0.95
)

// gcPace follows the rate at which a process allocates. It belongs to one goroutine.
type gcPace struct {
	rate float64 // bytes per second; rises at once and falls slowly
}

// next is how much garbage may stand, in percent of the live bytes, after a second in which so many were allocated.
func (p *gcPace) next(live, allocated uint64) int {
	p.rate = max(float64(allocated), p.rate*paceMemory)
	if live == 0 {
		return mostGarbage // nothing was collected yet
	}
	percent := 100 * garbageSeconds * p.rate / float64(live)
	if percent >= mostGarbage {
		return mostGarbage
	}
	return max(leastGarbage, (int(percent)/paceStep+1)*paceStep)
}

// PaceGC lets the collector run rarely under load, often enough at rest that what a burst took is given back, and as often
// as it takes where memory would run out. It works until the returned function is called. GOGC and GOMEMLIMIT in the
// environment, the operator's own choice, stay.
func PaceGC() (stop func()) {
	unlimit := limitMemory()
	if os.Getenv("GOGC") != "" {
		return unlimit
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	before := debug.SetGCPercent(mostGarbage)
	go func() {
		defer close(done)
		paceGC(ctx)
		debug.SetGCPercent(before)
	}()
	return func() {
		cancel()
		<-done
		unlimit()
	}
}

// limitMemory sets the limit that follows from the machine's memory; a system that does not tell has none.
func limitMemory() (undo func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	there, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil || there > math.MaxInt64 {
		return func() {}
	}
	before := debug.SetMemoryLimit(int64(float64(there) * mostMemory))
	return func() { debug.SetMemoryLimit(before) }
}

func paceGC(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	var pace gcPace
	metrics.Read(samples)
	allocated, percent := samples[2].Value.Uint64(), mostGarbage
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		live := samples[0].Value.Uint64() + samples[1].Value.Uint64()
		if next := pace.next(live, samples[2].Value.Uint64()-allocated); next != percent {
			percent = next
			debug.SetGCPercent(percent)
		}
		allocated = samples[2].Value.Uint64()
	}
}
