// Package rule says which fields no event of a tenant may have, and which ones each event must have, whatever its
// schema says.
//
// Those who answer for all of a tenant's events write a Set; the registry keeps it, the relay's gate compiles it once
// and asks it of each event: a Run says whether it breaks a rule while it is decoded, and Checker.Check tells how. All
// values but a Run are immutable, and all functions pure and safe for concurrent use.
//
// # Paths
//
// A path is names joined by dots, from the event's root: payload.card.number. An array on the way stands for each of
// its elements. In blocked fields a name may be * for any one member, and ** for any members, none included:
// payload.**.ssn is every ssn in the payload, at any depth. Names are compared after their escapes are resolved, letter
// by letter: SSN is not ssn.
package rule

import (
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/compat"
	"github.com/weft-mesh/weft/streams/subject"
)

// Policy is what becomes of an event whose type or version has no schema.
type Policy string

// The policies.
const (
	Accept     Policy = "accept"
	Refuse     Policy = "refuse"
	DeadLetter Policy = "dead-letter"
)

// Compatibility is what a version of a schema owes those before it.
type Compatibility struct {
	Enforce *bool        `json:"enforce,omitempty"` // nil: yes; with false it is told and not refused
	Mode    compat.Level `json:"mode,omitempty"`    // empty: backward_transitive
}

// Set is a tenant's rules. The zero value asks nothing of events.
type Set struct {
	Compatibility  Compatibility `json:"compatibility"`
	BlockedFields  []string      `json:"blocked_fields,omitempty"`
	RequiredFields []string      `json:"required_fields,omitempty"`
	UnknownTypes   Policy        `json:"unknown_types,omitempty"` // empty: accept

	Types map[string]Fields `json:"types,omitempty"` // what is asked of events of one type besides, in their payload
}

// Fields are what the events of one type must not have, and must have. Their paths begin with payload.
type Fields struct {
	BlockedFields  []string `json:"blocked_fields,omitempty"`
	RequiredFields []string `json:"required_fields,omitempty"`
}

// Bounds of a set.
const (
	MaxPaths = 128 // of each kind, of all types and of one
	MaxTypes = 64  // with fields of their own
	MaxPath  = 256 // bytes of one
	MaxNames = 16  // in one
)

// Enforced says whether incompatible versions are refused.
func (s *Set) Enforced() bool { return s.Compatibility.Enforce == nil || *s.Compatibility.Enforce }

// Mode is how versions are compared.
func (s *Set) Mode() compat.Mode {
	if s.Compatibility.Mode == "" {
		return compat.Mode{Level: compat.BackwardTransitive}
	}
	return compat.Mode{Level: s.Compatibility.Mode}
}

// Unknown is the policy for types without a schema.
func (s *Set) Unknown() Policy {
	if s.UnknownTypes == "" {
		return Accept
	}
	return s.UnknownTypes
}

func refusal(code, format string, args ...any) error {
	return fault.New("rule.compile", fault.Invalid, code, format, args...)
}

// Compile reads a set. A refusal is a *fault.Error of kind Invalid.
func Compile(s *Set) (*Checker, error) {
	if s.Compatibility.Mode != "" {
		if _, err := compat.ParseLevel(string(s.Compatibility.Mode)); err != nil {
			return nil, err
		}
	}
	if !slices.Contains([]Policy{Accept, Refuse, DeadLetter}, s.Unknown()) {
		return nil, refusal("rule_policy", "unknown_types %q is none of accept, refuse and dead-letter", s.UnknownTypes)
	}
	c, err := compile(Fields{s.BlockedFields, s.RequiredFields})
	if err != nil {
		return nil, err
	}
	if len(s.Types) > MaxTypes {
		return nil, refusal("rule_types", "%d types have fields of their own, and %d can", len(s.Types), MaxTypes)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Types)) {
		if !subject.ValidType(name) {
			return nil, refusal("rule_types", "%q is no event type", name)
		}
		typed, err := compile(s.Types[name])
		if err != nil {
			return nil, err
		}
		for _, p := range typed.paths {
			if p.names[0] != "payload" || len(p.names) < 2 {
				return nil, refusal("rule_path", "%s of %s: %q: what is asked of one type is in its payload: payload.…", p.rule, name, p.text)
			}
		}
		if len(typed.paths) == 0 {
			continue
		}
		if c.types == nil {
			c.types = map[string]*Checker{}
		}
		c.types[name] = typed
	}
	return c, nil
}

func compile(f Fields) (*Checker, error) {
	c := &Checker{}
	for _, kind := range []string{Blocked, Required} {
		list := f.BlockedFields
		if kind == Required {
			list = f.RequiredFields
		}
		if len(list) > MaxPaths {
			return nil, refusal("rule_paths", "%s has %d paths, and %d are possible", kind, len(list), MaxPaths)
		}
		for i, text := range list {
			names, err := parsePath(kind, text)
			if err != nil {
				return nil, err
			}
			if slices.Contains(list[:i], text) {
				return nil, refusal("rule_path", "%s names %q twice", kind, text)
			}
			c.paths = append(c.paths, path{rule: kind, text: text, names: names})
		}
	}
	c.grow()
	return c, nil
}

func parsePath(kind, text string) ([]string, error) {
	names := strings.Split(text, ".")
	switch {
	case len(text) > MaxPath || len(names) > MaxNames:
		return nil, refusal("rule_path", "a path in %s has %d names and %d bytes; %d and %d are possible", kind, len(names), len(text), MaxNames, MaxPath)
	case slices.Contains(names, ""):
		return nil, refusal("rule_path", "%s: %q is no path: names joined by single dots, such as payload.card.number", kind, text)
	case kind == Required && (slices.Contains(names, "*") || slices.Contains(names, "**")):
		return nil, refusal("rule_path", "%s: %q has a wildcard, and what must be there has one name", kind, text)
	case names[len(names)-1] == "**" || strings.Contains(text, "**.**"):
		return nil, refusal("rule_path", "%s: %q: after ** comes a name, or *", kind, text)
	}
	for _, name := range names {
		if name != "*" && name != "**" && strings.Contains(name, "*") {
			return nil, refusal("rule_path", "%s: %q: * stands for a whole name", kind, text)
		}
	}
	return names, nil
}
