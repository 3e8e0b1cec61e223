package main

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// The lines around the table.
const (
	tableBegin = "<!-- stages: written by go run ./.ci/stages -->"
	tableEnd   = "<!-- stages: end -->"
)

// table is the results as Markdown.
func table(results []result) string {
	var b strings.Builder
	b.WriteString("| stage | package | ns/op | MB/s | B/op | allocs/op |\n|---|---|--:|--:|--:|--:|\n")
	for _, r := range results {
		rate := ""
		if r.mbps > 0 {
			rate = fmt.Sprintf("%.0f", r.mbps)
		}
		fmt.Fprintf(&b, "| %s | `%s` | %.0f | %s | %d | %d |\n", stage(r.name), folder(r.pkg), r.ns, rate, r.bytes, r.allocations)
	}
	fmt.Fprintf(&b, "\n%s, %s/%s, %d CPUs, the best of several runs. Times depend on the machine and on what else it does; allocations do not.\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	return b.String()
}

// stage is "Decode, array100" for "BenchmarkStageDecode/array100".
func stage(name string) string {
	return strings.ReplaceAll(strings.TrimPrefix(name, stagePrefix), "/", ", ")
}

// folder is a package's path without its module's.
func folder(pkg string) string {
	parts := strings.SplitN(pkg, "/", 4) // host/owner/module/folder
	return parts[len(parts)-1]
}

// replace puts a text between the markers, each of which stands there once, on a line of its own.
func replace(document, text string) (string, error) {
	before, rest, ok := strings.Cut(document, tableBegin+"\n")
	_, after, closed := strings.Cut(rest, tableEnd+"\n")
	if !ok || !closed || strings.Contains(rest, tableBegin) || strings.Contains(after, tableEnd) || strings.Contains(before, tableEnd) {
		return "", errors.New("it does not hold the lines " + tableBegin + " and " + tableEnd + " once each, in this order")
	}
	return before + tableBegin + "\n" + text + tableEnd + "\n" + after, nil
}
