package compat

import (
	"slices"
	"strconv"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// logic takes the keywords of c that combine schemas, but allOf.
func (p *prover) logic(o set, c *library.Schema, path string) []Finding {
	var found []Finding
	doubt := func(rule, detail string) {
		found = append(found, p.finding(c, path, rule, "", "", detail, false))
	}
	if len(c.AnyOf) > 0 && !p.anyOf(o, c) {
		found = append(found, p.branches(o, c, path, "anyOf", c.AnyOf))
	}
	if len(c.OneOf) > 0 && !p.oneOf(o, c) {
		found = append(found, p.branches(o, c, path, "oneOf", c.OneOf))
	}
	if c.Not != nil && !p.apart(o, c.Not) && !slices.ContainsFunc(o, func(s *library.Schema) bool { return s.Not != nil && p.silent(set{c.Not}, s.Not) }) {
		doubt("not", "documents may match what is excluded")
	}
	if c.If != nil && (c.Then != nil || c.Else != nil) && !p.condition(o, c) {
		doubt("if", "the condition is not the old one, or asks for more")
	}
	if c.UnevaluatedProperties != nil {
		doubt("unevaluatedProperties", "what other branches see of a document is not compared")
	}
	if c.UnevaluatedItems != nil {
		doubt("unevaluatedItems", "what other branches see of a document is not compared")
	}
	if c.DynamicRef != nil || c.RecursiveRef != nil {
		doubt("$dynamicRef", "references that depend on where they are used are not compared")
	}
	return found
}

func (p *prover) branches(o set, c *library.Schema, path, rule string, list []*library.Schema) Finding {
	before := ""
	for _, s := range o {
		if n := len(branchesOf(s)); n > 0 {
			before = strconv.Itoa(n) + " branches"
		}
	}
	detail := "it is not shown that each document matches one of the branches"
	if rule == "oneOf" {
		detail = "it is not shown that each document matches exactly one of the branches"
	}
	none := !slices.ContainsFunc(list, func(b *library.Schema) bool { return !p.apart(o, b) })
	if none {
		detail = "there are documents that match none of the branches"
	}
	return p.finding(c, path, rule, before, strconv.Itoa(len(list))+" branches", detail, none)
}

func (p *prover) anyOf(o set, c *library.Schema) bool {
	return slices.ContainsFunc(c.AnyOf, func(b *library.Schema) bool { return p.silent(o, b) }) ||
		slices.ContainsFunc(o, func(s *library.Schema) bool { return len(s.AnyOf) > 0 && p.eachIn(s.AnyOf, c.AnyOf) })
}

// eachIn says whether each of the branches has one that is the same in the list.
func (p *prover) eachIn(branches, list []*library.Schema) bool {
	return !slices.ContainsFunc(branches, func(b *library.Schema) bool {
		return !slices.ContainsFunc(list, func(t *library.Schema) bool { return p.same(b, t) })
	})
}

// oneOf: one branch takes the documents, and no other can take any of them.
func (p *prover) oneOf(o set, c *library.Schema) bool {
	for i, b := range c.OneOf {
		if !p.silent(o, b) {
			continue
		}
		apart := true
		for j, other := range c.OneOf {
			apart = apart && (i == j || p.apart(o, other))
		}
		if apart {
			return true
		}
	}
	return slices.ContainsFunc(o, func(s *library.Schema) bool {
		return len(s.OneOf) == len(c.OneOf) && p.eachIn(s.OneOf, c.OneOf) && p.eachIn(c.OneOf, s.OneOf)
	})
}

// apart says whether it is certain that no document of the set is valid under s.
func (p *prover) apart(o set, s *library.Schema) bool { return o.with(s).empty(emptyDepth) }

func (p *prover) condition(o set, c *library.Schema) bool {
	holds := func(o set, s *library.Schema) bool { return s == nil || p.silent(o, s) }
	if holds(o, c.Then) && holds(o, c.Else) {
		return true
	}
	return slices.ContainsFunc(o, func(s *library.Schema) bool {
		if s.If == nil || !p.same(s.If, c.If) {
			return false
		}
		yes, no := o.with(c.If), o
		if s.Then != nil {
			yes = yes.with(s.Then)
		}
		if s.Else != nil {
			no = no.with(s.Else)
		}
		return holds(yes, c.Then) && holds(no, c.Else)
	})
}
