package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const output = `goos: linux
goarch: amd64
pkg: example.com/o/m/streams/event
cpu: AMD EPYC
BenchmarkStageDecode/event-2         	     200	      6517 ns/op	  76.73 MB/s	      58 B/op	       2 allocs/op
BenchmarkStageDecode/event-2         	     200	      6299 ns/op	  79.38 MB/s	      49 B/op	       1 allocs/op
PASS
ok  	example.com/o/m/streams/event	0.378s
pkg: example.com/o/m/relay
BenchmarkStageRoute-2   	     200	       732.3 ns/op	      41 B/op	       0 allocs/op
PASS
ok  	example.com/o/m/relay	0.054s
`

func TestParse(t *testing.T) {
	got, err := parse(output, 2)
	want := []result{
		{pkg: "example.com/o/m/streams/event", name: "BenchmarkStageDecode/event", ns: 6299, mbps: 79.38, bytes: 49, allocations: 1},
		{pkg: "example.com/o/m/relay", name: "BenchmarkStageRoute", ns: 732.3, bytes: 41},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = parse(strings.ReplaceAll(output, "-2 ", " "), 1); err != nil || got[1].name != "BenchmarkStageRoute" {
		t.Errorf("on one CPU: %+v, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	line := "BenchmarkStageRoute-2   	     200	       732.3 ns/op	      41 B/op	       0 allocs/op\n"
	for name, text := range map[string]string{
		"nothing":             "",
		"no package finished": line,
		"a failure":           output + "--- FAIL: BenchmarkStageX\n",
		"other words":         output + "hello\n",
		"no allocations":      strings.Replace(output, "       0 allocs/op", "", 1),
		"half a pair":         strings.Replace(output, "0 allocs/op", "0", 1),
		"a figure twice":      strings.Replace(output, "41 B/op", "0 allocs/op", 1),
		"no operation":        strings.Replace(output, "200", "0", 1),
		"a broken number":     strings.Replace(output, "41 B/op", "4.1.1 B/op", 1),
		"another CPU count":   strings.Replace(output, "Route-2", "Route-4", 1),
	} {
		if got, err := parse(text, 2); err == nil {
			t.Errorf("%s: taken for %+v", name, got)
		}
	}
}

func TestParseLimits(t *testing.T) {
	got, err := parseLimits("# why\n\nBenchmarkStageA/b  7\nBenchmarkStageB 0\n")
	if want := []limit{{"BenchmarkStageA/b", 7}, {"BenchmarkStageB", 0}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "# only words", "BenchmarkStageA", "BenchmarkStageA -1", "BenchmarkStageA 1 2", "BenchmarkOther 1", "BenchmarkStageA 1\nBenchmarkStageA 2"} {
		if got, err := parseLimits(text); err == nil {
			t.Errorf("%q: taken for %+v", text, got)
		}
	}
}

func TestReplace(t *testing.T) {
	document := "before\n" + tableBegin + "\nold\n" + tableEnd + "\nafter\n"
	got, err := replace(document, "new\n")
	if want := strings.Replace(document, "old", "new", 1); err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", tableBegin + "\n", tableEnd + "\n" + tableBegin + "\n", document + document, tableEnd + "\n" + document} {
		if got, err := replace(text, "new\n"); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// module is a small module whose one stage takes two allocations, with room for a table and these limits.
func module(t *testing.T, limits string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":          "module example.com/o/m\n\ngo 1.26\n",
		".ci/allocs.txt":  limits,
		"ARCHITECTURE.md": "# x\n" + tableBegin + "\n" + tableEnd + "\n",
		"p/p_test.go": `package p

import "testing"

var sink []*int

func BenchmarkStageTwo(b *testing.B) {
	b.Run("x", func(b *testing.B) {
		for b.Loop() {
			sink = []*int{new(int)}
		}
	})
}

func BenchmarkOther(b *testing.B) { b.Fatal("this is no stage") }
`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The guard guards: it runs a real benchmark and compares it with one limit after another.
func TestCheck(t *testing.T) {
	const name = "BenchmarkStageTwo/x"
	for _, c := range []struct {
		what, limits   string
		code           int
		stdout, stderr string
	}{
		{"holds", name + " 2", 0, "1 stages hold", ""},
		{"could be lower", name + " 3", 0, name + ": takes 2 allocations, its limit can be lowered from 3", ""},
		{"one too low", name + " 1", 1, "", name + ": takes 2 allocations, its limit is 1"},
		{"no limit", "BenchmarkStageTwo/y 2", 1, "", name + ": has no limit; it takes 2 allocations"},
		{"did not run", name + " 2\nBenchmarkStageGone 1", 1, "", "BenchmarkStageGone: has a limit, but did not run"},
		{"no limits", "", 1, "", ".ci/allocs.txt: it holds no limit"},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := module(t, c.limits)
			var stdout, stderr bytes.Buffer
			code := run([]string{"-C", dir, "-check", "-benchtime", "20x", "-count", "1"}, &stdout, &stderr)
			if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) || code == 0 && stderr.Len() > 0 {
				t.Errorf("exit %d\n%s\n%s", code, &stdout, &stderr)
			}
			if text, err := os.ReadFile(filepath.Join(dir, "ARCHITECTURE.md")); err != nil || strings.Contains(string(text), "Two") {
				t.Errorf("a check wrote: %s %v", text, err)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	dir := module(t, "BenchmarkStageTwo/x 2")
	var stdout, stderr bytes.Buffer
	if code := run([]string{"-C", dir, "-benchtime", "20x"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d\n%s", code, &stderr)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ARCHITECTURE.md"))
	if err != nil || !strings.Contains(string(text), "| Two, x | `p` | ") || !strings.Contains(string(text), " | 2 |\n") {
		t.Errorf("%s %v", text, err)
	}
}

func TestUsage(t *testing.T) {
	var stdout, stderr bytes.Buffer
	for _, args := range [][]string{{"-nonsense"}, {"word"}} {
		if code := run(args, &stdout, &stderr); code != 2 {
			t.Errorf("%q: exit %d", args, code)
		}
	}
}
