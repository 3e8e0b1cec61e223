package jsonschema

import (
	"slices"
	"strings"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// graph is the subschemas that can be reached from a document's root, and how.
type graph struct {
	options Options
	root    *library.Schema
	all     []*library.Schema
	inPlace map[*library.Schema][]*library.Schema // those that apply to the same value
	dynamic map[*library.Schema][]*library.Schema // one of these does so too, resolved when a value is checked
	below   map[*library.Schema][]*library.Schema // those that apply to members and elements
}

func newGraph(root *library.Schema, o Options) (*graph, error) {
	g := &graph{
		options: o, root: root, inPlace: map[*library.Schema][]*library.Schema{},
		dynamic: map[*library.Schema][]*library.Schema{}, below: map[*library.Schema][]*library.Schema{},
	}
	anchors := map[string][]*library.Schema{}
	known := map[*library.Schema]bool{root: true}
	g.all = append(g.all, root)
	for i := 0; i < len(g.all); i++ {
		s := g.all[i]
		if len(g.all) > o.MaxSchemas {
			return nil, refuse(CodeTooLarge, "the schema has more than %d subschemas", o.MaxSchemas)
		}
		if s.DynamicAnchor != "" {
			anchors[s.DynamicAnchor] = append(anchors[s.DynamicAnchor], s)
		}
		g.inPlace[s], g.below[s] = inPlace(s), below(s)
		for _, t := range slices.Concat(g.inPlace[s], g.below[s], present(dynamic(s))) {
			if !known[t] {
				known[t] = true
				g.all = append(g.all, t)
			}
		}
	}
	for _, s := range g.all {
		if s.DynamicRef != nil {
			g.dynamic[s] = append(slices.Clone(anchors[s.DynamicRef.Anchor]), s.DynamicRef.Ref)
		}
	}
	return g, g.branches()
}

func present(list ...*library.Schema) []*library.Schema {
	return slices.DeleteFunc(list, func(s *library.Schema) bool { return s == nil })
}

func dynamic(s *library.Schema) *library.Schema {
	if s.DynamicRef == nil {
		return nil
	}
	return s.DynamicRef.Ref
}

func maybe(v any) *library.Schema {
	s, _ := v.(*library.Schema)
	return s
}

func inPlace(s *library.Schema) []*library.Schema {
	list := present(s.Ref, s.Not, s.If, s.Then, s.Else)
	list = slices.Concat(list, s.AllOf, s.AnyOf, s.OneOf)
	for _, name := range sortedKeys(s.Dependencies) {
		list = append(list, present(maybe(s.Dependencies[name]))...)
	}
	for _, name := range sortedKeys(s.DependentSchemas) {
		list = append(list, s.DependentSchemas[name])
	}
	return list
}

func below(s *library.Schema) []*library.Schema {
	var list []*library.Schema
	for _, name := range sortedKeys(s.Properties) {
		list = append(list, s.Properties[name])
	}
	return append(list, overlapping(s)...)
}

// overlapping are those that may apply to one and the same member or element.
func overlapping(s *library.Schema) []*library.Schema {
	var list []*library.Schema
	for _, p := range sortedPatterns(s) {
		list = append(list, s.PatternProperties[p])
	}
	list = append(list, present(maybe(s.AdditionalProperties), s.PropertyNames, s.UnevaluatedProperties, s.Contains, maybe(s.AdditionalItems), s.Items2020, s.UnevaluatedItems, maybe(s.Items))...)
	list = append(list, s.PrefixItems...)
	if items, ok := s.Items.([]*library.Schema); ok {
		list = append(list, items...)
	}
	return list
}

// sortedPatterns puts the patterns of a schema in an order, so that a document always gives the same program.
func sortedPatterns(s *library.Schema) []library.Regexp {
	list := make([]library.Regexp, 0, len(s.PatternProperties))
	for p := range s.PatternProperties {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b library.Regexp) int { return strings.Compare(a.String(), b.String()) })
	return list
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// branches refuses a schema that leads back to itself without going into a member or element, and one where too
// many subschemas apply to one value.
func (g *graph) branches() error {
	const visiting = -1
	count := map[*library.Schema]int{}
	var visit func(s *library.Schema) error
	visit = func(s *library.Schema) error {
		switch n := count[s]; {
		case n == visiting:
			return refuse(CodeRecursion, "the reference at %s leads back to itself: no value can be checked against it", quote(where(s.Location)))
		case n > 0:
			return nil
		}
		count[s] = visiting
		total := 1
		for _, t := range g.inPlace[s] {
			if err := visit(t); err != nil {
				return err
			}
			if total += count[t]; total > g.options.MaxBranches {
				return refuse(CodeTooLarge, "at %s more than %d subschemas apply to one value", quote(where(s.Location)), g.options.MaxBranches)
			}
		}
		count[s] = total
		return nil
	}
	for _, s := range g.all {
		if err := visit(s); err != nil {
			return err
		}
	}
	return nil
}

// needsLibrary is the keyword that the program does not do, or "".
func (g *graph) needsLibrary() string {
	for _, s := range g.all {
		switch {
		case s.DynamicRef != nil:
			return "$dynamicRef"
		case s.UnevaluatedProperties != nil:
			return "unevaluatedProperties"
		case s.UnevaluatedItems != nil:
			return "unevaluatedItems"
		case s.RecursiveRef != nil:
			return "$recursiveRef"
		case s.DraftVersion != 7 && s.DraftVersion != 2020:
			return "$schema"
		case len(s.Extensions) > 0:
			return "$vocabulary"
		}
	}
	return ""
}

// metaschemas are the library's own: their recursion is known to be harmless.
const metaschemas = "//json-schema.org/"

// doubles refuses recursion with more than one way into the same value where the library checks: it follows each,
// so that a document of n levels costs 2^n. The program meets a subschema once on each value.
func (g *graph) doubles() error {
	component := g.components()
	for _, s := range g.all {
		if strings.Contains(s.Location, metaschemas) {
			continue
		}
		ways := 0
		for _, t := range g.inPlace[s] {
			if component[t] == component[s] {
				ways++
			}
		}
		if slices.ContainsFunc(g.dynamic[s], func(t *library.Schema) bool { return component[t] == component[s] }) {
			ways++
		}
		over := 0
		for _, t := range overlapping(s) {
			if component[t] == component[s] {
				over++
			}
		}
		if _, prefix := s.Items.([]*library.Schema); prefix || len(s.PrefixItems) > 0 {
			over = min(over, 1)
		}
		if ways > 1 || over > 1 || over > 0 && g.throughMembers(s, component) {
			return refuse(CodeRecursion, "the schema at %s recurses in more than one way, which takes time exponential in the depth together with %s: recurse in one way, or do without that keyword", quote(where(s.Location)), g.needsLibrary())
		}
	}
	return nil
}

func (g *graph) throughMembers(s *library.Schema, component map[*library.Schema]int) bool {
	for _, t := range s.Properties {
		if component[t] == component[s] {
			return len(s.PatternProperties) > 0 || s.UnevaluatedProperties != nil
		}
	}
	return false
}

// components numbers the strongly connected components (Tarjan). A schema alone in its own has none that is equal to
// another's.
func (g *graph) components() map[*library.Schema]int {
	var (
		index, low = map[*library.Schema]int{}, map[*library.Schema]int{}
		component  = map[*library.Schema]int{}
		stack      []*library.Schema
		visit      func(s *library.Schema)
	)
	visit = func(s *library.Schema) {
		index[s] = len(index) + 1
		low[s] = index[s]
		stack = append(stack, s)
		for _, t := range slices.Concat(g.inPlace[s], g.dynamic[s], g.below[s]) {
			if index[t] == 0 {
				visit(t)
				low[s] = min(low[s], low[t])
			} else if component[t] == 0 {
				low[s] = min(low[s], index[t])
			}
		}
		if low[s] != index[s] {
			return
		}
		for {
			t := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			component[t] = index[s]
			if t == s {
				return
			}
		}
	}
	for _, s := range g.all {
		if index[s] == 0 {
			visit(s)
		}
	}
	return component
}
