package report

import (
	"fmt"
	"slices"
)

// trace is one figure of the samples.
type trace struct {
	name, class string
	value       func(Sample) float64
}

// history is a plot over time.
type history struct {
	title, unit string
	absent      bool // whether 0 means that nothing was measured in that second
	traces      []trace
}

func histories() []history {
	return []history{
		{"Rate over time", "acknowledged events/s", false, []trace{
			{"events/s", "c0", func(s Sample) float64 { return s.PerSecond }},
		}},
		{"Latency over time", "ms, from the intended start", true, []trace{
			{"p50", "c0", func(s Sample) float64 { return s.P50 }},
			{"p95", "c1", func(s Sample) float64 { return s.P95 }},
			{"p99", "c2", func(s Sample) float64 { return s.P99 }},
		}},
		{"CPU over time", "cores, of the mesh's processes", false, []trace{
			{"cores", "c0", func(s Sample) float64 { return s.Cores }},
		}},
		{"Memory over time", "MB, of the mesh's processes", true, []trace{
			{"MB", "c0", func(s Sample) float64 { return s.RSS }},
		}},
	}
}

// timeFigures share their time axis and phases, so that they can be read below each other. Only the rate is drawn where
// all of it is 0: an idle mesh is a finding, a machine that does not tell its CPU is none.
func (r *Report) timeFigures() []figure {
	samples, joined := thinned(r.Series, drawn)
	if len(samples) == 0 {
		return nil
	}
	last := 0.0
	for _, s := range samples {
		last = max(last, drawable(s.At))
	}
	unit, length := clock(last)
	x := linear(0, last/length, 10)
	var figures []figure
	for i, h := range histories() {
		var values []float64
		for _, t := range h.traces {
			for _, s := range samples {
				values = append(values, t.value(s))
			}
		}
		lo, hi, n := bounds(values, func(v float64) bool { return h.absent && absent(v) })
		if n == 0 || i > 0 && hi <= 0 {
			continue
		}
		y := linear(0, hi, 5)
		if h.absent && len(h.traces) > 1 {
			y = valueAxis(lo, hi)
		}
		f := h.figure(x, y, samples, length)
		f.XLabel = "time, " + unit
		f.Desc = fmt.Sprintf("%s: from %s to %s within %s %s.", h.unit, decimal(lo), decimal(hi), decimal(last/length), unit)
		if joined > 1 {
			f.Remark = fmt.Sprintf("Each point stands for %d seconds: the mean of rate and CPU, the worst of latency and memory.", joined)
		}
		figures = append(figures, f)
	}
	return figures
}

// figure draws the traces over the phases; length is the time axis' unit in seconds.
func (h history) figure(x, y axis, samples []Sample, length float64) figure {
	f := figure{Title: h.title, YLabel: h.unit, Table: table{Head: []string{"s", "phase"}}}
	f.framed(x, y)
	for _, t := range h.traces {
		points := make([]Point, len(samples))
		for i, s := range samples {
			points[i] = Point{X: finite(s.At) / length, Y: finite(t.value(s))}
		}
		path := traced(x, y, points, func(p Point) bool { return !h.absent || !absent(p.Y) })
		f.Lines = append(f.Lines, curveLines{Class: t.class, Path: path})
		f.Table.Head = append(f.Table.Head, t.name)
		if len(h.traces) > 1 {
			f.Keys = append(f.Keys, key{t.class, t.name})
		}
	}
	f.shaded(x, phases(samples), length)
	for _, s := range samples {
		cells := []string{decimal(rounded(s.At, 1)), s.Phase}
		for _, t := range h.traces {
			cell := decimal(t.value(s))
			if h.absent && absent(finite(t.value(s))) {
				cell = "–"
			}
			cells = append(cells, cell)
		}
		f.Table.Rows = append(f.Table.Rows, cells)
		f.At = append(f.At, across(x, finite(s.At)/length))
	}
	return f
}

// shades is how many phases can be told apart.
const shades = 4

// shaded gives every phase a band, and phases of one name one shade. Where a name does not fit into its band, the legend
// has all of them.
func (f *figure) shaded(x axis, found []phase, length float64) {
	var names []string
	fit := true
	for _, p := range found {
		if !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
		class := fmt.Sprintf("p%d", slices.Index(names, p.name)%shades)
		from, to := across(x, p.from/length), across(x, p.to/length)
		const letter = 8 // units, at most
		b := band{X: from, Width: px(to - from), Middle: px((from + to) / 2), Class: class, Name: p.name}
		b.Labelled = float64(letter*len(p.name)) <= b.Width
		fit = fit && b.Labelled
		f.Bands = append(f.Bands, b)
	}
	if fit {
		return
	}
	for i := range f.Bands {
		f.Bands[i].Labelled = false
	}
	for i, name := range names {
		f.Keys = append(f.Keys, key{fmt.Sprintf("p%d", i%shades), name})
	}
}
