package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// figures are the plots of what was measured, in the order of the page.
func (r *Report) figures() []figure {
	candidates := []figure{r.roundFigure(), r.percentileFigure()}
	candidates = append(candidates, r.timeFigures()...)
	for _, c := range r.Curves {
		candidates = append(candidates, c.figure())
	}
	var kept []figure
	for _, f := range candidates {
		if len(f.Table.Rows) > 0 {
			f.Frame = plotFrame()
			f.ID = "plot" + strconv.Itoa(len(kept)+1)
			kept = append(kept, f)
		}
	}
	return kept
}

// roundFigure has two bars per round, and the ratio of their lengths in writing.
func (r *Report) roundFigure() figure {
	f := figure{
		Title: "Rounds", XLabel: "round", YLabel: "acknowledged events/s", Table: r.roundTable(),
		Keys: []key{{"c0", "weft"}},
	}
	if len(r.Rounds) == 0 {
		return f
	}
	most, compared := 0.0, false
	for _, round := range r.Rounds {
		most = max(most, drawable(round.PerSecond), drawable(round.Baseline))
		compared = compared || drawable(round.Baseline) > 0
	}
	y := linear(0, most*1.08, 5) // room for the ratios
	f.framed(axis{}, y)
	frame := plotFrame()
	room := frame.Across() / float64(len(r.Rounds))
	width := min(room*0.38, 44)
	every := int(24/room) + 1 // rounds per label, 24 being a label's width
	for i, round := range r.Rounds {
		middle := frame.Left + (float64(i)+0.5)*room
		name := strconv.Itoa(i + 1)
		f.At = append(f.At, px(middle))
		if !compared {
			f.Bars = append(f.Bars, standing(y, middle-width/2, width, round.PerSecond, "c0", "round "+name+", weft"))
		} else {
			f.Bars = append(f.Bars,
				standing(y, middle-width, width, round.PerSecond, "c0", "round "+name+", weft"),
				standing(y, middle, width, round.Baseline, "c3", "round "+name+", baseline"))
			if room >= 48 { // a ratio's width, in the larger letters of small screens
				f.Ratios = append(f.Ratios, spot{px(middle), upwards(y, max(round.PerSecond, round.Baseline)) - 5, hundredths(round.Ratio) + "×"})
			}
		}
		if i%every == 0 {
			f.XTicks = append(f.XTicks, place{px(middle), name})
		}
	}
	f.Desc = fmt.Sprintf("Bars of %d rounds.", len(r.Rounds))
	if compared {
		f.Keys = append(f.Keys, key{"c3", "baseline"})
		f.Desc = fmt.Sprintf("Pairs of bars of %d rounds, weft and its baseline.", len(r.Rounds))
	}
	return f
}

// standing is a bar from the axis up to a value.
func standing(y axis, x, width, value float64, class, title string) bar {
	top := upwards(y, value)
	return bar{px(x), top, px(width), px(plotFrame().Bottom - top), class, title + ": " + rate(value) + " events/s"}
}

// percentileFigure shows the latencies' whole distribution, its tail as wide as its body.
func (r *Report) percentileFigure() figure {
	points := slices.Clone(r.Latency)
	for i, p := range points {
		points[i] = Point{X: min(max(finite(p.X), 0), 100), Y: finite(p.Y)}
	}
	slices.SortStableFunc(points, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
	percentile, ms := make([]float64, len(points)), make([]float64, len(points))
	for i, p := range points {
		percentile[i], ms[i] = p.X, p.Y
	}
	lo, hi, n := bounds(ms, absent)
	if n == 0 {
		return figure{}
	}
	x, y := percentiles(percentile), valueAxis(lo, hi)
	f := figure{
		Title: "Latency by percentile", XLabel: "percentile", YLabel: "ms, from the intended start",
		Desc: fmt.Sprintf("Latency from %s ms to %s ms over the percentiles of the events.", decimal(lo), decimal(hi)),
	}
	f.framed(x, y)
	f.plot(x, y, "c0", points, func(p Point) bool { return !absent(p.Y) })
	f.Table = table{Head: []string{"percentile", "ms"}}
	for _, p := range points {
		f.Table.Rows = append(f.Table.Rows, []string{strconv.FormatFloat(significant(p.X, 9), 'f', -1, 64), decimal(p.Y)})
	}
	return f
}

// figure draws the curve with its points. What a logarithmic axis cannot show is in the table alone.
func (c Curve) figure() figure {
	shown := func(p Point) bool { return !c.LogX || !absent(finite(p.X)) }
	var xs, ys []float64
	for _, p := range c.Points {
		if shown(p) {
			xs, ys = append(xs, finite(p.X)), append(ys, finite(p.Y))
		}
	}
	f := figure{Title: c.Name, XLabel: c.X, YLabel: c.Y, Table: pointTable(c.X, c.Y, c.Points)}
	if len(c.Points) == 0 {
		return f
	}
	if hidden := len(c.Points) - len(xs); hidden > 0 {
		f.Remark = fmt.Sprintf("Not on the logarithmic axis, but in the table: %d of the points, at 0 or below.", hidden)
	}
	all := func(float64) bool { return false }
	left, right, _ := bounds(xs, all)
	low, high, _ := bounds(ys, all)
	x, y := linear(left, right, 6), linear(min(low, 0), high, 5)
	if c.LogX {
		x = logarithmic(left, right, 8)
	}
	f.Desc = fmt.Sprintf("%s from %s to %s over %s from %s to %s.", c.Y, decimal(low), decimal(high), c.X, decimal(left), decimal(right))
	f.framed(x, y)
	f.plot(x, y, "c0", c.Points, shown)
	return f
}

// plot adds one line with its points, and the places of the points for the rows of the table.
func (f *figure) plot(x, y axis, class string, points []Point, shown func(Point) bool) {
	line := curveLines{Class: class, Path: traced(x, y, points, shown)}
	if len(points) <= 40 { // more marks than that hide the line
		line.Marks = marked(x, y, points, shown)
	}
	f.Lines = append(f.Lines, line)
	for _, p := range points {
		f.At = append(f.At, across(x, p.X))
	}
}

// absent are values that stand for no measurement where every measurement is above 0, as latencies and memory are.
func absent(v float64) bool { return v <= 0 }
