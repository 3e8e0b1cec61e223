package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// finite is v, and 0 for what neither JSON nor an axis can hold: NaN and the infinities. A rate over an interval of zero
// length is one of these.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}

// rounded is v with so many decimals, and never NaN, an infinity or a negative zero.
func rounded(v float64, decimals int) float64 {
	v = finite(v)
	factor := math.Pow10(decimals)
	if scaled := v * factor; !math.IsInf(scaled, 0) {
		v = math.Round(scaled) / factor
	}
	if v == 0 {
		return 0
	}
	return v
}

// significant is v with so many significant digits.
func significant(v float64, digits int) float64 {
	v = finite(v)
	if v == 0 {
		return 0
	}
	short, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil { // rounded up, past the largest number
		return v
	}
	return short
}

// fixed writes v with so many decimals and its thousands apart: 41,230.5.
func fixed(v float64, decimals int) string {
	digits := strconv.FormatFloat(rounded(v, decimals), 'f', decimals, 64)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	whole, fraction, split := strings.Cut(digits, ".")
	var b strings.Builder
	b.WriteString(sign)
	for i, digit := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	if split {
		b.WriteString("." + fraction)
	}
	return b.String()
}

// decimal writes v with three significant digits at least, whole numbers as such: 41,230 and 12.3 and 0.0417 and 5.
func decimal(v float64) string {
	v = finite(v)
	if v == math.Trunc(v) {
		return fixed(v, 0)
	}
	magnitude := int(math.Floor(math.Log10(math.Abs(v))))
	return fixed(v, min(max(2-magnitude, 0), 9))
}

// rate writes events per second: their fraction matters only where there are few of them.
func rate(v float64) string {
	if v = finite(v); math.Abs(v) >= 100 {
		return fixed(v, 0)
	}
	return decimal(v)
}

// hundredths and thousandths write ratios.
func hundredths(v float64) string  { return fixed(v, 2) }
func thousandths(v float64) string { return fixed(v, 3) }

// uniform is how to write the values of one column: with the decimals that the finest of them needs, for their points to
// stand below each other. Values too different for that are written each on its own.
func uniform(values []float64) func(float64) string {
	lo, hi, n := bounds(values, func(v float64) bool { return v <= 0 })
	if n > 0 && hi > 1000*lo {
		return decimal
	}
	decimals := 0
	for _, v := range values {
		digits := strings.TrimRight(decimal(v), "0")
		if _, fraction, split := strings.Cut(digits, "."); split {
			decimals = max(decimals, len(fraction))
		}
	}
	return func(v float64) string { return fixed(v, decimals) }
}

// span writes a spread, and one figure where both ends read the same.
func span(low, high float64, format func(float64) string) string {
	if format(low) == format(high) {
		return format(low)
	}
	return format(low) + "–" + format(high)
}

// median is 0 of no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return sorted[middle-1]/2 + sorted[middle]/2
}
