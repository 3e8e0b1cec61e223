package gate

import (
	"strconv"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

// Codes of refusals. They are part of the HTTP interface: never renamed.
const (
	CodeViolation          = "schema_violation"
	CodeBlocked            = "field_blocked"
	CodeMissing            = "field_missing"
	CodeUnknownType        = "unknown_type"
	CodeVersionUnknown     = "schema_version_unknown"
	CodeVersionDraft       = "schema_version_draft"
	CodeVersionRetired     = "schema_version_retired"
	CodeVersionQuarantined = "schema_version_quarantined"
	CodePending            = "schema_pending"  // not compiled yet: again later
	CodeUnusable           = "schema_unusable" // this relay cannot compile it
)

// MaxViolations are told of one event.
const MaxViolations = 32

// maxOfRequest are told of all events of a request; beyond them each refused event has its first one.
const maxOfRequest = 1024

// Violation is one way in which an event is not what is wanted. It never quotes a value.
type Violation struct {
	Pointer  string // RFC 6901, from the event's root; it may hold names that the producer chose
	Code     string // CodeViolation, CodeBlocked or CodeMissing
	Rule     string // the keyword of the schema, or blocked_fields or required_fields
	Expected string // what the schema or the rule wants
	Schema   string // where the schema says so: RFC 6901, from the schema's root
}

// Refusal is why an event does not pass. Detail has nothing of the event's content but its type and version.
type Refusal struct {
	Code, Detail, Pointer string
	Violations            []Violation
	More                  bool // there are more than Violations tells
	Later                 bool // it may pass later, as it is
}

// ByRules says whether the event breaks the tenant's rules, whatever its schema says.
func (r *Refusal) ByRules() bool { return r.Code == CodeBlocked || r.Code == CodeMissing }

// Verdict is what became of one event.
type Verdict struct {
	Version *Version // that judged it; nil where none did
	Refusal *Refusal // nil: it passes
	// Kept says that the event's type has no schema, and that the tenant's rules want it among the dead letters.
	Kept bool

	named  *Version // by the event
	broken bool     // it breaks rules
	known  bool     // its type and version were looked at
}

// decide finds who judges an event that names a version of a type, or why it is refused.
func (p *Pass) decide(v *Verdict, eventType, version []byte) {
	v.known = true
	if p.gate.unusable {
		v.Refusal = &Refusal{Code: CodeUnusable, Later: true, Detail: "the tenant's rules do not compile at this relay, which may be older than the mesh"}
		return
	}
	t := p.gate.types[string(eventType)]
	if t == nil {
		p.strange(v, string(eventType), string(version))
		return
	}
	switch named := t.find(version); {
	case named != nil && named.live():
		p.judge(v, named)
	case t.governed:
		v.Refusal = p.refuseVersion(t, named, string(version))
	default:
		p.strange(v, string(eventType), string(version))
	}
}

// judge finds who judges an event that names a version that holds.
func (p *Pass) judge(v *Verdict, named *Version) {
	v.named, v.Version = named, named.judge
	if judge := v.Version; judge != nil && judge.unit.err != nil {
		v.Refusal = &Refusal{Code: CodeUnusable, Pointer: "/schema_version", Later: true, Detail: judge.label + " does not compile at this relay, which may be older than the mesh"}
		v.Version = nil
	}
}

// strange decides about a type without a schema.
func (p *Pass) strange(v *Verdict, eventType, version string) {
	switch {
	case p.coming(eventType, version):
		v.Refusal = pending(eventType, version)
	case p.gate.policy == rule.Accept:
	case p.gate.policy == rule.DeadLetter:
		v.Kept = true
	default:
		v.Refusal = &Refusal{Code: CodeUnknownType, Pointer: "/event_type", Detail: "the type has no schema, and the tenant's rules refuse such types: register one"}
	}
}

func pending(eventType, version string) *Refusal {
	return &Refusal{Code: CodePending, Pointer: "/schema_version", Later: true, Detail: eventType + " " + version + " is new, and this relay is about to compile it"}
}

func (p *Pass) refuseVersion(t *eventType, named *Version, version string) *Refusal {
	r := &Refusal{Pointer: "/schema_version"}
	if (named == nil || !named.live()) && p.coming(t.name, version) {
		return pending(t.name, version)
	}
	switch {
	case named == nil:
		r.Code, r.Detail = CodeVersionUnknown, "has no version of this name"
		if _, err := schema.ParseVersion(version); err == nil { // else a producer may have written anything behind a hyphen
			r.Detail = "has no version " + version
		}
	case named.quarantined:
		r.Code, r.Detail = CodeVersionQuarantined, version+" is in quarantine: two regions registered other content under it"
	case named.Status == schema.Draft:
		r.Code, r.Detail = CodeVersionDraft, version+" is a draft: promote it first"
	default:
		r.Code, r.Detail = CodeVersionRetired, version+" is retired"
	}
	r.Detail = t.name + " " + r.Detail + "; there are " + t.known()
	return r
}

// coming says whether the control state of the request lets events name a version, which the gate will know once it
// has caught up.
func (p *Pass) coming(eventType, version string) bool {
	if p.state == nil {
		return false
	}
	number, err := schema.ParseVersion(version)
	if err != nil {
		return false
	}
	s := p.state.Schemas[accounts.SchemaID(p.tenant, eventType, number)]
	return s != nil && s.Accepts()
}

// refuse makes the refusal of an event with violations.
func (p *Pass) refuse(v *Verdict, label string, found []Violation) {
	r := &Refusal{Code: found[0].Code, Pointer: found[0].Pointer, Violations: found}
	n := len(found)
	if r.More = n > MaxViolations; r.More {
		n = MaxViolations
	}
	count := strconv.Itoa(n) + " violations"
	switch {
	case r.More:
		count = "more than " + count
	case n == 1:
		count = "1 violation"
	}
	if p.told+n > maxOfRequest {
		r.More, n = r.More || n > 1, 1
	}
	p.told += n
	r.Violations = found[:n:n]
	first := found[0].Expected + " (" + found[0].Rule
	if at := found[0].Schema; at != "" {
		first += ", at " + at + " of the schema"
	}
	r.Detail = label + ": " + count + "; the first: " + first + ")"
	v.Refusal = r
}
