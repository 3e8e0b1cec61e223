package mapping

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/fault"
)

// node is one JSON value. Scalars alias the input, so that they are written as they came.
type node struct {
	kind     jsontext.Kind
	raw      []byte // of a scalar
	members  []member
	elements []*node
}

type member struct {
	name  string
	value *node
}

// parse reads one strict JSON value.
func parse(src []byte) (*node, error) {
	d := jsontext.NewDecoder(bytes.NewReader(src))
	n, err := read(d, src)
	if err == nil {
		if rest := bytes.TrimSpace(src[d.InputOffset():]); len(rest) > 0 {
			return nil, fault.New("mapping.parse", fault.Invalid, "mapping_payload", "something follows the JSON value")
		}
		return n, nil
	}
	return nil, fault.New("mapping.parse", fault.Invalid, "mapping_payload", "the payload is no strict JSON at byte %d", d.InputOffset())
}

func read(d *jsontext.Decoder, src []byte) (*node, error) {
	n := &node{kind: d.PeekKind()}
	switch n.kind {
	case '{':
		if _, err := d.ReadToken(); err != nil {
			return nil, err
		}
		for d.PeekKind() == '"' {
			name, err := d.ReadToken()
			if err != nil {
				return nil, err
			}
			key := name.String()
			value, err := read(d, src)
			if err != nil {
				return nil, err
			}
			n.members = append(n.members, member{key, value})
		}
		_, err := d.ReadToken()
		return n, err
	case '[':
		if _, err := d.ReadToken(); err != nil {
			return nil, err
		}
		for d.PeekKind() != ']' {
			value, err := read(d, src)
			if err != nil {
				return nil, err
			}
			n.elements = append(n.elements, value)
		}
		_, err := d.ReadToken()
		return n, err
	}
	v, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	end := int(d.InputOffset())
	n.raw = src[end-len(v) : end : end]
	return n, nil
}

// append writes the value without white space.
func (n *node) append(b []byte) []byte {
	switch n.kind {
	case '{':
		b = append(b, '{')
		for i, m := range n.members {
			if i > 0 {
				b = append(b, ',')
			}
			b, _ = jsontext.AppendQuote(b, m.name) // it was read from strict JSON, or is checked UTF-8
			b = append(b, ':')
			b = m.value.append(b)
		}
		return append(b, '}')
	case '[':
		b = append(b, '[')
		for i, e := range n.elements {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.append(b)
		}
		return append(b, ']')
	}
	return append(b, n.raw...)
}

// size is about how many bytes the value takes.
func (n *node) size() int {
	total := len(n.raw) + 2
	for _, m := range n.members {
		total += len(m.name) + 4 + m.value.size()
	}
	for _, e := range n.elements {
		total += 1 + e.size()
	}
	return total
}

// clone is a copy that shares nothing that changes.
func (n *node) clone() *node {
	c := &node{kind: n.kind, raw: n.raw}
	for _, m := range n.members {
		c.members = append(c.members, member{m.name, m.value.clone()})
	}
	for _, e := range n.elements {
		c.elements = append(c.elements, e.clone())
	}
	return c
}

// find is the index of a member, -1 where there is none or the value is no object.
func (n *node) find(name string) int {
	return slices.IndexFunc(n.members, func(m member) bool { return m.name == name })
}

// text is a string's value.
func (n *node) text() string {
	b, _ := jsontext.AppendUnquote(nil, n.raw) // it was read from strict JSON
	return string(b)
}

func quoted(s string) *node {
	b, _ := jsontext.AppendQuote(nil, strings.ToValidUTF8(s, "\uFFFD"))
	return &node{kind: '"', raw: b}
}

// same says whether two values say the same.
func (n *node) same(o *node) bool {
	if n.kind != o.kind {
		return false
	}
	switch n.kind {
	case '{':
		if len(n.members) != len(o.members) {
			return false
		}
		for _, m := range n.members {
			i := o.find(m.name)
			if i < 0 || !m.value.same(o.members[i].value) {
				return false
			}
		}
		return true
	case '[':
		return slices.EqualFunc(n.elements, o.elements, (*node).same)
	case '"':
		return bytes.Equal(n.raw, o.raw) || n.text() == o.text()
	case '0':
		return bytes.Equal(n.raw, o.raw) || sameNumber(n.raw, o.raw)
	}
	return true
}
