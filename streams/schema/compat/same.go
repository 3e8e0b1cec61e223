package compat

import (
	"fmt"
	"math/big"
	"slices"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

type pair struct{ a, b *library.Schema }

func pointer(s *library.Schema) string { return fmt.Sprintf("@%p", s) }

// same says whether two schemas say the same, keyword by keyword, through references. A pair that is met below
// itself is the same if the rest is.
func (p *prover) same(a, b *library.Schema) bool {
	if a == b {
		return true
	}
	at := pair{a, b}
	if known, ok := p.equal[at]; ok {
		return known
	}
	p.equal[at] = true
	ok := p.sameAssertions(a, b) && p.sameContainers(a, b) && p.sameLogic(a, b)
	if !ok {
		// What was taken for the same because of this pair may be wrong now: it is compared again when it is asked for.
		clear(p.equal)
	}
	return ok
}

func equalPointers[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func equalRats(a, b *big.Rat) bool { return a == b || a != nil && b != nil && a.Cmp(b) == 0 }

func patternText(r library.Regexp) string {
	if r == nil {
		return ""
	}
	return "/" + r.String()
}

func formatName(f *library.Format) string {
	if f == nil {
		return ""
	}
	return f.Name
}

func (p *prover) sameAssertions(a, b *library.Schema) bool {
	va, oka := values(a)
	vb, okb := values(b)
	return oka == okb && literal(va) == literal(vb) && equalPointers(a.Bool, b.Bool) && equalPointers(a.Types, b.Types) &&
		formatName(a.Format) == formatName(b.Format) && patternText(a.Pattern) == patternText(b.Pattern) &&
		equalRats(a.Minimum, b.Minimum) && equalRats(a.Maximum, b.Maximum) && equalRats(a.ExclusiveMinimum, b.ExclusiveMinimum) &&
		equalRats(a.ExclusiveMaximum, b.ExclusiveMaximum) && equalRats(a.MultipleOf, b.MultipleOf) &&
		equalPointers(a.MinLength, b.MinLength) && equalPointers(a.MaxLength, b.MaxLength) &&
		equalPointers(a.MinItems, b.MinItems) && equalPointers(a.MaxItems, b.MaxItems) && a.UniqueItems == b.UniqueItems &&
		equalPointers(a.MinContains, b.MinContains) && equalPointers(a.MaxContains, b.MaxContains) &&
		equalPointers(a.MinProperties, b.MinProperties) && equalPointers(a.MaxProperties, b.MaxProperties) &&
		sameNames(a.Required, b.Required)
}

func sameNames(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func literal(v []any) string { return fmt.Sprintf("%#v", v) }

func (p *prover) sameMaybe(a, b *library.Schema) bool {
	return a == b || a != nil && b != nil && p.same(a, b)
}

func (p *prover) sameList(a, b []*library.Schema) bool { return slices.EqualFunc(a, b, p.same) }

func (p *prover) sameAny(a, b any) bool {
	switch a := a.(type) {
	case *library.Schema:
		b, ok := b.(*library.Schema)
		return ok && p.sameMaybe(a, b)
	case []*library.Schema:
		b, ok := b.([]*library.Schema)
		return ok && p.sameList(a, b)
	case []string:
		b, ok := b.([]string)
		return ok && sameNames(a, b)
	default:
		return fmt.Sprint(a) == fmt.Sprint(b)
	}
}

func sameMap[V any](a, b map[string]V, same func(V, V) bool) bool {
	if len(a) != len(b) {
		return false
	}
	for name, v := range a {
		if w, ok := b[name]; !ok || !same(v, w) {
			return false
		}
	}
	return true
}

func byPattern(s *library.Schema) map[string]*library.Schema {
	all := map[string]*library.Schema{}
	for r, t := range s.PatternProperties {
		all[r.String()] = t
	}
	return all
}

func (p *prover) sameContainers(a, b *library.Schema) bool {
	return sameMap(a.Properties, b.Properties, p.same) && sameMap(byPattern(a), byPattern(b), p.same) &&
		p.sameAny(a.AdditionalProperties, b.AdditionalProperties) && p.sameMaybe(a.PropertyNames, b.PropertyNames) &&
		sameMap(a.Dependencies, b.Dependencies, p.sameAny) && sameMap(a.DependentRequired, b.DependentRequired, sameNames) &&
		sameMap(a.DependentSchemas, b.DependentSchemas, p.same) &&
		p.sameAny(a.Items, b.Items) && p.sameAny(a.AdditionalItems, b.AdditionalItems) && p.sameList(a.PrefixItems, b.PrefixItems) &&
		p.sameMaybe(a.Items2020, b.Items2020) && p.sameMaybe(a.Contains, b.Contains) &&
		p.sameMaybe(a.UnevaluatedProperties, b.UnevaluatedProperties) && p.sameMaybe(a.UnevaluatedItems, b.UnevaluatedItems)
}

func (p *prover) sameLogic(a, b *library.Schema) bool {
	return a.DynamicRef == nil && b.DynamicRef == nil && a.RecursiveRef == nil && b.RecursiveRef == nil &&
		p.sameMaybe(a.Ref, b.Ref) && p.sameMaybe(a.Not, b.Not) && p.sameList(a.AllOf, b.AllOf) && p.sameList(a.AnyOf, b.AnyOf) &&
		p.sameList(a.OneOf, b.OneOf) && p.sameMaybe(a.If, b.If) && p.sameMaybe(a.Then, b.Then) && p.sameMaybe(a.Else, b.Else)
}
