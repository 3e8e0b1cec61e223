package event

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Lookup is the string or the number's text at a JSON pointer (RFC 6901) in an event that Decode accepted:
// the routing key of a topic whose key is not key.user_id. It is false where nothing is there, or a value of
// another type. 1 and 1.0 are two texts.
func Lookup(raw []byte, pointer string) (string, bool) {
	p := jsontext.Pointer(pointer)
	if !p.IsValid() {
		return "", false
	}
	d := acquire(raw)
	defer d.release()
	for token := range p.Tokens() {
		if !d.enter(token) {
			return "", false
		}
	}
	switch kind, start, end := d.json.Read(); kind {
	case jsontext.KindString:
		return string(unquoted(raw[start:end])), true
	case jsontext.KindNumber:
		return string(raw[start:end]), true
	default:
		return "", false
	}
}

// enter goes to the member or element that a pointer's token names.
func (d *decoder) enter(token string) bool {
	switch kind, _, _ := d.json.Read(); kind {
	case jsontext.KindBeginObject:
		for d.json.PeekKind() == jsontext.KindString {
			_, start, end := d.json.Read()
			if end > start && string(unquoted(d.body[start:end])) == token {
				return true
			}
			if d.skip() != nil {
				return false
			}
		}
	case jsontext.KindBeginArray:
		index, err := strconv.ParseUint(token, 10, 31)
		if err != nil || strconv.FormatUint(index, 10) != token {
			return false
		}
		for range index {
			if d.json.PeekKind() == jsontext.KindEndArray || d.skip() != nil {
				return false
			}
		}
		return true
	}
	return false
}
