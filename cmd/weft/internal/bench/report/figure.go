package report

import (
	"fmt"
	"math"
	"strings"
)

// frame is where a plot's axes are within its viewBox.
type frame struct {
	Width, Height            float64 // of the viewBox
	Left, Right, Top, Bottom float64
}

// plotFrame is every plot's. The page scales it, so it is small enough for its letters to be legible on a telephone.
func plotFrame() frame {
	return frame{Width: 520, Height: 280, Left: 52, Right: 500, Top: 28, Bottom: 238}
}

// Across is the width of the plot without what is written around it.
func (f frame) Across() float64 { return f.Right - f.Left }

// Up is its height.
func (f frame) Up() float64 { return f.Bottom - f.Top }

// figure is one plot as the page's template draws it. Its places are in the units of the viewBox.
type figure struct {
	Frame           frame
	ID, Title, Desc string
	XLabel, YLabel  string
	XTicks, YTicks  []place
	Bands           []band
	Bars            []bar
	Ratios          []spot // above the bars
	Lines           []curveLines
	Keys            []key
	Remark          string
	Table           table
	At              []float64 // where the table's rows are on the x axis
}

// place is a labelled position on one axis.
type place struct {
	At    float64
	Label string
}

// band is the shade of one phase, labelled where there is room.
type band struct {
	X, Width, Middle float64
	Class, Name      string
	Labelled         bool
}

type bar struct {
	X, Y, Width, Height float64
	Class, Title        string
}

// curveLines is one line with its marks; it has gaps where there is no value.
type curveLines struct {
	Class, Path string
	Marks       []spot
}

type spot struct {
	X, Y  float64
	Title string
}

type key struct{ Class, Name string }

// px rounds to a tenth of a unit, which nobody sees, and keeps the page small.
func px(v float64) float64 { return math.Round(v*10) / 10 }

func across(a axis, v float64) float64 {
	f := plotFrame()
	return px(f.Left + a.at(drawable(v))*f.Across())
}

func upwards(a axis, v float64) float64 {
	f := plotFrame()
	return px(f.Bottom - a.at(drawable(v))*f.Up())
}

// framed gives the figure its ticks.
func (f *figure) framed(x, y axis) {
	for _, t := range x.ticks {
		f.XTicks = append(f.XTicks, place{across(x, t.value), t.label})
	}
	for _, t := range y.ticks {
		f.YTicks = append(f.YTicks, place{upwards(y, t.value), t.label})
	}
}

// traced draws a line through the points that both axes can show; a point that stands alone is a dot, by the round cap of
// a line without length.
func traced(x, y axis, points []Point, shown func(Point) bool) string {
	var b strings.Builder
	run := 0
	ended := func() {
		if run == 1 {
			b.WriteString("h0")
		}
		run = 0
	}
	for _, p := range points {
		if !shown(p) {
			ended()
			continue
		}
		command := "L"
		if run == 0 {
			command = "M"
		}
		fmt.Fprintf(&b, "%s%v %v", command, across(x, p.X), upwards(y, p.Y))
		run++
	}
	ended()
	return b.String()
}

// marked is a spot for every point that is shown.
func marked(x, y axis, points []Point, shown func(Point) bool) []spot {
	var spots []spot
	for _, p := range points {
		if shown(p) {
			spots = append(spots, spot{across(x, p.X), upwards(y, p.Y), decimal(p.X) + ": " + decimal(p.Y)})
		}
	}
	return spots
}

// wide is the ratio of greatest to least from which a linear axis hides the small values.
const wide = 50

// valueAxis begins at 0, for lengths to be comparable, and is logarithmic where values differ too much for that.
func valueAxis(lo, hi float64) axis {
	if lo > 0 && hi > wide*lo {
		return logarithmic(lo, hi, 8)
	}
	return linear(0, hi, 5)
}
