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
