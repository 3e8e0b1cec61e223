package intake

import (
	"net/http"

	"github.com/weft-mesh/weft/relay/guard"
)

// claim is what the replay guard has to do with a request.
type claim struct {
	group  *guard.Group // that journals it; nil while it is not claimed
	key    guard.Key
	repeat bool // under formBody: all of it was settled before
}

// checkReplay claims the request for this one attempt: a copy of it is refused from here on. What is refused later
// keeps its claim, because an honest retry is signed anew. Under formBody it is the same request, so that it is
// claimed when its events are settled, and a copy is no offence.
func (h *Handler) checkReplay(x *exchange) *problem {
	x.claim.key = guard.KeyOf(x.guard.scheme, x.guard.owner, x.guard.id)
	tenant := x.caller.tenant.Name
	if x.form == formBody {
		switch h.o.Guard.Check(tenant, x.claim.key) {
		case guard.Unavailable:
			return h.unguarded(h.o.Guard.Reason())
		case guard.Replayed:
			x.claim.repeat = true
		}
		return nil
	}
	group, verdict := h.o.Guard.Claim(tenant, x.claim.key)
	x.claim.group = group
	if verdict == guard.Replayed {
		h.o.Recorder.Replayed(tenant)
		return fail(http.StatusUnauthorized, codeReplayed, "this very request was sent before: sign each attempt anew, with a new request id or time and the same event ids")
	}
	return h.unclaimed(verdict)
}

// repeat answers the events of a body that was settled before: what the streams have is a duplicate.
func (x *exchange) repeat() {
	for i, at := range x.sent {
		o := &x.outcomes[at]
		o.status = statusDuplicate
		o.promise(&x.msgs[i])
	}
}

// checkJournaled lets an answer that says that the mesh has an event go once every relay can know the request. It runs
// after the events are published, beside which the journal was written: where it fails they may be stored, and a retry
// is told so.
func (h *Handler) checkJournaled(x *exchange) *problem {
	if x.claim.repeat || !x.some() {
		return nil
	}
	if x.form == formBody {
		for i := range x.outcomes {
			if s := x.outcomes[i].status; s == statusUnavailable || s == statusKept {
				return nil // the same request has to come again, or may, when the type has a schema
			}
		}
		var verdict guard.Verdict
		x.claim.group, verdict = h.o.Guard.Claim(x.caller.tenant.Name, x.claim.key)
		if verdict == guard.Replayed { // by a copy at the same time, with the same events
			return nil
		}
		if p := h.unclaimed(verdict); p != nil {
			return p
		}
	}
	if !x.claim.group.Stored() {
		return h.unguarded("the journal of request ids did not take this request; its events may be stored")
	}
	return nil
}

// some says whether the mesh has an event of the request.
func (x *exchange) some() bool {
	for i := range x.outcomes {
		if x.outcomes[i].done() {
			return true
		}
	}
	return false
}

func (h *Handler) unclaimed(v guard.Verdict) *problem {
	switch v {
	case guard.Full:
		return fail(http.StatusTooManyRequests, codeGuardFull, "the tenant sent more requests in the last minutes than relays can tell from copies: send more events in each")
	case guard.Unavailable:
		return h.unguarded(h.o.Guard.Reason())
	}
	return nil
}

func (h *Handler) unguarded(why string) *problem {
	return fail(http.StatusServiceUnavailable, codeGuardUnavailable, "%s: sign the request anew and retry with the same event ids", why)
}
