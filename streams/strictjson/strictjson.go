// Package strictjson reads strict JSON token by token from bytes that are all there: RFC 8259 in UTF-8, without member
// names that stand twice in one object and without halves of surrogate pairs, as jsontext reads it by default.
//
// It only says yes or no, which is what almost every input needs and what makes it fast. Where it says no, jsontext
// reads the input again to say why (Scanner.Err): one text of each error, and a second opinion on each refusal.
package strictjson

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Scanner reads one value. The zero value has nothing to read; Reset gives it something. Its buffers serve one input
// after the other. It belongs to one goroutine.
type Scanner struct {
	body     []byte
	at       int // where the next token begins
	end      int // of the last token
	state    state
	object   bool // the innermost open value is one
	exponent bool // the last number had one
	stack    []level
	names    names
}

// state is what may come next.
type state uint8

const (
	value      state = iota
	firstValue       // or the end of the array
	name
	firstName // or the end of the object
	closing   // nothing but the end of the array or object
	done      // the value is read
	broken
)

// level is an open array or object around the innermost one.
type level struct {
	object bool
	scope  scope
}

// Reset begins an input. The scanner holds on to body until the next Reset.
func (s *Scanner) Reset(body []byte) {
	s.body, s.end, s.state, s.object, s.exponent = body, 0, value, false, false
	s.at = space(body, 0)
	s.stack = s.stack[:0]
	s.names.reset()
}

// Offset is the end of the last token.
func (s *Scanner) Offset() int { return s.end }

// Next is where the next token begins, behind white space and the comma or colon before it.
func (s *Scanner) Next() int { return s.at }

// Depth is how many arrays and objects are open.
func (s *Scanner) Depth() int { return len(s.stack) }

// Peek is the first byte of the next token, 0 where there is none. It is looked at, and proves nothing: Read does.
func (s *Scanner) Peek() byte {
	if s.at < len(s.body) && s.state < done {
		return s.body[s.at]
	}
	return 0
}

// PeekKind is Peek as a kind; what can begin no token is 0.
func (s *Scanner) PeekKind() jsontext.Kind {
	switch c := s.Peek(); c {
	case 'n', 't', 'f', '"', '{', '}', '[', ']':
		return jsontext.Kind(c)
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return jsontext.KindNumber
	}
	return 0
}

// Read reads the next token: body[start:end]. A member's name is a string. Its kind is 0 where the input is no strict
// JSON, or the value is read already; Err says why.
func (s *Scanner) Read() (kind jsontext.Kind, start, end int) {
	start = s.at
	if start >= len(s.body) || s.state >= done {
		return s.fail()
	}
	switch c := s.body[start]; c {
	case '"':
		return s.string(start)
	case '{', '[':
		if s.state > firstValue {
			return s.fail()
		}
		s.open(c == '{')
		return jsontext.Kind(c), start, s.end
	case '}', ']':
		if s.object != (c == '}') || len(s.stack) == 0 || s.state != firstName && s.state != firstValue && s.state != closing {
			return s.fail()
		}
		s.close()
		return jsontext.Kind(c), start, s.end
	case 't':
		end, kind = literal(s.body, start, "true"), jsontext.KindTrue
	case 'f':
		end, kind = literal(s.body, start, "false"), jsontext.KindFalse
	case 'n':
		end, kind = literal(s.body, start, "null"), jsontext.KindNull
	default:
		end, s.exponent = number(s.body, start)
		kind = jsontext.KindNumber
	}
	if end == 0 || s.state > firstValue {
		return s.fail()
	}
	s.follow(end)
	return kind, start, end
}

func (s *Scanner) fail() (jsontext.Kind, int, int) {
	s.state = broken
	return 0, s.at, s.at
}

// string reads a name or a value.
func (s *Scanner) string(start int) (jsontext.Kind, int, int) {
	end, escaped := text(s.body, start)
	if end == 0 {
		return s.fail()
	}
	switch s.state {
	case value, firstValue:
		s.follow(end)
	case name, firstName:
		if !s.names.add(s.body, start, end, escaped) {
			return s.fail()
		}
		s.end = end
		colon := space(s.body, end)
		if colon == len(s.body) || s.body[colon] != ':' {
			s.at, s.state = colon, broken
			break
		}
		s.at, s.state = space(s.body, colon+1), value
	default:
		return s.fail()
	}
	return jsontext.KindString, start, end
}

func (s *Scanner) open(object bool) {
	s.stack = append(s.stack, level{s.object, s.names.open()})
	s.object, s.state = object, firstValue
	if object {
		s.state = firstName
	}
	s.end = s.at + 1
	s.at = space(s.body, s.end)
}

func (s *Scanner) close() {
	last := len(s.stack) - 1
	s.names.close(s.stack[last].scope)
	s.object = s.stack[last].object
	s.stack = s.stack[:last]
	s.follow(s.at + 1)
}

// follow goes on behind a value that ends at end.
func (s *Scanner) follow(end int) {
	s.end = end
	if len(s.stack) == 0 {
		s.at, s.state = end, done
		return
	}
	i := space(s.body, end)
	s.at, s.state = i, broken
	if i == len(s.body) {
		return
	}
	switch s.body[i] {
	case ',':
		s.at, s.state = space(s.body, i+1), value
		if s.object {
			s.state = name
		}
	case '}', ']':
		s.state = closing
	}
}

// space is the first offset from i on that is no white space.
func space(b []byte, i int) int {
	if i < len(b) && b[i] > ' ' {
		return i
	}
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// literal is the end of a word, 0 where it is another.
func literal(b []byte, i int, word string) int {
	if end := i + len(word); end <= len(b) && string(b[i:end]) == word {
		return end
	}
	return 0
}

// number is the end of a number, 0 where it is none.
func number(b []byte, i int) (end int, exponent bool) {
	if b[i] == '-' {
		i++
	}
	whole := digits(b, i)
	if whole == i {
		return 0, false
	}
	if b[i] == '0' {
		whole = i + 1 // what follows the zero is no part of it
	}
	i = whole
	if i < len(b) && b[i] == '.' {
		fraction := digits(b, i+1)
		if fraction == i+1 {
			return 0, false
		}
		i = fraction
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		power := digits(b, i)
		if power == i {
			return 0, false
		}
		return power, true
	}
	return i, false
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// skipPlain is the first offset from i on of a byte that is no ASCII or does not stand for itself in a string. It looks at
// eight at once: in the lowest of them that is none the sum has its highest bit, and borrows come only from such.
func skipPlain(b []byte, i int) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if other := (w | (w - ' '*each) | ((w ^ '"'*each) - each) | ((w ^ '\\'*each) - each)) & high; other != 0 {
			return i + bits.TrailingZeros64(other)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] < utf8.RuneSelf && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// text is the end of a string that begins at i, behind its last quote; 0 where it is none.
func text(b []byte, i int) (end int, escaped bool) {
	for i++; ; {
		if i = skipPlain(b, i); i == len(b) {
			return 0, false
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			n := escape(b[i:])
			if n == 0 {
				return 0, false
			}
			i, escaped = i+n, true
		case c < utf8.RuneSelf:
			return 0, false
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return 0, false
			}
			i += n
		}
	}
}

// escape is the length of the escape that b begins with, of both halves of a surrogate pair; 0 where it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	const high, low, end = 0xd800, 0xdc00, 0xe000
	switch r := unit(b); {
	case r < 0, r >= low && r < end:
		return 0
	case r < high || r >= end:
		return 6
	}
	if len(b) < 12 || b[6] != '\\' || b[7] != 'u' {
		return 0
	}
	if r := unit(b[6:]); r < low || r >= end {
		return 0
	}
	return 12
}

// unit is the code unit of the escape \uXXXX that b begins with, or -1.
func unit(b []byte) rune {
	if len(b) < 6 {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// Err says why Read failed: a *jsontext.SyntacticError, or io.EOF where there is nothing but white space.
func (s *Scanner) Err() error {
	d := jsontext.NewDecoder(bytes.NewReader(s.body))
	for {
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		if d.StackDepth() == 0 {
			return &jsontext.SyntacticError{ByteOffset: int64(s.at), Err: io.ErrNoProgress} // fuzzing says that it never comes to this
		}
	}
}

// Pointer is the place in the value of the token that ends at Offset.
func (s *Scanner) Pointer() jsontext.Pointer {
	d := jsontext.NewDecoder(bytes.NewReader(s.body))
	for d.InputOffset() < int64(s.end) {
		if _, err := d.ReadToken(); err != nil {
			break
		}
	}
	return d.StackPointer()
}

// InRange says whether a number that Read has read is finite as a float64. Without an exponent it takes more than 300
// digits to leave the range, so almost no number is parsed.
func (s *Scanner) InRange(start, end int) bool {
	if end-start <= 300 && !s.exponent {
		return true
	}
	_, err := strconv.ParseFloat(string(s.body[start:end]), 64)
	return err == nil
}
