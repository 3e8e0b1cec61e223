package jsonschema

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxPointer = 256 // bytes of Violation.Pointer: member names are the producer's and may be of any length
	maxQuoted  = 120 // bytes of the schema's text in Violation.Detail
)

// tell reports where it is hard: a branch that was only tried says nothing, and then no text is made.
func (r *Run) tell(hard bool, rule string, n *node, detail func() string) {
	if hard {
		r.report(rule, n, detail())
	}
}

// report keeps a violation of the current value.
func (r *Run) report(rule string, n *node, detail string) {
	r.failed = true
	if len(r.violations) < r.schema.options.MaxViolations {
		r.violations = append(r.violations, Violation{Pointer: r.pointer(), Rule: rule, Detail: detail, Schema: place(n.where, rule)})
	}
}

// place is the pointer to a keyword of the schema at where; "false" is no keyword.
func place(where, rule string) string {
	if rule == ruleFalse {
		return where
	}
	return where + "/" + rule
}

// ruleFalse is the rule of a schema that takes nothing.
const ruleFalse = "false"

func (r *Run) reportKind(hard bool, n *node) {
	if !hard {
		return
	}
	if n.kinds == 0 {
		r.report(ruleFalse, n, "must not be there")
		return
	}
	var names []string
	for _, k := range kindNames {
		if n.kinds&k.kind != 0 && !(k.kind == kindInteger && n.kinds&kindNumber != 0) {
			names = append(names, k.name)
		}
	}
	r.report("type", n, "must be of type "+strings.Join(names, " or "))
}

func (r *Run) reportValue(hard bool, n *node, set *valueSet) {
	switch {
	case !hard:
	case set == n.one:
		r.report("const", n, "must be "+set.text)
	default:
		r.report("enum", n, "must be one of "+set.text)
	}
}

// pointer is the place of the value that is read.
func (r *Run) pointer() string {
	var b []byte
	for i := range r.levels {
		before := len(b)
		b = append(b, '/')
		l := &r.levels[i]
		if l.array {
			b = strconv.AppendInt(b, int64(l.count-1), 10)
		} else {
			name, _ := jsontext.AppendUnquote(nil, r.body[l.name:l.end])
			b = appendEscaped(b, name)
		}
		if len(b) > maxPointer {
			return string(b[:before])
		}
	}
	return string(b)
}

func appendEscaped(b, name []byte) []byte {
	if bytes.IndexByte(name, '~') < 0 && bytes.IndexByte(name, '/') < 0 {
		return append(b, name...)
	}
	return append(b, escape(string(name))...)
}

// escape makes a name a token of a JSON pointer.
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

// quote shows a text of the schema.
func quote(text string) string { return strconv.Quote(shorten(text, maxQuoted)) }

// shorten cuts a text at a character.
func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "…"
}
