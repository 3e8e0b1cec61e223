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

// Watcher sees all of each event, envelope and payload alike, in the same pass: rules that hold for every event are
// checked by it. It sees events that are refused too, and of what is no strict JSON the part before that shows.
type Watcher interface {
	// Event comes before the tokens of the event at index in its batch. body may be used until the next Event.
	Event(index int, body []byte)
	// Next is body[start:end]: a value that is no object or array, a bracket or brace, or a member's name.
	Next(kind jsontext.Kind, start, end int)
}

// Reader decodes as the functions of the same names do, while others look on. It is safe for concurrent use if these
// are.
type Reader struct {
	Limits  Limits
	Visitor Visitor // may be nil
	Watcher Watcher // may be nil
}

// payload reads the payload that is next.
func (d *decoder) payload(e *Event, s *spans) *Error {
	start := d.json.Next()
	fatal := d.shown(s, start)
	if fatal == nil {
		end := d.json.Offset()
		e.Payload = d.body[start:end:end]
	}
	return fatal
}

// shown reads the payload, and shows it if type and version were read before. Where they come later, revisit shows it:
// producers that write them first spare the second pass.
func (d *decoder) shown(s *spans, start int) *Error {
	if d.visitor == nil {
		return d.skip()
	}
	if s.typ.length == 0 || s.version.length == 0 {
		fatal := d.skip()
		d.later = span{uint32(start), uint32(d.json.Offset() - start)}
		return fatal
	}
	if !d.visitor.Payload(d.index, d.body, d.cut(s.typ), d.cut(s.version)) {
		return d.skip()
	}
	d.visiting = true
	fatal := d.skip()
	d.visiting = false
	if fatal == nil {
		d.visitor.End(start, d.json.Offset())
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
	again.visitor, again.visiting = d.visitor, true // the watcher has seen it
	if fatal := again.skip(); fatal != nil {
		panic("event: a payload that was read before is no JSON: " + fatal.Error())
	}
	d.visitor.End(0, len(value))
}
