package compat

import (
	"math/big"
	"slices"
	"strconv"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

func (p *prover) numbers(o set, c *library.Schema, path string) []Finding {
	var found []Finding
	narrowed := func(rule string, is limit, bound *big.Rat) {
		before := ""
		if is.value != nil {
			before = show(is.value)
		}
		found = append(found, p.finding(c, path, rule, before, show(bound), "the range of numbers is narrower", true))
	}
	low, high := o.low(), o.high()
	if m := c.Minimum; m != nil && (low.value == nil || low.value.Cmp(m) < 0) {
		narrowed("minimum", low, m)
	}
	if m := c.ExclusiveMinimum; m != nil && (low.value == nil || low.value.Cmp(m) < 0 || low.value.Cmp(m) == 0 && !low.open) {
		narrowed("exclusiveMinimum", low, m)
	}
	if m := c.Maximum; m != nil && (high.value == nil || high.value.Cmp(m) > 0) {
		narrowed("maximum", high, m)
	}
	if m := c.ExclusiveMaximum; m != nil && (high.value == nil || high.value.Cmp(m) > 0 || high.value.Cmp(m) == 0 && !high.open) {
		narrowed("exclusiveMaximum", high, m)
	}
	if m := c.MultipleOf; m != nil && !o.multiples(m) {
		found = append(found, p.finding(c, path, "multipleOf", o.showMultiple(), show(m), "numbers must be multiples of another step", false))
	}
	return found
}

// multiples says whether all numbers of the set are certainly multiples of m.
func (o set) multiples(m *big.Rat) bool {
	if o.integersOnly() && new(big.Rat).Inv(m).IsInt() {
		return true
	}
	return slices.ContainsFunc(o, func(s *library.Schema) bool {
		return s.MultipleOf != nil && new(big.Rat).Quo(s.MultipleOf, m).IsInt()
	})
}

func (o set) showMultiple() string {
	for _, s := range o {
		if s.MultipleOf != nil {
			return show(s.MultipleOf)
		}
	}
	return ""
}

func (p *prover) texts(o set, c *library.Schema, path string) []Finding {
	var found []Finding
	found = append(found, p.atLeast(o, c, path, "minLength", minLength, 0)...)
	found = append(found, p.atMost(o, c, path, "maxLength", maxLength, -1)...)
	if c.Pattern != nil && !slices.ContainsFunc(o, func(s *library.Schema) bool { return s.Pattern != nil && s.Pattern.String() == c.Pattern.String() }) {
		before := ""
		for _, s := range o {
			if s.Pattern != nil {
				before = s.Pattern.String()
			}
		}
		detail := "texts must match another pattern; whether it takes all that the old one took is not decided"
		if before == "" {
			detail = "texts must match a pattern, and before they need not"
		}
		found = append(found, p.finding(c, path, "pattern", before, c.Pattern.String(), detail, false))
	}
	if c.Format != nil && !slices.ContainsFunc(o, func(s *library.Schema) bool { return s.Format != nil && s.Format.Name == c.Format.Name }) {
		before := ""
		for _, s := range o {
			if s.Format != nil {
				before = s.Format.Name
			}
		}
		found = append(found, p.finding(c, path, "format", before, c.Format.Name, "texts must be of another format", before == ""))
	}
	return found
}

// atLeast and atMost compare a bound on lengths and counts; known is a bound that the set has anyway.
func (p *prover) atLeast(o set, c *library.Schema, path, rule string, of func(*library.Schema) *int, known int) []Finding {
	want, is := of(c), max(o.atLeast(of), known)
	if want == nil || is >= *want {
		return nil
	}
	before := ""
	if is > 0 {
		before = strconv.Itoa(is)
	}
	return []Finding{p.finding(c, path, rule, before, strconv.Itoa(*want), "the bound is narrower", true)}
}

func (p *prover) atMost(o set, c *library.Schema, path, rule string, of func(*library.Schema) *int, known int) []Finding {
	want, is := of(c), o.atMost(of)
	if known >= 0 && (is < 0 || known < is) {
		is = known
	}
	if want == nil || is >= 0 && is <= *want {
		return nil
	}
	before := ""
	if is >= 0 {
		before = strconv.Itoa(is)
	}
	return []Finding{p.finding(c, path, rule, before, strconv.Itoa(*want), "the bound is narrower", true)}
}
