package jsonschema

import (
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// scalar says whether the current token is valid under a node. Where hard, it reports why not.
func (r *Run) scalar(n *node, hard bool) bool {
	if !r.step() {
		return false
	}
	if !r.kind(n) {
		r.reportKind(hard, n)
		return false
	}
	ok := true
	switch r.token.kind {
	case jsontext.KindString:
		if n.text != nil {
			ok = r.text(n, hard)
		}
	case jsontext.KindNumber:
		if n.number != nil {
			ok = r.bounds(n, hard)
		}
	}
	if n.enum != nil && (ok || hard) && !r.among(n.enum) {
		ok = false
		r.reportValue(hard, n, n.enum)
	}
	if n.one != nil && (ok || hard) && !r.among(n.one) {
		ok = false
		r.reportValue(hard, n, n.one)
	}
	if n.logic != nil && (ok || hard) {
		valid := func(slot int) bool {
			return r.scalar(n.logic.slots[slot], hard && slot < n.logic.asserted)
		}
		absent := func(int32) bool { return false }
		ok = r.judge(n, hard, valid, absent) && ok
	}
	return ok
}

func (r *Run) kind(n *node) bool {
	if n.kinds == anyKind {
		return true
	}
	switch r.token.kind {
	case jsontext.KindString:
		return n.kinds&kindString != 0
	case jsontext.KindNumber:
		return n.kinds&kindNumber != 0 || n.kinds&kindInteger != 0 && r.number().integer()
	case jsontext.KindNull:
		return n.kinds&kindNull != 0
	default:
		return n.kinds&kindBoolean != 0
	}
}

func (r *Run) among(s *valueSet) bool {
	switch r.token.kind {
	case jsontext.KindString:
		switch {
		case s.kinds&kindString == 0:
			return false
		case s.direct && s.hasString(r.token.inner()):
			return true
		}
		return s.hasString(r.plain())
	case jsontext.KindNumber:
		return s.kinds&kindNumber != 0 && s.hasNumber(r.number())
	case jsontext.KindNull:
		return s.kinds&kindNull != 0
	case jsontext.KindTrue:
		return s.kinds&kindTrue != 0
	default:
		return s.kinds&kindFalse != 0
	}
}

// number is the current token's value.
func (r *Run) number() *number {
	t := &r.token
	if !t.hasNumber {
		t.hasNumber = true
		t.number = parseNumber(t.text, r.digits)
		if !t.number.small {
			r.digits = t.number.digits[:0]
		}
	}
	return &t.number
}

func (r *Run) bounds(n *node, hard bool) bool {
	rules, v, ok := n.number, r.number(), true
	refuse := func(b *bound, wants string) {
		ok = false
		if hard {
			r.report(b.rule, n, "must be "+wants+" "+b.text)
		}
	}
	if b := rules.min; b != nil && v.compare(&b.number) < 0 {
		refuse(b, "at least")
	}
	if b := rules.max; b != nil && v.compare(&b.number) > 0 {
		refuse(b, "at most")
	}
	if b := rules.above; b != nil && v.compare(&b.number) <= 0 {
		refuse(b, "more than")
	}
	if b := rules.below; b != nil && v.compare(&b.number) >= 0 {
		refuse(b, "less than")
	}
	if b := rules.multipleOf; b != nil && !v.multipleOf(&b.number) {
		refuse(b, "a multiple of")
	}
	return ok
}

// matches says whether the current string has a match.
func (r *Run) matches(p *pattern) bool {
	if yes, ok := p.quick(r.token.inner()); ok {
		return yes
	}
	return p.match(r.plain())
}

func (r *Run) text(n *node, hard bool) bool {
	rules, inner, ok := n.text, r.token.inner(), true
	// No text is longer than it stands in the input, and none is empty that is not.
	if rules.minLength > 1 || rules.minLength > len(inner) || rules.maxLength >= 0 && rules.maxLength < len(inner) {
		length := utf8.RuneCount(r.plain())
		if length < rules.minLength {
			ok = false
			if hard {
				r.report("minLength", n, "must have at least "+strconv.Itoa(rules.minLength)+" characters")
			}
		}
		if rules.maxLength >= 0 && length > rules.maxLength {
			ok = false
			if hard {
				r.report("maxLength", n, "must have at most "+strconv.Itoa(rules.maxLength)+" characters")
			}
		}
	}
	if rules.pattern != nil && !r.matches(rules.pattern) {
		ok = false
		if hard {
			r.report("pattern", n, "must match "+quote(rules.pattern.source))
		}
	}
	if rules.format != nil && !rules.format.valid(r.plain()) {
		ok = false
		if hard {
			r.report("format", n, "must be of the format "+quote(rules.format.name))
		}
	}
	return ok
}
