package jsonschema

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/streams/fault"
)

const op = "jsonschema.compile"

// Codes of refusals of a schema document. They are part of the registry's interface: never renamed.
const (
	CodeSyntax    = "schema_syntax"    // no strict JSON
	CodeInvalid   = "schema_invalid"   // not what its draft's meta-schema wants, or a reference to nothing
	CodeDraft     = "schema_draft"     // neither 2020-12 nor draft-07
	CodeTooLarge  = "schema_too_large" // bytes, nesting, subschemas, references, or a number
	CodePattern   = "schema_pattern"   // no RE2, or too long, or too many
	CodeRemote    = "schema_remote"    // a reference to a document that was not given
	CodeRecursion = "schema_recursion" // a reference that leads back to itself, or recursion that doubles
)

func refuse(code, format string, args ...any) error {
	return fault.New(op, fault.Invalid, code, format, args...)
}

// maxExponent bounds numbers, in a schema as in a value that the library checks: beyond it a number needs more
// memory than the text that it stands in.
const maxExponent = 400

// admit checks of a document what has to be known before it is read into memory as a tree.
func (o *Options) admit(doc []byte) error {
	if len(doc) > o.MaxBytes {
		return refuse(CodeTooLarge, "the schema has %d bytes, the limit is %d", len(doc), o.MaxBytes)
	}
	d := readers.Get().(*reader)
	defer d.release()
	d.reset(doc)
	var s sizes
	for {
		kind := d.json.PeekKind()
		start := skipTo(doc, int(d.json.InputOffset()))
		if _, err := d.json.ReadToken(); err != nil {
			return refuse(CodeSyntax, "the schema is no strict JSON: %v", err)
		}
		if err := o.count(&s, kind, doc[start:d.json.InputOffset()], d.json); err != nil {
			return err
		}
		if d.json.StackDepth() == 0 {
			break
		}
	}
	if err := d.end(doc); err != nil {
		return refuse(CodeSyntax, "the schema is no strict JSON: %v", err)
	}
	return nil
}

// sizes are what admit counts.
type sizes struct {
	objects, references int
	name                string // of the member whose value is next
}

func (o *Options) count(s *sizes, kind jsontext.Kind, text []byte, d *jsontext.Decoder) error {
	if depth := d.StackDepth(); depth > o.MaxDepth {
		return refuse(CodeTooLarge, "the schema is nested more than %d levels deep", o.MaxDepth)
	}
	container, index := d.StackIndex(d.StackDepth())
	name := s.name
	s.name = ""
	switch kind {
	case jsontext.KindBeginObject:
		if s.objects++; s.objects > o.MaxSchemas {
			return refuse(CodeTooLarge, "the schema has more than %d objects", o.MaxSchemas)
		}
	case jsontext.KindString:
		if container == jsontext.KindBeginObject && index%2 == 1 {
			plain, _ := jsontext.AppendUnquote(nil, text)
			s.name = string(plain)
		} else if strings.HasSuffix(name, "Ref") || name == "$ref" {
			if s.references++; s.references > o.MaxReferences {
				return refuse(CodeTooLarge, "the schema has more than %d references", o.MaxReferences)
			}
		}
	case jsontext.KindNumber:
		if !modest(text) {
			return refuse(CodeTooLarge, "the number at %s is beyond ±1e%d or has more digits than that", d.StackPointer(), maxExponent)
		}
		if slices.Contains(counts, name) && len(text) > 10 {
			return refuse(CodeTooLarge, "%s at %s is larger than any document", name, d.StackPointer())
		}
	}
	return nil
}

// counts are keywords whose numbers are held in an int.
var counts = []string{"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"}

// modest says whether a number's exponent and length are within what exact arithmetic takes in passing.
func modest(text []byte) bool {
	if len(text) > maxExponent {
		return false
	}
	i := bytes.IndexAny(text, "eE")
	if i < 0 {
		return true
	}
	e, err := strconv.Atoi(string(text[i+1:]))
	return err == nil && e <= maxExponent && e >= -maxExponent
}
