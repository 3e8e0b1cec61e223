package intake

import (
	"context"

	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/relay/uplink"
)

// doubtful are the refused events of a request that may be stored all the same: what they are held to changes, and a
// retry of what was stored before must not be told that it was not taken.
type doubtful struct {
	doubted []int32 // the outcome of each probe; two in a row are an event's and its copy's
	probes  []uplink.Message
	beyond  int // refused events that are not asked about, because there are too many
}

func (d *doubtful) reset() {
	clear(d.probes)
	d.doubted, d.probes, d.beyond = d.doubted[:0], d.probes[:0], 0
}

// doubt notes an event that schemas or rules refuse for good, unless it would be refused anyway.
func (h *Handler) doubt(x *exchange, p *plan, i int, refused *gate.Refusal) {
	if refused.Later {
		return
	}
	e := &x.decoded[i].Event
	r := h.routeOf(x, p, e.Type)
	t, no := h.place(x, p, r, e)
	if no != nil {
		return
	}
	x.outcomes[i].region = t.region
	s, m := r.message(&t, e)
	before := len(x.twins)
	if no := x.both(i, t.key, &s, &m); no != nil && no.status != statusRejected {
		return // where its copy belongs is not known
	}
	m.Subject = s.String()
	if len(x.twins) > before && refused.ByRules() { // which its copy breaks as well: it is there, or cannot be
		w := x.twins[before]
		x.twins = x.twins[:before]
		w.msg.Subject = w.copy.String()
		x.probe(i, m, w.msg)
		return
	}
	x.probe(i, m)
}

// probe notes a refused event as one to ask its stream about, by its message and maybe that of its copy.
func (x *exchange) probe(i int, msgs ...uplink.Message) {
	if len(x.probes)+len(msgs) > uplink.MaxProbes {
		x.beyond++
		return
	}
	for range msgs {
		x.doubted = append(x.doubted, int32(i))
	}
	x.probes = append(x.probes, msgs...)
}

// What the streams say of refused events, as the metrics name it.
const (
	probeDuplicate   = "duplicate"   // it is stored
	probeConflict    = "conflict"    // another event is, under its id
	probeUnavailable = "unavailable" // its id is, and more cannot be said now
	probeAbsent      = "absent"      // its id is not known
	probeUnknown     = "unknown"     // nothing was said
	probeBeyond      = "beyond"      // not asked: there are too many
)

// recall asks the streams about the refused events that may be stored. What is stored is a duplicate, and another event
// under a used id a conflict, as if schemas and rules were still what they were; of all others the refusal stands.
func (h *Handler) recall(ctx context.Context, x *exchange) {
	if len(x.probes) == 0 {
		return
	}
	results := make([]uplink.Result, len(x.probes))
	h.o.Publisher.Probe(ctx, x.caller.tenant.Name, x.probes, results)
	told := map[string]int{}
	if x.beyond > 0 {
		told[probeBeyond] = x.beyond
	}
	for i := 0; i < len(results); i++ {
		at := i
		if i+1 < len(results) && x.doubted[i+1] == x.doubted[i] {
			i++
		}
		told[x.recalled(at, results[at:i+1])]++
	}
	for result, n := range told {
		h.o.Recorder.Probed(x.caller.tenant.Name, result, n)
	}
}

// recalled folds what is said of an event, and maybe of its copy, into its outcome, and names it.
func (x *exchange) recalled(at int, said []uplink.Result) string {
	o, r := &x.outcomes[x.doubted[at]], &said[0]
	if len(said) > 1 && r.Status == uplink.Duplicate {
		o.copy = x.probes[at+1].ID
		if said[1].Status != uplink.Duplicate {
			r, o.copy = &said[1], ""
		}
	}
	switch r.Status {
	case uplink.Duplicate:
		o.status, o.seq, o.why = statusDuplicate, r.Seq, nil
		o.promise(&x.probes[at])
		return probeDuplicate
	case uplink.Rejected:
		o.status, o.why = statusRejected, &why{code: r.Code, detail: r.Detail}
		return probeConflict
	case uplink.Unavailable:
		o.status, o.why = statusUnavailable, &why{code: r.Code, detail: r.Detail}
		return probeUnavailable
	case uplink.Unasked:
		return probeBeyond
	}
	if r.Code != "" {
		return probeUnknown
	}
	return probeAbsent
}
