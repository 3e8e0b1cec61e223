package jsonschema

import (
	"bytes"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/fault"
)

// reader is a tokenizer that is used again.
type reader struct {
	json *jsontext.Decoder
	in   bytes.Buffer // lets the tokenizer read the input where it is
}

var readers = sync.Pool{New: func() any { return &reader{json: jsontext.NewDecoder(new(bytes.Buffer))} }}

func (d *reader) reset(raw []byte) {
	d.in = *bytes.NewBuffer(raw)
	d.json.Reset(&d.in)
}

func (d *reader) release() {
	d.reset(nil)
	readers.Put(d)
}

// end checks that nothing follows.
func (d *reader) end(raw []byte) error {
	if at := skipTo(raw, int(d.json.InputOffset())); at < len(raw) {
		return fault.New("", fault.Invalid, "trailing_data", "more data after the JSON value at byte %d", at)
	}
	return nil
}

// skipTo is the offset of the next token from i on.
func skipTo(raw []byte, i int) int {
	for i < len(raw) {
		switch raw[i] {
		case ' ', '\t', '\r', '\n', ',', ':':
			i++
		default:
			return i
		}
	}
	return i
}
