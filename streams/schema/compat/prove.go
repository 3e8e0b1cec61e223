package compat

import (
	"slices"
	"strings"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// prover shows that every document of a set is valid under a schema, by cases over the schema's keywords. It is
// sound: no finding means that it is so (of documents as Mode has them). It is not complete: a finding that is not
// Proven may be wrong.
type prover struct {
	strict bool
	open   map[string]bool // goals that are being proven: one that is met below itself holds if the rest does
	equal  map[pair]bool   // what same found, or takes for granted meanwhile
	steps  int
}

// maxSteps bounds the cases of one comparison.
const maxSteps = 200_000

const emptyDepth = 4

func (p *prover) prove(o set, c *library.Schema, path string) []Finding {
	if c.Bool != nil && *c.Bool {
		return nil
	}
	o = flatten(o)
	if slices.Contains(o, c) {
		return nil
	}
	if p.steps++; p.steps > maxSteps {
		return []Finding{p.finding(c, path, "steps", "", "", "the comparison takes too many steps", false)}
	}
	goal := o.key() + c.Location + pointer(c)
	if p.open[goal] || o.empty(emptyDepth) || slices.ContainsFunc(o, func(s *library.Schema) bool { return p.same(s, c) }) {
		return nil
	}
	p.open[goal] = true
	defer delete(p.open, goal)
	if list, ok := o.finite(); ok {
		return p.finite(o, list, c, path)
	}
	found := p.direct(o, c, path)
	if len(found) == 0 {
		return nil
	}
	byCases, split := p.cases(o, c, path)
	certain := func(f Finding) bool { return f.Proven }
	if split && (len(byCases) <= len(found) || slices.ContainsFunc(byCases, certain) && !slices.ContainsFunc(found, certain)) {
		return byCases
	}
	return found
}

func (p *prover) finding(c *library.Schema, path, rule, before, after, detail string, proven bool) Finding {
	return Finding{Path: path, Schema: where(c) + "/" + rule, Rule: rule, Old: before, New: after, Detail: detail, Proven: proven}
}

// where is a schema's place in its document.
func where(s *library.Schema) string {
	_, fragment, _ := strings.Cut(s.Location, "#")
	return fragment
}

// finite tries each document.
func (p *prover) finite(o set, list []any, c *library.Schema, path string) []Finding {
	var found []Finding
	for _, v := range list {
		if c.Validate(v) == nil {
			continue
		}
		rule := "schema"
		switch {
		case c.Enum != nil:
			rule = "enum"
		case len(c.AnyOf) > 0:
			rule = "anyOf"
		case len(c.OneOf) > 0:
			rule = "oneOf"
		case c.Types != nil && own(&library.Schema{Types: c.Types})&kindOf(v) == 0:
			rule = "type"
		case c.Const != nil:
			rule = "const"
		}
		after := ""
		if values, ok := values(c); ok {
			after = show(values)
		} else if c.Types != nil {
			after = show(c.Types.ToStrings())
		}
		found = append(found, p.finding(c, path, rule, show(v), after, "the value "+show(v)+" is no longer taken", true))
	}
	return found
}

// cases splits the documents, where a schema of the set has branches, or by type, and proves each part.
func (p *prover) cases(o set, c *library.Schema, path string) ([]Finding, bool) {
	for _, s := range o {
		branches := branchesOf(s)
		if len(branches) == 0 && s.If != nil && s.Then != nil && s.Else != nil {
			branches = []*library.Schema{s.Then, s.Else}
		}
		if len(branches) == 0 || slices.ContainsFunc(branches, func(b *library.Schema) bool { return slices.Contains(o, b) }) {
			continue
		}
		var found []Finding
		for _, b := range branches {
			found = append(found, p.prove(o.with(b), c, path)...)
		}
		return found, true
	}
	k := o.kinds()
	if k&(k-1) == 0 || k == integer|fraction || len(branchesOf(c)) == 0 && c.If == nil && c.Not == nil {
		return nil, false
	}
	var found []Finding
	for _, name := range []string{"null", "boolean", "number", "string", "array", "object"} {
		if k&kindNames[name] != 0 {
			found = append(found, p.prove(o.with(typed(name)), c, path)...)
		}
	}
	return found, true
}

// typed is a schema of one type.
func typed(name string) *library.Schema {
	var t library.Types
	t.Add(name)
	return &library.Schema{DraftVersion: 2020, Types: &t, Location: "#type-" + name}
}

// direct takes the keywords of c one after the other.
func (p *prover) direct(o set, c *library.Schema, path string) []Finding {
	if c.Bool != nil {
		return []Finding{p.finding(c, path, "false", "", "false", "nothing is allowed here any more", true)}
	}
	var found []Finding
	if c.Ref != nil {
		found = p.prove(o, c.Ref, path)
		if c.DraftVersion < 2019 {
			return found
		}
	}
	for _, t := range c.AllOf {
		found = append(found, p.prove(o, t, path)...)
	}
	k := o.kinds()
	if c.Types != nil {
		took := own(&library.Schema{Types: c.Types})
		if k&^took != 0 {
			found = append(found, p.finding(c, path, "type", show(typeNames(k)), show(c.Types.ToStrings()), "documents of type "+strings.Join(typeNames(k&^took), ", ")+" are no longer taken", true))
		}
		k &= took
	}
	if list, ok := values(c); ok {
		rule := "enum"
		if c.Const != nil {
			rule = "const"
		}
		found = append(found, p.finding(c, path, rule, "", show(list), "only listed values are taken, and before any were", true))
	}
	if k&(integer|fraction) != 0 {
		found = append(found, p.numbers(o, c, path)...)
	}
	if k&text != 0 {
		found = append(found, p.texts(o, c, path)...)
	}
	if k&array != 0 {
		found = append(found, p.arrays(o, c, path)...)
	}
	if k&object != 0 {
		found = append(found, p.objects(o, c, path)...)
	}
	return append(found, p.logic(o, c, path)...)
}

func typeNames(k kinds) []string {
	var names []string
	for _, name := range []string{"null", "boolean", "string", "array", "object"} {
		if k&kindNames[name] != 0 {
			names = append(names, name)
		}
	}
	switch {
	case k&fraction != 0:
		names = append(names, "number")
	case k&integer != 0:
		names = append(names, "integer")
	}
	return names
}

// silent proves without telling.
func (p *prover) silent(o set, c *library.Schema) bool { return len(p.prove(o, c, "")) == 0 }
