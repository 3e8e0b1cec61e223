package mapping

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/fault"
)

// Envelope is an event with another payload, of another version: the bytes of the event, except those two, and without
// the member sig, which a producer made over the bytes that were. raw is an event that was decoded before.
func Envelope(raw []byte, version string, payload []byte) ([]byte, error) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, fault.New("mapping.envelope", fault.Internal, "", "the event is no object")
	}
	b := append(make([]byte, 0, len(raw)+len(payload)), '{')
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		switch key {
		case "sig":
			continue
		case "schema_version":
			value, err = jsontext.AppendQuote(nil, version)
		case "payload":
			value = payload
		}
		if err != nil {
			return nil, err
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		if b, err = jsontext.AppendQuote(b, key); err != nil {
			return nil, err
		}
		b = append(append(b, ':'), value...)
	}
	return append(b, '}'), nil
}
