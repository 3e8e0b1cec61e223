package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const stagePrefix = "BenchmarkStage"

// result is what one benchmark took for one operation.
type result struct {
	pkg, name   string
	ns          float64
	mbps        float64 // 0 for a benchmark that counts no bytes
	bytes       uint64
	allocations uint64
}

// parse reads what go test -bench -benchmem prints. Of several runs of one benchmark the best counts, in each figure:
// what disturbs a measurement only ever adds. A line that is not understood is an error, not a stage less.
func parse(text string, procs int) ([]result, error) {
	var results []result
	pkg, finished := "", 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "pkg: "):
			pkg = strings.TrimPrefix(line, "pkg: ")
		case strings.HasPrefix(line, "ok "):
			finished++
		case strings.HasPrefix(line, "Benchmark"):
			r, err := parseLine(line, procs)
			if err != nil {
				return nil, fmt.Errorf("%w in the line %q", err, line)
			}
			r.pkg = pkg
			results = merge(results, r)
		case line == "PASS", line == "", strings.HasPrefix(line, "goos: "), strings.HasPrefix(line, "goarch: "), strings.HasPrefix(line, "cpu: "):
		default:
			return nil, fmt.Errorf("what does this line mean: %q", line)
		}
	}
	if len(results) == 0 || finished == 0 {
		return nil, errors.New("no benchmark ran")
	}
	return results, nil
}

// parseLine reads "BenchmarkX/y-2  200  6517 ns/op  76.73 MB/s  58 B/op  1 allocs/op".
func parseLine(line string, procs int) (r result, err error) {
	f := strings.Fields(line)
	if len(f) < 4 || len(f)%2 != 0 {
		return r, errors.New("not a benchmark's result")
	}
	r.name = f[0]
	if procs > 1 {
		var ok bool
		if r.name, ok = strings.CutSuffix(f[0], "-"+strconv.Itoa(procs)); !ok {
			return r, fmt.Errorf("the name does not end in -%d", procs)
		}
	}
	if n, err := strconv.ParseUint(f[1], 10, 64); err != nil || n == 0 {
		return r, errors.New("no number of operations")
	}
	seen := map[string]bool{}
	for i := 2; i < len(f); i += 2 {
		value, unit := f[i], f[i+1]
		switch unit {
		case "ns/op":
			r.ns, err = strconv.ParseFloat(value, 64)
		case "MB/s":
			r.mbps, err = strconv.ParseFloat(value, 64)
		case "B/op":
			r.bytes, err = strconv.ParseUint(value, 10, 64)
		case "allocs/op":
			r.allocations, err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil || seen[unit] {
			return r, fmt.Errorf("%s: not one figure", unit)
		}
		seen[unit] = true
	}
	if !seen["ns/op"] || !seen["B/op"] || !seen["allocs/op"] {
		return r, errors.New("a figure is missing")
	}
	return r, nil
}

func merge(results []result, r result) []result {
	i := slices.IndexFunc(results, func(o result) bool { return o.pkg == r.pkg && o.name == r.name })
	if i < 0 {
		return append(results, r)
	}
	o := &results[i]
	o.ns, o.mbps = min(o.ns, r.ns), max(o.mbps, r.mbps)
	o.bytes, o.allocations = min(o.bytes, r.bytes), min(o.allocations, r.allocations)
	return results
}

// limit is the most allocations of one benchmark.
type limit struct {
	name string
	most uint64
}

// parseLimits reads lines of a benchmark's name and a number. A line that begins with # is a comment.
func parseLimits(text string) ([]limit, error) {
	var limits []limit
	number := 0
	for line := range strings.Lines(text) {
		number++
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) != 2 || !strings.HasPrefix(f[0], stagePrefix) {
			return nil, fmt.Errorf("line %d is not the name of a stage's benchmark and a number", number)
		}
		most, err := strconv.ParseUint(f[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q is not a number", number, f[1])
		}
		if slices.ContainsFunc(limits, func(l limit) bool { return l.name == f[0] }) {
			return nil, fmt.Errorf("line %d: %s has a limit already", number, f[0])
		}
		limits = append(limits, limit{f[0], most})
	}
	if len(limits) == 0 {
		return nil, errors.New("it holds no limit")
	}
	return limits, nil
}

// compare names every stage that does not hold its limit, has none, or did not run (bad), and every one that could do
// with less (low).
func compare(limits []limit, results []result) (bad, low []string) {
	for _, l := range limits {
		if !slices.ContainsFunc(results, func(r result) bool { return r.name == l.name }) {
			bad = append(bad, l.name+": has a limit, but did not run")
		}
	}
	for _, r := range results {
		i := slices.IndexFunc(limits, func(l limit) bool { return l.name == r.name })
		switch {
		case i < 0:
			bad = append(bad, fmt.Sprintf("%s: has no limit; it takes %d allocations", r.name, r.allocations))
		case r.allocations > limits[i].most:
			bad = append(bad, fmt.Sprintf("%s: takes %d allocations, its limit is %d", r.name, r.allocations, limits[i].most))
		case r.allocations < limits[i].most:
			low = append(low, fmt.Sprintf("%s: takes %d allocations, its limit can be lowered from %d", r.name, r.allocations, limits[i].most))
		}
	}
	return bad, low
}

// order sorts the results as the limits stand; those without one come last.
func order(limits []limit, results []result) []result {
	place := func(r result) int {
		if i := slices.IndexFunc(limits, func(l limit) bool { return l.name == r.name }); i >= 0 {
			return i
		}
		return len(limits)
	}
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b result) int { return place(a) - place(b) })
	return results
}
