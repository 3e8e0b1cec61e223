package jsonschema

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// valueSet is the values of enum or const, by type.
type valueSet struct {
	kinds      kinds
	strings    []string
	direct     bool                // a text in the input without an escape is one of strings as it stands
	index      map[string]struct{} // of strings, where there are many
	numbers    []number
	containers map[string]struct{} // canonical forms of objects and arrays
	size       int
	text       string // for a person, shortened
}

const manyStrings = 8

func newValueSet(values []any) (*valueSet, error) {
	s := &valueSet{size: len(values)}
	for _, v := range values {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		switch raw[0] {
		case 'n':
			s.kinds |= kindNull
		case 't':
			s.kinds |= kindTrue
		case 'f':
			s.kinds |= kindFalse
		case '"':
			s.kinds |= kindString
			s.strings = append(s.strings, v.(string))
		case '{', '[':
			s.kinds |= map[byte]kinds{'{': kindObject, '[': kindArray}[raw[0]]
			if s.containers == nil {
				s.containers = map[string]struct{}{}
			}
			s.containers[string(canonical(raw))] = struct{}{}
		default:
			s.kinds |= kindNumber
			s.numbers = append(s.numbers, parseNumber(raw, nil))
		}
	}
	s.direct = true
	for _, text := range s.strings {
		s.direct = s.direct && strings.IndexByte(text, '\\') < 0
	}
	if len(s.strings) > manyStrings {
		s.index = map[string]struct{}{}
		for _, text := range s.strings {
			s.index[text] = struct{}{}
		}
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	s.text = shorten(string(text[1:len(text)-1]), maxQuoted)
	return s, nil
}

// In a valueSet the two booleans are told apart.
const (
	kindTrue  = kindBoolean
	kindFalse = kindInteger
)

func (s *valueSet) hasString(plain []byte) bool {
	if s.index != nil {
		_, ok := s.index[string(plain)]
		return ok
	}
	for _, text := range s.strings {
		if text == string(plain) {
			return true
		}
	}
	return false
}

func (s *valueSet) hasNumber(n *number) bool {
	for i := range s.numbers {
		if s.numbers[i].compare(n) == 0 {
			return true
		}
	}
	return false
}

func (s *valueSet) hasContainer(raw []byte) bool {
	if len(s.containers) == 0 {
		return false
	}
	_, ok := s.containers[string(canonical(raw))]
	return ok
}

// canonical is a text that is equal for equal values: members in order, numbers as decimals, strings without
// escapes and with their length in front. raw is strict JSON.
func canonical(raw []byte) []byte {
	d := readers.Get().(*reader)
	defer d.release()
	d.reset(raw)
	return d.canonical(raw, nil)
}

func (d *reader) canonical(raw, b []byte) []byte {
	switch d.json.PeekKind() {
	case jsontext.KindBeginObject:
		return d.canonicalObject(raw, b)
	case jsontext.KindBeginArray:
		d.read()
		b = append(b, '[')
		for d.json.PeekKind() != jsontext.KindEndArray {
			b = append(d.canonical(raw, b), ',')
		}
		d.read()
		return append(b, ']')
	case jsontext.KindString:
		return append(b, canonicalString(d.value())...)
	case jsontext.KindNumber:
		n := parseNumber(d.value(), nil)
		return n.canonical(b)
	default:
		return append(b, d.value()...)
	}
}

func (d *reader) canonicalObject(raw, b []byte) []byte {
	d.read()
	type pair struct{ name, value []byte }
	var pairs []pair
	for d.json.PeekKind() != jsontext.KindEndObject {
		name := canonicalString(d.value())
		pairs = append(pairs, pair{name, d.canonical(raw, nil)})
	}
	d.read()
	slices.SortFunc(pairs, func(a, b pair) int { return bytes.Compare(a.name, b.name) })
	b = append(b, '{')
	for _, p := range pairs {
		b = append(append(append(append(b, p.name...), ':'), p.value...), ',')
	}
	return append(b, '}')
}

// canonicalString is the length and the text of a string.
func canonicalString(quoted []byte) []byte {
	plain, _ := jsontext.AppendUnquote(nil, quoted)
	b := strconv.AppendInt([]byte{'"'}, int64(len(plain)), 10)
	return append(append(b, '"'), plain...)
}

// read and value step over a token of strict JSON.
func (d *reader) read() { _, _ = d.json.ReadToken() }

func (d *reader) value() []byte {
	v, err := d.json.ReadValue()
	if err != nil {
		panic("jsonschema: a value that was read before is no JSON: " + err.Error())
	}
	return v
}

// elements are the values of an array.
func elements(raw []byte) [][]byte {
	d := readers.Get().(*reader)
	defer d.release()
	d.reset(raw)
	d.read()
	var all [][]byte
	for d.json.PeekKind() != jsontext.KindEndArray {
		all = append(all, d.canonical(raw, nil))
	}
	return all
}

// repeated says whether two elements of an array are equal, and which is the first that was there before.
func repeated(raw []byte) (index int, yes bool) {
	seen := map[string]struct{}{}
	for i, e := range elements(raw) {
		if _, ok := seen[string(e)]; ok {
			return i, true
		}
		seen[string(e)] = struct{}{}
	}
	return 0, false
}
