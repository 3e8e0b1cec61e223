package rule

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// Run says whether an event breaks the rules, while its tokens are read. It says no more than that: Check tells what is
// wrong with the few events that do. It keeps its buffers from one event to the next, so that an event costs no
// allocation. It belongs to one goroutine.
type Run struct {
	body    []byte
	levels  []level
	bans    []*ban // of all open levels
	need    *need  // of the value that is next
	from    int    // of the value that is next, the bans begin here
	leaf    bool   // the value that is next must not be null
	member  bool   // the value that is next has a name, and no bans yet
	text    []byte // its name
	skip    int    // open levels below a value that nothing is asked of
	broken  bool
	scratch []byte
}

// level is an open object or array.
type level struct {
	need  *need
	got   int // members of need that are there
	bans  int // where those of the level begin; they end where the next level's begin
	end   int
	array bool
	named bool // in an object: the name was read, the value is next
}

// Begin starts an event whose tokens stand in body.
func (r *Run) Begin(c *Checker, body []byte) {
	r.body, r.need, r.broken, r.skip, r.leaf, r.member, r.text = body, c.need, false, 0, false, false, nil
	r.levels, r.bans, r.from = r.levels[:0], r.bans[:0], 0
	if c.ban != nil {
		r.forbid(c.ban)
	}
}

// BeginPayload starts the payload of an event whose tokens stand in body, for what Of gave.
func (r *Run) BeginPayload(c *Checker, body []byte) {
	r.Begin(&nothing, body)
	if c.need != nil {
		r.need = c.need.below[c.need.find("payload")]
	}
	if c.ban != nil {
		r.forbid(c.ban.child("payload"))
	}
}

// Forget lets go of what was read last.
func (r *Run) Forget() { r.Begin(&nothing, nil) }

// nothing asks for nothing.
var nothing Checker

// Broken says whether the tokens so far break a rule.
func (r *Run) Broken() bool { return r.broken }

// Token takes the next token: body[start:end]. A name is a string.
func (r *Run) Token(kind jsontext.Kind, start, end int) {
	if r.broken {
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
	if kind == jsontext.KindEndObject || kind == jsontext.KindEndArray {
		r.close()
		return
	}
	if n := len(r.levels); n > 0 {
		l := &r.levels[n-1]
		if !l.array && !l.named {
			r.name(l, start, end)
			return
		}
		r.value(l, kind)
	}
	r.enter(kind)
}

// value prepares the sets of the value that is next.
func (r *Run) value(l *level, kind jsontext.Kind) {
	if l.array { // it stands for its elements
		r.member = false
		r.need, r.from = l.need, len(r.bans)
		r.bans = append(r.bans, r.bans[l.bans:l.end]...)
		return
	}
	l.named = false
	if r.leaf && kind != jsontext.KindNull {
		l.got++
	}
	r.leaf = false
}

// enter takes the first token of a value. What is open has its sets, what is no container has no members.
func (r *Run) enter(kind jsontext.Kind) {
	switch kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		if r.member {
			r.lead()
		}
		if r.need == nil && r.from == len(r.bans) {
			r.skip = 1
			return
		}
		r.levels = append(r.levels, level{need: r.need, bans: r.from, end: len(r.bans), array: kind == jsontext.KindBeginArray})
	default:
		r.broken = r.broken || r.need != nil
		r.member = false
		r.bans = r.bans[:r.from]
	}
}

func (r *Run) close() {
	l := &r.levels[len(r.levels)-1]
	if l.need != nil && !l.array && l.got < len(l.need.names) {
		r.broken = true
	}
	r.bans = r.bans[:l.bans]
	r.levels = r.levels[:len(r.levels)-1]
}

// name finds what the member whose name is read must have, and must not.
func (r *Run) name(l *level, start, end int) {
	l.named = true
	r.need, r.leaf, r.from = nil, false, len(r.bans)
	name := r.plain(start, end)
	r.member, r.text = true, name
	if l.need != nil {
		if at := findIn(l.need.names, l.need.index, name); at >= 0 {
			r.need, r.leaf = l.need.below[at], l.need.leafs[at]
			if !r.leaf {
				l.got++ // what is below it tells for itself
			}
		}
	}
	for _, b := range r.bans[l.bans:l.end] {
		at := findIn(b.names, b.index, name)
		if at >= 0 && b.below[at].leaf || b.any != nil && b.any.leaf {
			r.broken = true
		}
	}
}

// lead finds the bans of what is opened under the name that was read last: most members have no need of them.
func (r *Run) lead() {
	r.member = false
	l := &r.levels[len(r.levels)-1]
	for _, b := range r.bans[l.bans:l.end] {
		if at := findIn(b.names, b.index, r.text); at >= 0 {
			r.forbid(b.below[at])
		}
		if b.any != nil {
			r.forbid(b.any)
		}
		if b.stays {
			r.forbid(b)
		}
	}
}

// forbid adds a set to those of the value that is next.
func (r *Run) forbid(b *ban) {
	if b.leaf {
		r.broken = true
		return
	}
	for ; b != nil; b = b.deep {
		if !slices.Contains(r.bans[r.from:], b) {
			r.bans = append(r.bans, b)
		}
	}
}

// plain is the text of a name.
func (r *Run) plain(start, end int) []byte {
	text := r.body[start:end]
	if bytes.IndexByte(text, '\\') < 0 {
		return text[1 : len(text)-1]
	}
	r.scratch, _ = jsontext.AppendUnquote(r.scratch[:0], text) // the tokenizer accepted it
	return r.scratch
}
