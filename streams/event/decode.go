package event

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner reads events from one input in a single pass over its tokens.
type scanner struct {
	buf   bytes.Buffer
	dec   jsontext.Decoder
	input []byte
	base  int    // depth of the tokens stack around the event: 0, or 1 inside an array
	err   *Error // first content error of the event being read
	found fields
}

// fields are the raw values of the members that weft reads, as they stand in the input.
type fields struct {
	id, typ, version, occurred, user []byte
	seq, epoch                       []byte
	key, payload                     bool
}

var scanners = sync.Pool{New: func() any { return new(scanner) }}

func newScanner(input []byte) *scanner {
	s := scanners.Get().(*scanner)
	s.input, s.base, s.err, s.found = input, 0, nil, fields{}
	// A bytes.Buffer is read in place: the decoder's values alias the input.
	s.buf = *bytes.NewBuffer(input)
	s.dec.Reset(&s.buf)
	return s
}

func (s *scanner) release() {
	s.input, s.found, s.buf = nil, fields{}, bytes.Buffer{}
	scanners.Put(s)
}

// Decode reads one event that fills raw. e is overwritten; on an error it holds what was read so far.
func Decode(raw []byte, e *Event) error {
	*e = Event{}
	s := newScanner(raw)
	defer s.release()
	if err := s.event(e); err != nil {
		return err
	}
	if err := s.end(); err != nil {
		return err
	}
	return nil
}

// DecodeArray reads a JSON array of events and appends one result for each. Bytes that are no strict JSON
// array fail as a whole; an event that is well-formed and wrong fails alone.
func DecodeArray(body []byte, l Limits, dst []Result) ([]Result, error) {
	s := newScanner(body)
	defer s.release()
	first := len(dst)
	tok, err := s.dec.ReadToken()
	if err != nil {
		return dst, s.syntax(err, 0)
	}
	if tok.Kind() != '[' {
		return dst, &Error{Code: CodeNotObject, Detail: "the body is no JSON array of events", Syntax: true}
	}
	s.base = 1
	for s.dec.PeekKind() != ']' {
		if len(dst)-first >= l.MaxEvents {
			return dst, tooMany(l)
		}
		var r Result
		if err := s.event(&r.Event); err != nil {
			err.Index = len(dst) - first
			if err.Syntax {
				return dst, err
			}
			r.Err = err
		}
		if r.Err == nil && len(r.Event.Raw) > l.MaxEventBytes {
			r.Err = tooLarge(len(r.Event.Raw), l)
			r.Err.Index = len(dst) - first
		}
		dst = append(dst, r)
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return dst, s.syntax(err, len(dst)-first)
	}
	if err := s.end(); err != nil {
		return dst, err
	}
	if len(dst) == first {
		return dst, emptyBatch()
	}
	return dst, nil
}

// DecodeLines reads newline-delimited events and appends one result for each line that is not blank. Each
// line is a document of its own: a broken one fails alone.
func DecodeLines(body []byte, l Limits, dst []Result) ([]Result, error) {
	first := len(dst)
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		if len(bytes.TrimLeft(line, " \t")) == 0 {
			continue
		}
		if len(dst)-first >= l.MaxEvents {
			return dst, tooMany(l)
		}
		var r Result
		if len(line) > l.MaxEventBytes {
			r.Err = tooLarge(len(line), l)
		} else if err := Decode(line, &r.Event); err != nil {
			r.Err = err.(*Error) //nolint:errorlint // Decode returns nothing else
		}
		if r.Err != nil {
			r.Err.Index = len(dst) - first
		}
		dst = append(dst, r)
	}
	if len(dst) == first {
		return dst, emptyBatch()
	}
	return dst, nil
}

func emptyBatch() *Error {
	return &Error{Code: CodeEmptyBatch, Detail: "the batch holds no event", Syntax: true}
}

func tooMany(l Limits) *Error {
	return &Error{Code: CodeTooManyEvents, Detail: "the batch holds more than " + strconv.Itoa(l.MaxEvents) + " events", Syntax: true, Index: l.MaxEvents}
}

func tooLarge(n int, l Limits) *Error {
	return &Error{Code: CodeTooLarge, Detail: "the event has " + strconv.Itoa(n) + " bytes, the limit is " + strconv.Itoa(l.MaxEventBytes)}
}

// end makes sure that nothing but white space follows.
func (s *scanner) end() *Error {
	at := s.dec.InputOffset()
	if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return &Error{Code: CodeTrailingData, Detail: "more data follows after the end, at byte " + strconv.FormatInt(at, 10), Syntax: true}
	}
	return nil
}

// event reads one event to its end. A content error does not stop the pass: the syntax of the rest counts
// too, and an array goes on behind it.
func (s *scanner) event(e *Event) *Error {
	s.err, s.found = nil, fields{}
	kind := s.dec.PeekKind()
	if kind != '{' {
		before := s.dec.InputOffset()
		if err := s.skip(); err != nil {
			return err
		}
		e.Raw = trim(s.input[before:s.dec.InputOffset()])
		return &Error{Code: CodeNotObject, Detail: "an event is a JSON object"}
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return s.syntax(err, 0)
	}
	start := s.dec.InputOffset() - 1
	if err := s.members(); err != nil {
		return err
	}
	e.Raw = s.input[start:s.dec.InputOffset()]
	if s.err != nil {
		return s.err
	}
	return s.fill(e)
}

// trim cuts what separates an array's elements.
func trim(b []byte) []byte { return bytes.Trim(b, " \t\r\n,") }

// members reads the members of the event's object, the closing brace included.
func (s *scanner) members() *Error {
	for s.dec.PeekKind() != '}' {
		name, err := s.value()
		if err != nil {
			return err
		}
		if err := s.member(name); err != nil {
			return err
		}
	}
	return s.token()
}

func (s *scanner) member(name []byte) *Error {
	f := &s.found
	switch string(plain(name)) {
	case "event_id":
		return s.scalar(&f.id, '"', "/event_id")
	case "event_type":
		return s.scalar(&f.typ, '"', "/event_type")
	case "schema_version":
		return s.scalar(&f.version, '"', "/schema_version")
	case "occurred_at":
		return s.scalar(&f.occurred, '"', "/occurred_at")
	case "source_seq":
		return s.scalar(&f.seq, '0', "/source_seq")
	case "source_epoch":
		return s.scalar(&f.epoch, '0', "/source_epoch")
	case "key":
		f.key = true
		return s.key()
	case "payload":
		f.payload = true
		return s.object("/payload")
	case "ctx":
		return s.object("/ctx")
	}
	return s.skip()
}

func (s *scanner) key() *Error {
	if s.dec.PeekKind() != '{' {
		return s.object("/key")
	}
	if err := s.token(); err != nil {
		return err
	}
	for s.dec.PeekKind() != '}' {
		name, err := s.value()
		if err != nil {
			return err
		}
		if string(plain(name)) == "user_id" {
			err = s.scalar(&s.found.user, '"', "/key/user_id")
		} else {
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
	return s.token()
}

// scalar takes a value of the wanted kind; another kind is a content error.
func (s *scanner) scalar(into *[]byte, want jsontext.Kind, pointer string) *Error {
	if got := s.dec.PeekKind(); got != want && got != 0 {
		s.fail(&Error{Code: CodeWrongType, Pointer: pointer, Detail: "this has to be a " + kindName(want) + ", it is a " + kindName(got)})
		return s.skip()
	}
	v, err := s.value()
	*into = v
	return err
}

func (s *scanner) object(pointer string) *Error {
	if got := s.dec.PeekKind(); got != '{' && got != 0 {
		s.fail(&Error{Code: CodeWrongType, Pointer: pointer, Detail: "this has to be an object, it is a " + kindName(got)})
	}
	return s.skip()
}

func (s *scanner) fail(e *Error) {
	if s.err == nil {
		s.err = e
	}
}

// skip reads one value of any kind, checking depth and numbers on the way.
func (s *scanner) skip() *Error {
	depth := s.dec.StackDepth()
	for {
		switch kind := s.dec.PeekKind(); kind {
		case '{', '[', '}', ']':
			if err := s.token(); err != nil {
				return err
			}
			if s.dec.StackDepth()-s.base > MaxDepth {
				return &Error{Code: CodeDepth, Pointer: s.pointer(), Detail: "nested deeper than " + strconv.Itoa(MaxDepth), Syntax: true}
			}
		default:
			if _, err := s.value(); err != nil {
				return err
			}
		}
		if s.dec.StackDepth() == depth {
			return nil
		}
	}
}

func (s *scanner) token() *Error {
	if _, err := s.dec.ReadToken(); err != nil {
		return s.syntax(err, 0)
	}
	return nil
}

// value reads a scalar or a member's name and checks that a number fits float64.
func (s *scanner) value() ([]byte, *Error) {
	v, err := s.dec.ReadValue()
	if err != nil {
		return nil, s.syntax(err, 0)
	}
	if v.Kind() == '0' && !fits(v) {
		return nil, &Error{Code: CodeNumberRange, Pointer: s.pointer(), Detail: "the number is beyond float64", Syntax: true}
	}
	return v, nil
}

// fits says whether a number is within float64. Only an exponent or more than 300 digits can leave it.
func fits(v []byte) bool {
	if len(v) <= 300 && bytes.IndexByte(v, 'e') < 0 && bytes.IndexByte(v, 'E') < 0 {
		return true
	}
	_, err := strconv.ParseFloat(string(v), 64)
	return err == nil
}

// maxPointer bounds how much of a client's names an error repeats.
const maxPointer = 200

func (s *scanner) pointer() string { return cut(s.strip(string(s.dec.StackPointer()))) }

// strip makes a pointer into an array of events one into the event.
func (s *scanner) strip(p string) string {
	if s.base == 0 || p == "" {
		return p
	}
	if i := strings.IndexByte(p[1:], '/'); i >= 0 {
		return p[1+i:]
	}
	return ""
}

func cut(p string) string {
	if len(p) > maxPointer {
		return p[:maxPointer] + "…"
	}
	return p
}

// syntax turns the tokenizer's error into one that says what and where.
func (s *scanner) syntax(err error, index int) *Error {
	e := &Error{Code: CodeSyntax, Syntax: true, Index: index}
	if at, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		e.Pointer = cut(s.strip(string(at.JSONPointer)))
		line, col := position(s.input, at.ByteOffset)
		what := "malformed JSON"
		if at.Err != nil {
			what = at.Err.Error()
		}
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			e.Code, what = CodeDuplicateKey, "the same member stands twice in one object"
		case strings.Contains(what, "UTF-8"):
			e.Code = CodeInvalidUTF8
		case strings.Contains(what, "depth"):
			e.Code = CodeDepth
		case errors.Is(err, io.ErrUnexpectedEOF):
			what = "the input ends too early"
		}
		e.Detail = what + " (line " + strconv.Itoa(line) + ", column " + strconv.Itoa(col) + ")"
		return e
	}
	e.Detail = "the input ends too early"
	return e
}

// position is line and column of an offset, both from 1.
func position(input []byte, offset int64) (line, col int) {
	before := input[:min(max(offset, 0), int64(len(input)))]
	return 1 + bytes.Count(before, []byte{'\n'}), len(before) - bytes.LastIndexByte(before, '\n')
}

// plain is what stands between a string's quotes when nothing in it is escaped, else the unescaped text.
func plain(quoted []byte) []byte {
	if len(quoted) < 2 || quoted[0] != '"' {
		return quoted
	}
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	out, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return inner
	}
	return out
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '"':
		return "string"
	case '0':
		return "number"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	default:
		return "null"
	}
}
