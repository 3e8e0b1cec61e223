package report

import (
	"math"
	"strings"
	"testing"
)

// named is the figure of that title, an empty one if there is none.
func named(r *Report, title string) figure {
	for _, f := range r.figures() {
		if f.Title == title {
			return f
		}
	}
	return figure{}
}

func titles(r *Report) string {
	var all []string
	for _, f := range r.figures() {
		all = append(all, f.Title)
	}
	return strings.Join(all, ", ")
}

// spots counts the points of a path.
func spots(path string) int { return strings.Count(path, "M") + strings.Count(path, "L") }

func ends(ticks []place) string { return ticks[0].Label + " " + ticks[len(ticks)-1].Label }

func TestFiguresOfWhatWasMeasured(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Report)
		want   string
	}{
		{"all", func(*Report) {}, "Rounds, Latency by percentile, Rate over time, Latency over time, CPU over time, Memory over time, CPU per event over tenants, Start over stored events"},
		{"nothing", func(r *Report) { *r = Report{} }, ""},
		{"no latencies, no CPU, no memory", func(r *Report) {
			*r = Report{Series: r.Series, Latency: []Point{{50, 0}, {99, math.NaN()}}}
			for i := range r.Series {
				r.Series[i] = Sample{At: float64(i), PerSecond: 1}
			}
		}, "Rate over time"},
		{"an idle mesh", func(r *Report) { *r = Report{Series: []Sample{{At: 0}, {At: 1}}} }, "Rate over time"},
		{"a curve without points", func(r *Report) { *r = Report{Curves: []Curve{{Name: "empty"}, {Name: "one", Points: []Point{{1, 1}}}}} }, "one"},
	} {
		r := full()
		c.change(r)
		if got := titles(r); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPlotsOverTimeShowEverySample(t *testing.T) {
	r := full()
	rate, latency := named(r, "Rate over time"), named(r, "Latency over time")
	if got := spots(rate.Lines[0].Path); got != 30 {
		t.Errorf("%d points of the rate, want 30", got)
	}
	if len(latency.Lines) != 3 {
		t.Fatalf("%d lines of latency", len(latency.Lines))
	}
	for _, l := range latency.Lines {
		if got := spots(l.Path); got != 10 { // the closed phase has no latencies, and no zeros either
			t.Errorf("%d points of a latency, want 10", got)
		}
	}
	for _, f := range []figure{rate, latency} {
		if len(f.Table.Rows) != 30 || len(f.At) != 30 {
			t.Errorf("%s: %d rows at %d places", f.Title, len(f.Table.Rows), len(f.At))
		}
	}
	if closed, open := latency.Table.Rows[0], latency.Table.Rows[29]; closed[2] != "–" || open[2] != "2" {
		t.Errorf("rows are %v and %v", closed, open)
	}
	if got := ends(rate.XTicks); got != "0 30" {
		t.Errorf("the time axis is labelled %s", got)
	}
	if got := ends(rate.YTicks); got != "0 50k" {
		t.Errorf("the rate is labelled %s", got)
	}
}

func TestPlacesInTheFrame(t *testing.T) {
	f := named(&Report{Series: []Sample{{At: 0, PerSecond: 0}, {At: 5, PerSecond: 50}, {At: 10, PerSecond: 100}}}, "Rate over time")
	if got, want := f.Lines[0].Path, "M52 238L276 133L500 28"; got != want {
		t.Errorf("the path is %s, want %s", got, want)
	}
}

func TestPathsHaveGaps(t *testing.T) {
	x, y := linear(0, 10, 5), linear(0, 10, 5)
	points := []Point{{0, 0}, {1, 5}, {2, 5}, {3, 0}, {4, 5}, {5, 0}, {6, 5}, {7, 5}, {8, 5}}
	got := traced(x, y, points, func(p Point) bool { return p.Y > 0 })
	var shape strings.Builder
	for _, c := range got {
		if strings.ContainsRune("MLh", c) {
			shape.WriteRune(c)
		}
	}
	if shape.String() != "MLMhMLL" { // h: a dot, for a lone point has no line
		t.Errorf("the path is %s", got)
	}
}

func TestLatencyIsLogarithmicWhereItSpreads(t *testing.T) {
	for times, want := range map[float64]string{50: "0 50", 51: "1 100"} {
		r := &Report{
			Series:  []Sample{{At: 0, P50: 1, P95: 2, P99: 3}, {At: 1, P50: 1, P95: 2, P99: times}},
			Latency: []Point{{50, 1}, {99, times}},
		}
		for _, title := range []string{"Latency over time", "Latency by percentile"} {
			if got := ends(named(r, title).YTicks); got != want {
				t.Errorf("%s, greatest %v times the least: labelled %s, want %s", title, times, got, want)
			}
		}
	}
}

func TestPhasesAreShaded(t *testing.T) {
	f := named(full(), "Rate over time")
	if len(f.Bands) != 2 || !f.Bands[0].Labelled || !f.Bands[1].Labelled || f.Bands[0].Class == f.Bands[1].Class {
		t.Fatalf("bands are %+v", f.Bands)
	}
	if touch := f.Bands[0].X + f.Bands[0].Width; math.Abs(touch-f.Bands[1].X) > 0.11 {
		t.Errorf("a gap between bands: %v and %v", touch, f.Bands[1].X)
	}
	r := full()
	r.Series[0].Phase = "a phase whose name is too long for a second"
	f = named(r, "Rate over time")
	if len(f.Keys) != 3 {
		t.Errorf("a name does not fit, and the legend has %v", f.Keys)
	}
	for _, b := range f.Bands {
		if b.Labelled {
			t.Errorf("%q is labelled twice", b.Name)
		}
	}
}

func TestRoundsAsBars(t *testing.T) {
	r := full()
	f := named(r, "Rounds")
	if len(f.Bars) != 6 || len(f.Keys) != 2 || len(f.Ratios) != 3 || f.Ratios[1].Title != "0.79×" {
		t.Fatalf("%d bars, keys %v, ratios %v", len(f.Bars), f.Keys, f.Ratios)
	}
	weft, baseline := f.Bars[2], f.Bars[3]
	if got, want := weft.Height/baseline.Height, 40100.0/50690; math.Abs(got-want) > 0.01 {
		t.Errorf("bars are as %v, want %v", got, want)
	}
	if got := weft.Y + weft.Height; got != plotFrame().Bottom {
		t.Errorf("a bar stands at %v", got)
	}
	for i := range r.Rounds {
		r.Rounds[i].Baseline, r.Rounds[i].Ratio = 0, 0
	}
	if f := named(r, "Rounds"); len(f.Bars) != 3 || len(f.Keys) != 1 || len(f.Ratios) != 0 {
		t.Errorf("without a baseline: %d bars, keys %v, ratios %v", len(f.Bars), f.Keys, f.Ratios)
	}
	r.Rounds = make([]Round, 50)
	if f := named(r, "Rounds"); len(f.XTicks) != 17 || len(f.At) != 50 {
		t.Errorf("50 rounds have %d labels and %d places", len(f.XTicks), len(f.At))
	}
}

func TestPercentilesAreSorted(t *testing.T) {
	f := named(&Report{Latency: []Point{{100, 90}, {0, 1}, {99, 9}, {50, 2}}}, "Latency by percentile")
	for i := 1; i < len(f.At); i++ {
		if f.At[i] <= f.At[i-1] {
			t.Errorf("places are %v", f.At)
		}
	}
	if got := ends(f.XTicks); got != "0 max" || f.At[3] != plotFrame().Right {
		t.Errorf("labelled %s, 100 is at %v", got, f.At[3])
	}
	if got := f.Table.Rows[3]; got[0] != "100" || got[1] != "90" {
		t.Errorf("the last row is %v", got)
	}
}

func TestCurves(t *testing.T) {
	c := Curve{Name: "cost", X: "tenants", Y: "µs", LogX: true, Points: []Point{{0, 11}, {1, 12}, {10, 13}, {100, 14}}}
	f := c.figure()
	if got := spots(f.Lines[0].Path); got != 3 || len(f.Lines[0].Marks) != 3 {
		t.Errorf("%d points, %d marks on the logarithmic axis", got, len(f.Lines[0].Marks))
	}
	if len(f.Table.Rows) != 4 || !strings.Contains(f.Remark, "1 of the points") {
		t.Errorf("%d rows, remark %q", len(f.Table.Rows), f.Remark)
	}
	if marks := f.Lines[0].Marks; marks[1].X-marks[0].X != marks[2].X-marks[1].X {
		t.Errorf("powers of ten are not equally far apart: %v", marks)
	}
	if f.XLabel != "tenants" || f.YLabel != "µs" || ends(f.XTicks) != "1 100" || ends(f.YTicks) != "0 15" {
		t.Errorf("axes are %s %v and %s %v", f.XLabel, f.XTicks, f.YLabel, f.YTicks)
	}
	c.LogX = false
	f = c.figure()
	if got := spots(f.Lines[0].Path); got != 4 || f.Remark != "" || ends(f.XTicks) != "0 100" {
		t.Errorf("linear: %d points, remark %q, labels %v", got, f.Remark, f.XTicks)
	}
}
