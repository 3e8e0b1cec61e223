package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Conversion is a change of a scalar's type. Null stays null.
type Conversion string

// The conversions. Digits stay as they are.
const (
	StringToNumber  Conversion = "string-to-number"
	NumberToString  Conversion = "number-to-string"
	StringToInteger Conversion = "string-to-integer"
	IntegerToString Conversion = "integer-to-string"
	StringToBoolean Conversion = "string-to-boolean"
	BooleanToString Conversion = "boolean-to-string"
)

var conversions = map[Conversion]struct {
	back Conversion
	do   func(*node) (*node, error)
}{
	StringToNumber:  {NumberToString, func(n *node) (*node, error) { return unquote(n, isNumber, "number") }},
	StringToInteger: {IntegerToString, func(n *node) (*node, error) { return unquote(n, isInteger, "integer") }},
	StringToBoolean: {BooleanToString, func(n *node) (*node, error) { return unquote(n, isBoolean, "boolean") }},
	NumberToString:  {StringToNumber, func(n *node) (*node, error) { return quote(n, isNumber, "number") }},
	IntegerToString: {StringToInteger, func(n *node) (*node, error) { return quote(n, isInteger, "integer") }},
	BooleanToString: {StringToBoolean, func(n *node) (*node, error) { return quote(n, isBoolean, "boolean") }},
}

func isNumber(b []byte) bool {
	return len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9') && len(b) <= maxDigits && jsontext.Value(b).IsValid()
}

func isInteger(b []byte) bool {
	return isNumber(b) && !bytes.ContainsAny(b, ".eE") && string(b) != "-0"
}

func isBoolean(b []byte) bool { return string(b) == "true" || string(b) == "false" }

// unquote makes a scalar of a string that has its text.
func unquote(n *node, fits func([]byte) bool, what string) (*node, error) {
	if n.kind != '"' {
		return nil, errors.New("is no string")
	}
	text := []byte(n.text())
	if !fits(text) {
		return nil, fmt.Errorf("is a string that is no %s", what)
	}
	return &node{kind: jsontext.Value(text).Kind(), raw: text}, nil
}

// quote makes a string of a scalar.
func quote(n *node, fits func([]byte) bool, what string) (*node, error) {
	if !fits(n.raw) {
		return nil, fmt.Errorf("is no %s", what)
	}
	return quoted(string(n.raw)), nil
}

// conversion compiles a convert step.
func conversion(s *Step, tail []string) (func(*run, **node) error, error) {
	ways := 0
	for _, there := range []bool{s.Type != "", s.Multiply != "", s.Divide != "", s.Table != nil} {
		if there {
			ways++
		}
	}
	if ways != 1 {
		return nil, flawed("mapping_convert", `exactly one of "type", "multiply", "divide" and "table" says how`)
	}
	do, err := s.converter()
	if err != nil {
		return nil, err
	}
	return func(r *run, base **node) error {
		at := slot(base, tail)
		if at == nil || (*at).kind == 'n' && s.Table == nil {
			return nil
		}
		next, err := do(*at)
		if err != nil {
			return err
		}
		grown := len(next.raw) - len((*at).raw)
		*at = next
		return r.grow(max(grown, 0))
	}, nil
}

func (s *Step) converter() (func(*node) (*node, error), error) {
	switch {
	case s.Type != "":
		c, ok := conversions[s.Type]
		if !ok {
			return nil, flawed("mapping_convert", "there is no conversion %q; there are %s", s.Type, strings.Join(conversionNames(), ", "))
		}
		return c.do, nil
	case s.Table != nil:
		return table(s.Table)
	}
	factor, err := parseFactor(string(s.Multiply))
	if s.Divide != "" {
		if factor, err = parseFactor(string(s.Divide)); err == nil {
			var finite bool
			if factor, finite = factor.inverse(); !finite {
				err = flawed("mapping_convert", "a share of %s has no end in decimals: divide by a number of twos and fives, such as 100, or compute whole numbers", s.Divide)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return factor.scale, nil
}

func conversionNames() []string {
	return []string{string(StringToNumber), string(NumberToString), string(StringToInteger), string(IntegerToString), string(StringToBoolean), string(BooleanToString)}
}

// table compiles a list of pairs.
func table(entries []Entry) (func(*node) (*node, error), error) {
	if len(entries) == 0 || len(entries) > MaxTable {
		return nil, flawed("mapping_table", "the table has %d entries; 1 to %d are possible", len(entries), MaxTable)
	}
	to := make(map[string]*node, len(entries))
	for i, e := range entries {
		from, err1 := parse(e.From)
		value, err2 := parse(e.To)
		if err1 != nil || err2 != nil || from.kind == '{' || from.kind == '[' || value.kind == '{' || value.kind == '[' {
			return nil, flawed("mapping_table", `entry %d of the table: "from" and "to" are a string, a number, true, false or null each`, i)
		}
		if k := from.key(); to[k] == nil {
			to[k] = value
		} else {
			return nil, flawed("mapping_table", "entry %d of the table is there twice", i)
		}
	}
	return func(n *node) (*node, error) {
		if found := to[n.key()]; found != nil {
			return found.clone(), nil
		}
		if n.kind == 'n' {
			return n, nil
		}
		return nil, errors.New("is not in the table")
	}, nil
}

// key tells scalars apart by their value.
func (n *node) key() string {
	switch n.kind {
	case '"':
		return `"` + n.text()
	case '0':
		if d, ok := parseDecimal(n.raw); ok {
			return d.String()
		}
	case '{', '[':
		return string(n.kind)
	}
	return string(n.raw)
}

func (s *Step) inverseConversion() (Step, error) {
	back := Step{Op: Convert, At: s.At}
	switch {
	case s.Type != "":
		back.Type = conversions[s.Type].back
	case s.Multiply != "":
		back.Divide = s.Multiply
	case s.Divide != "":
		back.Multiply = s.Divide
	default:
		null, toNull := false, false
		seen := map[string]bool{}
		for i, e := range s.Table {
			to, err := parse(e.To)
			if err != nil {
				return back, fmt.Errorf(`entry %d of the table: "to" is no JSON value`, i)
			}
			if k := to.key(); seen[k] {
				return back, fmt.Errorf("entry %d of the table leads where another one does", i)
			} else {
				seen[k] = true
			}
			toNull = toNull || to.kind == 'n'
			null = null || string(bytes.TrimSpace(e.From)) == "null"
			back.Table = append(back.Table, Entry{From: json.RawMessage(e.To), To: json.RawMessage(e.From)})
		}
		if toNull != null {
			return back, errors.New("null and what becomes null could not be told apart")
		}
	}
	return back, nil
}
