package gate

import (
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// Version is one version of a schema as the gate sees it. Immutable.
type Version struct {
	Subject     string // the event type
	Number      schema.Version
	Status      schema.Status
	quarantined bool
	tenant      string
	kind        *eventType
	text        string   // Number
	label       string   // Label
	notice      string   // of a deprecated one: what its producers are told
	share       uint64   // of a canary: in percent of keys
	judge       *Version // of events that name it: itself; of a canary the newest active one of its major, nil where there is none
	back        *Version // of an active one: what judges its events after it was rolled back; nil where nothing does
	unit        *unit    // of a live one
	tally       *tally   // of a live one
}

// Label is the value of Weft-Schema of what the version judged: type@version.
func (v *Version) Label() string { return v.label }

// Notice is what a producer is told whose events name the version; "" where there is nothing to tell.
func (v *Version) Notice() string { return v.notice }

// live says whether events may name it.
func (v *Version) live() bool { return v.Status.Accepts() && !v.quarantined }

// streaming is the schema that checks a payload while it is decoded; nil where that takes a second reading.
func (v *Version) streaming() *jsonschema.Schema {
	if s := v.unit.doc.JSON; s != nil {
		if yes, _ := s.Streaming(); yes {
			return s
		}
	}
	return nil
}

// Check says what is wrong with a payload, which is strict JSON. Nothing is counted.
func (v *Version) Check(payload []byte) []Violation {
	if v.unit.doc.Proto != nil {
		return violations(v.unit.doc.Proto.Validate(payload))
	}
	found, err := v.unit.doc.JSON.Validate(payload)
	if err != nil {
		return []Violation{{Pointer: "/payload", Code: CodeViolation, Rule: "json", Expected: "must be strict JSON"}}
	}
	return violations(found)
}

// violations are those of a payload, with their place in the event.
func violations(found []jsonschema.Violation) []Violation {
	if len(found) == 0 {
		return nil
	}
	out := make([]Violation, len(found))
	for i, f := range found {
		out[i] = Violation{Pointer: "/payload" + f.Pointer, Code: CodeViolation, Rule: f.Rule, Expected: f.Detail, Schema: f.Schema}
	}
	return out
}

// tries says whether a canary is tried on the events of a key: on those of a share of keys, which are the same ones at
// every relay and only become more while the share grows.
func (v *Version) tries(key string) bool {
	switch {
	case v.share >= 100:
		return true
	case v.share == 0:
		return false
	}
	h := uint64(14695981039346656037) // FNV-1a
	for _, part := range [...]string{v.tenant, v.label, key} {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * 1099511628211
		}
		h *= 1099511628211 // a zero between the parts
	}
	h ^= h >> 32 // the low bits alone mix too little of the last bytes
	return h%100 < v.share
}
