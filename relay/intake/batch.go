package intake

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/event"
)

// status is an event's status as the answer names it.
type status string

const (
	statusStored      status = "stored"
	statusDuplicate   status = "duplicate"
	statusForwarded   status = "forwarded"
	statusKept        status = "dead_lettered" // its type has no schema: no consumer sees it
	statusRejected    status = "rejected"
	statusUnavailable status = "unavailable"
)

// outcome is what became of one event.
type outcome struct {
	status  status
	eventID string
	region  *accounts.RegionInfo // that stores it, nil when none was chosen
	seq     uint64
	ack     string // what a success guarantees
	copy    string // the id of its copy in another major version, "" without one
	why     *why   // of a rejected, unavailable or dead-lettered one
}

// done says whether the mesh has the event.
func (o *outcome) done() bool { return o.status != statusRejected && o.status != statusUnavailable }

// promise sets what a success guarantees of a message's event.
func (o *outcome) promise(m *uplink.Message) {
	if o.ack = o.region.Ack; m.Remote {
		o.ack = accounts.AckRemote
	}
}

// decode reads every event of the body. single says that the body is one event and not a batch of one.
func (h *Handler) decode(x *exchange) (single bool, p *problem) {
	read := event.Reader{Limits: h.events}
	if p := h.hold(x, &read); p != nil {
		return false, p
	}
	var err error
	switch {
	case contentKind(x.signed.ContentType) == typeNDJSON:
		x.decoded, err = read.DecodeLines(x.body, x.decoded)
	case firstByte(x.body) == '[':
		x.decoded, err = read.DecodeArray(x.body, x.decoded)
	default:
		single = true
		x.decoded = slices.Grow(x.decoded, 1)[:1]
		err = read.Decode(x.body, &x.decoded[0].Event)
	}
	if err == nil {
		return single, nil
	}
	e, ok := errors.AsType[*event.Error](err)
	if !ok {
		return single, fail(http.StatusBadRequest, codeInternal, "the body could not be read")
	}
	p = &problem{status: statusOf(e), code: e.Code, detail: e.Detail, pointer: e.Pointer}
	if !single && e.Code != event.CodeEmptyBatch && e.Code != event.CodeTooManyEvents {
		p.index, p.hasIndex = e.Index, true
	}
	return single, p
}

// statusOf is the HTTP status of a single event, or a whole body, that cannot be read.
func statusOf(e *event.Error) int {
	switch {
	case e.Code == event.CodeTooLarge || e.Code == event.CodeTooManyEvents:
		return http.StatusRequestEntityTooLarge
	case e.Syntax || e.Code == event.CodeEmptyBatch:
		return http.StatusBadRequest
	}
	return http.StatusUnprocessableEntity
}

// firstByte is the first byte of a JSON text that is not white space, 0 when there is none.
func firstByte(b []byte) byte {
	for _, c := range b {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// route makes a message of every event that may be stored and an outcome of every one that may not.
func (h *Handler) route(x *exchange) *problem {
	p, bad := h.plan(x)
	if bad != nil {
		return bad
	}
	n := len(x.decoded)
	x.outcomes = slices.Grow(x.outcomes, n)[:n]
	x.msgs, x.sent = slices.Grow(x.msgs, n), slices.Grow(x.sent, n)
	for i := range x.decoded {
		o, e := &x.outcomes[i], &x.decoded[i].Event
		*o = outcome{eventID: e.ID}
		if err := x.decoded[i].Err; err != nil {
			o.status, o.why = statusRejected, &why{code: err.Code, detail: err.Detail, pointer: err.Pointer, syntax: err.Syntax}
			continue
		}
		v := x.judge(i)
		if v.Refusal != nil {
			o.refuse(v.Refusal)
			h.doubt(x, p, i, v.Refusal)
			continue
		}
		r := h.routeOf(x, p, e.Type)
		t, no := h.place(x, p, r, e)
		o.region = t.region
		if no != nil {
			o.status, o.why = no.status, &no.why
			continue
		}
		s, m := r.message(&t, e)
		m.Schema = label(v)
		if v.Kept {
			o.region = p.self
			x.subjects = h.letter(x, e, &s, &m)
		} else if no := x.both(i, t.key, &s, &m); no != nil {
			o.status, o.why = no.status, &no.why
			if no.status == statusRejected {
				m.Subject = s.String()
				x.probe(i, m)
			}
			continue
		} else {
			x.subjects = s.Append(x.subjects)
		}
		x.ends = append(x.ends, len(x.subjects))
		x.msgs = append(x.msgs, m)
		x.sent = append(x.sent, int32(i))
	}
	x.settle()
	// one allocation for all subjects
	all, from := string(x.subjects), 0
	for i, end := range x.ends {
		x.msgs[i].Subject = all[from:end]
		from = end
	}
	return nil
}

// send stores the messages, and sets their results.
func (h *Handler) send(ctx context.Context, x *exchange, trace string) {
	if len(x.msgs) == 0 {
		return
	}
	stamp := uplink.Stamp{
		IngestedAt: x.now.UTC().Format(time.RFC3339Nano), Relay: h.o.RelayID, Kid: x.caller.key.Kid,
		Source: x.caller.producer, TraceParent: trace,
	}
	x.acks = slices.Grow(x.acks, len(x.msgs))[:len(x.msgs)]
	start := h.o.Now()
	h.o.Publisher.Publish(ctx, x.caller.tenant.Name, &stamp, x.msgs, x.acks)
	h.o.Recorder.Published(h.o.Now().Sub(start))
}

// publish stores the messages and turns their results into outcomes.
func (h *Handler) publish(ctx context.Context, x *exchange, trace string) {
	h.send(ctx, x, trace)
	for i := range x.acks {
		a, o := &x.acks[i], &x.outcomes[x.sent[i]]
		o.seq = a.Seq
		o.promise(&x.msgs[i])
		switch a.Status {
		case uplink.Stored:
			o.status = statusStored
			if o.region.Name != h.o.Region {
				o.status = statusForwarded
			}
			if x.msgs[i].Letter != "" {
				o.status, o.why = statusKept, &whyKept
			}
		case uplink.Duplicate:
			o.status = statusDuplicate
		case uplink.Rejected:
			o.status, o.why = statusRejected, &why{code: a.Code, detail: a.Detail}
		default:
			o.status, o.why = statusUnavailable, &why{code: a.Code, detail: a.Detail}
		}
	}
}
