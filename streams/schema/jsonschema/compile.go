package jsonschema

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"strings"

	library "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/weft-mesh/weft/streams/fault"
)

// base is the name of the document while it is compiled. Relative references lead to names below it, which do not
// exist.
const base = "weft:///schema"

// Compile reads a schema document. A refusal is a *fault.Error of kind Invalid with one of the codes above; its
// detail says where, and what to do.
func Compile(doc []byte, o Options) (*Schema, error) {
	o = o.orDefault()
	lib, err := load(doc, o)
	if err != nil {
		return nil, err
	}
	g, err := newGraph(lib, o)
	if err != nil {
		return nil, err
	}
	s := &Schema{library: lib, options: o}
	if s.why = g.needsLibrary(); s.why != "" {
		if err := g.doubles(); err != nil {
			return nil, err
		}
		return s, nil
	}
	s.program, err = g.program(orderOf(doc))
	return s, err
}

// load gives the document to the library, which checks it against its draft's meta-schema and resolves references.
func load(doc []byte, o Options) (s *library.Schema, err error) {
	c := library.NewCompiler()
	c.DefaultDraft(library.Draft2020)
	c.UseLoader(nowhere{})
	if !o.AnnotateFormats {
		c.AssertFormat()
	}
	for _, f := range stricter() {
		c.RegisterFormat(f)
	}
	patterns := map[string]*pattern{}
	c.UseRegexpEngine(func(source string) (library.Regexp, error) {
		if p := patterns[source]; p != nil {
			return p, nil
		}
		if len(patterns) >= o.MaxPatterns {
			return nil, fmt.Errorf("more than %d different patterns", o.MaxPatterns)
		}
		p, err := compilePattern(source, o.MaxPattern)
		if err == nil {
			patterns[source] = p
		}
		return p, err
	})
	// The library is given documents of strangers: what it does not foresee must not end the process.
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, refuse(CodeInvalid, "the schema cannot be compiled: %v", p)
		}
	}()
	for name, text := range o.Resources {
		if err := add(c, name, text, o); err != nil {
			return nil, err
		}
	}
	if err := add(c, base, doc, o); err != nil {
		return nil, err
	}
	s, err = c.Compile(base)
	if err != nil {
		return nil, explain(err)
	}
	return s, nil
}

func add(c *library.Compiler, name string, text []byte, o Options) error {
	if err := o.admit(text); err != nil {
		return err
	}
	tree, err := library.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return refuse(CodeSyntax, "the schema is no JSON: %v", err)
	}
	if err := o.draft(tree); err != nil {
		return err
	}
	if err := c.AddResource(name, tree); err != nil {
		return refuse(CodeInvalid, "the resource %s: %v", name, err)
	}
	return nil
}

// draft refuses a document of another draft.
func (o *Options) draft(tree any) error {
	object, ok := tree.(map[string]any)
	if !ok {
		if _, ok := tree.(bool); ok {
			return nil
		}
		return refuse(CodeInvalid, "a schema is an object, or true or false")
	}
	named, ok := object["$schema"].(string)
	if !ok {
		return nil
	}
	switch bare := strings.TrimSuffix(named, "#"); bare {
	case "https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema", "https://json-schema.org/draft-07/schema":
	default:
		if _, given := o.Resources[bare]; !given {
			return refuse(CodeDraft, "$schema is %s; write https://json-schema.org/draft/2020-12/schema or http://json-schema.org/draft-07/schema#", quote(named))
		}
	}
	return nil
}

// nowhere loads nothing.
type nowhere struct{}

var errRemote = errors.New("documents are never loaded from elsewhere")

func (nowhere) Load(string) (any, error) { return nil, errRemote }

var printer = message.NewPrinter(language.English)

// explain turns an error of the library into one line.
func explain(err error) error {
	var (
		loading *library.LoadURLError
		regex   *library.InvalidRegexError
		invalid *library.SchemaValidationError
	)
	clean := func(s string) string {
		return shorten(strings.ReplaceAll(strings.ReplaceAll(s, base, ""), "\n", " "), 400)
	}
	switch {
	case errors.As(err, &loading):
		return refuse(CodeRemote, "the reference to %s leads out of the document: nothing is loaded from elsewhere, put the definition under $defs", quote(clean(loading.URL)))
	case errors.As(err, &regex):
		return refuse(CodePattern, "the pattern %s at %s: %v", quote(regex.Regex), clean(regex.URL), regex.Err)
	case errors.As(err, &invalid):
		if v, ok := errors.AsType[*library.ValidationError](invalid.Err); ok {
			for len(v.Causes) > 0 {
				v = v.Causes[0]
			}
			if f, ok := v.ErrorKind.(*kind.Format); ok && f.Want == "regex" {
				return refuse(CodePattern, "the pattern at %s: %v", quote(pointerOf(v.InstanceLocation)), f.Err)
			}
			return refuse(CodeInvalid, "at %s: %s", quote(pointerOf(v.InstanceLocation)), clean(v.ErrorKind.LocalizedString(printer)))
		}
	}
	return &fault.Error{Op: op, Kind: fault.Invalid, Code: CodeInvalid, Detail: clean(err.Error())}
}

func pointerOf(tokens []string) string {
	var b []byte
	for _, t := range tokens {
		b = appendEscaped(append(b, '/'), []byte(t))
	}
	return string(b)
}

// where is the place of a library's schema: a pointer, with the document's URL in front if it is not the schema's.
func where(location string) string {
	document, fragment, _ := strings.Cut(location, "#")
	if plain, err := url.PathUnescape(fragment); err == nil {
		fragment = plain
	}
	if document == base {
		return fragment
	}
	return document + "#" + fragment
}
