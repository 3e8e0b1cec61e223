package jsonschema

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Run checks one value while its tokens are read. Begin makes one, Token takes each token, End gives the verdict and
// takes the Run back. It belongs to one goroutine.
//
// For each object or array that is open there is a level. A level has a frame for each subschema that is tried on
// that value: those that members and elements lead to, and below them those of $ref, allOf, anyOf and the like. One
// subschema has one frame in a level however many ways lead to it, so that a recursive schema with branches costs
// what its size and the value's make, not a power of the depth. Verdicts are formed when the level closes. A scalar
// needs no frames: its subschemas are tried at once, by recursion.
type Run struct {
	schema *Schema
	body   []byte
	levels []level
	frames []frame
	live   []int32 // those of the open levels that members or elements still matter to
	edges  []edge
	kids   []int32  // frames of the slots of a frame's logic, -1 where there is nothing to check
	bits   []uint64 // presence of members
	first  []target // of the whole value
	next   []target // of the value that is next
	stamps []stamp  // by node: its frame in the level that was opened last
	opened uint32   // levels opened so far
	skip   int      // open levels below a value that nothing is asked of
	steps  int
	failed bool
	over   bool // steps are used up

	closed     level  // the one that is being closed
	raw        []byte // its text
	token      token
	scratch    []byte
	digits     []byte
	violations []Violation
}

// level is an open object or array.
type level struct {
	array     bool
	named     bool  // in an object: the name was read, the value is next
	start     int32 // offset
	name, end int32 // offsets of the name of the member that is read
	count     int32 // members or elements so far
	frames    int32 // where those of this level begin, as the next four
	live      int32
	edges     int32
	kids      int32
	bits      int32
}

// frame is a subschema that is tried on an open object or array.
type frame struct {
	node     *node
	kids     int32
	bits     int32
	contains int32
	hint     int32 // the member that probably comes next
	hard     bool  // without this the whole value is invalid
	failed   bool
	done     bool
}

// edge leads from what a member or element must be to the frame that asked for it.
type edge struct {
	to       int32 // a frame of the level above; -1: the whole value
	from     int32 // a frame of this level; -1: there is nothing to check
	contains bool  // counts for contains; else it is asserted
}

// target is a subschema that the next value is to be tried on.
type target struct {
	node     *node
	to       int32
	contains bool
}

type stamp struct {
	level uint32
	frame int32
}

// token is a scalar, or a name that propertyNames asks for.
type token struct {
	kind      jsontext.Kind
	text      []byte
	plain     []byte // a string's text, once it was needed
	number    number
	hasPlain  bool
	hasNumber bool
}

// inner is a string's text between its quotes, as it stands in the input.
func (t *token) inner() []byte { return t.text[1 : len(t.text)-1] }

// set makes it another token; what was derived from the last one is left where it is, and not looked at.
func (t *token) set(kind jsontext.Kind, text []byte) {
	t.kind, t.text, t.hasPlain, t.hasNumber = kind, text, false, false
}

var runs = sync.Pool{New: func() any { return new(Run) }}

// Begin starts a value whose tokens stand in body.
func (s *Schema) Begin(body []byte) *Run {
	r := runs.Get().(*Run)
	r.schema, r.body = s, body
	r.failed, r.over, r.skip, r.steps, r.violations = false, false, 0, 0, nil
	if s.program == nil {
		return r
	}
	if n := int(s.program.nodes); len(r.stamps) < n {
		r.stamps, r.opened = make([]stamp, n), 0
	}
	r.first = append(r.first[:0], target{node: s.program.root, to: -1})
	return r
}

// maxKept bounds what a Run that waits for its next value holds, in elements of its largest buffers.
const maxKept = 1 << 14

func (r *Run) release() {
	if cap(r.frames) > maxKept || cap(r.scratch) > maxKept || cap(r.kids) > maxKept || cap(r.next) > maxKept {
		return
	}
	r.schema, r.body, r.raw, r.violations, r.token = nil, nil, nil, nil, token{}
	r.levels, r.frames, r.live, r.edges, r.kids, r.bits = r.levels[:0], r.frames[:0], r.live[:0], r.edges[:0], r.kids[:0], r.bits[:0]
	runs.Put(r)
}

// End is the verdict on the value that stands in body[start:end], all of whose tokens were given. The Run must not
// be used any more.
func (r *Run) End(start, end int) []Violation {
	if r.schema.program == nil {
		r.violations = r.schema.decoded(r.body[start:end])
	} else if r.failed && len(r.violations) == 0 {
		panic("jsonschema: a refusal without a violation")
	}
	v := r.violations
	r.release()
	return v
}

// Drop takes the Run back without a verdict: the input has ended within the value.
func (r *Run) Drop() { r.release() }

// Token takes the next token: body[start:end]. A name is a string.
func (r *Run) Token(kind jsontext.Kind, start, end int) {
	if r.schema.program == nil || r.over {
		return
	}
	if r.skip > 0 {
		switch kind {
		case jsontext.KindBeginObject, jsontext.KindBeginArray:
			r.skip++
		case jsontext.KindEndObject, jsontext.KindEndArray:
			r.skip--
		}
		return
	}
	switch kind {
	case jsontext.KindEndObject, jsontext.KindEndArray:
		r.close(end)
		return
	}
	targets := r.first
	if n := len(r.levels); n > 0 {
		l := &r.levels[n-1]
		switch {
		case l.array:
			r.element(l)
		case !l.named:
			r.name(l, start, end)
			return
		}
		l.named = false
		targets = r.next
	}
	switch kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		r.open(targets, kind == jsontext.KindBeginArray, start)
	default:
		r.token.set(kind, r.body[start:end])
		for _, t := range targets {
			ok := r.scalar(t.node, !t.contains && r.hard(t.to))
			r.deliver(t.to, t.contains, ok)
		}
	}
}

func (r *Run) hard(to int32) bool { return to < 0 || r.frames[to].hard }

// deliver tells the frame that asked.
func (r *Run) deliver(to int32, contains, ok bool) {
	switch {
	case to < 0:
		r.failed = r.failed || !ok
	case contains:
		if ok {
			r.frames[to].contains++
		}
	case !ok:
		r.frames[to].failed = true
	}
}

// name finds the subschemas of the member whose name is read.
func (r *Run) name(l *level, start, end int) {
	l.named, l.name, l.end = true, int32(start), int32(end)
	l.count++
	r.next = r.next[:0]
	r.token.set(jsontext.KindString, r.body[start:end])
	for _, i := range r.living(l) {
		f := &r.frames[i]
		r.member(int(i), f, f.node.object)
	}
}

func (r *Run) member(i int, f *frame, o *objectRules) {
	known := false
	k := f.hint
	if inner := r.token.inner(); int(k) >= len(o.members) || !o.members[k].direct || o.members[k].name != string(inner) {
		k = o.find(r.plain())
	}
	if k >= 0 {
		m := &o.members[k]
		f.hint = k + 1
		if m.bit >= 0 {
			r.bits[int(f.bits)+int(m.bit>>6)] |= 1 << (m.bit & 63)
		}
		if known = m.declared; m.node != nil {
			r.next = append(r.next, target{node: m.node, to: int32(i)})
		}
		if known && o.plain {
			return
		}
	}
	for p := range o.patterns {
		if r.matches(o.patterns[p].pattern) {
			known = true
			if n := o.patterns[p].node; n != nil {
				r.next = append(r.next, target{node: n, to: int32(i)})
			}
		}
	}
	if !known && o.additional != nil {
		if o.additional.kinds == 0 {
			f.failed = true
			r.tell(f.hard, "additionalProperties", f.node, func() string { return "is no member that the schema knows, and it takes no others" })
		} else {
			r.next = append(r.next, target{node: o.additional, to: int32(i)})
		}
	}
	if o.names != nil && !r.scalar(o.names, false) {
		r.frames[i].failed = true
		r.tell(f.hard, "propertyNames", f.node, func() string { return "its name is none that the schema takes" })
	}
}

// living are the frames of the innermost level that its next member or element matters to. Those that have failed where
// they were only tried are left out for good: of many branches few are left after the first members.
func (r *Run) living(l *level) []int32 {
	all := r.live[l.live:]
	if len(all) == 1 && r.frames[all[0]].hard {
		return all
	}
	n := 0
	for _, i := range all {
		if f := &r.frames[i]; !f.failed || f.hard {
			all[n] = i
			n++
		}
	}
	r.live = r.live[:int(l.live)+n]
	return all[:n]
}

// element finds the subschemas of the element that is next.
func (r *Run) element(l *level) {
	at := int(l.count)
	l.count++
	r.next = r.next[:0]
	for _, i := range r.living(l) {
		f := &r.frames[i]
		a := f.node.array
		n := a.rest
		if at < len(a.prefix) {
			n = a.prefix[at]
		}
		switch {
		case n == nil:
		case n.kinds == 0 && at >= len(a.prefix):
			if !f.failed || at == len(a.prefix) {
				r.tell(f.hard, a.restRule, f.node, count("is one element more than the", len(a.prefix), "that the schema takes"))
			}
			f.failed = true
		default:
			r.next = append(r.next, target{node: n, to: i})
		}
		if a.contains != nil {
			r.next = append(r.next, target{node: a.contains, to: i, contains: true})
		}
	}
}

// open begins an object or array.
func (r *Run) open(targets []target, array bool, start int) {
	if len(targets) == 0 {
		r.skip = 1
		return
	}
	r.opened++
	if r.opened == 0 { // wrapped: old stamps could be taken for new ones
		clear(r.stamps)
		r.opened = 1
	}
	l := level{array: array, start: int32(start), frames: int32(len(r.frames)), live: int32(len(r.live)), edges: int32(len(r.edges)), kids: int32(len(r.kids)), bits: int32(len(r.bits))}
	kind := kindObject
	if array {
		kind = kindArray
	}
	for _, t := range targets {
		from := r.frame(t.node, kind, !t.contains && r.hard(t.to))
		r.edges = append(r.edges, edge{to: t.to, from: from, contains: t.contains})
	}
	for i := int(l.frames); i < len(r.frames); i++ {
		if f := &r.frames[i]; !f.done && (array && f.node.array != nil || !array && f.node.object != nil) {
			r.live = append(r.live, int32(i))
		}
	}
	r.levels = append(r.levels, l)
}

// frame is the frame of a node in the level that is opened, or -1 where the node asks nothing of such a value.
func (r *Run) frame(n *node, kind kinds, hard bool) int32 {
	if n.kinds&kind != 0 && n.logic == nil && n.enum == nil && n.one == nil && (kind == kindObject && n.object == nil || kind == kindArray && n.array == nil) {
		return -1
	}
	if s := r.stamps[n.id]; s.level == r.opened {
		if hard && !r.frames[s.frame].hard {
			r.harden(s.frame)
		}
		return s.frame
	}
	if !r.step() {
		return -1
	}
	i := int32(len(r.frames))
	r.stamps[n.id] = stamp{r.opened, i}
	f := frame{node: n, hard: hard, kids: -1}
	if n.kinds&kind == 0 {
		f.failed, f.done = true, true
		r.frames = append(r.frames, f)
		r.reportKind(hard, n)
		return i
	}
	if n.object != nil && kind == kindObject {
		f.bits = int32(len(r.bits))
		for range (n.object.bits + 63) / 64 {
			r.bits = append(r.bits, 0)
		}
	}
	if n.logic != nil {
		f.kids = int32(len(r.kids))
		for range n.logic.slots {
			r.kids = append(r.kids, -1)
		}
	}
	r.frames = append(r.frames, f)
	if n.logic != nil {
		for slot, child := range n.logic.slots {
			kid := r.frame(child, kind, hard && slot < n.logic.asserted)
			r.kids[int(f.kids)+slot] = kid
		}
	}
	return i
}

// harden marks a frame that was only tried until now, and all that it asserts.
func (r *Run) harden(i int32) {
	f := &r.frames[i]
	f.hard = true
	if f.done {
		r.reportKind(true, f.node)
		return
	}
	if f.node.logic == nil {
		return
	}
	for slot := range f.node.logic.asserted {
		if kid := r.kids[int(f.kids)+slot]; kid >= 0 && !r.frames[kid].hard {
			r.harden(kid)
		}
	}
}

// step counts a subschema that is tried.
func (r *Run) step() bool {
	r.steps++
	if r.steps <= r.schema.options.MaxSteps {
		return true
	}
	if !r.over {
		r.over, r.failed = true, true
		r.violations = append(r.violations, Violation{
			Pointer: r.pointer(), Rule: "steps",
			Detail: "checking this value takes more than " + strconv.Itoa(r.schema.options.MaxSteps) + " steps: it, or its schema, branches too much",
		})
	}
	return false
}

// plain is the text of the current string.
func (r *Run) plain() []byte {
	t := &r.token
	if t.hasPlain {
		return t.plain
	}
	t.hasPlain = true
	if bytes.IndexByte(t.text, '\\') < 0 {
		t.plain = t.text[1 : len(t.text)-1]
		return t.plain
	}
	r.scratch, _ = jsontext.AppendUnquote(r.scratch[:0], t.text) // the tokenizer accepted it
	t.plain = r.scratch
	return t.plain
}
