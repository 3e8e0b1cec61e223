package bench

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has used until now.
type usage struct {
	cpu time.Duration
	rss float64 // MB
}

// ticksPerSecond is the unit of CPU time in /proc, the same on every Linux.
const ticksPerSecond = 100

// usageOf reads a process's figures; zero where there is no /proc or no such process.
func usageOf(pid int) usage {
	if pid == 0 {
		return usage{}
	}
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return usage{}
	}
	// the name, in parentheses, may hold anything; after it the fields count from the third
	at := strings.LastIndexByte(string(raw), ')')
	fields := strings.Fields(string(raw)[at+1:])
	const utime, stime, rss = 14 - 3, 15 - 3, 24 - 3
	if at < 0 || len(fields) <= rss {
		return usage{}
	}
	number := func(i int) float64 {
		v, _ := strconv.ParseFloat(fields[i], 64)
		return v
	}
	return usage{
		cpu: time.Duration((number(utime) + number(stime)) / ticksPerSecond * float64(time.Second)),
		rss: number(rss) * float64(os.Getpagesize()) / 1e6,
	}
}

// A mesh rests when it takes less than this share of a core over one look.
const (
	restShare = 0.15
	restLook  = 250 * time.Millisecond
)

// rest waits until the mesh has done what the load before left it to do: what other regions have yet to fetch, and what
// repair has yet to read. What is measured next would pay for it. It waits for a tenth of the load's time at most.
func (b *bench) rest() { b.restFor(max(b.o.Span/10, 4*restLook)) }

func (b *bench) restFor(most time.Duration) {
	if b.m.pid == 0 {
		return
	}
	end := time.Now().Add(most)
	look := time.NewTicker(restLook)
	defer look.Stop()
	for before := usageOf(b.m.pid).cpu; time.Now().Before(end); {
		select {
		case <-b.ctx.Done():
			return
		case <-look.C:
		}
		now := usageOf(b.m.pid).cpu
		if now-before < time.Duration(restShare*float64(restLook)) {
			return
		}
		before = now
	}
	b.restless++
}
