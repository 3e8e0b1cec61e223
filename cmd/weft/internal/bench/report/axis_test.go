package report

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func labels(a axis) string {
	var all []string
	for _, t := range a.ticks {
		all = append(all, t.label)
	}
	return strings.Join(all, " ")
}

func TestLinear(t *testing.T) {
	for _, c := range []struct {
		name   string
		lo, hi float64
		about  int
		want   string
	}{
		{"ends on a tick", 0, 100, 5, "0 20 40 60 80 100"},
		{"steps of 1", 0, 4.2, 5, "0 1 2 3 4 5"},
		{"steps of 2", 0, 9, 5, "0 2 4 6 8 10"},
		{"steps of 5", 0, 23, 5, "0 5 10 15 20 25"},
		{"begins below the least", 3, 11, 5, "2 4 6 8 10 12"},
		{"fractions", 0, 0.3, 5, "0 0.1 0.2 0.3"},
		{"as many decimals as the step", 0, 1.9, 5, "0 0.5 1.0 1.5 2.0"},
		{"thousands", 0, 52000, 5, "0 20k 40k 60k"},
		{"halves of thousands", 9000, 11000, 5, "9.0k 9.5k 10.0k 10.5k 11.0k"},
		{"millions", 0, 2e7, 5, "0 5M 10M 15M 20M"},
		{"negative", -3, 3, 5, "-4 -2 0 2 4"},
		{"nothing", 0, 0, 5, "0 0.2 0.4 0.6 0.8 1.0"},
		{"one value", 7, 7, 5, "6 8 10 12 14"},
		{"upside down", 5, 1, 5, "5 6 7 8 9 10"},
	} {
		if got := labels(linear(c.lo, c.hi, c.about)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestLogarithmic(t *testing.T) {
	for _, c := range []struct {
		name   string
		lo, hi float64
		most   int
		want   string
	}{
		{"1-2-5", 1.5, 40, 8, "1 2 5 10 20 50"},
		{"powers of ten", 1, 10000, 8, "1 10 100 1k 10k"},
		{"its ends are ticks too", 0.5, 2000, 8, "0.5 1 10 100 1k 2k"},
		{"but for what is too close to them", 0.5, 20000, 8, "0.5 10 100 1k 20k"},
		{"thousandths", 0.002, 0.05, 8, "0.002 0.005 0.01 0.02 0.05"},
		{"every other power", 1, 1e12, 8, "1 100 10k 1M 100M 10G 1000G"},
		{"one value", 5, 5, 8, "2 5 10"},
		{"nothing to take a logarithm of", 0, 0, 8, "5e-10 1e-09 2e-09"},
	} {
		if got := labels(logarithmic(c.lo, c.hi, c.most)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPercentiles(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   string
	}{
		{"ends on a tick", []float64{0, 50, 99.9}, "0 50 90 99 99.9"},
		{"ends beyond", []float64{0, 50, 99.95}, "0 50 90 99 99.9 99.99"},
		{"100 has a place of its own", []float64{50, 99, 100}, "0 50 90 99 max"},
		{"100 next to a tick", []float64{50, 99.5, 100}, "0 50 90 99 max"},
		{"100 alone", []float64{100}, "0 max"},
		{"none", nil, "0 50"},
		{"deeper than is drawn", []float64{99.999999999}, "0 50 90 99 99.9 99.99 99.999 99.9999 99.99999"},
		{"not a number", []float64{math.NaN(), 90}, "0 50 90"},
	} {
		if got := labels(percentiles(c.values)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	a := percentiles([]float64{99, 100})
	if at50, at90, at99, at100 := a.at(50), a.at(90), a.at(99), a.at(100); at100 != 1 || at99 >= 1 || math.Abs(at99-2*at90) > 1e-9 || at50 >= at90 {
		t.Errorf("50, 90, 99, 100 are at %v, %v, %v, %v", at50, at90, at99, at100)
	}
}

func TestAt(t *testing.T) {
	for _, c := range []struct {
		name    string
		a       axis
		v, want float64
	}{
		{"linear, low end", linear(0, 10, 5), 0, 0},
		{"linear, middle", linear(0, 10, 5), 5, 0.5},
		{"linear, high end", linear(0, 10, 5), 10, 1},
		{"linear, beyond", linear(0, 10, 5), 11, 1},
		{"linear, below", linear(0, 10, 5), -1, 0},
		{"logarithmic, middle", logarithmic(1, 100, 8), 10, 0.5},
		{"logarithmic, zero", logarithmic(1, 100, 8), 0, 0},
		{"logarithmic, negative", logarithmic(1, 100, 8), -1, 0},
	} {
		if got := c.a.at(c.v); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v is at %v, want %v", c.name, c.v, got, c.want)
		}
	}
}

// Whatever the data are, labels cover them, are told apart, are few, and what is greater is further up.
func TestAxesCoverTheirData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		magnitude := rapid.Float64Range(-8, 15)
		size := func(label string) float64 { return math.Pow(10, magnitude.Draw(t, label)) }
		lo := size("lo")
		hi := lo + size("beyond")
		for name, a := range map[string]axis{"linear": linear(lo, hi, 6), "linear from 0": linear(0, hi, 6), "logarithmic": logarithmic(lo, hi, 8)} {
			first, last := a.ticks[0], a.ticks[len(a.ticks)-1]
			if first.value > lo*(1+1e-6) || last.value < hi*(1-1e-6) {
				t.Fatalf("%s: ticks from %v to %v for %v to %v", name, first.value, last.value, lo, hi)
			}
			if n := len(a.ticks); n < 2 || n > 10 {
				t.Fatalf("%s: %d ticks", name, n)
			}
			if a.at(first.value) != 0 || a.at(last.value) != 1 {
				t.Fatalf("%s: the ends are at %v and %v", name, a.at(first.value), a.at(last.value))
			}
			if !slices.IsSortedFunc(a.ticks, func(p, q tick) int { return int(math.Copysign(1, a.at(p.value)-a.at(q.value))) }) {
				t.Fatalf("%s: ticks are not in order", name)
			}
		}
	})
}

func TestPreferredNumbers(t *testing.T) {
	for i, want := range map[int]float64{-4: 0.05, -3: 0.1, -2: 0.2, -1: 0.5, 0: 1, 1: 2, 2: 5, 3: 10, 7: 200} {
		if got := preferred(i); got != want {
			t.Errorf("preferred(%d) = %v, want %v", i, got, want)
		}
		if got := rank(want); math.Abs(got-float64(i)) > 1e-6 {
			t.Errorf("rank(%v) = %v, want %d", want, got, i)
		}
	}
}
