package jsonschema

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	library "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// decoded checks a value with the library. raw is strict JSON.
func (s *Schema) decoded(raw []byte) []Violation {
	v, err := library.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return []Violation{{Rule: "number", Detail: "is no JSON that can be checked"}}
	}
	if at, ok := immodest(v, nil); ok {
		return []Violation{{Pointer: bounded(at), Rule: "number", Detail: "is a number beyond ±1e" + strconv.Itoa(maxExponent) + ", or of more digits, which this schema cannot be checked against"}}
	}
	invalid, ok := errors.AsType[*library.ValidationError](s.library.Validate(v))
	if !ok {
		return nil
	}
	return s.flatten(nil, invalid)
}

// immodest finds a number that exact arithmetic would need much memory for.
func immodest(v any, path []string) (at []string, found bool) {
	switch v := v.(type) {
	case json.Number:
		return path, !modest([]byte(v))
	case []any:
		for i, e := range v {
			if at, found = immodest(e, append(path, strconv.Itoa(i))); found {
				return at, true
			}
		}
	case map[string]any:
		for name, e := range v {
			if at, found = immodest(e, append(path, name)); found {
				return at, true
			}
		}
	}
	return nil, false
}

func bounded(path []string) string {
	for len(path) > 0 {
		if p := pointerOf(path); len(p) <= maxPointer {
			return p
		}
		path = path[:len(path)-1]
	}
	return ""
}

// flatten collects the violations of what is asserted, as the program does: of branches that were only tried the
// keyword that wanted one of them is told.
func (s *Schema) flatten(list []Violation, e *library.ValidationError) []Violation {
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.AllOf, *kind.Reference:
		for _, cause := range e.Causes {
			list = s.flatten(list, cause)
		}
		return list
	}
	if len(list) >= s.options.MaxViolations {
		return list
	}
	v := Violation{Pointer: bounded(e.InstanceLocation), Rule: ruleOf(e.ErrorKind)}
	v.Schema = place(where(e.SchemaURL), v.Rule)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		return s.missing(list, v, k.Missing)
	case *kind.Dependency:
		return s.missing(list, v, k.Missing)
	case *kind.DependentRequired:
		return s.missing(list, v, k.Missing)
	case *kind.AdditionalProperties:
		v.Detail = "is no member that the schema knows, and it takes no others"
		slices.Sort(k.Properties)
		for _, name := range k.Properties {
			v.Pointer = bounded(append(slices.Clone(e.InstanceLocation), name))
			list = append(list, v)
		}
		return list[:min(len(list), s.options.MaxViolations)]
	}
	v.Detail = detailOf(e.ErrorKind)
	return append(list, v)
}

func (s *Schema) missing(list []Violation, v Violation, names []string) []Violation {
	for _, name := range names {
		v.Detail = "must have the member " + quote(name)
		list = append(list, v)
	}
	return list[:min(len(list), s.options.MaxViolations)]
}

func ruleOf(k library.ErrorKind) string {
	switch k := k.(type) {
	case *kind.FalseSchema:
		return ruleFalse
	case *kind.Not:
		return "not"
	case *kind.RefCycle:
		return "$ref"
	case *kind.Dependency:
		return "dependencies"
	default:
		if path := k.KeywordPath(); len(path) > 0 {
			return path[0]
		}
		return "schema"
	}
}

// detailOf says what the schema wants. The library's own texts quote the value; these do not.
func detailOf(k library.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return "must be of type " + strings.Join(k.Want, " or ")
	case *kind.Const:
		return "must be " + asText([]any{k.Want})
	case *kind.Enum:
		return "must be one of " + asText(k.Want)
	case *kind.Format:
		return "must be of the format " + quote(k.Want)
	case *kind.Pattern:
		return "must match " + quote(k.Want)
	case *kind.MinLength:
		return count("must have at least", k.Want, "characters")()
	case *kind.MaxLength:
		return count("must have at most", k.Want, "characters")()
	case *kind.MinItems:
		return count("must have at least", k.Want, "elements")()
	case *kind.MaxItems:
		return count("must have at most", k.Want, "elements")()
	case *kind.MinProperties:
		return count("must have at least", k.Want, "members")()
	case *kind.MaxProperties:
		return count("must have at most", k.Want, "members")()
	case *kind.Minimum:
		return "must be at least " + k.Want.RatString()
	case *kind.Maximum:
		return "must be at most " + k.Want.RatString()
	case *kind.ExclusiveMinimum:
		return "must be more than " + k.Want.RatString()
	case *kind.ExclusiveMaximum:
		return "must be less than " + k.Want.RatString()
	case *kind.MultipleOf:
		return "must be a multiple of " + k.Want.RatString()
	case *kind.FalseSchema:
		return "must not be there"
	default:
		return "does not match " + ruleOf(k)
	}
}

func asText(values []any) string {
	text, err := json.Marshal(values)
	if err != nil {
		return "what the schema says"
	}
	return shorten(string(text[1:len(text)-1]), maxQuoted)
}
