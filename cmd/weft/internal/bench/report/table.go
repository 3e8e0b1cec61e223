package report

import (
	"slices"
	"strconv"
)

// table is what the text prints and what the page has below a plot.
type table struct {
	Head []string
	Rows [][]string
	Foot [][]string // about the rows
}

// roundColumn is one figure of a round.
type roundColumn struct {
	head   string
	value  func(Round) float64
	format func([]float64) func(float64) string
}

func roundColumns() []roundColumn {
	rates := func([]float64) func(float64) string { return rate }
	ratios := func([]float64) func(float64) string { return thousandths }
	return []roundColumn{
		{"weft events/s", func(r Round) float64 { return r.PerSecond }, rates},
		{"baseline events/s", func(r Round) float64 { return r.Baseline }, rates},
		{"ratio", func(r Round) float64 { return r.Ratio }, ratios},
		{"CPU µs/event", func(r Round) float64 { return r.CPUPerEvent }, uniform},
		{"baseline CPU µs/event", func(r Round) float64 { return r.BaselineCPU }, uniform},
	}
}

// roundTable has a row per round, and median and spread where there are several. What no round has, such as a baseline, is
// no column; weft's own rate always is one.
func (r *Report) roundTable() table {
	if len(r.Rounds) == 0 {
		return table{}
	}
	t := table{Head: []string{"round"}, Rows: make([][]string, len(r.Rounds))}
	for i := range r.Rounds {
		t.Rows[i] = []string{strconv.Itoa(i + 1)}
	}
	medians, spreads := []string{"median"}, []string{"spread"}
	for i, c := range roundColumns() {
		values := make([]float64, len(r.Rounds))
		for j, round := range r.Rounds {
			values[j] = finite(c.value(round))
		}
		if i > 0 && !slices.ContainsFunc(values, func(v float64) bool { return v != 0 }) {
			continue
		}
		format := c.format(values)
		t.Head = append(t.Head, c.head)
		for j, v := range values {
			t.Rows[j] = append(t.Rows[j], format(v))
		}
		medians = append(medians, format(median(values)))
		spreads = append(spreads, span(slices.Min(values), slices.Max(values), format))
	}
	if len(r.Rounds) > 1 {
		t.Foot = [][]string{medians, spreads}
	}
	return t
}

func pointTable(x, y string, points []Point) table {
	xs, ys := make([]float64, len(points)), make([]float64, len(points))
	for i, p := range points {
		xs[i], ys[i] = finite(p.X), finite(p.Y)
	}
	t := table{Head: []string{x, y}}
	formatX, formatY := uniform(xs), uniform(ys)
	for i := range points {
		t.Rows = append(t.Rows, []string{formatX(xs[i]), formatY(ys[i])})
	}
	return t
}
