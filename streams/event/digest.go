package event

import (
	"crypto/sha256"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Digest is the SHA-256 of what an event says: its event_type, key, source_seq and payload in canonical form
// (RFC 8785, except that integers keep their digits, because two amounts beyond 2^53 that differ by one are
// two amounts). Two events of one event_id with the same digest are copies; with others, a conflict. A member
// that is missing is left out. The error is an *Error of Code syntax and the like: other content is not checked.
func Digest(raw []byte) ([32]byte, error) {
	d := acquire(raw)
	defer d.release()
	said, fatal := d.said()
	if fatal == nil {
		fatal = d.end()
	}
	switch {
	case fatal != nil:
		return [32]byte{}, fatal
	case d.content != nil:
		return [32]byte{}, d.content
	}
	sum, err := said.sum()
	if err != nil {
		return [32]byte{}, d.syntax(err) // it was accepted above
	}
	return sum, nil
}

// Digest is the function's for an event that was decoded without an error, at half the price: it is not read again.
// The bytes that it was decoded from must be unchanged.
func (e *Event) Digest() ([32]byte, error) {
	said := content{typ: strconv.AppendQuote(make([]byte, 0, 64), e.Type), key: e.Key, payload: e.Payload}
	if e.HasSourceSeq {
		said.seq = strconv.AppendUint(make([]byte, 0, 20), e.SourceSeq, 10)
	}
	sum, err := said.sum()
	if err != nil {
		return [32]byte{}, &Error{Code: CodeSyntax, Detail: "the event's bytes were changed"}
	}
	return sum, nil
}

// sum is the digest.
func (c *content) sum() ([32]byte, error) {
	buf := canonical.Get().(*jsontext.Value)
	defer canonical.Put(buf)
	*buf = c.object((*buf)[:0])
	if err := buf.Canonicalize(jsontext.CanonicalizeRawInts(false)); err != nil {
		return [32]byte{}, err
	}
	sum := sha256.Sum256(*buf)
	if cap(*buf) > maxKeptText {
		*buf = nil
	}
	return sum, nil
}

var canonical = sync.Pool{New: func() any { return new(jsontext.Value) }}

// content is what a digest covers: the values as they came, nil where missing.
type content struct{ typ, key, payload, seq []byte }

// object appends the members in canonical order.
func (c *content) object(b []byte) []byte {
	b = append(b, '{')
	for _, m := range []struct {
		name  string
		value []byte
	}{{`"event_type":`, c.typ}, {`"key":`, c.key}, {`"payload":`, c.payload}, {`"source_seq":`, c.seq}} {
		if m.value == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(b, m.name...), m.value...)
	}
	return append(b, '}')
}

// said reads the value that is next.
func (d *decoder) said() (c content, fatal *Error) {
	if kind := d.json.PeekKind(); kind != jsontext.KindBeginObject {
		d.refuse(CodeNotObject, "", "an event is a JSON object, this is "+kindName(kind))
		return c, d.skip()
	}
	if fatal := d.bracket(); fatal != nil {
		return c, fatal
	}
	for d.json.PeekKind() != jsontext.KindEndObject {
		f, fatal := d.name()
		if fatal != nil {
			return c, fatal
		}
		start := d.json.Next()
		if fatal = d.skip(); fatal != nil {
			return c, fatal
		}
		value := d.body[start:d.json.Offset()]
		switch f {
		case fieldType:
			c.typ = value
		case fieldKey:
			c.key = value
		case fieldPayload:
			c.payload = value
		case fieldSourceSeq:
			c.seq = value
		}
	}
	if fatal := d.bracket(); fatal != nil {
		return c, fatal
	}
	return c, nil
}
