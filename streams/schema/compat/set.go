package compat

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// set is a conjunction: the documents that are valid under each of its schemas. $ref and allOf are written out, so
// that every schema in a set counts with its own keywords alone.
type set []*library.Schema

// flatten writes out $ref and allOf.
func flatten(in set) set {
	var out set
	var add func(s *library.Schema)
	add = func(s *library.Schema) {
		if slices.Contains(out, s) {
			return
		}
		out = append(out, s)
		if s.Ref != nil {
			add(s.Ref)
		}
		for _, t := range s.AllOf {
			add(t)
		}
	}
	for _, s := range in {
		add(s)
	}
	return out
}

func (o set) with(s *library.Schema) set { return append(slices.Clone(o), s) }

// key names a set.
func (o set) key() string {
	var b strings.Builder
	list := make([]string, len(o))
	for i, s := range o {
		list[i] = fmt.Sprintf("%p", s)
	}
	slices.Sort(list)
	for _, s := range slices.Compact(list) {
		b.WriteString(s)
	}
	return b.String()
}

// kinds is a set of JSON types.
type kinds uint8

const (
	null kinds = 1 << iota
	boolean
	fraction // a number that is no integer
	integer
	text
	array
	object
	all = null | boolean | fraction | integer | text | array | object
)

var kindNames = map[string]kinds{"null": null, "boolean": boolean, "number": fraction | integer, "integer": integer, "string": text, "array": array, "object": object}

// own are the types that one schema allows.
func own(s *library.Schema) kinds {
	k := all
	if s.Bool != nil && !*s.Bool {
		return 0
	}
	if s.Types != nil {
		k = 0
		for _, name := range s.Types.ToStrings() {
			k |= kindNames[name]
		}
	}
	if values, ok := values(s); ok {
		var v kinds
		for _, value := range values {
			v |= kindOf(value)
		}
		k &= v
	}
	return k
}

// kinds are the types that documents of the set may have.
func (o set) kinds() kinds {
	k := all
	for _, s := range o {
		k &= own(s)
	}
	return k
}

func kindOf(v any) kinds {
	switch v := v.(type) {
	case nil:
		return null
	case bool:
		return boolean
	case string:
		return text
	case []any:
		return array
	case map[string]any:
		return object
	default:
		if r, ok := new(big.Rat).SetString(fmt.Sprint(v)); ok && r.IsInt() {
			return integer
		}
		return fraction
	}
}

// values are those of const or enum.
func values(s *library.Schema) ([]any, bool) {
	switch {
	case s.Const != nil:
		return []any{*s.Const}, true
	case s.Enum != nil:
		return s.Enum.Values, true
	}
	return nil, false
}

// finite are all documents of the set, where their number is limited by const, enum or type.
func (o set) finite() ([]any, bool) {
	var list []any
	known := false
	for _, s := range o {
		if v, ok := values(s); ok && (!known || len(v) < len(list)) {
			list, known = v, true
		}
	}
	if k := o.kinds(); !known && k&^(null|boolean) == 0 {
		known = true
		if k&null != 0 {
			list = append(list, nil)
		}
		if k&boolean != 0 {
			list = append(list, true, false)
		}
	}
	if !known {
		return nil, false
	}
	return slices.DeleteFunc(slices.Clone(list), func(v any) bool { return !o.takes(v) }), true
}

func (o set) takes(v any) bool {
	return !slices.ContainsFunc(o, func(s *library.Schema) bool { return s.Validate(v) != nil })
}

// integersOnly says whether numbers of the set have no fraction.
func (o set) integersOnly() bool { return o.kinds()&fraction == 0 }

// limit is a bound on numbers.
type limit struct {
	value *big.Rat // nil: none
	open  bool     // exclusive
}

// low and high are the closest bounds of the set.
func (o set) low() limit {
	var l limit
	for _, s := range o {
		if m := s.Minimum; m != nil && (l.value == nil || m.Cmp(l.value) > 0) {
			l = limit{m, false}
		}
		if m := s.ExclusiveMinimum; m != nil && (l.value == nil || m.Cmp(l.value) >= 0) {
			l = limit{m, true}
		}
	}
	if l.value != nil && o.integersOnly() {
		up := new(big.Rat).SetInt(floor(l.value))
		if l.open || up.Cmp(l.value) < 0 {
			up.Add(up, big.NewRat(1, 1))
		}
		l = limit{up, false}
	}
	return l
}

func (o set) high() limit {
	var l limit
	for _, s := range o {
		if m := s.Maximum; m != nil && (l.value == nil || m.Cmp(l.value) < 0) {
			l = limit{m, false}
		}
		if m := s.ExclusiveMaximum; m != nil && (l.value == nil || m.Cmp(l.value) <= 0) {
			l = limit{m, true}
		}
	}
	if l.value != nil && o.integersOnly() {
		down := new(big.Rat).SetInt(floor(l.value))
		if l.open && down.Cmp(l.value) == 0 {
			down.Sub(down, big.NewRat(1, 1))
		}
		l = limit{down, false}
	}
	return l
}

func floor(r *big.Rat) *big.Int {
	q := new(big.Int)
	return q.Div(r.Num(), r.Denom()) // Euclidean, and the denominator is positive: towards minus infinity
}

// atLeast is the largest of a lower bound that grows with each schema, such as minLength.
func (o set) atLeast(of func(*library.Schema) *int) int {
	n := 0
	for _, s := range o {
		if v := of(s); v != nil {
			n = max(n, *v)
		}
	}
	return n
}

// atMost is the smallest of an upper bound; -1: none.
func (o set) atMost(of func(*library.Schema) *int) int {
	n := -1
	for _, s := range o {
		if v := of(s); v != nil && (n < 0 || *v < n) {
			n = *v
		}
	}
	return n
}

func (o set) requires(name string) bool {
	return slices.ContainsFunc(o, func(s *library.Schema) bool { return slices.Contains(s.Required, name) })
}

// show is a value as the schema has it, shortened.
func show(v any) string {
	if r, ok := v.(*big.Rat); ok {
		places, _ := r.FloatPrec()
		return r.FloatString(places)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if s := string(b); len(s) <= 160 {
		return s
	}
	return strings.ToValidUTF8(string(b[:160]), "") + "…"
}
