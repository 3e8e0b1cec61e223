package registry

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
	"github.com/weft-mesh/weft/streams/schema/mapping"
)

// Sample is what a mapping makes of one of its samples.
type Sample struct {
	Direction mapping.Direction `json:"direction"`
	Index     int               `json:"index"` // which one of its direction, from 0
	From      string            `json:"from"`  // the version that the sample is one of; empty: the major version has none yet
	To        string            `json:"to"`
	In        json.RawMessage   `json:"in"`
	Out       json.RawMessage   `json:"out,omitempty"`
	Problems  []string          `json:"problems"` // none: the sample shows that the mapping works
}

// maxProblems bounds what is told of one sample.
const maxProblems = 5

// Try compiles a mapping and applies it to its samples: each has to be a payload of its version, to become one of the
// other, and to come back if the mapping claims to be lossless. An error is a refusal of the mapping itself.
func Try(have []*accounts.Schema, subject string, low, high uint32, spec *mapping.Spec) (*mapping.Mapping, []Sample, error) {
	const op = "schema.map"
	switch {
	case low >= high:
		return nil, nil, fault.New(op, fault.Invalid, "mapping_majors", "a mapping is between a lower and a higher major version, not %d and %d", low, high)
	case !accounts.ValidName(spec.Flag):
		return nil, nil, fault.New(op, fault.Invalid, "mapping_flag", "%q is no name of a flag: \"flag\" names the one that says for which keys both versions are stored", spec.Flag)
	case len(spec.Samples.Low) == 0 || len(spec.Samples.High) == 0:
		return nil, nil, fault.New(op, fault.Invalid, "mapping_samples", "there is no sample of one version: give at least one payload of each, low and high")
	}
	m, err := mapping.Compile(spec)
	if err != nil {
		return nil, nil, err
	}
	ends := map[mapping.Direction]*end{}
	for d, major := range map[mapping.Direction]uint32{mapping.Up: low, mapping.Down: high} {
		if ends[d], err = newest(have, subject, major); err != nil {
			return nil, nil, err
		}
	}
	var out []Sample
	for i, in := range spec.Samples.Low {
		out = append(out, try(m, mapping.Up, mapping.Down, i, in, ends[mapping.Up], ends[mapping.Down]))
	}
	for i, in := range spec.Samples.High {
		out = append(out, try(m, mapping.Down, mapping.Up, i, in, ends[mapping.Down], ends[mapping.Up]))
	}
	return m, out, nil
}

// end is the newest version of one of a mapping's major versions.
type end struct {
	name     string
	compiled *Compiled
}

// newest is the newest version that is neither retired nor in quarantine; one without a name where there is none.
func newest(have []*accounts.Schema, subject string, major uint32) (*end, error) {
	for _, s := range slices.Backward(ofSubject(have, subject)) {
		if s.Version.Major == major && s.Status != schema.Retired && !s.Quarantined() {
			c, err := Compile(s.Document())
			return &end{s.Version.String(), c}, err
		}
	}
	return &end{}, nil
}

func (e *end) problems(what string, payload []byte) []string {
	if e.compiled == nil {
		return nil
	}
	var out []string
	found, err := e.compiled.Validate(payload)
	if err != nil {
		return []string{what + " is no strict JSON"}
	}
	for _, v := range found[:min(len(found), maxProblems)] {
		out = append(out, what+" is no payload of "+e.name+": "+v.Pointer+": "+v.Rule+": "+v.Detail)
	}
	return out
}

// Validate says what a payload has that the document does not allow.
func (c *Compiled) Validate(payload []byte) ([]jsonschema.Violation, error) {
	if c.Proto != nil {
		return c.Proto.Validate(payload), nil
	}
	return c.JSON.Validate(payload)
}

func try(m *mapping.Mapping, there, back mapping.Direction, i int, in json.RawMessage, from, to *end) Sample {
	t := Sample{Direction: there, Index: i, From: from.name, To: to.name, In: in, Problems: from.problems("the sample", in)}
	if len(t.Problems) == 0 {
		t.Problems = t.carry(m, there, back, to)
	}
	if t.Problems == nil {
		t.Problems = []string{}
	}
	return t
}

func (t *Sample) carry(m *mapping.Mapping, there, back mapping.Direction, to *end) []string {
	out, err := m.Apply(there, t.In)
	if err != nil {
		return []string{said(err)}
	}
	t.Out = out
	if found := to.problems("what it becomes", out); len(found) > 0 {
		return found
	}
	if !m.Spec.Lossless {
		return nil
	}
	again, err := m.Apply(back, out)
	switch {
	case err != nil:
		return []string{"on the way back: " + said(err)}
	case !mapping.Same(t.In, again):
		return []string{"the mapping claims to be lossless, and what comes back is " + string(again)}
	}
	return nil
}

// said is a failure with what the expression said: samples are the operator's own.
func said(err error) string {
	if f, ok := errors.AsType[*mapping.Failure](err); ok && f.Err != nil {
		return f.Error() + ": " + f.Err.Error()
	}
	return err.Error()
}

// Beside says whether a version may be there beside those of other major versions that are alive, and by which mapping;
// nil where there are none. Two contracts under one name are possible only if events of one can be given to readers
// of the other.
func Beside(have []*accounts.Schema, maps []*accounts.Mapping, d *schema.Document, alive func(*accounts.Schema) bool) (*accounts.Mapping, error) {
	var other *accounts.Schema
	for _, one := range ofSubject(have, d.Subject) {
		if !alive(one) || !d.Version.NewMajor(one.Version) {
			continue
		}
		if other != nil && other.Version.Major != one.Version.Major {
			return nil, fault.New("schema.majors", fault.Conflict, "schema_majors",
				"%s lives as %s and %s, and no more than two major versions can live at once: retire one of them first", d.Subject, other.Version, one.Version)
		}
		other = one
	}
	if other == nil {
		return nil, nil
	}
	low, high := min(d.Version.Major, other.Version.Major), max(d.Version.Major, other.Version.Major)
	for _, m := range maps {
		if m.There() && m.Subject == d.Subject && m.Low == low && m.High == high {
			return m, nil
		}
	}
	return nil, fault.New("schema.majors", fault.Conflict, "schema_major",
		"%s lives as %s, and nothing maps it to %s, another contract under one name: `weft schema map TENANT %s %d %d FILE`, go on as %s, or register another event type",
		d.Subject, other.Version, d.Version, d.Subject, low, high, following(ofSubject(have, d.Subject), other.Version))
}

// NotRetired are versions that may still become what events name.
func NotRetired(s *accounts.Schema) bool { return s.Status != schema.Retired }
