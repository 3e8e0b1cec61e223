package report

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// fact is one named property of a run.
type fact struct{ Name, Value string }

// facts says what was measured on what; a property that nobody set is left out.
func (r *Report) facts() []fact {
	var began, took string
	if !r.Began.IsZero() {
		began = r.Began.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if r.Took > 0 {
		took = r.Took.Round(time.Second).String()
	}
	all := []fact{
		{"mesh", r.Mesh}, {"load", r.Load}, {"baseline", r.Baseline}, {"machine", r.Machine},
		{"commit", r.Commit}, {"began", began}, {"took", took},
	}
	var set []fact
	for _, f := range all {
		if f.Value != "" {
			set = append(set, f)
		}
	}
	return set
}

// heading names the run.
func (r *Report) heading() string {
	switch {
	case r.Scenario == "" && r.Title == "":
		return "benchmark"
	case r.Scenario == "" || r.Title == "":
		return r.Scenario + r.Title
	}
	return r.Scenario + ": " + r.Title
}

// headline is the outcome in one line: rate and ratio, latency, faults, each if it was measured. Faults come first: the
// rate of a mesh that loses events is worth nothing.
func (r *Report) headline() string {
	s := r.Summary
	var parts []string
	if r.rated() {
		part := rate(s.AcceptedPerSecond) + " events/s"
		if s.compared() {
			part += ", " + hundredths(s.Ratio) + "× the baseline"
		}
		parts = append(parts, part)
	}
	if s.open() {
		parts = append(parts, "p50 "+decimal(s.P50)+" ms, p99 "+decimal(s.P99)+" ms at "+rate(s.OfferedPerSecond)+"/s")
	}
	switch {
	case !s.faultless():
		parts = slices.Insert(parts, 0, s.verdict())
	case r.verified():
		parts = append(parts, s.verdict())
	}
	if len(parts) > 0 {
		return strings.Join(parts, " · ")
	}
	if names := r.curveNames(); len(names) > 0 {
		return strings.Join(names, " · ")
	}
	return "Nothing was measured."
}

// verdict is what became of the events, the faults alone if there were any.
func (s Summary) verdict() string {
	if s.faultless() {
		return "nothing lost, duplicated or reordered, no errors"
	}
	var faults []string
	for _, c := range s.counts() {
		if c.Value != "0" {
			faults = append(faults, c.Value+" "+c.Name)
		}
	}
	return "FAULTS: " + strings.Join(faults, ", ")
}

// counts is what verification found, by name.
func (s Summary) counts() []fact {
	errors := "errors"
	if s.Errors == 1 {
		errors = "error"
	}
	return []fact{
		{"lost", number(s.Lost)}, {"duplicated", number(s.Duplicated)},
		{"reordered", number(s.Reordered)}, {errors, number(s.Errors)},
	}
}

func (s Summary) faultless() bool {
	return s.Lost == 0 && s.Duplicated == 0 && s.Reordered == 0 && s.Errors == 0
}

// open tells whether there was an open phase, and with it latencies.
func (s Summary) open() bool { return finite(s.OfferedPerSecond) > 0 }

// compared tells whether there was a baseline.
func (s Summary) compared() bool {
	return finite(s.BaselinePerSecond) > 0 || finite(s.Ratio) > 0
}

// rated tells whether a rate was measured; 0 of events that were sent is a rate.
func (r *Report) rated() bool {
	return finite(r.Summary.AcceptedPerSecond) > 0 || len(r.Rounds) > 0
}

// verified tells whether there were events to verify: no losses among no events are no finding.
func (r *Report) verified() bool {
	return r.rated() || r.Summary.open() || len(r.Series) > 0 || !r.Summary.faultless()
}

func (r *Report) curveNames() []string {
	var names []string
	for _, c := range r.Curves {
		if len(c.Points) > 0 {
			names = append(names, c.Name)
		}
	}
	return names
}

// ratio says what weft's rate is over the baseline's, with its spread where there is one.
func (s Summary) ratio() string {
	text := thousandths(s.Ratio)
	if finite(s.RatioHigh) > 0 {
		text += " (" + span(s.RatioLow, s.RatioHigh, thousandths) + ")"
	}
	return text
}

// number writes a count with its thousands apart, digit for digit.
func number(n int) string {
	if n > -1e15 && n < 1e15 {
		return fixed(float64(n), 0)
	}
	return strconv.Itoa(n)
}
