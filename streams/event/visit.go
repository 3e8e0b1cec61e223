package event

import "github.com/go-json-experiment/json/jsontext"

// Visitor sees the payloads of events in the pass that decodes them: a schema is checked without reading an event
// twice. The calls for one event are Payload, then each Token in order, then End, without those of another between.
// There are none for an event that is refused before its payload is known to have a valid type and version, and
// no End where the input turns out to be no strict JSON. An event may still be refused after End.
type Visitor interface {
	// Payload comes before the payload of the event at index in its batch. eventType and version may be used until
	// this call returns, body until End. Without want there is no Token and no End.
	Payload(index int, body, eventType, version []byte) (want bool)
	// Token is body[start:end]: a value that is no object or array, a bracket or brace, or a member's name.
	Token(kind jsontext.Kind, start, end int)
	// End says that the payload is body[start:end], and strict JSON.
	End(start, end int)
}

// Reader decodes as the functions of the same names do, with a Visitor. It is safe for concurrent use if its Visitor
// is.
type Reader struct {
	Limits  Limits
	Visitor Visitor // may be nil
}

// Decode is Decode with the Visitor.
func (r Reader) Decode(raw []byte, e *Event) error { return decode(raw, e, r.Visitor) }

// DecodeArray is DecodeArray with the Visitor.
func (r Reader) DecodeArray(body []byte, dst []Result) ([]Result, error) {
	return decodeArray(body, r.Limits, dst, r.Visitor)
}

// DecodeLines is DecodeLines with the Visitor. Payload's body is the line.
func (r Reader) DecodeLines(body []byte, dst []Result) ([]Result, error) {
	return decodeLines(body, r.Limits, dst, r.Visitor)
}

// payload reads the payload that is next, and shows it if type and version were read before. Where they come later,
// revisit shows it: producers that write them first spare the second pass.
func (d *decoder) payload(s *spans) *Error {
	if d.visitor == nil {
		return d.skip()
	}
	d.json.PeekKind()
	start := d.next()
	if s.typ.length == 0 || s.version.length == 0 {
		fatal := d.skip()
		d.later = span{uint32(start), uint32(int(d.json.InputOffset()) - start)}
		return fatal
	}
	if !d.visitor.Payload(d.index, d.body, d.cut(s.typ), d.cut(s.version)) {
		return d.skip()
	}
	d.visiting = true
	fatal := d.skip()
	d.visiting = false
	if fatal == nil {
		d.visitor.End(start, int(d.json.InputOffset()))
	}
	return fatal
}

func (d *decoder) cut(s span) []byte { return d.text[s.start : s.start+s.length] }

// revisit shows a payload that came before its event's type or version.
func (d *decoder) revisit(s *spans) {
	if d.later.length == 0 || s.typ.length == 0 || s.version.length == 0 {
		return
	}
	value := d.body[d.later.start : d.later.start+d.later.length]
	if !d.visitor.Payload(d.index, value, d.cut(s.typ), d.cut(s.version)) {
		return
	}
	again := acquire(value)
	defer again.release()
	again.visitor, again.visiting = d.visitor, true
	if fatal := again.skip(); fatal != nil {
		panic("event: a payload that was read before is no JSON: " + fatal.Error())
	}
	d.visitor.End(0, len(value))
}
