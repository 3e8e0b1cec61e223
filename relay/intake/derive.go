package intake

import (
	"context"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/subject"
)

// Codes about the other major version of an event's type.
const (
	codeMajorOff        = "schema_major_off"   // the version is behind a flag that is off for the key
	codeCopyUnavailable = "copy_unavailable"   // the event is stored, and its copy is not
	warnCopyKept        = "copy_dead_lettered" // the event is stored, and there can be no copy of it
)

// twin is an event of the request that is stored in another major version too.
type twin struct {
	event int
	to    *gate.Twin
	copy  subject.Event // where the copy goes
	msg   uplink.Message
}

// What became of a copy, as the metrics name it.
const (
	copyStored      = "stored"
	copyDuplicate   = "duplicate"
	copyKept        = "dead_lettered"
	copyUnavailable = "unavailable"
)

// both finds the topic of an event's major version, and notes the event if it is to be stored in another one too. A
// major version behind a flag that is off for the key is refused: stored alone, it would be missing in the other one.
func (x *exchange) both(i int, key string, s *subject.Event, m *uplink.Message) *refusal {
	e, topic := &x.decoded[i].Event, s.Topic
	if x.gate == nil || !x.gate.Split(e.Type) {
		return nil
	}
	s.Topic = x.gate.Topic(topic, e.Type, e.SchemaVersion)
	to := x.gate.Twin(e.Type, e.SchemaVersion)
	switch {
	case to == nil && x.gate.Unmapped(e.Type, e.SchemaVersion):
		return postpone(gate.CodePending, e.Type+" lives in a major version before this one, and this relay is about to learn what maps one to the other")
	case to == nil:
		return nil
	}
	on := x.state.Flag(x.caller.tenant.Name, to.Flag).On(key)
	if !on && to.Up {
		return nil
	}
	w := twin{event: i, to: to, copy: *s, msg: *m}
	w.copy.Topic = to.Topic(topic)
	w.msg.ID, w.msg.Schema, w.msg.DerivedFrom = to.ID(e.ID), to.Schema(), e.ID
	x.twins = append(x.twins, w) // also of what is refused: it may be stored from when the flag was on
	if !on {
		return reject(codeMajorOff, "this major version of "+e.Type+" is behind flag "+to.Flag+", which is off for the event's key: send the version before it, or raise the flag", "/schema_version")
	}
	return nil
}

// derive stores the copies of the events that are stored by now. It comes after them, because a copy of an event that
// turns out to be another one's conflict would be there for good; a retry makes up for what is missing in between.
func (h *Handler) derive(ctx context.Context, x *exchange, trace string) {
	if len(x.twins) == 0 {
		return
	}
	x.clearMessages()
	var letters []twin
	for i := range x.twins {
		w := &x.twins[i]
		if o := &x.outcomes[w.event]; !o.done() {
			continue
		}
		c, err := w.to.Copy(&x.decoded[w.event].Event)
		if err != nil {
			h.bury(x, w, err.Error())
			letters = append(letters, *w)
			continue
		}
		w.msg.Subject, w.msg.Data, w.msg.DerivedDigest, w.msg.Mapping = w.copy.String(), c.Data, c.Digest, w.to.Mapping()
		x.msgs, x.sent = append(x.msgs, w.msg), append(x.sent, int32(i))
	}
	h.send(ctx, x, trace)
	for i := range x.acks {
		w := &x.twins[x.sent[i]]
		if x.acks[i].Status == uplink.Rejected { // now and for ever, as an answer of 503 would not be
			h.bury(x, w, x.acks[i].Detail)
			letters = append(letters, *w)
			continue
		}
		h.copied(x, w, &x.acks[i])
	}
	h.keepAll(ctx, x, letters, trace)
}

// copied folds the result of a copy, or of the letter that is there in its stead, into the outcome of its event.
func (h *Handler) copied(x *exchange, w *twin, r *uplink.Result) {
	o, result := &x.outcomes[w.event], copyStored
	switch {
	case r.Status != uplink.Stored && r.Status != uplink.Duplicate:
		result = copyUnavailable
		o.status, o.why = statusUnavailable, &why{code: codeCopyUnavailable, detail: "the event is stored, and its copy in the other major version is not: " + r.Detail}
	case w.msg.Letter != "":
		result = copyKept
		x.warn(warnCopyKept, w.to.Schema(), "there is no copy in this version: the mapping does not carry the event over, which is among the dead letters of this region")
	default:
		if r.Status == uplink.Duplicate {
			result = copyDuplicate
		}
		o.copy = w.to.ID(o.eventID)
	}
	h.o.Recorder.Copies(x.caller.tenant.Name, result, 1)
}

// keepAll stores the dead letters of copies that cannot be: the original is stored, and whoever repairs the mapping
// finds here what has to be sent again.
func (h *Handler) keepAll(ctx context.Context, x *exchange, letters []twin, trace string) {
	if len(letters) == 0 {
		return
	}
	x.clearMessages()
	for i := range letters {
		x.msgs = append(x.msgs, letters[i].msg)
	}
	h.send(ctx, x, trace)
	for i := range x.acks {
		h.copied(x, &letters[i], &x.acks[i])
	}
	if hushed, ok := h.o.Refusals.Say(x.caller.tenant.Name); ok {
		h.o.Logger.Error("events cannot be carried over into the other major version", zap.String("tenant", x.caller.tenant.Name),
			zap.String("schema", letters[0].to.Schema()), zap.Int("events", len(letters)), zap.Int("hushed", hushed))
	}
}

// bury makes the message of a copy one for the dead letters: the event as it came, and why there is no copy.
func (h *Handler) bury(x *exchange, w *twin, reason string) {
	w.msg.Schema, w.msg.DerivedFrom, w.msg.DerivedDigest, w.msg.Mapping = "", "", "", "" // what is kept is no copy
	l := deadletter.Letter{
		Cause: deadletter.Derivation, Attempts: 1, FirstError: w.to.Mapping() + ": " + reason, EventID: w.msg.ID,
		Subject: w.copy.String(), Origin: w.copy.Origin.String(), OriginSeq: x.outcomes[w.event].seq,
	}
	h.address(x, &l, x.decoded[w.event].Event.Raw, &w.msg)
	w.msg.Subject = subject.DeadLetter{Region: h.o.Region, Cause: l.Cause, Topic: w.copy.Topic, Durable: subject.RelayDurable}.String()
}

// clearMessages makes room for the next messages of the request.
func (x *exchange) clearMessages() {
	clear(x.msgs)
	clear(x.acks)
	x.msgs, x.acks, x.sent = x.msgs[:0], x.acks[:0], x.sent[:0]
}
