package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/subject"
)

// Schemas are the gates of all tenants; gate.Gates is one.
type Schemas interface {
	// Gate is the tenant's gate, nil where there is none yet; current says that it was compiled from this very state.
	Gate(tenant string, state *control.State) (g *gate.Gate, current bool)
}

// checking is what the events of a request are held to, and what came of it.
type checking struct {
	gate     *gate.Gate // nil: they are held to nothing
	pass     gate.Pass
	warnings []warning
	twins    []twin // events that are stored in another major version too
}

func (c *checking) reset() {
	if c.gate != nil {
		c.pass.Reset()
	}
	clear(c.warnings)
	clear(c.twins)
	c.gate, c.warnings, c.twins = nil, c.warnings[:0], c.twins[:0]
}

// hold lets the tenant's gate look on while the events are decoded.
func (h *Handler) hold(x *exchange, read *event.Reader) *problem {
	if h.o.Schemas == nil {
		return nil
	}
	tenant, state := x.caller.tenant, x.state
	g, current := h.o.Schemas.Gate(tenant.Name, state)
	if g == nil && tenant.In(h.o.Region) && (state.Rules[tenant.Name] != nil || len(state.TenantSchemas(tenant.Name, "")) > 0) {
		return fail(http.StatusServiceUnavailable, gate.CodePending, "the tenant is new to this relay, which is about to compile its schemas")
	}
	if g == nil || !g.Asks() && (current || len(state.TenantSchemas(tenant.Name, "")) == 0) {
		return nil
	}
	if current {
		state = nil
	}
	x.gate = g
	x.pass.Begin(g, tenant.Name, state)
	read.Visitor = &x.pass
	if g.Ruled() {
		read.Watcher = &x.pass
	}
	return nil
}

// passed is the verdict where nothing is asked.
var passed gate.Verdict

// judge is the verdict on a decoded event.
func (x *exchange) judge(i int) *gate.Verdict {
	if x.gate == nil {
		return &passed
	}
	v := x.pass.Judge(i, &x.decoded[i].Event)
	if v.Refusal == nil && v.Version != nil {
		if notice := v.Version.Notice(); notice != "" {
			x.warn(warnDeprecated, v.Version.Label(), notice)
		}
	}
	return v
}

// label is Weft-Schema of what passes; "" where no version judged it.
func label(v *gate.Verdict) string {
	if v.Version == nil {
		return ""
	}
	return v.Version.Label()
}

// settle counts the verdicts.
func (x *exchange) settle() {
	if x.gate != nil {
		x.pass.Done()
	}
}

// refuse makes a refusal by schemas or rules the outcome.
func (o *outcome) refuse(r *gate.Refusal) {
	o.status = statusRejected
	if r.Later {
		o.status = statusUnavailable
	}
	o.why = &why{code: r.Code, detail: r.Detail, pointer: r.Pointer, refusal: r}
}

// whyKept is told of each event that is kept among the dead letters for want of a schema.
var whyKept = why{code: gate.CodeUnknownType, pointer: "/event_type",
	detail: "the type has no schema: the event is kept among the dead letters of this region, where no consumer sees it"}

// letter makes the message of an event one for the dead letters, and appends its subject to those of the request.
func (h *Handler) letter(x *exchange, e *event.Event, s *subject.Event, m *uplink.Message) []byte {
	l := deadletter.Letter{Cause: deadletter.UnknownType, FirstError: whyKept.detail, EventID: e.ID, Subject: s.String(), Origin: s.Origin.String()}
	h.address(x, &l, e.Raw, m)
	return append(x.subjects, subject.DeadLetter{Region: h.o.Region, Cause: l.Cause, Topic: s.Topic, Durable: subject.RelayDurable}.String()...)
}

// address completes a letter and makes a message one that carries it into the dead letters of this region. Its id stands
// for the content too, so that another event under a used id is kept beside the first.
func (h *Handler) address(x *exchange, l *deadletter.Letter, raw []byte, m *uplink.Message) {
	at := x.now.UTC().Truncate(time.Millisecond)
	l.Consumer, l.Region, l.ParkedAt, l.FirstAt, l.LastAt, l.LastError = subject.RelayDurable, h.o.Region, at, at, at, l.FirstError
	if trace := parseTrace(x.request.Header[headerTraceParent]); trace != "" {
		l.TraceID = trace[3:35]
	}
	text, err := l.Text()
	if err != nil {
		panic("intake: a letter that is no JSON: " + err.Error()) // it is made of texts and times
	}
	sum := sha256.Sum256(raw)
	m.Region, m.Home, m.TTL, m.Remote, m.Data = h.o.Region, "", "", false, raw
	m.ID, m.Letter = subject.RelayDurable+"."+l.EventID+"."+hex.EncodeToString(sum[:8]), text
}

// warnDeprecated is the code of a warning: the event is stored.
const warnDeprecated = "schema_deprecated"

// warning is something that a producer should know of events that are stored.
type warning struct {
	code, schema, detail string
	events               int
}

// maxWarnings are told in one answer.
const maxWarnings = 32

// warn tells the producer something of one event.
func (x *exchange) warn(code, schema, detail string) {
	for i := range x.warnings {
		if w := &x.warnings[i]; w.code == code && w.schema == schema {
			w.events++
			return
		}
	}
	if len(x.warnings) == maxWarnings {
		return
	}
	x.warnings = append(x.warnings, warning{code: code, schema: schema, detail: detail, events: 1})
}

// appendWarnings appends the member warnings, where there are any.
func (x *exchange) appendWarnings(b []byte) []byte {
	if len(x.warnings) == 0 {
		return b
	}
	b = append(b, `,"warnings":[`...)
	for i := range x.warnings {
		w := &x.warnings[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, `{"events":`...), int64(w.events), 10)
		b = appendMember(b, "code", w.code)
		b = appendMember(b, "schema", w.schema)
		b = appendMember(b, "detail", w.detail)
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendViolations appends the member errors, with an index where the event is alone, as other problems have it.
func appendViolations(b []byte, r *gate.Refusal, index bool) []byte {
	if len(r.Violations) == 0 {
		return b
	}
	b = append(b, `,"errors":[`...)
	for i := range r.Violations {
		v := &r.Violations[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		if index {
			b = append(b, `"index":0,`...)
		}
		b = appendString(append(b, `"pointer":`...), v.Pointer)
		b = appendMember(b, "code", v.Code)
		b = appendMember(b, "rule", v.Rule)
		b = appendMember(b, "expected", v.Expected)
		b = appendMember(b, "schema", v.Schema)
		b = append(b, '}')
	}
	b = append(b, ']')
	if r.More {
		b = append(b, `,"errors_capped":true`...)
	}
	return b
}
