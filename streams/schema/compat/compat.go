// Package compat says whether a new version of a schema may follow the old ones: whether every document of one
// version is valid under another.
//
// The registry asks it before it takes a version, and the command line before that. The answer for JSON Schema comes
// from a proof by cases over keywords, not from samples: what cannot be proven is refused, and says so. All functions
// are pure and safe for concurrent use.
//
// # Open content models
//
// A schema without additionalProperties takes members that it does not know, of any type. Strictly, giving such a
// name a type later is a break: old documents may carry it with another one. Nobody could ever add a member then, and
// producers do not send what they have not declared; so by default a document is taken to have the members that its
// schema declares (properties, patternProperties, additionalProperties as a schema) and no others. Mode.Strict reads
// schemas to the letter. Closing an open model is a break in both.
package compat

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// Level is what one version owes the others.
type Level string

// The levels. Backward: who reads with the new version can read what was written with the old. Forward: who reads
// with the old version can read what is written with the new. Full: both. Transitive: not only the last version
// counts, but all of them.
const (
	None               Level = "none"
	Backward           Level = "backward"
	BackwardTransitive Level = "backward_transitive"
	Forward            Level = "forward"
	ForwardTransitive  Level = "forward_transitive"
	Full               Level = "full"
	FullTransitive     Level = "full_transitive"
)

var levels = []Level{None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive}

// ParseLevel reads a level's name.
func ParseLevel(s string) (Level, error) {
	for _, l := range levels {
		if string(l) == s {
			return l, nil
		}
	}
	return "", fault.New("compat.level", fault.Invalid, "compat_level", "%q is no level of compatibility; they are none, and backward, forward and full, each also with _transitive", s)
}

// Transitive says whether all earlier versions count.
func (l Level) Transitive() bool { return strings.HasSuffix(string(l), "_transitive") }

// Directions are which of the two ways the level asks for.
func (l Level) Directions() (backward, forward bool) {
	full := l == Full || l == FullTransitive
	return full || l == Backward || l == BackwardTransitive, full || l == Forward || l == ForwardTransitive
}

// Mode is how schemas are compared.
type Mode struct {
	Level  Level
	Strict bool // open content models are read to the letter
}

// Finding is one reason why a version may not follow another.
type Finding struct {
	Direction Level  `json:"direction"` // Backward or Forward
	Against   string `json:"against"`   // the other version
	Path      string `json:"path"`      // of the values concerned: a JSON pointer in which * is any element or any other member
	Schema    string `json:"schema"`    // the place of the rule in the schema that is the stricter one here
	Rule      string `json:"rule"`      // the keyword
	Old       string `json:"old"`       // what the two versions say, shortened; "" is nothing
	New       string `json:"new"`
	Detail    string `json:"detail"`  // one line for a person
	WayOut    string `json:"way_out"` // what to do instead
	Proven    bool   `json:"proven"`  // false: it may be compatible, but that cannot be proven
}

// String is one line.
func (f Finding) String() string {
	doubt := ""
	if !f.Proven {
		doubt = " (cannot be proven to be compatible)"
	}
	return fmt.Sprintf("%s against %s at %q: %s: %s%s; old %s, new %s; %s", f.Direction, f.Against, f.Path, f.Rule, f.Detail, doubt, orNothing(f.Old), orNothing(f.New), f.WayOut)
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// Version is a schema with its name.
type Version struct {
	Name   string
	Schema *jsonschema.Schema
}

// MaxFindings bounds what Check tells.
const MaxFindings = 64

// Check compares a new version with those before it, oldest first. No finding: it may follow.
func Check(m Mode, before []Version, next Version) []Finding {
	if !m.Level.Transitive() && len(before) > 1 {
		before = before[len(before)-1:]
	}
	backward, forward := m.Level.Directions()
	var all []Finding
	for i := len(before) - 1; i >= 0; i-- {
		if backward {
			all = append(all, m.compare(Backward, before[i], next, before[i].Name)...)
		}
		if forward {
			all = append(all, m.compare(Forward, next, before[i], before[i].Name)...)
		}
	}
	return all[:min(len(all), MaxFindings)]
}

// compare says why not every document of from is valid under to.
func (m Mode) compare(d Level, from, to Version, against string) []Finding {
	p := &prover{strict: m.Strict, open: map[string]bool{}, equal: map[pair]bool{}}
	found := distinct(p.prove(set{from.Schema.Library()}, to.Schema.Library(), ""))
	for i := range found {
		f := &found[i]
		f.Direction, f.Against = d, against
		if d == Forward { // the prover's old is what documents are written with
			f.Old, f.New = f.New, f.Old
		}
		if f.WayOut == "" {
			f.WayOut = wayOut(d, f.Rule)
		}
	}
	return found
}

// distinct keeps one finding for each path and rule: cases of a proof may fail alike. One that is proven wins.
func distinct(list []Finding) []Finding {
	at := map[[2]string]int{}
	var out []Finding
	for _, f := range list {
		key := [2]string{f.Path, f.Rule}
		if i, ok := at[key]; !ok {
			at[key] = len(out)
			out = append(out, f)
		} else if f.Proven && !out[i].Proven {
			out[i] = f
		}
	}
	return out
}
