// Package report is what a benchmark found, and how it is shown: one line of JSON for programs, a table for people, a
// self-contained page with plots for everybody else.
//
// Only package bench and the bench verb use it. It computes nothing but what rendering needs, and touches neither
// network nor clock. Values are plain data: whoever made one owns it.
package report

import "time"

// Report is the outcome of one benchmark.
type Report struct {
	Scenario string // such as "ingest"
	Title    string // what was measured, in a phrase
	Mesh     string // on which mesh: regions, servers, transport, acknowledgement
	Load     string // by which load: event size, batch, connections, model
	Baseline string // what the ratio is over
	Machine  string // cores, system, Go version
	Commit   string
	Began    time.Time
	Took     time.Duration

	Summary Summary
	Rounds  []Round  // measured side by side, in the order in which they ran
	Latency []Point  // X: percentile (0–100), Y: ms; of the open phase
	Series  []Sample // over time
	Curves  []Curve  // of bench growth and bench tenants
	Notes   []string // what a reader has to know to judge the figures, a sentence each
}

// Summary is the figures by which runs are compared. Rates are medians over the rounds.
type Summary struct {
	AcceptedPerSecond float64 `json:"accepted_per_s"` // acknowledged events
	BaselinePerSecond float64 `json:"baseline_per_s"`
	Ratio             float64 `json:"ratio"` // median of the rounds' ratios
	RatioLow          float64 `json:"ratio_low"`
	RatioHigh         float64 `json:"ratio_high"`
	OfferedPerSecond  float64 `json:"offered_per_s"` // of the open phase, at which the latencies below hold; 0: there was none
	P50               float64 `json:"p50_ms"`        // from the intended start
	P95               float64 `json:"p95_ms"`
	P99               float64 `json:"p99_ms"`
	BaselineP50       float64 `json:"baseline_p50_ms"` // at the same rate; 0: the baseline has none
	BaselineP95       float64 `json:"baseline_p95_ms"`
	BaselineP99       float64 `json:"baseline_p99_ms"`
	Errors            int     `json:"errors"` // events without an acknowledgement
	Lost              int     `json:"lost"`   // acknowledged, and not in every region that has to hold it
	Duplicated        int     `json:"duplicated"`
	Reordered         int     `json:"reordered"`
	CPUPerEvent       float64 `json:"cpu_us_per_event"` // of the mesh's processes, without the load generator
	RSS               float64 `json:"rss_mb"`           // of the mesh's processes, the most that was seen
}

// Round is one measurement of weft and of its baseline, right after each other.
type Round struct {
	PerSecond   float64 `json:"accepted_per_s"`
	Baseline    float64 `json:"baseline_per_s"`
	Ratio       float64 `json:"ratio"`
	CPUPerEvent float64 `json:"cpu_us_per_event"`
	BaselineCPU float64 `json:"baseline_cpu_us_per_event"`
}

// Sample is one second of a run.
type Sample struct {
	At        float64 `json:"at_s"` // seconds since the run began
	Phase     string  `json:"phase"`
	PerSecond float64 `json:"per_s"` // acknowledged
	P50       float64 `json:"p50_ms"`
	P95       float64 `json:"p95_ms"`
	P99       float64 `json:"p99_ms"`
	Cores     float64 `json:"cores"` // CPU of the mesh's processes
	RSS       float64 `json:"rss_mb"`
}

// Curve is one figure over one variable.
type Curve struct {
	Name   string // what is plotted, such as "CPU per event over tenants"
	X, Y   string // axes, with units
	LogX   bool
	Points []Point
}

// Point is one value of a curve.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}
