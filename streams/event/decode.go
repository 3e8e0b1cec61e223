package event

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/strictjson"
)

// decoder reads the events of one input in one pass. The texts of all of them are gathered in one buffer, so
// that a whole batch costs one allocation for its strings.
type decoder struct {
	json strictjson.Scanner
	body []byte
	text []byte
	// where the current events' members are in text; bound to strings when all of them are read
	spans []spans

	base    int    // levels of nesting around the event: 1 in an array
	index   int    // of the current event in its batch
	line    int    // of body in the whole input, where body is one line of it; else 0
	start   int    // offset of body in the whole input
	content *Error // first refusal of the current event's content

	watcher  Watcher // may be nil
	visitor  Visitor // may be nil
	visiting bool    // it wants the tokens that are read
	later    span    // in body: the current event's payload, where it came before its type and is yet to be shown
}

// Buffers that grew beyond these are not kept for the next input.
const (
	maxKeptText  = 1 << 20
	maxKeptSpans = 1 << 14
)

var pool = sync.Pool{New: func() any { return new(decoder) }}

func acquire(body []byte) *decoder {
	d := pool.Get().(*decoder)
	d.base, d.index, d.line, d.start = 0, 0, 0, 0
	d.text, d.spans = d.text[:0], d.spans[:0]
	d.read(body)
	return d
}

// read starts an input, or a line of one.
func (d *decoder) read(body []byte) {
	d.body, d.content = body, nil
	d.json.Reset(body)
}

// release gives the decoder back; it holds nothing of the input any more.
func (d *decoder) release() {
	if cap(d.text) > maxKeptText {
		d.text = nil
	}
	if cap(d.spans) > maxKeptSpans {
		d.spans = nil
	}
	d.watcher, d.visitor, d.visiting = nil, nil, false
	d.read(nil)
	pool.Put(d)
}

// event reads the next value as an event. It returns an error where the input is no strict JSON; a refusal of
// the content is left in d.content.
func (d *decoder) event(e *Event, s *spans) *Error {
	*e, d.content, d.later = Event{}, nil, span{}
	if d.watcher != nil {
		d.watcher.Event(d.index, d.body)
	}
	kind := d.json.PeekKind()
	start := d.json.Next()
	var fatal *Error
	if kind == jsontext.KindBeginObject {
		fatal = d.members(e, s)
	} else if fatal = d.skip(); fatal == nil {
		d.refuse(CodeNotObject, "", "an event is a JSON object, this is "+kindName(kind))
	}
	if fatal != nil {
		return fatal
	}
	end := d.json.Offset()
	e.Raw = d.body[start:end:end]
	d.revisit(s)
	return nil
}

// members reads the object that is next.
func (d *decoder) members(e *Event, s *spans) *Error {
	if fatal := d.bracket(); fatal != nil {
		return fatal
	}
	var seen fields
	for d.json.Peek() != '}' {
		f, fatal := d.name()
		if fatal != nil {
			return fatal
		}
		if f != 0 {
			seen |= f
			fatal = d.member(f, e, s)
		} else {
			fatal = d.skip()
		}
		if fatal != nil {
			return fatal
		}
	}
	if fatal := d.bracket(); fatal != nil {
		return fatal
	}
	d.requireAll(seen)
	return nil
}

// bracket reads the brace or bracket that is next.
func (d *decoder) bracket() *Error {
	_, _, fatal := d.token()
	return fatal
}

// quoted reads the string that is next, a member's name or a value, as it stands in the input.
func (d *decoder) quoted() ([]byte, *Error) {
	start, end, fatal := d.token()
	return d.body[start:end], fatal
}

// token reads the token that is next, outside of payloads, and shows it.
func (d *decoder) token() (start, end int, fatal *Error) {
	kind, start, end := d.json.Read()
	if kind == 0 {
		return start, end, d.syntax(d.json.Err())
	}
	if d.watcher != nil {
		d.watcher.Next(kind, start, end)
	}
	return start, end, nil
}

// end checks that nothing follows.
func (d *decoder) end() *Error {
	rest := d.body[d.json.Offset():]
	blank := len(rest) - len(bytes.TrimLeft(rest, " \t\r\n"))
	if blank == len(rest) {
		return nil
	}
	return d.broken(CodeTrailingData, "", int64(d.json.Offset()+blank), "more data after the end of the JSON value,")
}

// skip reads one value and checks what the scanner does not: depth and the range of numbers.
func (d *decoder) skip() *Error {
	room := MaxDepth + d.base - d.json.Depth() // levels that may be opened
	for open := 0; ; {
		kind, start, end := d.json.Read()
		if kind == 0 {
			return d.syntax(d.json.Err())
		}
		if d.visiting {
			d.visitor.Token(kind, start, end)
		}
		if d.watcher != nil {
			d.watcher.Next(kind, start, end)
		}
		switch kind {
		case jsontext.KindBeginObject, jsontext.KindBeginArray:
			if open++; open > room {
				return d.broken(CodeDepth, d.json.Pointer(), int64(end), "nested more than "+strconv.Itoa(MaxDepth)+" levels deep")
			}
			continue
		case jsontext.KindEndObject, jsontext.KindEndArray:
			open--
		case jsontext.KindNumber:
			if !d.json.InRange(start, end) {
				return d.broken(CodeNumberRange, d.json.Pointer(), int64(end), "a number beyond the range of a double")
			}
		}
		if open == 0 {
			return nil
		}
	}
}

func kindName(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "a boolean"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	default:
		return "no value"
	}
}
