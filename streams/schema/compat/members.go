package compat

import (
	"maps"
	"slices"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// place is what a set asks of a member or an element.
type place struct {
	schemas  set
	possible bool // documents may have it
	declared bool // a schema says something about it
}

// member is the place of a name.
func (o set) member(name string) place {
	at := place{possible: true, declared: o.requires(name)}
	for _, s := range o {
		known := false
		if t, ok := s.Properties[name]; ok {
			known = true
			at.schemas = append(at.schemas, t)
		}
		for pattern, t := range s.PatternProperties {
			if pattern.MatchString(name) {
				known = true
				at.schemas = append(at.schemas, t)
			}
		}
		if known {
			at.declared = true
		} else {
			at.additional(s)
		}
	}
	return at
}

// others is the place of the names that no schema of the set knows.
func (o set) others() place {
	at := place{possible: true}
	for _, s := range o {
		at.additional(s)
	}
	return at
}

func (at *place) additional(s *library.Schema) {
	switch additional := s.AdditionalProperties.(type) {
	case bool:
		at.possible = at.possible && additional
	case *library.Schema:
		at.schemas, at.declared = append(at.schemas, additional), true
	}
}

// names are those that a schema of the set knows one by one.
func (o set) names() []string {
	known := map[string]bool{}
	for _, s := range o {
		for name := range s.Properties {
			known[name] = true
		}
		for _, name := range s.Required {
			known[name] = true
		}
	}
	return slices.Sorted(maps.Keys(known))
}

// patterns are the schemas of patternProperties by their pattern.
func (o set) patterns() map[string]set {
	all := map[string]set{}
	for _, s := range o {
		for pattern, t := range s.PatternProperties {
			all[pattern.String()] = append(all[pattern.String()], t)
		}
	}
	return all
}

// elements are what a schema asks of an array: of the first elements one by one, and of the rest.
func elements(s *library.Schema) (prefix []*library.Schema, rest *library.Schema, closed bool) {
	if items, ok := s.Items.([]*library.Schema); ok {
		switch additional := s.AdditionalItems.(type) {
		case bool:
			return items, nil, !additional
		case *library.Schema:
			return items, additional, false
		}
		return items, nil, false
	}
	rest, _ = s.Items.(*library.Schema)
	if s.Items2020 != nil {
		rest = s.Items2020
	}
	return s.PrefixItems, rest, false
}

// element is the place of the element at index i.
func (o set) element(i int) place {
	at := place{possible: true}
	for _, s := range o {
		prefix, rest, closed := elements(s)
		switch {
		case i < len(prefix):
			at.schemas = append(at.schemas, prefix[i])
		case closed:
			at.possible = false
		case rest != nil:
			at.schemas = append(at.schemas, rest)
		}
	}
	if n := o.atMost(maxItems); n >= 0 && i >= n {
		at.possible = false
	}
	return at
}

func maxItems(s *library.Schema) *int      { return s.MaxItems }
func minItems(s *library.Schema) *int      { return s.MinItems }
func maxLength(s *library.Schema) *int     { return s.MaxLength }
func minLength(s *library.Schema) *int     { return s.MinLength }
func maxProperties(s *library.Schema) *int { return s.MaxProperties }
func minProperties(s *library.Schema) *int { return s.MinProperties }

// empty says whether it is certain that no document is in the set.
func (o set) empty(depth int) bool {
	o = flatten(o)
	k := o.kinds()
	if k == 0 {
		return true
	}
	if v, ok := o.finite(); ok {
		return len(v) == 0
	}
	if k&^(integer|fraction) == 0 {
		low, high := o.low(), o.high()
		if low.value != nil && high.value != nil {
			c := low.value.Cmp(high.value)
			return c > 0 || c == 0 && (low.open || high.open)
		}
	}
	if n := o.atMost(maxLength); k == text && n >= 0 && o.atLeast(minLength) > n {
		return true
	}
	if depth == 0 {
		return false
	}
	if k == object && slices.ContainsFunc(o.names(), func(name string) bool {
		at := o.member(name)
		return o.requires(name) && (!at.possible || at.schemas.empty(depth-1))
	}) {
		return true
	}
	for _, s := range o {
		if branches := branchesOf(s); len(branches) > 0 && !slices.ContainsFunc(branches, func(b *library.Schema) bool {
			return slices.Contains(o, b) || !o.with(b).empty(depth-1)
		}) {
			return true
		}
	}
	return false
}

// branchesOf are schemas of which a document must match at least one.
func branchesOf(s *library.Schema) []*library.Schema {
	if len(s.AnyOf) > 0 {
		return s.AnyOf
	}
	return s.OneOf
}
