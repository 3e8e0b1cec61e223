// Package mapping carries payloads between two major versions of one event type: up, from the lower to the higher one,
// and down. A mapping is two lists of steps, each a change of the members at one path: renamed, moved, copied,
// removed, given a default, converted, wrapped, unwrapped, or computed by an expression (CEL).
//
// The registry compiles mappings before it takes them, relays apply them to what they store in both versions. A
// Mapping is deterministic and has no I/O: the same payload makes the same bytes everywhere. Numbers keep their digits,
// or change by exact decimal arithmetic; nothing goes through floating point. What a step does not touch keeps its
// bytes and its place, without the white space between.
//
// Mappings come from tenants: all they may cost is bounded, see Limits and Compile. Compiled ones are immutable and
// safe for concurrent use.
package mapping

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/streams/fault"
)

// Limits of a mapping. Sizes are bytes.
const (
	MaxSteps      = 128       // of each direction
	MaxPath       = 256       // of one path
	MaxNames      = 16        // of one path
	MaxTable      = 256       // entries of one table
	MaxExpression = 1024      // of one expression
	MaxComputed   = 32        // computed values of each direction
	MaxSamples    = 32        // of each major version
	MaxCost       = 50_000    // of one evaluation, in CEL's units
	MaxGrowth     = 256 << 10 // by which a payload may grow
)

// Spec is a mapping as it is written.
type Spec struct {
	// Flag names the tenant's flag that says for which keys both versions are stored.
	Flag string `json:"flag"`
	// Lossless claims that nothing is lost: down after up, and up after down, give back the payload. It is checked with
	// the samples.
	Lossless bool   `json:"lossless,omitempty"`
	Up       []Step `json:"up"`
	Down     []Step `json:"down"` // nil: the inverse of Up
	// Samples are payloads of the lower and of the higher version that show what the mapping does.
	Samples Samples `json:"samples"`
}

// Samples are payloads, JSON.
type Samples struct {
	Low  []json.RawMessage `json:"low"`
	High []json.RawMessage `json:"high"`
}

// Step is one change. Paths are JSON pointers (RFC 6901) into the payload, in which a name * stands for each element
// of an array. What is not there is left alone, except by default and compute, which make it.
type Step struct {
	Op Op     `json:"op"`
	At string `json:"at"`
	// To is the new name (rename), another path with the same arrays on its way (move, copy), or the name of the only
	// member of the object around the value (wrap, unwrap).
	To    string `json:"to,omitempty"`
	Array bool   `json:"array,omitempty"` // wrap, unwrap: an array of one element instead of an object

	Value json.RawMessage `json:"value,omitempty"` // default: what is put where nothing is

	// Of convert, one of these.
	Type     Conversion  `json:"type,omitempty"`
	Multiply json.Number `json:"multiply,omitempty"`
	Divide   json.Number `json:"divide,omitempty"` // by a number whose inverse is a decimal, such as 100
	Table    []Entry     `json:"table,omitempty"`

	CEL string `json:"cel,omitempty"` // compute: of payload, and in arrays of item, the element that holds At
}

// Entry says what one value becomes.
type Entry struct {
	From json.RawMessage `json:"from"`
	To   json.RawMessage `json:"to"`
}

// Op is what a step does.
type Op string

// The operations.
const (
	Rename  Op = "rename"
	Move    Op = "move"
	Copy    Op = "copy"
	Remove  Op = "remove"
	Default Op = "default"
	Convert Op = "convert"
	Wrap    Op = "wrap"
	Unwrap  Op = "unwrap"
	Compute Op = "compute"
)

// Failure says why a payload cannot be carried over. It never tells of values.
type Failure struct {
	Direction Direction
	Step      int // from 0
	Op        Op
	At        string
	Detail    string
	Err       error // what an expression failed with, or nil; it may quote values
}

// Error is place and reason, such as "up[2] convert /amount: is no number".
func (f *Failure) Error() string {
	return fmt.Sprintf("%s[%d] %s %s: %s", f.Direction, f.Step, f.Op, f.At, f.Detail)
}

// Direction is up or down.
type Direction string

// The directions.
const (
	Up   Direction = "up"   // from the lower major version to the higher
	Down Direction = "down" // and back
)

// Mapping is a compiled Spec.
type Mapping struct {
	Spec Spec // with Down filled in
	up   []step
	down []step
}

// Compile checks a mapping and makes it ready. A refusal is a *fault.Error of kind Invalid that says which step, what
// about it, and what to do.
func Compile(s *Spec) (*Mapping, error) {
	m := &Mapping{Spec: *s}
	var err error
	if m.up, err = compileAll(Up, s.Up); err != nil {
		return nil, err
	}
	if m.Spec.Down == nil {
		down, err := inverse(s.Up)
		if err != nil {
			return nil, err
		}
		m.Spec.Down = down
	}
	if n := max(len(s.Samples.Low), len(s.Samples.High)); n > MaxSamples {
		return nil, fault.New(op, fault.Invalid, "mapping_samples", "there are %d samples of one version, and %d are possible", n, MaxSamples)
	}
	m.down, err = compileAll(Down, m.Spec.Down)
	return m, err
}

const op = "mapping.compile"

// refuse names a step of a mapping that may not be.
func refuse(d Direction, i int, s *Step, code, format string, args ...any) error {
	return fault.New(op, fault.Invalid, code, "%s[%d] %s %s: %s", d, i, s.Op, s.At, fmt.Sprintf(format, args...))
}

func compileAll(d Direction, steps []Step) ([]step, error) {
	if len(steps) > MaxSteps {
		return nil, fault.New(op, fault.Invalid, "mapping_steps", "%s has %d steps, and %d are possible: compute an object at once, or go on in smaller versions", d, len(steps), MaxSteps)
	}
	computed := 0
	out := make([]step, 0, len(steps))
	for i := range steps {
		s := &steps[i]
		if s.Op == Compute {
			computed++
		}
		if computed > MaxComputed {
			return nil, refuse(d, i, s, "mapping_computed", "there are more than %d computed values", MaxComputed)
		}
		at, err := parsePath(s.At)
		if err != nil {
			return nil, refuse(d, i, s, "mapping_path", "%v", err)
		}
		do, err := compile(s, at)
		if err != nil {
			return nil, refuse(d, i, s, codeOf(err), "%v", err)
		}
		out = append(out, step{spec: s, at: at, do: do})
	}
	return out, nil
}

// flaw is what is wrong with a step.
type flaw struct{ code, detail string }

func (f *flaw) Error() string { return f.detail }

func flawed(code, format string, args ...any) error {
	return &flaw{code, fmt.Sprintf(format, args...)}
}

func codeOf(err error) string {
	if f, ok := err.(*flaw); ok { //nolint:errorlint // made here, never wrapped
		return f.code
	}
	return "mapping_step"
}

// Apply carries a payload, a JSON object, over. An error is a *Failure, or tells that the payload is no JSON object.
func (m *Mapping) Apply(d Direction, payload []byte) ([]byte, error) {
	root, err := parse(payload)
	if err != nil {
		return nil, err
	}
	if root.kind != '{' {
		return nil, fault.New("mapping.apply", fault.Invalid, "mapping_payload", "the payload is no object")
	}
	steps := m.up
	if d == Down {
		steps = m.down
	}
	r := &run{root: root, room: MaxGrowth}
	for i := range steps {
		s := &steps[i]
		r.computed = nil
		if err := s.at.each(r.root, func(base **node) error { return s.do(r, base) }); err != nil {
			f := &Failure{Direction: d, Step: i, Op: s.spec.Op, At: s.spec.At, Detail: err.Error()}
			if e, ok := err.(*evaluation); ok { //nolint:errorlint // made here, never wrapped
				f.Err = e.cause
			}
			return nil, f
		}
	}
	return root.append(make([]byte, 0, len(payload)+len(payload)/4)), nil
}

// step is one compiled Step.
type step struct {
	spec *Step
	at   path
	do   func(r *run, base **node) error
}

// run is one application.
type run struct {
	root     *node
	room     int // bytes that the payload may still grow by
	computed any // the payload as expressions see it, once one asked
}

// grow takes bytes from what is left.
func (r *run) grow(bytes int) error {
	if r.room -= bytes; r.room < 0 {
		return fmt.Errorf("the payload grows by more than %d bytes", MaxGrowth)
	}
	return nil
}

// Same says whether two payloads say the same: members in any order, numbers by value.
func Same(a, b []byte) bool {
	x, err := parse(a)
	if err != nil {
		return false
	}
	y, err := parse(b)
	return err == nil && x.same(y)
}

// inverse is the list that undoes another one.
func inverse(steps []Step) ([]Step, error) {
	out := make([]Step, 0, len(steps))
	for i := range slices.Backward(steps) {
		s, err := steps[i].inverse()
		if err != nil {
			return nil, refuse(Up, i, &steps[i], "mapping_inverse", "%v: write down's steps out", err)
		}
		out = append(out, s)
	}
	return out, nil
}
