// Package jsonschema says whether a JSON value is what a JSON Schema (2020-12 or draft-07) describes, while its
// tokens are being read.
//
// The relay's gate, the registry's admission and the command line use it. Compile turns a schema document into an
// immutable Schema, and refuses one that would cost too much to hold or to use: too large, too deep, a reference to
// another place, a pattern that is not RE2, recursion without an end. A Schema then has two ways:
//
//   - The program: a Run takes the tokens of the value, keeps the open branches of the schema for each open object
//     or array, and allocates nothing while the value is valid. It does every keyword but those of the second way.
//   - The library (santhosh-tekuri/jsonschema): unevaluatedProperties, unevaluatedItems and $dynamicRef need to know
//     what other branches have seen. A schema that uses them is checked whole by the library, on the decoded value.
//
// Both give the same verdicts; a differential fuzz test holds them to it. Numbers are compared as exact decimals.
// Violations name the place, the keyword and what the schema wants, and never quote the value.
//
// A Schema is safe for concurrent use; a Run belongs to one goroutine.
package jsonschema

import (
	"github.com/go-json-experiment/json/jsontext"
	library "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/weft-mesh/weft/streams/fault"
)

// Options bound what Compile takes and say how it reads. Zero means the default of each.
type Options struct {
	MaxBytes      int // of the document
	MaxDepth      int // of the document's nesting
	MaxSchemas    int // subschemas that can be reached
	MaxPatterns   int // different regular expressions
	MaxPattern    int // bytes of one regular expression
	MaxReferences int // $ref in the document
	MaxBranches   int // subschemas that apply to one and the same value
	MaxSteps      int // subschemas tried for one value, at run time: a document that takes more is refused
	MaxViolations int // told of one value; by default one more than people are told, so that whoever tells them knows that there are more

	// AnnotateFormats makes format say nothing about validity, as 2020-12 has it where no vocabulary asks for it. By
	// default it is asserted, in both drafts.
	AnnotateFormats bool

	// Resources are further documents, by absolute URL without fragment, that $ref may name. Nothing is ever loaded
	// from elsewhere.
	Resources map[string][]byte
}

// DefaultOptions fit schemas of large webhook providers: 100 KB, thousands of subschemas.
func DefaultOptions() Options {
	return Options{
		MaxBytes: 256 << 10, MaxDepth: 128, MaxSchemas: 8192, MaxPatterns: 512, MaxPattern: 1024, MaxReferences: 8192,
		MaxBranches: 1024, MaxSteps: 1 << 20, MaxViolations: 33,
	}
}

func (o Options) orDefault() Options {
	d := DefaultOptions()
	for _, p := range []struct {
		value *int
		or    int
	}{
		{&o.MaxBytes, d.MaxBytes}, {&o.MaxDepth, d.MaxDepth}, {&o.MaxSchemas, d.MaxSchemas}, {&o.MaxPatterns, d.MaxPatterns},
		{&o.MaxPattern, d.MaxPattern}, {&o.MaxReferences, d.MaxReferences}, {&o.MaxBranches, d.MaxBranches},
		{&o.MaxSteps, d.MaxSteps}, {&o.MaxViolations, d.MaxViolations},
	} {
		if *p.value <= 0 {
			*p.value = p.or
		}
	}
	return o
}

// Violation is one way in which a value is not what the schema wants.
type Violation struct {
	Pointer string // RFC 6901, from the value's root; of a long one, the innermost enclosing value that fits in 256 bytes
	Rule    string // the keyword, such as "required"; "false" where the schema allows nothing; "number", "steps" for limits of the mesh
	Detail  string // one line for a person: what the schema wants, never what the value is
	Schema  string // where the rule stands: RFC 6901, from the schema's root, with the document's URL in front if it is a resource
}

// Schema is a compiled document.
type Schema struct {
	program *program // nil where the library checks
	library *library.Schema
	options Options
	why     string
}

// Streaming says whether the program checks, and if not, which keyword needs the library.
func (s *Schema) Streaming() (yes bool, keyword string) { return s.program != nil, s.why }

// Validate checks one JSON value. The error is not nil where raw is no strict JSON (RFC 7493).
func (s *Schema) Validate(raw []byte) ([]Violation, error) {
	run := s.Begin(raw)
	if err := walk(raw, run); err != nil {
		run.release()
		return nil, fault.Wrap("jsonschema.validate", fault.Invalid, err)
	}
	return run.End(0, len(raw)), nil
}

// walk feeds the tokens of raw to run.
func walk(raw []byte, run *Run) error {
	d := readers.Get().(*reader)
	defer d.release()
	d.reset(raw)
	for {
		kind := d.json.PeekKind()
		start := skipTo(raw, int(d.json.InputOffset()))
		if kind == jsontext.KindString || kind == jsontext.KindNumber {
			if _, err := d.json.ReadValue(); err != nil {
				return err
			}
		} else if _, err := d.json.ReadToken(); err != nil {
			return err
		}
		run.Token(kind, start, int(d.json.InputOffset()))
		if d.json.StackDepth() == 0 {
			return d.end(raw)
		}
	}
}

// Library is the compiled graph of subschemas, for those who compare schemas. It must not be changed.
func (s *Schema) Library() *library.Schema { return s.library }
