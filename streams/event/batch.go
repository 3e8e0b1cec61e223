package event

import (
	"bytes"
	"strconv"
)

// DecodeArray reads a JSON array of events and appends a Result for each to dst. An event of wrong content
// carries its own error; the returned *Error refuses the body as a whole, and then nothing is appended.
func DecodeArray(body []byte, l Limits, dst []Result) ([]Result, error) {
	return Reader{Limits: l}.DecodeArray(body, dst)
}

// DecodeArray is DecodeArray with those who look on.
func (r Reader) DecodeArray(body []byte, dst []Result) ([]Result, error) {
	l := r.Limits.orDefault()
	d := acquire(body)
	defer d.release()
	d.visitor, d.watcher = r.Visitor, r.Watcher
	first := len(dst)
	dst, err := d.array(l, dst)
	if err != nil {
		return dst[:first], err
	}
	d.bind(dst[first:])
	return dst, nil
}

func (d *decoder) array(l Limits, dst []Result) ([]Result, *Error) {
	first := len(dst)
	switch kind := d.json.PeekKind(); kind {
	case '[', 0:
		if opening, _, _ := d.json.Read(); opening == 0 {
			return dst, d.syntax(d.json.Err())
		}
	default:
		return dst, &Error{Code: CodeWrongType, Detail: "a batch is a JSON array of events, this is " + kindName(kind), Syntax: true}
	}
	d.base = 1
	for ; d.json.Peek() != ']'; d.index = len(dst) - first {
		if d.json.PeekKind() != 0 && d.index == l.MaxEvents {
			return dst, tooMany(l)
		}
		dst = append(dst, Result{})
		if fatal := d.result(&dst[len(dst)-1], l); fatal != nil {
			return dst, fatal
		}
	}
	if closing, _, _ := d.json.Read(); closing == 0 {
		return dst, d.syntax(d.json.Err())
	}
	if fatal := d.end(); fatal != nil {
		return dst, fatal
	}
	if len(dst) == first {
		return dst, empty()
	}
	return dst, nil
}

// DecodeLines reads newline-delimited JSON, one event a line, and appends a Result for each to dst; blank
// lines are skipped. Each line stands alone: one that is no JSON carries its own error. The returned *Error
// refuses the body as a whole, and then nothing is appended.
func DecodeLines(body []byte, l Limits, dst []Result) ([]Result, error) {
	return Reader{Limits: l}.DecodeLines(body, dst)
}

// DecodeLines is DecodeLines with those who look on. The body that they are shown is the line.
func (r Reader) DecodeLines(body []byte, dst []Result) ([]Result, error) {
	l := r.Limits.orDefault()
	d := acquire(body)
	defer d.release()
	d.visitor, d.watcher = r.Visitor, r.Watcher
	first, start := len(dst), 0
	for line := 1; start < len(body); line++ {
		text, _, _ := bytes.Cut(body[start:], []byte{'\n'})
		next := start + len(text) + 1
		if len(bytes.Trim(text, " \t\r")) == 0 {
			start = next
			continue
		}
		if d.index = len(dst) - first; d.index == l.MaxEvents {
			return dst[:first], tooMany(l)
		}
		d.read(text)
		d.line, d.start = line, start
		dst = append(dst, Result{})
		last := &dst[len(dst)-1]
		fatal := d.result(last, l)
		if fatal == nil {
			fatal = d.end()
		}
		if fatal != nil {
			*last, d.spans[len(d.spans)-1] = Result{Err: fatal}, spans{}
		}
		start = next
	}
	if len(dst) == first {
		return dst, empty()
	}
	d.bind(dst[first:])
	return dst, nil
}

// result reads the next event.
func (d *decoder) result(r *Result, l Limits) *Error {
	d.spans = append(d.spans, spans{})
	if fatal := d.event(&r.Event, &d.spans[len(d.spans)-1]); fatal != nil {
		return fatal
	}
	if n := len(r.Event.Raw); n > l.MaxEventBytes {
		d.content = nil // its size is what matters
		d.refuse(CodeTooLarge, "", "the event has "+strconv.Itoa(n)+" bytes, the limit is "+strconv.Itoa(l.MaxEventBytes))
	}
	r.Err = d.content
	return nil
}

// bind gives all events their strings, which share one allocation.
func (d *decoder) bind(results []Result) {
	text := string(d.text)
	for i := range results {
		d.spans[i].bind(text, &results[i].Event)
	}
}

func tooMany(l Limits) *Error {
	return &Error{Code: CodeTooManyEvents, Detail: "more than " + strconv.Itoa(l.MaxEvents) + " events in one batch", Index: l.MaxEvents}
}

func empty() *Error {
	return &Error{Code: CodeEmptyBatch, Detail: "the batch holds no event", Syntax: true}
}
