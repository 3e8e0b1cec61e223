package jsonschema

import "strconv"

// close ends the object or array that was opened last, and forms the verdicts on it.
func (r *Run) close(end int) {
	l := r.levels[len(r.levels)-1]
	r.levels = r.levels[:len(r.levels)-1] // so that r.pointer is the closed value's
	r.closed, r.raw = l, r.body[l.start:end]
	for _, e := range r.edges[l.edges:] {
		ok := true
		if e.from >= 0 {
			ok = r.finish(e.from)
		}
		r.deliver(e.to, e.contains, ok)
	}
	r.frames, r.live, r.edges, r.kids, r.bits = r.frames[:l.frames], r.live[:l.live], r.edges[:l.edges], r.kids[:l.kids], r.bits[:l.bits]
}

// finish says whether the value is valid under a frame. Frames of the same level that its logic asks are finished
// first, each once.
func (r *Run) finish(i int32) bool {
	f := &r.frames[i]
	if f.done || f.failed && !f.hard {
		f.done = true
		return !f.failed
	}
	f.done = true
	if r.closed.array {
		r.array(f)
	} else {
		r.object(f)
	}
	kind := kindObject
	if r.closed.array {
		kind = kindArray
	}
	if f.node.enum != nil || f.node.one != nil {
		r.container(f, kind)
	}
	if f.node.logic != nil {
		kid := func(slot int) bool {
			k := r.kids[int(f.kids)+slot]
			return k < 0 || r.finish(k)
		}
		present := func(member int32) bool { return !r.closed.array && r.present(f, member) }
		if !r.judge(f.node, f.hard, kid, present) {
			f.failed = true
		}
	}
	return !f.failed
}

// container compares the closed value with those of enum and const.
func (r *Run) container(f *frame, kind kinds) {
	for _, set := range []*valueSet{f.node.enum, f.node.one} {
		if set != nil && (set.kinds&kind == 0 || !set.hasContainer(r.raw)) {
			f.failed = true
			r.reportValue(f.hard, f.node, set)
		}
	}
}

// refuse marks a frame; the detail is made only where it is told.
func (r *Run) refuse(f *frame, rule string, detail func() string) {
	f.failed = true
	if f.hard {
		r.report(rule, f.node, detail())
	}
}

func count(what string, n int, of string) func() string {
	return func() string { return what + " " + strconv.Itoa(n) + " " + of }
}

func (r *Run) object(f *frame) {
	o := f.node.object
	if o == nil {
		return
	}
	for _, m := range o.required {
		if !r.present(f, m) {
			r.refuse(f, "required", func() string { return "must have the member " + quote(o.members[m].name) })
		}
	}
	if int(r.closed.count) < o.min {
		r.refuse(f, "minProperties", count("must have at least", o.min, "members"))
	}
	if o.max >= 0 && int(r.closed.count) > o.max {
		r.refuse(f, "maxProperties", count("must have at most", o.max, "members"))
	}
	for _, d := range o.dependents {
		if !r.present(f, d.on) {
			continue
		}
		for _, m := range d.needs {
			if !r.present(f, m) {
				r.refuse(f, d.rule, func() string {
					return "must have the member " + quote(o.members[m].name) + ", because it has " + quote(o.members[d.on].name)
				})
			}
		}
	}
}

func (r *Run) present(f *frame, m int32) bool {
	bit := f.node.object.members[m].bit
	return r.bits[int(f.bits)+int(bit>>6)]&(1<<(bit&63)) != 0
}

func (r *Run) array(f *frame) {
	a := f.node.array
	if a == nil {
		return
	}
	if int(r.closed.count) < a.min {
		r.refuse(f, "minItems", count("must have at least", a.min, "elements"))
	}
	if a.max >= 0 && int(r.closed.count) > a.max {
		r.refuse(f, "maxItems", count("must have at most", a.max, "elements"))
	}
	if a.contains != nil {
		n := int(f.contains)
		switch {
		case n < a.minContains && a.minContains == 1:
			r.refuse(f, "contains", func() string { return "must have an element that matches the schema of contains" })
		case n < a.minContains:
			r.refuse(f, "minContains", count("must have at least", a.minContains, "elements that match the schema of contains"))
		case a.maxContains >= 0 && n > a.maxContains:
			r.refuse(f, "maxContains", count("must have at most", a.maxContains, "elements that match the schema of contains"))
		}
	}
	if a.unique && r.closed.count > 1 && (!f.failed || f.hard) {
		if i, yes := repeated(r.raw); yes {
			r.refuse(f, "uniqueItems", count("its elements must differ; number", i, "was there before"))
		}
	}
}

// judge forms the verdict of a node's logir. Each slot's verdict is asked for at most once; where hard, what is
// asserted reports for itself.
func (r *Run) judge(n *node, hard bool, valid func(slot int) bool, present func(member int32) bool) bool {
	g, ok := n.logic, true
	for slot := range g.asserted {
		if !valid(slot) {
			ok = false
			if !hard {
				return false
			}
		}
	}
	if g.anyOf.size() > 0 {
		found := false
		for slot := g.anyOf.from; slot < g.anyOf.to && !found; slot++ {
			found = valid(slot)
		}
		if !found {
			ok = false
			r.tell(hard, "anyOf", n, count("matches none of the", g.anyOf.size(), "schemas of anyOf"))
		}
	}
	if g.oneOf.size() > 0 && !r.one(n, hard, valid) {
		ok = false
	}
	if g.not >= 0 && valid(g.not) {
		ok = false
		r.tell(hard, "not", n, func() string { return "is what the schema of not excludes" })
	}
	if g.condition >= 0 {
		slot, rule := g.otherwise, "else"
		if valid(g.condition) {
			slot, rule = g.then, "then"
		}
		if slot >= 0 && !valid(slot) {
			ok = false
			r.tell(hard, rule, n, func() string { return "does not match the schema of " + rule })
		}
	}
	for _, d := range g.dependents {
		if present(d.on) && !valid(d.slot) {
			ok = false
			r.tell(hard, "dependentSchemas", n, func() string {
				return "does not match the schema that applies because it has " + quote(n.object.members[d.on].name)
			})
		}
	}
	return ok
}

func (r *Run) one(n *node, hard bool, valid func(slot int) bool) bool {
	found := 0
	for slot := n.logic.oneOf.from; slot < n.logic.oneOf.to && found < 2; slot++ {
		if valid(slot) {
			found++
		}
	}
	if found == 1 {
		return true
	}
	what := "matches none of the"
	if found > 1 {
		what = "matches more than one of the"
	}
	r.tell(hard, "oneOf", n, count(what, n.logic.oneOf.size(), "schemas of oneOf"))
	return false
}
