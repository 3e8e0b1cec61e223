package report

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextIsStable(t *testing.T) {
	golden(t, "report.txt", written(t, full().WriteText))
}

func TestTextOfNothing(t *testing.T) {
	if got, want := written(t, new(Report).WriteText), "benchmark\nNothing was measured.\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// What was not measured has no line, rather than a zero that reads like a finding.
func TestTextLeavesOut(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Report)
		without []string
		with    []string
	}{
		{"baseline", func(r *Report) {
			r.Baseline = ""
			r.Summary.BaselinePerSecond, r.Summary.Ratio, r.Summary.RatioLow, r.Summary.RatioHigh = 0, 0, 0, 0
			for i := range r.Rounds {
				r.Rounds[i] = Round{PerSecond: r.Rounds[i].PerSecond}
			}
		}, []string{"baseline", "ratio", "×"}, []string{"weft events/s", "41,230 events/s acknowledged"}},
		{"open phase", func(r *Report) { r.Summary.OfferedPerSecond = 0 }, []string{"p50", "p99", "latency"}, []string{"41,230 events/s"}},
		{"rate", func(r *Report) { r.Rounds, r.Summary.AcceptedPerSecond = nil, 0 }, []string{"acknowledged", "median"}, []string{"p99 9.41 ms"}},
		{"cost", func(r *Report) { r.Summary.CPUPerEvent, r.Summary.RSS = 0, 0 }, []string{"\nCPU  ", "memory"}, []string{"verified"}},
		{"all but curves", func(r *Report) { *r = Report{Curves: r.Curves} }, []string{"lost", "verified", "events/s"}, []string{"µs per event"}},
		{"all but faults", func(r *Report) { *r = Report{Summary: Summary{Lost: 7}} }, []string{"events/s", "p50"}, []string{"FAULTS: 7 lost"}},
	} {
		r := full()
		c.change(r)
		got := written(t, r.WriteText)
		for _, s := range c.without {
			if strings.Contains(got, s) {
				t.Errorf("without %s: %q in\n%s", c.name, s, got)
			}
		}
		for _, s := range c.with {
			if !strings.Contains(got, s) {
				t.Errorf("without %s: no %q in\n%s", c.name, s, got)
			}
		}
	}
}

func TestHeadline(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Summary
		want string
	}{
		{"all", Summary{AcceptedPerSecond: 41230, Ratio: 0.8, OfferedPerSecond: 28861, P50: 2.131, P99: 9.41},
			"41,230 events/s, 0.80× the baseline · p50 2.13 ms, p99 9.41 ms at 28,861/s · nothing lost, duplicated or reordered, no errors"},
		{"rate alone", Summary{AcceptedPerSecond: 41230}, "41,230 events/s · nothing lost, duplicated or reordered, no errors"},
		{"faults alone are told, and first", Summary{AcceptedPerSecond: 1, Reordered: 12345, Errors: 1}, "FAULTS: 12,345 reordered, 1 error · 1 events/s"},
	} {
		if got := (&Report{Summary: c.s}).headline(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestTextOfMonsters(t *testing.T) {
	for name, f := range monsters() {
		r := full()
		filled(reflect.ValueOf(r), f)
		got := written(t, r.WriteText)
		for _, s := range []string{"NaN", "Inf"} {
			if strings.Contains(got, s) {
				t.Errorf("%s: %s in\n%s", name, s, got)
			}
		}
	}
}

func TestTextDoesNotSteerTheTerminal(t *testing.T) {
	r := full()
	r.Title = "\x1b[2Jcleared"
	r.Curves[0].Name, r.Curves[0].X = "a\x1b]0;b\a", "c\x1b[1m"
	r.Notes = []string{"one\rtwo\u202e"}
	got := written(t, r.WriteText)
	if strings.ContainsAny(got, "\x1b\a\r\u202e") {
		t.Errorf("control characters in %q", got)
	}
	if !strings.Contains(got, "- one two\n") {
		t.Errorf("the note is not in %q", got)
	}
}

// Columns are aligned by what is seen: µ and – are one column wide, and two bytes or more.
func TestGridded(t *testing.T) {
	got := gridded(table{
		Head: []string{"x", "µs"}, Rows: [][]string{{"1", "10"}, {"1,000", "5"}}, Foot: [][]string{{"all", "5–10"}},
	})
	want := "    x    µs\n    1    10\n1,000     5\n  all  5–10\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestWrapped(t *testing.T) {
	words := strings.Repeat("µµµµ ", 50)
	got := wrapped("- ", words)
	if strings.Count(got, "µµµµ") != 50 {
		t.Errorf("words are missing: %q", got)
	}
	for i, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
		if n := utf8.RuneCountInString(line); n > columns {
			t.Errorf("line %d has %d columns", i, n)
		}
		if prefix := map[bool]string{true: "- µ", false: "  µ"}[i == 0]; !strings.HasPrefix(line, prefix) {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if lines := strings.Count(got, "\n"); lines != 3 { // 19 words of 5 columns fit behind the prefix
		t.Errorf("%d lines", lines)
	}
}
