package mapping

import (
	"bytes"
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// decimal is coefficient × 10^exponent, exactly. The coefficient does not end in 0.
type decimal struct {
	coefficient *big.Int
	exponent    int
}

// Bounds of numbers that are calculated with.
const (
	maxDigits   = 64  // of a number as it is written
	maxExponent = 400 // beyond that no number of an event is
	maxZeros    = 40  // that are written out rather than as an exponent
)

// parseDecimal reads a JSON number; false for one with too many digits.
func parseDecimal(raw []byte) (decimal, bool) {
	if len(raw) > maxDigits {
		return decimal{}, false
	}
	text, exponent := string(raw), 0
	if i := bytes.IndexAny(raw, "eE"); i >= 0 {
		e, err := strconv.Atoi(strings.TrimPrefix(text[i+1:], "+"))
		if err != nil || e > maxExponent || e < -maxExponent {
			return decimal{}, false
		}
		text, exponent = text[:i], e
	}
	if whole, fraction, ok := strings.Cut(text, "."); ok {
		text, exponent = whole+fraction, exponent-len(fraction)
	}
	c, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return decimal{}, false
	}
	return decimal{c, exponent}.trim(), true
}

var ten = big.NewInt(10)

func (d decimal) trim() decimal {
	if d.coefficient.Sign() == 0 {
		return decimal{d.coefficient, 0}
	}
	c, rest := new(big.Int), new(big.Int)
	for {
		c.QuoRem(d.coefficient, ten, rest)
		if rest.Sign() != 0 {
			return d
		}
		d.coefficient, d.exponent = new(big.Int).Set(c), d.exponent+1
	}
}

// String is the number as JSON writes it.
func (d decimal) String() string {
	digits := new(big.Int).Abs(d.coefficient).String()
	sign := ""
	if d.coefficient.Sign() < 0 {
		sign = "-"
	}
	switch point := len(digits) + d.exponent; {
	case d.exponent > maxZeros || point < -maxZeros:
		return sign + digits + "e" + strconv.Itoa(d.exponent)
	case d.exponent >= 0:
		return sign + digits + strings.Repeat("0", d.exponent)
	case point > 0:
		return sign + digits[:point] + "." + digits[point:]
	default:
		return sign + "0." + strings.Repeat("0", -point) + digits
	}
}

// inverse is 1/d; false where it has no end.
func (d decimal) inverse() (decimal, bool) {
	c, twos, fives := new(big.Int).Abs(d.coefficient), 0, 0
	rest, quotient := new(big.Int), new(big.Int)
	for _, f := range []struct {
		prime *big.Int
		n     *int
	}{{big.NewInt(2), &twos}, {big.NewInt(5), &fives}} {
		for {
			quotient.QuoRem(c, f.prime, rest)
			if rest.Sign() != 0 {
				break
			}
			c.Set(quotient)
			*f.n++
		}
	}
	if c.Cmp(big.NewInt(1)) != 0 {
		return decimal{}, false
	}
	k := max(twos, fives) // 10^k / d is whole
	whole := new(big.Int).Quo(new(big.Int).Exp(ten, big.NewInt(int64(k)), nil), d.coefficient)
	return decimal{whole, -k - d.exponent}.trim(), true
}

var (
	errNoNumber = errors.New("is no number")
	errDigits   = errors.New("is a number with too many digits to calculate with")
)

// scale multiplies a number with d.
func (d decimal) scale(n *node) (*node, error) {
	if n.kind != '0' {
		return nil, errNoNumber
	}
	x, ok := parseDecimal(n.raw)
	if !ok {
		return nil, errDigits
	}
	product := decimal{new(big.Int).Mul(x.coefficient, d.coefficient), x.exponent + d.exponent}.trim().String()
	if len(product) > maxDigits {
		return nil, errDigits
	}
	return &node{kind: '0', raw: []byte(product)}, nil
}

// maxFactor bounds a factor's text.
const maxFactor = 32

func parseFactor(s string) (decimal, error) {
	if len(s) > maxFactor || !isNumber([]byte(s)) {
		return decimal{}, flawed("mapping_convert", "a factor is a decimal number of at most %d characters", maxFactor)
	}
	d, ok := parseDecimal([]byte(s))
	if !ok || d.coefficient.Sign() == 0 {
		return decimal{}, flawed("mapping_convert", "a factor is a number, and not 0")
	}
	return d, nil
}

func sameNumber(a, b []byte) bool {
	x, ok1 := parseDecimal(a)
	y, ok2 := parseDecimal(b)
	return ok1 && ok2 && x.exponent == y.exponent && x.coefficient.Cmp(y.coefficient) == 0
}
