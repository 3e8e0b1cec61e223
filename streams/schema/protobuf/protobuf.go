// Package protobuf compiles a .proto source into a message that payloads are checked against, and says whether a new
// version of it may follow the old ones.
//
// A payload is the message's JSON form (protojson): the mesh stores events as JSON, whatever they arrived as. So the
// rules of compatibility are those of the wire and of JSON together: names count as numbers do.
//
// Compile and Check are pure, and safe for concurrent use, as a Schema is.
package protobuf

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// Options bound what Compile takes. Zero means the default of each.
type Options struct {
	MaxBytes int // of the source: 256 KiB
	MaxDepth int // of nested braces and brackets: 64
	// Message is the full name of the payload's message. It may be left out where the file has one message at its top
	// level.
	Message string
}

// Codes of refusals of a source. They are part of the registry's interface: never renamed.
const (
	CodeTooLarge = "proto_too_large"
	CodeInvalid  = "proto_invalid" // it does not compile
	CodeImport   = "proto_import"  // it imports what is not one of protobuf's own files
	CodeMessage  = "proto_message" // which message the payload is, is not clear
)

const op = "protobuf.compile"

func refuse(code, format string, args ...any) error {
	return fault.New(op, fault.Invalid, code, format, args...)
}

// Schema is a compiled source.
type Schema struct {
	message protoreflect.MessageDescriptor
}

// Message is the descriptor of the payload's message.
func (s *Schema) Message() protoreflect.MessageDescriptor { return s.message }

// name is the source's, while it is compiled.
const name = "schema.proto"

var errImport = errors.New("only protobuf's own files (google/protobuf/…) can be imported")

// Compile reads a source. A refusal is a *fault.Error of kind Invalid with one of the codes above.
func Compile(source []byte, o Options) (s *Schema, err error) {
	if o.MaxBytes <= 0 {
		o.MaxBytes = 256 << 10
	}
	if o.MaxDepth <= 0 {
		o.MaxDepth = 64
	}
	if len(source) > o.MaxBytes {
		return nil, refuse(CodeTooLarge, "the source has %d bytes, the limit is %d", len(source), o.MaxBytes)
	}
	if deeper(source, o.MaxDepth) {
		return nil, refuse(CodeTooLarge, "the source nests more than %d levels deep", o.MaxDepth)
	}
	// The compiler is given sources of strangers: what it does not foresee must not end the process.
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, refuse(CodeInvalid, "the source cannot be compiled: %v", p)
		}
	}()
	c := protocompile.Compiler{MaxParallelism: 1, Resolver: protocompile.WithStandardImports(protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
		if path != name {
			return protocompile.SearchResult{}, errImport
		}
		return protocompile.SearchResult{Source: strings.NewReader(string(source))}, nil
	}))}
	files, err := c.Compile(context.Background(), name)
	switch {
	case errors.Is(err, errImport):
		return nil, refuse(CodeImport, "%s", oneLine(err))
	case err != nil:
		return nil, refuse(CodeInvalid, "%s", oneLine(err))
	}
	m, err := choose(files[0], o.Message)
	if err != nil {
		return nil, err
	}
	return &Schema{message: m}, nil
}

func oneLine(err error) string {
	s := strings.ReplaceAll(err.Error(), "\n", " ")
	return strings.ToValidUTF8(s[:min(len(s), 400)], "")
}

// deeper counts braces and brackets outside of texts and comments roughly: never too few.
func deeper(source []byte, limit int) bool {
	depth := 0
	for _, c := range source {
		switch c {
		case '{', '[', '<', '(':
			if depth++; depth > limit {
				return true
			}
		case '}', ']', '>', ')':
			depth = max(0, depth-1)
		}
	}
	return false
}

func choose(file protoreflect.FileDescriptor, message string) (protoreflect.MessageDescriptor, error) {
	all := file.Messages()
	if message == "" {
		if all.Len() != 1 {
			return nil, refuse(CodeMessage, "the source has %d messages at its top level: name the one that the payload is", all.Len())
		}
		return all.Get(0), nil
	}
	relative := strings.TrimPrefix(message, string(file.Package())+".")
	var found protoreflect.MessageDescriptor
	for _, part := range strings.Split(relative, ".") {
		if all == nil {
			break
		}
		found = all.ByName(protoreflect.Name(part))
		if found == nil {
			return nil, refuse(CodeMessage, "the source has no message %q", message)
		}
		all = found.Messages()
	}
	return found, nil
}

// Validate checks a payload: the JSON form of the message, without members that it does not know. The library stops
// at the first violation, so at most one is told; like those of a JSON Schema it never quotes the value.
func (s *Schema) Validate(raw []byte) []jsonschema.Violation {
	err := protojson.UnmarshalOptions{Resolver: nothing{}, RecursionLimit: 64}.Unmarshal(raw, dynamicpb.NewMessage(s.message))
	if err == nil {
		return nil
	}
	detail := "is not the JSON form of " + string(s.message.FullName())
	if at := position.FindString(err.Error()); at != "" {
		detail += ", from " + at + " of the payload on"
	}
	return []jsonschema.Violation{{Rule: "message", Detail: detail}}
}

// position is what the library says of the place of an error. The rest of its text quotes the value.
var position = regexp.MustCompile(`line \d+:\d+`)

// nothing resolves no extension and no google.protobuf.Any: what they hold is not known to the schema.
type nothing struct{}

func (nothing) FindExtensionByName(protoreflect.FullName) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

func (nothing) FindExtensionByNumber(protoreflect.FullName, protoreflect.FieldNumber) (protoreflect.ExtensionType, error) {
	return nil, protoregistry.NotFound
}

func (nothing) FindMessageByName(protoreflect.FullName) (protoreflect.MessageType, error) {
	return nil, protoregistry.NotFound
}

func (nothing) FindMessageByURL(string) (protoreflect.MessageType, error) {
	return nil, protoregistry.NotFound
}

// fields are a message's, by number.
func fields(m protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	list := make([]protoreflect.FieldDescriptor, 0, m.Fields().Len())
	for i := range m.Fields().Len() {
		list = append(list, m.Fields().Get(i))
	}
	slices.SortFunc(list, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	return list
}
