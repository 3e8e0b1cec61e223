package report

import "math"

// drawn is how many samples a plot shows at most, but for a partial one at each end of a phase: more are closer together
// than a pixel, and make the page slow.
const drawn = 600

// thinned joins neighbours of the same phase until about most samples are left, and says how many became one. Rates and
// cores are averaged; of latencies and memory the worst is kept, for peaks are what a reader looks for.
func thinned(samples []Sample, most int) ([]Sample, int) {
	size := (len(samples) + most - 1) / most
	if size <= 1 {
		return samples, 1
	}
	var out []Sample
	for start := 0; start < len(samples); {
		end := start + 1
		for end < len(samples) && end < start+size && samples[end].Phase == samples[start].Phase {
			end++
		}
		out = append(out, joined(samples[start:end]))
		start = end
	}
	return out, size
}

func joined(samples []Sample) Sample {
	one := Sample{At: samples[0].At, Phase: samples[0].Phase}
	n := float64(len(samples))
	for _, s := range samples {
		one.PerSecond += finite(s.PerSecond) / n
		one.Cores += finite(s.Cores) / n
		one.P50 = max(one.P50, finite(s.P50))
		one.P95 = max(one.P95, finite(s.P95))
		one.P99 = max(one.P99, finite(s.P99))
		one.RSS = max(one.RSS, finite(s.RSS))
	}
	return one
}

// phase is a stretch of samples with the same phase.
type phase struct {
	name     string
	from, to float64 // seconds; half way to the neighbours, so that phases touch
}

func phases(samples []Sample) []phase {
	var found []phase
	for i, s := range samples {
		at := finite(s.At)
		if i > 0 && s.Phase == samples[i-1].Phase {
			found[len(found)-1].to = at
			continue
		}
		from := at
		if i > 0 {
			from = (finite(samples[i-1].At) + at) / 2
			found[len(found)-1].to = from
		}
		found = append(found, phase{name: s.Phase, from: from, to: at})
	}
	return found
}

// clock is the unit in which a run of some length is told, and its length in seconds.
func clock(seconds float64) (unit string, length float64) {
	switch {
	case seconds > 3*3600:
		return "h", 3600
	case seconds > 600:
		return "min", 60
	}
	return "s", 1
}

// bounds are the least and the greatest of the values that are not left out, and how many these are.
func bounds(values []float64, leftOut func(float64) bool) (lo, hi float64, n int) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v = drawable(v); !leftOut(v) {
			lo, hi, n = min(lo, v), max(hi, v), n+1
		}
	}
	if n == 0 {
		return 0, 0, 0
	}
	return lo, hi, n
}
