package jsonschema

import (
	"bytes"
	"math/big"
	"strconv"
)

// number is a JSON number as an exact decimal. Almost all of them have a small form: mantissa / 10^scale.
type number struct {
	small    bool
	mantissa int64
	scale    uint8 // 0 to 18

	// Where there is no small form: ±digits × 10^exponent, digits without zeros at either end; zero has none.
	negative bool
	digits   []byte
	exponent int64
}

var powers = [19]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// parseNumber reads the text of a JSON number; the digits of one without a small form are appended to buf.
func parseNumber(text, buf []byte) number {
	if n, ok := parseSmall(text); ok {
		return n
	}
	var n number
	if text[0] == '-' {
		n.negative, text = true, text[1:]
	}
	if i := bytes.IndexAny(text, "eE"); i >= 0 {
		n.exponent = parseExponent(text[i+1:])
		text = text[:i]
	}
	whole, fraction, _ := bytes.Cut(text, []byte{'.'})
	n.exponent -= int64(len(fraction))
	digits := append(append(buf[:0], whole...), fraction...)
	trimmed := bytes.TrimRight(digits, "0")
	n.exponent += int64(len(digits) - len(trimmed))
	n.digits = bytes.TrimLeft(trimmed, "0")
	if len(n.digits) == 0 {
		return number{small: true}
	}
	return n
}

// parseExponent saturates far beyond anything that is compared.
func parseExponent(text []byte) int64 {
	e, err := strconv.ParseInt(string(text), 10, 64)
	const most = 1 << 40
	if err != nil || e > most || e < -most {
		if text[0] == '-' {
			return -most
		}
		return most
	}
	return e
}

func parseSmall(text []byte) (number, bool) {
	i, negative := 0, text[0] == '-'
	if negative {
		i = 1
	}
	if len(text)-i > 18 {
		return number{}, false
	}
	var m int64
	point := -1
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9':
			m = m*10 + int64(c-'0')
		case c == '.':
			point = i
		default:
			return number{}, false
		}
	}
	var scale uint8
	if point >= 0 {
		scale = uint8(len(text) - point - 1)
		for scale > 0 && m%10 == 0 {
			m, scale = m/10, scale-1
		}
	}
	if negative {
		m = -m
	}
	return number{small: true, mantissa: m, scale: scale}, true
}

// integer says whether it has no fraction: 1.0 is an integer.
func (n *number) integer() bool {
	if n.small {
		return n.scale == 0
	}
	return n.exponent >= 0
}

// compare is -1, 0 or 1.
func (n *number) compare(m *number) int {
	if n.small && m.small && n.scale == m.scale {
		return compareInt(n.mantissa, m.mantissa)
	}
	if n.small && m.small && n.scale < m.scale && m.scale-n.scale < 9 && n.mantissa < 1e9 && n.mantissa > -1e9 {
		return compareInt(n.mantissa*powers[m.scale-n.scale], m.mantissa)
	}
	if n.small && m.small && n.scale > m.scale && n.scale-m.scale < 9 && m.mantissa < 1e9 && m.mantissa > -1e9 {
		return compareInt(n.mantissa, m.mantissa*powers[n.scale-m.scale])
	}
	a, b := n.large(), m.large()
	if s, t := a.sign(), b.sign(); s != t || s == 0 {
		return compareInt(int64(s), int64(t))
	}
	c := compareInt(a.exponent+int64(len(a.digits)), b.exponent+int64(len(b.digits)))
	if c == 0 {
		c = bytes.Compare(a.digits, b.digits) // as fractions: a shorter one that agrees is less
	}
	if a.negative {
		return -c
	}
	return c
}

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (n *number) sign() int {
	switch {
	case len(n.digits) == 0:
		return 0
	case n.negative:
		return -1
	}
	return 1
}

// large is the general form.
func (n *number) large() number {
	if !n.small {
		return *n
	}
	m := n.mantissa
	out := number{negative: m < 0, exponent: -int64(n.scale)}
	if m < 0 {
		m = -m
	}
	if m == 0 {
		return number{}
	}
	var room [20]byte
	digits := strconv.AppendInt(room[:0], m, 10)
	trimmed := bytes.TrimRight(digits, "0")
	out.exponent += int64(len(digits) - len(trimmed))
	out.digits = trimmed
	return out
}

// multipleOf says whether n / m is an integer; m is not zero.
func (n *number) multipleOf(m *number) bool {
	if n.small && m.small && n.scale <= m.scale && m.scale-n.scale < 9 && n.mantissa < 1e9 && n.mantissa > -1e9 {
		return n.mantissa*powers[m.scale-n.scale]%m.mantissa == 0
	}
	if n.small && m.small && n.scale > m.scale && n.scale-m.scale < 9 && m.mantissa < 1e9 && m.mantissa > -1e9 {
		return n.mantissa%(m.mantissa*powers[n.scale-m.scale]) == 0
	}
	a, b := n.large(), m.large()
	if a.sign() == 0 {
		return true
	}
	x, _ := new(big.Int).SetString(string(a.digits), 10)
	y, _ := new(big.Int).SetString(string(b.digits), 10)
	shift := a.exponent - b.exponent
	if shift < 0 {
		return false // x does not end in 0, so no power of ten divides it
	}
	// The power of ten is taken modulo y: an exponent of any size costs no memory.
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(shift), y)
	return power.Mul(power, x).Mod(power, y).Sign() == 0
}

// canonical appends a text that is equal for equal numbers.
func (n *number) canonical(b []byte) []byte {
	l := n.large()
	if l.negative {
		b = append(b, '-')
	}
	b = append(b, l.digits...)
	if len(l.digits) == 0 {
		return append(b, '0')
	}
	return strconv.AppendInt(append(b, 'e'), l.exponent, 10)
}

// ofRat is a schema's number; the library read it from a finite decimal.
func ofRat(r *big.Rat) number {
	places, _ := r.FloatPrec()
	n := parseNumber([]byte(r.FloatString(places)), nil)
	return n
}
