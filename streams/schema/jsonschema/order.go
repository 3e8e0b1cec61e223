package jsonschema

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	library "github.com/santhosh-tekuri/jsonschema/v6"
)

// order is the names of each "properties" of a document as they stand there, by its pointer. Producers mostly write
// members in the order of their schema, so that the one that follows is tried first.
type order map[string][]string

// orderOf reads a document that the library has read before.
func orderOf(doc []byte) order {
	o := order{}
	o.read(jsontext.NewDecoder(bytes.NewReader(doc)), "", "")
	return o
}

// read takes the value that is next: that of a member's name, at a pointer.
func (o order) read(d *jsontext.Decoder, at, name string) {
	switch d.PeekKind() {
	case jsontext.KindBeginObject:
		_, _ = d.ReadToken()
		var names []string
		for d.PeekKind() == jsontext.KindString {
			token, _ := d.ReadToken()
			one := token.String()
			names = append(names, one)
			o.read(d, at+"/"+escape(one), one)
		}
		_, _ = d.ReadToken()
		if name == "properties" {
			o[at] = names
		}
	case jsontext.KindBeginArray:
		_, _ = d.ReadToken()
		for i := 0; d.PeekKind() != jsontext.KindEndArray && d.PeekKind() != 0; i++ {
			o.read(d, at+"/"+strconv.Itoa(i), "")
		}
		_, _ = d.ReadToken()
	default:
		_ = d.SkipValue()
	}
}

// names are those of a schema's properties: in the document's order, or sorted where it is not known.
func (o order) names(s *library.Schema) []string {
	names := o[where(s.Location)+"/properties"]
	sorted := sortedKeys(s.Properties)
	if len(names) != len(sorted) {
		return sorted
	}
	for _, name := range names {
		if _, ok := s.Properties[name]; !ok {
			return sorted
		}
	}
	return slices.Clone(names)
}
