package schema

import (
	"slices"

	"github.com/weft-mesh/weft/streams/fault"
)

// Status is where a version stands in its life.
type Status string

// The statuses, in the order of a life. Draft: registered, checks nothing. Canary: checks a share of the traffic in
// shadow. Active: events of this version are checked against it. Deprecated: checked still, and producers are told.
// Retired: events of this version are refused.
const (
	Draft      Status = "draft"
	Canary     Status = "canary"
	Active     Status = "active"
	Deprecated Status = "deprecated"
	Retired    Status = "retired"
)

// next lists the steps from each status. A canary that turns red goes back to draft; what was deprecated too early
// may become active again; nothing comes back from retirement.
var next = map[Status][]Status{
	"":         {Draft},
	Draft:      {Canary, Active, Retired},
	Canary:     {Active, Draft, Retired},
	Active:     {Deprecated},
	Deprecated: {Active, Retired},
	Retired:    nil,
}

// ParseStatus reads a status's name.
func ParseStatus(s string) (Status, error) {
	if _, ok := next[Status(s)]; ok && s != "" {
		return Status(s), nil
	}
	return "", fault.New("schema.status", fault.Invalid, "schema_status", "%q is no status of a schema; they are draft, canary, active, deprecated and retired", s)
}

// Enforced says whether events are refused by a version of this status.
func (s Status) Enforced() bool { return s == Active || s == Deprecated }

// Accepts says whether events may name a version of this status at all.
func (s Status) Accepts() bool { return s == Canary || s == Active || s == Deprecated }

// May is nil where a version of status s may take the step to t; "" is one that is not registered yet.
func (s Status) May(t Status) error {
	allowed, known := next[s]
	if _, ok := next[t]; !known || !ok {
		return fault.New("schema.status", fault.Invalid, "schema_status", "from %q to %q: there is no such status", s, t)
	}
	if slices.Contains(allowed, t) {
		return nil
	}
	return fault.New("schema.status", fault.Conflict, "schema_step", "from %q there is no step to %q; there are %v", s, t, allowed)
}
