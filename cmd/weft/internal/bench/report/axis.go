package report

import (
	"math"
	"strconv"
)

// axis places values between 0, its low end, and 1. Its first and last ticks are at or beyond the data, so that its labels
// cover them.
type axis struct {
	lo, hi float64
	scale  func(float64) float64 // rising
	ticks  []tick
}

type tick struct {
	value float64
	label string
}

// at is where a finite value is; beyond an end is at the end.
func (a axis) at(v float64) float64 {
	from, to := a.scale(a.lo), a.scale(a.hi)
	return min(max((a.scale(v)-from)/(to-from), 0), 1)
}

// slack is the part of a step by which floating point may miss a tick.
const slack = 1e-9

// largest bounds what is drawn, so that no sum or power of ten overflows; smallest does so for logarithms.
const (
	largest  = 1e18
	smallest = 1e-9
)

// drawable is v as a place on an axis.
func drawable(v float64) float64 { return min(max(finite(v), -largest), largest) }

// linear has about as many ticks as asked for, at multiples of 1, 2 or 5 times a power of ten.
func linear(lo, hi float64, about int) axis {
	lo, hi = drawable(lo), drawable(hi)
	if hi-lo <= slack*max(math.Abs(lo), math.Abs(hi), slack) {
		hi = lo + max(1, math.Abs(lo))
	}
	step := atLeast((hi - lo) / float64(about))
	first, last := math.Floor(lo/step+slack), math.Ceil(hi/step-slack)
	values := make([]float64, 0, about+2)
	for i := first; i <= last; i++ {
		values = append(values, i*step)
	}
	return axis{lo: first * step, hi: last * step, scale: func(v float64) float64 { return v }, ticks: labelled(values, step)}
}

// labelled gives the ticks of a linear axis one unit and as many decimals as their step needs.
func labelled(values []float64, step float64) []tick {
	most := max(math.Abs(values[0]), math.Abs(values[len(values)-1]))
	divisor, suffix := 1.0, ""
	for _, unit := range []struct {
		from, divisor float64
		suffix        string
	}{{1e4, 1e3, "k"}, {1e7, 1e6, "M"}, {1e10, 1e9, "G"}} {
		if most >= unit.from {
			divisor, suffix = unit.divisor, unit.suffix
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step/divisor)+slack)))
	ticks := make([]tick, len(values))
	for i, v := range values {
		label := "0"
		if math.Abs(v) > step/2 {
			label = strconv.FormatFloat(v/divisor, 'f', decimals, 64) + suffix
		}
		ticks[i] = tick{value: v, label: label}
	}
	return ticks
}

// atLeast is the smallest 1, 2 or 5 times a power of ten that is not below v, which is positive.
func atLeast(v float64) float64 { return preferred(int(math.Ceil(rank(v) - slack))) }

// preferred is the i-th of …, 0.5, 1, 2, 5, 10, …, where the 0-th is 1.
func preferred(i int) float64 {
	decade := int(math.Floor(float64(i) / 3))
	mantissa := [3]float64{1, 2, 5}[i-3*decade]
	if decade < 0 {
		return mantissa / math.Pow10(-decade) // exact where a multiplication is not: 5 × 0.001
	}
	return mantissa * math.Pow10(decade)
}

// rank is the inverse of preferred, with fractions between its values.
func rank(v float64) float64 {
	decade := math.Floor(math.Log10(v) + slack)
	mantissa := v / math.Pow10(int(decade))
	switch {
	case mantissa < 2:
		return 3*decade + max(mantissa-1, 0)
	case mantissa < 5:
		return 3*decade + 1 + (mantissa-2)/3
	}
	return 3*decade + 2 + (mantissa-5)/5
}

// logarithmic ends at 1, 2 or 5 times a power of ten. In between it has such ticks, or powers of ten only, or only some of
// these, so that there are not more than asked for. Both bounds are positive.
func logarithmic(lo, hi float64, most int) axis {
	lo, hi = max(drawable(lo), smallest), max(drawable(hi), smallest)
	first, last := int(math.Floor(rank(lo)+slack)), int(math.Ceil(rank(hi)-slack))
	if first >= last {
		first, last = first-1, first+1
	}
	a := axis{lo: preferred(first), hi: preferred(last), scale: func(v float64) float64 {
		return math.Log10(max(v, 0)) // of 0 it is -∞, which is below the axis; of a negative it is NaN, which is nowhere
	}}
	stride := 1
	if last-first+1 > most {
		for stride = 3; (last-first)/stride+1 > most; stride += 3 {
		}
	}
	const apart = 0.08 // of the axis: closer labels touch
	for i := first; i <= last; i++ {
		v := preferred(i)
		end := i == first || i == last
		if end || i%stride == 0 && (stride == 1 || a.at(v) >= apart && a.at(v) <= 1-apart) {
			a.ticks = append(a.ticks, tick{value: v, label: brief(v)})
		}
	}
	return a
}

// brief writes a tick of a logarithmic axis, where each one has the unit that suits it.
func brief(v float64) string {
	suffix := ""
	for _, s := range []string{"k", "M", "G"} {
		if v < 1e3 {
			break
		}
		v, suffix = v/1e3, s
	}
	return strconv.FormatFloat(v, 'g', 6, 64) + suffix
}

// nines is how far a percentile is from 0 where 90 is at 1, 99 at 2, 99.9 at 3: log 1/(1-p), as HdrHistogram plots it.
func nines(percentile float64) float64 { return -math.Log10(1 - percentile/100) }

// deepest is the last percentile that gets a tick of its own, in nines.
const deepest = 7

// percentiles covers percentiles from 0 to the highest. 100 is infinitely far away: it is drawn at the end of the axis, one
// tick beyond the highest of the others.
func percentiles(values []float64) axis {
	highest, complete := 0.0, false
	for _, v := range values {
		if v >= 100 {
			complete = true
		} else {
			highest = max(highest, finite(v))
		}
	}
	a := axis{scale: nines, ticks: []tick{{0, "0"}}}
	end := false
	for i := 0; !end; i++ {
		v := 50.0
		if i > 0 {
			v = 100 - 100/math.Pow10(i)
		}
		label := strconv.FormatFloat(v, 'f', max(0, i-2), 64)
		beyond := v > highest*(1+1e-12)
		end = i == deepest || beyond || v >= highest*(1-1e-12) && !complete
		if end && complete {
			label = "max"
		}
		a.ticks = append(a.ticks, tick{v, label})
		a.hi = v
	}
	return a
}
