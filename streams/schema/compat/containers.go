package compat

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	library "github.com/santhosh-tekuri/jsonschema/v6"
)

func below(path, name string) string {
	return path + "/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

func (p *prover) objects(o set, c *library.Schema, path string) []Finding {
	var found []Finding
	required := 0
	for _, name := range o.names() {
		if o.requires(name) {
			required++
		}
	}
	for _, name := range c.Required {
		if !o.requires(name) {
			before := "optional"
			if at := o.member(name); !at.possible {
				before = "not allowed"
			} else if !at.declared {
				before = ""
			}
			found = append(found, p.finding(c, below(path, name), "required", before, "required", "documents need not have the member", true))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Properties)) {
		found = append(found, p.property(o, c, name, path)...)
	}
	for pattern, t := range c.PatternProperties {
		found = append(found, p.pattern(o, c, pattern, t, path)...)
	}
	found = append(found, p.additional(o, c, path)...)
	if c.PropertyNames != nil && !p.namesTaken(o, c.PropertyNames) {
		found = append(found, p.finding(c, path, "propertyNames", "", "", "names of members must match a schema, and may not have before", false))
	}
	closed := -1
	if !o.others().possible && len(o.patterns()) == 0 {
		closed = len(o.names())
	}
	found = append(found, p.atLeast(o, c, path, "minProperties", minProperties, required)...)
	found = append(found, p.atMost(o, c, path, "maxProperties", maxProperties, closed)...)
	return append(found, p.dependents(o, c, path)...)
}

func (p *prover) property(o set, c *library.Schema, name, path string) []Finding {
	at := o.member(name)
	switch {
	case !at.possible:
		return nil
	case at.declared:
		return p.prove(at.schemas, c.Properties[name], below(path, name))
	case !p.strict || p.silent(nil, c.Properties[name]):
		return nil
	}
	return []Finding{p.finding(c, below(path, name), "properties", "", "declared", "the old content model is open: documents may have a member of this name, of any type", true)}
}

func (p *prover) pattern(o set, c *library.Schema, pattern library.Regexp, t *library.Schema, path string) []Finding {
	var found []Finding
	for _, name := range o.names() {
		if at := o.member(name); at.possible && pattern.MatchString(name) {
			found = append(found, p.prove(at.schemas, t, below(path, name))...)
		}
	}
	for source, list := range o.patterns() {
		if source == pattern.String() {
			found = append(found, p.prove(list, t, path+"/*")...)
		} else if !p.silent(list, t) {
			found = append(found, p.finding(c, path+"/*", "patternProperties", source, pattern.String(), "a name may match both patterns", false))
		}
	}
	at := o.others()
	switch {
	case !at.possible:
	case at.declared:
		found = append(found, p.prove(at.schemas, t, path+"/*")...)
	case p.strict && !p.silent(nil, t):
		found = append(found, p.finding(c, path+"/*", "patternProperties", "", pattern.String(), "the old content model is open: documents may have members that match, of any type", true))
	}
	return found
}

// additional compares what c says of the members that it does not know.
func (p *prover) additional(o set, c *library.Schema, path string) []Finding {
	want, _ := c.AdditionalProperties.(*library.Schema)
	if shut, ok := c.AdditionalProperties.(bool); want == nil && (!ok || shut) {
		return nil
	}
	text := "false"
	if want != nil {
		text = "a schema"
	}
	knows := func(name string) bool {
		if _, ok := c.Properties[name]; ok {
			return true
		}
		for pattern := range c.PatternProperties {
			if pattern.MatchString(name) {
				return true
			}
		}
		return false
	}
	var found []Finding
	check := func(schemas set, path, before, detail string) {
		switch {
		case want != nil && schemas != nil:
			found = append(found, p.prove(schemas, want, path)...)
		case want != nil && p.silent(nil, want):
		case schemas == nil || !schemas.empty(emptyDepth):
			found = append(found, p.finding(c, path, "additionalProperties", before, text, detail, true))
		}
	}
	for _, name := range o.names() {
		if at := o.member(name); at.possible && !knows(name) {
			check(at.schemas, below(path, name), "declared", "documents may have the member, which is not known any more")
		}
	}
	for source, list := range o.patterns() {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(c.PatternProperties)), func(r library.Regexp) bool { return r.String() == source }) {
			check(list, path+"/*", "patternProperties "+source, "documents may have members of names that are not known any more")
		}
	}
	if at := o.others(); at.possible {
		detail := "the content model was open, and is closed"
		if at.declared {
			detail = "documents may have members that are not known any more"
		}
		check(at.schemas, path+"/*", "", detail)
	}
	return found
}

func (p *prover) namesTaken(o set, names *library.Schema) bool {
	if !o.others().possible && len(o.patterns()) == 0 {
		return !slices.ContainsFunc(o.names(), func(name string) bool { return names.Validate(name) != nil })
	}
	have := set{typed("string")}
	for _, s := range o {
		if s.PropertyNames != nil {
			have = append(have, s.PropertyNames)
		}
	}
	return p.silent(have, names)
}

func (p *prover) dependents(o set, c *library.Schema, path string) []Finding {
	var found []Finding
	needs := func(rule, on string, list []string) {
		for _, name := range list {
			if at := o.member(on); at.possible && !o.requires(name) && !slices.ContainsFunc(o, func(s *library.Schema) bool { return slices.Contains(dependsOn(s, on), name) }) {
				found = append(found, p.finding(c, below(path, name), rule, "optional", "required with "+on, "documents that have "+on+" need not have the member", true))
			}
		}
	}
	schema := func(rule, on string, t *library.Schema) {
		have := o
		for _, s := range o {
			if d := s.DependentSchemas[on]; d != nil {
				have = have.with(d)
			}
			if d, ok := s.Dependencies[on].(*library.Schema); ok {
				have = have.with(d)
			}
		}
		if at := o.member(on); at.possible && !p.silent(have, t) {
			found = append(found, p.finding(c, path, rule, "", "with "+on, "documents that have "+on+" must match another schema", false))
		}
	}
	for _, on := range slices.Sorted(maps.Keys(c.DependentRequired)) {
		needs("dependentRequired", on, c.DependentRequired[on])
	}
	for _, on := range slices.Sorted(maps.Keys(c.DependentSchemas)) {
		schema("dependentSchemas", on, c.DependentSchemas[on])
	}
	for _, on := range slices.Sorted(maps.Keys(c.Dependencies)) {
		if t, ok := c.Dependencies[on].(*library.Schema); ok {
			schema("dependencies", on, t)
		} else {
			needs("dependencies", on, c.Dependencies[on].([]string))
		}
	}
	return found
}

func dependsOn(s *library.Schema, on string) []string {
	list, _ := s.Dependencies[on].([]string)
	return slices.Concat(list, s.DependentRequired[on])
}

func (p *prover) arrays(o set, c *library.Schema, path string) []Finding {
	found := slices.Concat(p.atLeast(o, c, path, "minItems", minItems, 0), p.atMost(o, c, path, "maxItems", maxItems, o.longest()))
	prefix, rest, closed := elements(c)
	last := len(prefix)
	for _, s := range o {
		own, _, _ := elements(s)
		last = max(last, len(own))
	}
	for i := 0; i <= last; i++ {
		at := o.element(i)
		if !at.possible || at.schemas.empty(emptyDepth) {
			break
		}
		step := path + "/" + strconv.Itoa(i)
		if i == last {
			step = path + "/*"
		}
		switch {
		case i < len(prefix):
			found = append(found, p.prove(at.schemas, prefix[i], step)...)
		case closed:
			found = append(found, p.finding(c, step, "additionalItems", "", "false", "arrays may be longer than what is taken", true))
		case rest != nil:
			found = append(found, p.prove(at.schemas, rest, step)...)
		}
	}
	if c.UniqueItems && o.longest() != 0 && o.longest() != 1 && !slices.ContainsFunc(o, func(s *library.Schema) bool { return s.UniqueItems }) {
		found = append(found, p.finding(c, path, "uniqueItems", "", "true", "elements must differ, and need not before", true))
	}
	if c.Contains != nil && !slices.ContainsFunc(o, func(s *library.Schema) bool { return p.containsAs(s, c) }) {
		found = append(found, p.finding(c, path, "contains", "", "a schema", "arrays must have certain elements", false))
	}
	return found
}

// longest is how many elements arrays of the set have at most; -1: any number.
func (o set) longest() int {
	n := o.atMost(maxItems)
	for _, s := range o {
		prefix, rest, closed := elements(s)
		if closed || rest != nil && rest.Bool != nil && !*rest.Bool {
			if n < 0 || len(prefix) < n {
				n = len(prefix)
			}
		}
	}
	return n
}

func (p *prover) containsAs(s, c *library.Schema) bool {
	if s.Contains == nil || !p.same(s.Contains, c.Contains) {
		return false
	}
	at := func(n *int, or int) int {
		if n == nil {
			return or
		}
		return *n
	}
	const many = 1 << 40
	return at(s.MinContains, 1) >= at(c.MinContains, 1) && at(s.MaxContains, many) <= at(c.MaxContains, many)
}
