package intake

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/subject"
)

const codeOK = "ok"

// answerOne answers a single event.
func (h *Handler) answerOne(w http.ResponseWriter, x *exchange) (int, string) {
	o := &x.outcomes[0]
	if !o.done() {
		return h.refuse(w, x, &problem{status: o.httpStatus(), code: o.why.code, detail: o.why.detail, pointer: o.why.pointer, eventID: o.eventID, refusal: o.why.refusal})
	}
	b := append(x.out[:0], `{"event_id":`...)
	b = appendString(b, o.eventID)
	b = o.appendPlace(b)
	b = appendMember(b, "ack", o.ack)
	b = appendMember(b, "derived", o.copy)
	b = o.appendWhy(b)
	b = x.appendWarnings(b)
	x.out = append(b, '}', '\n')
	write(w, typeJSON, http.StatusAccepted, x.out)
	return http.StatusAccepted, codeOK
}

// httpStatus is the status of an answer about this event alone.
func (o *outcome) httpStatus() int {
	switch {
	case o.done():
		return http.StatusAccepted
	case o.status == statusUnavailable:
		return http.StatusServiceUnavailable
	case o.why.syntax:
		return http.StatusBadRequest
	case o.why.code == uplink.CodeEventIDConflict:
		return http.StatusConflict
	case o.why.code == codeTopicDenied || o.why.code == codeScope:
		return http.StatusForbidden
	case o.why.code == uplink.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusUnprocessableEntity
}

// appendPlace appends ,"status":… and where the event is.
func (o *outcome) appendPlace(b []byte) []byte {
	b = append(b, `,"status":"`...)
	b = append(b, o.status...)
	b = append(b, '"')
	if !o.done() {
		return b
	}
	b = append(b, `,"region":"`...)
	b = append(b, o.region.Name...)
	b = append(b, `","stream":"`...)
	if o.status == statusKept {
		b = append(b, subject.DeadLettersStream...)
	} else {
		b = append(b, subject.EventsStream...)
	}
	b = append(b, `","seq":`...)
	return strconv.AppendUint(b, o.seq, 10)
}

// results is the answer to a batch, as its own document or as a part of a problem.
type results struct {
	outcomes                                             []outcome
	all                                                  bool
	stored, duplicates, forwarded, rejected, unavailable int
	kept, copies                                         int
	ack                                                  string // what holds for all that are stored, "" for none
}

func summarize(outcomes []outcome, all bool) results {
	s := results{outcomes: outcomes, all: all}
	for i := range outcomes {
		o := &outcomes[i]
		if o.copy != "" {
			s.copies++
		}
		switch o.status {
		case statusStored:
			s.stored++
		case statusDuplicate:
			s.duplicates++
		case statusForwarded:
			s.forwarded++
		case statusKept:
			s.kept++
		case statusRejected:
			s.rejected++
		default:
			s.unavailable++
		}
	}
	s.ack = commonAck(outcomes)
	return s
}

// commonAck is what holds for every event that is stored. An event that a second region has is on disk only if
// its own region's acknowledgements say so.
func commonAck(outcomes []outcome) string {
	some, remote, synced := false, true, true
	for i := range outcomes {
		if o := &outcomes[i]; o.done() {
			some = true
			remote = remote && o.ack == accounts.AckRemote
			synced = synced && o.region.Ack == accounts.AckStoredFsync
		}
	}
	switch {
	case !some:
		return ""
	case remote:
		return accounts.AckRemote
	case synced:
		return accounts.AckStoredFsync
	}
	return accounts.AckStored
}

// append writes the members without the braces around them.
func (s *results) append(b []byte) []byte {
	for i, c := range [...]struct {
		name string
		n    int
	}{
		{"stored", s.stored}, {"duplicates", s.duplicates}, {"forwarded", s.forwarded}, {"rejected", s.rejected}, {"unavailable", s.unavailable},
	} {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, c.name...)
		b = append(b, '"', ':')
		b = strconv.AppendInt(b, int64(c.n), 10)
	}
	if s.kept > 0 {
		b = strconv.AppendInt(append(b, `,"dead_lettered":`...), int64(s.kept), 10)
	}
	if s.copies > 0 {
		b = strconv.AppendInt(append(b, `,"derived":`...), int64(s.copies), 10)
	}
	b = appendMember(b, "ack", s.ack)
	b = append(b, `,"results":[`...)
	first := true
	for i := range s.outcomes {
		o := &s.outcomes[i]
		if o.status == statusStored && !s.all {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = o.append(b, i, s.ack)
	}
	return append(b, ']')
}

// append writes one result; its ack only where it is another than the whole answer's.
func (o *outcome) append(b []byte, index int, ack string) []byte {
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(index), 10)
	b = appendMember(b, "event_id", o.eventID)
	b = o.appendPlace(b)
	if o.done() && o.ack != ack {
		b = appendMember(b, "ack", o.ack)
	}
	b = appendMember(b, "derived", o.copy)
	return append(o.appendWhy(b), '}')
}

// appendWhy tells why an event is not stored, or not plainly.
func (o *outcome) appendWhy(b []byte) []byte {
	if o.why == nil {
		return b
	}
	b = appendMember(b, "code", o.why.code)
	b = appendMember(b, "detail", o.why.detail)
	b = appendMember(b, "pointer", o.why.pointer)
	if r := o.why.refusal; r != nil {
		b = appendViolations(b, r, false)
	}
	return b
}

// answerBatch answers a batch: 200 with the results, or 503 when nothing is stored and a retry can
// change that.
func (h *Handler) answerBatch(w http.ResponseWriter, x *exchange) (int, string) {
	s := summarize(x.outcomes, x.all)
	if s.unavailable > 0 && s.stored+s.duplicates+s.forwarded+s.kept == 0 {
		p := &problem{status: http.StatusServiceUnavailable, results: &s}
		for i := range x.outcomes {
			if o := &x.outcomes[i]; o.status == statusUnavailable {
				p.code, p.detail = o.why.code, o.why.detail
				break
			}
		}
		return h.refuse(w, x, p)
	}
	if s.unavailable > 0 {
		w.Header().Set("Retry-After", h.retry)
	}
	b := append(x.out[:0], '{')
	b = s.append(b)
	b = x.appendWarnings(b)
	x.out = append(b, '}', '\n')
	write(w, typeJSON, http.StatusOK, x.out)
	return http.StatusOK, codeOK
}

// count records the outcomes, one call for each status and code.
func (h *Handler) count(x *exchange) {
	type class struct {
		status status
		code   string
	}
	var classes []class // few, so a scan is cheaper than a map
	var numbers []int
	for i := range x.outcomes {
		o := &x.outcomes[i]
		c := class{status: o.status}
		if o.why != nil {
			c.code = o.why.code
		}
		at := slices.Index(classes, c)
		if at < 0 {
			at = len(classes)
			classes, numbers = append(classes, c), append(numbers, 0)
		}
		numbers[at]++
	}
	records := recordsPerRequest
	for i, c := range classes {
		h.o.Recorder.Events(x.caller.tenant.Name, string(c.status), c.code, numbers[i])
		if c.status == statusRejected || c.status == statusUnavailable {
			records = h.noteEvents(x, c.code, numbers[i], records)
		}
	}
	x.noted = true
}
