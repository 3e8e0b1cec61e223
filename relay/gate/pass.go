package gate

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/schema/jsonschema"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

// Pass checks the events of one request. Begin starts it; it looks on while the events are decoded, as an event.Visitor
// and, where there are rules, as an event.Watcher; Judge then gives each event's verdict, and Done counts. Its buffers
// serve one request after the other.
type Pass struct {
	gate   *Gate
	tenant string
	state  *control.State // of the request, where the gate is not compiled from it; else nil

	verdicts []Verdict
	run      *jsonschema.Run // of the payload that is read
	at       int             // its event
	typed    *rule.Checker   // what is asked of events of its type besides; nil: nothing
	payload  rule.Run        // of the payload that is read, where typed is set
	rules    rule.Run        // of the event that is read
	watched  int             // its place
	told     int             // violations
	counts   []count
	kinds    [kinds]int
}

var (
	_ event.Visitor = (*Pass)(nil)
	_ event.Watcher = (*Pass)(nil)
)

// Begin starts a request of the tenant. state is the request's, where Gates.Gate said that the gate is not current.
func (p *Pass) Begin(g *Gate, tenant string, state *control.State) {
	p.gate, p.tenant, p.state = g, tenant, state
}

// Reset ends a request: nothing of it is referred to any more.
func (p *Pass) Reset() {
	if p.run != nil { // the input ended within its payload
		p.run.Drop()
	}
	clear(p.verdicts)
	clear(p.counts)
	p.gate, p.state, p.run = nil, nil, nil
	p.verdicts, p.counts, p.told = p.verdicts[:0], p.counts[:0], 0
	p.kinds = [kinds]int{}
	p.typed = nil
	p.rules.Forget()
	p.payload.Forget()
}

// verdict is the place of an event's verdict.
func (p *Pass) verdict(i int) *Verdict {
	for i >= len(p.verdicts) {
		p.verdicts = append(p.verdicts, Verdict{})
	}
	return &p.verdicts[i]
}

// Payload is of event.Visitor.
func (p *Pass) Payload(index int, body, eventType, version []byte) (want bool) {
	if p.run != nil { // the line before ended within its payload
		p.run.Drop()
		p.run = nil
	}
	v := p.verdict(index)
	p.at = index
	p.decide(v, eventType, version)
	if v.Version != nil {
		if s := v.Version.streaming(); s != nil {
			p.run = s.Begin(body)
		}
	}
	if p.typed = p.gate.typed(eventType); p.typed != nil {
		p.payload.BeginPayload(p.typed, body)
	}
	return p.run != nil || p.typed != nil
}

// Token is of event.Visitor.
func (p *Pass) Token(kind jsontext.Kind, start, end int) {
	if p.run != nil {
		p.run.Token(kind, start, end)
	}
	if p.typed != nil {
		p.payload.Token(kind, start, end)
	}
}

// End is of event.Visitor.
func (p *Pass) End(start, end int) {
	v := &p.verdicts[p.at]
	if p.run != nil {
		found := p.run.End(start, end)
		p.run = nil
		if len(found) > 0 {
			p.refuse(v, v.Version.label, violations(found))
		}
	}
	if p.typed != nil && p.payload.Broken() {
		v.broken = true
	}
}

// Event is of event.Watcher.
func (p *Pass) Event(index int, body []byte) {
	p.noteRules()
	p.watched = index
	p.rules.Begin(p.gate.rules, body)
}

// noteRules keeps what the rules say of the event that was watched last.
func (p *Pass) noteRules() {
	if p.rules.Broken() {
		p.verdict(p.watched).broken = true
	}
}

// Next is of event.Watcher.
func (p *Pass) Next(kind jsontext.Kind, start, end int) {
	p.rules.Token(kind, start, end)
}

// Judge is the verdict on an event that was decoded without a refusal.
func (p *Pass) Judge(i int, e *event.Event) *Verdict {
	p.noteRules()
	v := p.verdict(i)
	if !v.known { // the decoder shows every payload; nothing passes unseen all the same
		p.decide(v, []byte(e.Type), []byte(e.SchemaVersion))
		p.whole(v, e)
		broken, err := p.broken(e)
		v.broken = len(broken) > 0 || err != nil
	} else if v.Version != nil && v.Refusal == nil && v.Version.streaming() == nil {
		p.whole(v, e)
	}
	if v.broken {
		p.breach(v, e)
	}
	p.count(v, e)
	return v
}

// whole checks a payload after it was decoded.
func (p *Pass) whole(v *Verdict, e *event.Event) {
	if v.Version == nil || v.Refusal != nil {
		return
	}
	if found := v.Version.Check(e.Payload); len(found) > 0 {
		p.refuse(v, v.Version.label, found)
	}
}

// broken are the rules that an event breaks, by a reading of its own.
func (p *Pass) broken(e *event.Event) ([]rule.Violation, error) {
	if p.gate.rules == nil {
		return nil, nil
	}
	list, err := p.gate.rules.Check(e.Raw)
	if typed := p.gate.typed([]byte(e.Type)); typed != nil && err == nil {
		var more []rule.Violation
		more, err = typed.Check(e.Raw)
		list = append(list, more...)
	}
	return list, err
}

// breach tells which rules an event breaks, before all that its schema says.
func (p *Pass) breach(v *Verdict, e *event.Event) {
	broken, err := p.broken(e)
	var found []Violation
	for _, want := range [...]struct{ rule, code, expected string }{{rule.Blocked, CodeBlocked, "must not be there: "}, {rule.Required, CodeMissing, "must be there: "}} {
		for _, b := range broken {
			if b.Rule == want.rule {
				found = append(found, Violation{Pointer: b.Pointer, Code: want.code, Rule: want.rule, Expected: want.expected + b.Path})
			}
		}
	}
	if err != nil || len(found) == 0 {
		// The two readings of one event differ, which they never do: it does not pass.
		found = []Violation{{Code: CodeBlocked, Rule: rule.Blocked, Expected: "the event breaks a rule that could not be found again"}}
	}
	label := "the tenant's rules"
	if r := v.Refusal; r != nil && len(r.Violations) > 0 {
		found = append(found, r.Violations...)
		label += " and " + v.Version.label
	}
	v.Kept = false
	p.refuse(v, label, found)
}
