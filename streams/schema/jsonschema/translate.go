package jsonschema

import (
	"math/big"
	"strings"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// translator makes the program of a graph.
type translator struct {
	nodes map[*library.Schema]*node
	order order
	made  []*library.Schema // whose nodes are still empty
}

// program translates all that the root leads to.
func (g *graph) program(o order) (*program, error) {
	t := &translator{nodes: map[*library.Schema]*node{}, order: o}
	p := &program{root: t.node(g.root)}
	for len(t.made) > 0 {
		s := t.made[len(t.made)-1]
		t.made = t.made[:len(t.made)-1]
		if err := t.fill(t.nodes[s], s); err != nil {
			return nil, err
		}
	}
	p.nodes = int32(len(t.nodes))
	return p, nil
}

// node is the node of s, or of what s only refers to.
func (t *translator) node(s *library.Schema) *node {
	for s.Ref != nil && (s.DraftVersion < 2019 || refersOnly(s)) {
		s = s.Ref
	}
	n := t.nodes[s]
	if n == nil {
		n = &node{id: int32(len(t.nodes)), kinds: anyKind, where: where(s.Location)}
		t.nodes[s] = n
		t.made = append(t.made, s)
	}
	return n
}

// maybe is nil where s allows anything.
func (t *translator) maybe(s *library.Schema) *node {
	if s == nil || s.Bool != nil && *s.Bool {
		return nil
	}
	return t.node(s)
}

// refersOnly says whether s asserts nothing but its $ref.
func refersOnly(s *library.Schema) bool {
	return s.Types == nil && s.Enum == nil && s.Const == nil && s.Format == nil && len(inPlace(s)) == 1 && len(below(s)) == 0 &&
		s.AdditionalProperties == nil && s.AdditionalItems == nil && s.Required == nil && s.DependentRequired == nil && s.Dependencies == nil &&
		s.MinProperties == nil && s.MaxProperties == nil && s.MinItems == nil && s.MaxItems == nil && !s.UniqueItems &&
		s.MinLength == nil && s.MaxLength == nil && s.Pattern == nil &&
		s.Minimum == nil && s.Maximum == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil && s.MultipleOf == nil
}

func (t *translator) fill(n *node, s *library.Schema) (err error) {
	if s.Bool != nil {
		if !*s.Bool {
			n.kinds = 0
		}
		return nil
	}
	if s.Types != nil {
		n.kinds = 0
		for _, name := range s.Types.ToStrings() {
			for _, k := range kindNames {
				if k.name == name {
					n.kinds |= k.kind
				}
			}
		}
	}
	if s.Enum != nil {
		if n.enum, err = newValueSet(s.Enum.Values); err != nil {
			return err
		}
	}
	if s.Const != nil {
		if n.one, err = newValueSet([]any{*s.Const}); err != nil {
			return err
		}
	}
	n.number, n.text, n.array = numbers(s), texts(s), t.array(s)
	n.logic = t.logic(s)
	n.object = t.object(s, n.logic)
	return nil
}

func numbers(s *library.Schema) *numberRules {
	limit := func(rule string, r *big.Rat) *bound {
		if r == nil {
			return nil
		}
		n := ofRat(r)
		places, _ := r.FloatPrec()
		return &bound{number: n, rule: rule, text: shorten(r.FloatString(places), maxQuoted)}
	}
	rules := numberRules{
		min: limit("minimum", s.Minimum), max: limit("maximum", s.Maximum),
		above: limit("exclusiveMinimum", s.ExclusiveMinimum), below: limit("exclusiveMaximum", s.ExclusiveMaximum),
		multipleOf: limit("multipleOf", s.MultipleOf),
	}
	if rules == (numberRules{}) {
		return nil
	}
	return &rules
}

func texts(s *library.Schema) *textRules {
	rules := textRules{minLength: or(s.MinLength, 0), maxLength: or(s.MaxLength, -1)}
	if s.Pattern != nil {
		rules.pattern = s.Pattern.(*pattern)
	}
	if s.Format != nil {
		rules.format = newFormat(s.Format)
	}
	if rules == (textRules{maxLength: -1}) {
		return nil
	}
	return &rules
}

func or(n *int, otherwise int) int {
	if n == nil {
		return otherwise
	}
	return *n
}

func (t *translator) array(s *library.Schema) *arrayRules {
	a := arrayRules{min: or(s.MinItems, 0), max: or(s.MaxItems, -1), unique: s.UniqueItems, minContains: or(s.MinContains, 1), maxContains: or(s.MaxContains, -1)}
	asks := a.min > 0 || a.max >= 0 || a.unique
	prefix := s.PrefixItems
	rest, rule := s.Items2020, "items"
	switch items := s.Items.(type) {
	case *library.Schema:
		rest = items
	case []*library.Schema:
		prefix, rule = items, "additionalItems"
		switch additional := s.AdditionalItems.(type) {
		case *library.Schema:
			rest = additional
		case bool:
			if !additional {
				a.rest, a.restRule = never(s, rule), rule
			}
		}
	}
	for _, p := range prefix {
		a.prefix = append(a.prefix, t.maybe(p))
	}
	if rest != nil {
		a.rest, a.restRule = t.maybe(rest), rule
	}
	if s.Contains != nil {
		a.contains = t.node(s.Contains)
	}
	if !asks && len(a.prefix) == 0 && a.rest == nil && a.contains == nil {
		return nil
	}
	return &a
}

// never is a node that takes nothing, for a keyword whose value is the literal false. It is never tried.
func never(s *library.Schema, rule string) *node { return &node{where: where(s.Location) + "/" + rule} }

func (t *translator) object(s *library.Schema, g *logic) *objectRules {
	o := &objectRules{min: or(s.MinProperties, 0), max: or(s.MaxProperties, -1)}
	for _, name := range t.order.names(s) {
		o.members = append(o.members, member{name: name, declared: true, node: t.maybe(s.Properties[name]), bit: -1})
	}
	for _, name := range s.Required {
		o.required = append(o.required, o.track(name))
	}
	for _, p := range sortedPatterns(s) {
		o.patterns = append(o.patterns, patternMember{p.(*pattern), t.maybe(s.PatternProperties[p])})
	}
	switch additional := s.AdditionalProperties.(type) {
	case bool:
		if !additional {
			o.additional = never(s, "additionalProperties")
		}
	case *library.Schema:
		o.additional = t.maybe(additional)
	}
	if s.PropertyNames != nil {
		o.names = t.maybe(s.PropertyNames)
	}
	o.depend(s, g)
	o.plain = len(o.patterns) == 0 && o.names == nil
	for i := range o.members {
		o.members[i].direct = strings.IndexByte(o.members[i].name, '\\') < 0
	}
	if len(o.members) > manyMembers {
		o.index = make(map[string]int32, len(o.members))
		for i := range o.members {
			o.index[o.members[i].name] = int32(i)
		}
	}
	if len(o.members) == 0 && len(o.patterns) == 0 && o.additional == nil && o.names == nil && o.min == 0 && o.max < 0 {
		return nil
	}
	return o
}

const manyMembers = 8

// depend adds what members ask of others. g has a slot for each schema among them, in the same order.
func (o *objectRules) depend(s *library.Schema, g *logic) {
	next := 0
	bind := func(name string) {
		g.dependents[next].on = o.track(name)
		next++
	}
	for _, name := range sortedKeys(s.Dependencies) {
		if needs, ok := s.Dependencies[name].([]string); ok {
			o.dependents = append(o.dependents, o.dependent("dependencies", name, needs))
		} else if maybe(s.Dependencies[name]) != nil {
			bind(name)
		}
	}
	for _, name := range sortedKeys(s.DependentRequired) {
		o.dependents = append(o.dependents, o.dependent("dependentRequired", name, s.DependentRequired[name]))
	}
	for _, name := range sortedKeys(s.DependentSchemas) {
		bind(name)
	}
}

func (o *objectRules) dependent(rule, name string, needs []string) dependent {
	d := dependent{rule: rule, on: o.track(name)}
	for _, need := range needs {
		d.needs = append(d.needs, o.track(need))
	}
	return d
}

// track is the member of a name, whose presence matters from now on.
func (o *objectRules) track(name string) int32 {
	at := int32(-1)
	for i := range o.members {
		if o.members[i].name == name {
			at = int32(i)
		}
	}
	if at < 0 {
		at = int32(len(o.members))
		o.members = append(o.members, member{name: name, bit: -1})
	}
	if o.members[at].bit < 0 {
		o.members[at].bit = int32(o.bits)
		o.bits++
	}
	return at
}

func (t *translator) logic(s *library.Schema) *logic {
	g := &logic{not: -1, condition: -1, then: -1, otherwise: -1}
	add := func(list ...*library.Schema) group {
		from := len(g.slots)
		for _, sub := range list {
			g.slots = append(g.slots, t.node(sub))
		}
		return group{from, len(g.slots)}
	}
	one := func(sub *library.Schema) int {
		if sub == nil {
			return -1
		}
		return add(sub).from
	}
	one(s.Ref)
	g.asserted = add(s.AllOf...).to
	g.anyOf, g.oneOf = add(s.AnyOf...), add(s.OneOf...)
	g.not = one(s.Not)
	if s.If != nil && (s.Then != nil || s.Else != nil) {
		g.condition, g.then, g.otherwise = one(s.If), one(s.Then), one(s.Else)
	}
	for _, name := range sortedKeys(s.Dependencies) {
		if sub := maybe(s.Dependencies[name]); sub != nil {
			g.dependents = append(g.dependents, dependentSchema{slot: one(sub)})
		}
	}
	for _, name := range sortedKeys(s.DependentSchemas) {
		g.dependents = append(g.dependents, dependentSchema{slot: one(s.DependentSchemas[name])})
	}
	if len(g.slots) == 0 {
		return nil
	}
	return g
}
