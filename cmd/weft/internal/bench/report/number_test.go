package report

import (
	"math"
	"testing"
)

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{
		{0, "0"}, {5, "5"}, {41230, "41,230"}, {1234567, "1,234,567"}, {-1234.5, "-1,235"}, {999.96, "1,000"}, {123.4, "123"},
		{12.34, "12.3"}, {1.2, "1.20"}, {0.41666, "0.417"}, {0.0416666, "0.0417"}, {-0.5, "-0.500"}, {1e-12, "0.000000000"},
		{math.NaN(), "0"}, {math.Inf(1), "0"}, {math.Inf(-1), "0"},
	} {
		if got := decimal(c.v); got != c.want {
			t.Errorf("decimal(%v) = %q, want %q", c.v, got, c.want)
		}
	}
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{{41230.4, "41,230"}, {100.6, "101"}, {99.64, "99.6"}, {0.25, "0.250"}, {math.NaN(), "0"}} {
		if got := rate(c.v); got != c.want {
			t.Errorf("rate(%v) = %q, want %q", c.v, got, c.want)
		}
	}
}

func TestRounded(t *testing.T) {
	for _, c := range []struct {
		v        float64
		decimals int
		want     float64
	}{
		{2.13149, 3, 2.131}, {2.1315, 3, 2.132}, {41230.5, 0, 41231}, {-0.0001, 3, 0},
		{math.MaxFloat64, 3, math.MaxFloat64}, {math.NaN(), 3, 0}, {math.Inf(-1), 0, 0},
	} {
		got := rounded(c.v, c.decimals)
		if got != c.want || math.Signbit(got) != math.Signbit(c.want) {
			t.Errorf("rounded(%v, %d) = %v, want %v", c.v, c.decimals, got, c.want)
		}
	}
}

func TestSignificant(t *testing.T) {
	for _, c := range []struct {
		v      float64
		digits int
		want   float64
	}{
		{0.523456789, 6, 0.523457}, {123456789, 6, 123457000}, {10000, 6, 10000}, {math.Inf(1), 6, 0},
		{math.MaxFloat64, 3, math.MaxFloat64}, // 1.80e308 is no number any more
	} {
		if got := significant(c.v, c.digits); got != c.want {
			t.Errorf("significant(%v, %d) = %v, want %v", c.v, c.digits, got, c.want)
		}
	}
}

func TestUniform(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   []string
	}{
		{"whole", []float64{1, 10, 10000}, []string{"1", "10", "10,000"}},
		{"finest decides", []float64{0.21, 1, 2.3}, []string{"0.21", "1.00", "2.30"}},
		{"too different", []float64{0.0417, 5000}, []string{"0.0417", "5,000"}},
		{"zero is no small value", []float64{0, 1.5, 2}, []string{"0.0", "1.5", "2.0"}},
		{"not a number", []float64{math.NaN(), 1.5}, []string{"0.0", "1.5"}},
	} {
		format := uniform(c.values)
		for i, v := range c.values {
			if got := format(v); got != c.want[i] {
				t.Errorf("%s: %v is %q, want %q", c.name, v, got, c.want[i])
			}
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	values := []float64{3, 1, 2}
	median(values)
	if values[0] != 3 {
		t.Error("median sorted its argument")
	}
}
