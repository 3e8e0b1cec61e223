package intake

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/deadletter"
)

// Refusals keeps account of what is refused and of the clocks of those who send. Its methods are called on the
// way of a request and must not block.
type Refusals interface {
	// Skew notes how far a source's clock is ahead of the relay's. It is called for every authenticated request.
	Skew(tenant, source string, ahead time.Duration)
	// Refused counts n refusals, and says whether it wants a record of them. tenant is "" where nothing credible
	// names one.
	Refused(tenant, source, code string, n int) (keep bool)
	// Keep takes the record that Refused asked for, and owns it.
	Keep(tenant string, r *deadletter.Record)
	// Say says whether a refusal may have a line in the relay's log, and how many had none since the last one.
	Say(tenant string) (hushed int, ok bool)
}

// noAccount is for a handler without Refusals.
type noAccount struct{}

func (noAccount) Skew(string, string, time.Duration)       {}
func (noAccount) Refused(string, string, string, int) bool { return false }
func (noAccount) Keep(string, *deadletter.Record)          {}
func (noAccount) Say(string) (int, bool)                   { return 0, true }

// measure notes the clock of an authenticated request, whatever becomes of it.
func (h *Handler) measure(x *exchange) {
	if x.form != formBody && h.o.Clock.Unsure() == "" { // body carries no time
		h.o.Refusals.Skew(x.caller.tenant.Name, x.caller.producer, -x.skew())
	}
}

// sender is whose request was refused. Without a tenant, it is nobody's.
type sender struct {
	tenant, source string
	proof          deadletter.Proof
}

// sender names the tenant whose request it is: by a valid signature, or because it names a key of the tenant whose
// certificate the connection has. A key's id alone is no proof, for everybody may write it.
func (x *exchange) sender() sender {
	if x.caller.key != nil {
		return sender{x.caller.tenant.Name, x.caller.producer, deadletter.BySignature}
	}
	key := x.state.Keys[x.signed.Kid]
	if isForeign(key, x.request) {
		return sender{}
	}
	who, err := pki.FromCertificate(x.request.TLS.PeerCertificates[0])
	if err != nil {
		return sender{}
	}
	if _, active := x.state.Tenant(key.Tenant); !active {
		return sender{}
	}
	return sender{key.Tenant, who.Producer, deadletter.ByCertificate}
}

// note puts a refused request into the account of refusals, unless its events are in it, and logs it: what and
// where, never a secret, a signature or content.
func (h *Handler) note(x *exchange, p *problem) {
	from := x.sender()
	if !x.noted && h.refused(x, from, p.code, 1) {
		h.keep(x, from, h.requestRecord(x, p))
	}
	level := h.o.Logger.Debug
	if p.status == http.StatusUnauthorized || p.status == http.StatusForbidden {
		level = h.o.Logger.Info
	}
	hushed, ok := h.o.Refusals.Say(from.tenant)
	if !ok {
		return
	}
	fields := []zap.Field{zap.Int("status", p.status), zap.String("code", p.code), zap.String("detail", p.detail)}
	if p.instance != "" {
		fields = append(fields, zap.String("kid", x.signed.Kid), zap.String("request_id", p.instance))
	}
	if hushed > 0 {
		fields = append(fields, zap.Int("hushed", hushed))
	}
	level("request refused", fields...)
}

// refused counts and says whether a record is to be made: a tenant whose residency leaves this region out has no
// stream here.
func (h *Handler) refused(x *exchange, from sender, code string, n int) bool {
	wanted := h.o.Refusals.Refused(from.tenant, from.source, code, n)
	tenant, ok := x.state.Tenant(from.tenant)
	return wanted && ok && tenant.In(h.o.Region)
}

// requestRecord is the record of a request that was refused as a whole.
func (h *Handler) requestRecord(x *exchange, p *problem) *deadletter.Record {
	r := &deadletter.Record{Code: p.code, Status: p.status, Detail: p.detail, Pointer: p.pointer, Count: 1, Bytes: len(x.body)}
	if x.signed.BodySHA256 != [sha256.Size]byte{} {
		r.SHA256 = hex.EncodeToString(x.signed.BodySHA256[:])
	}
	if p.hasIndex {
		index := p.index
		r.Index = &index
	}
	if x.single && len(x.decoded) == 1 {
		r.EventID, r.EventType = x.decoded[0].Event.ID, x.decoded[0].Event.Type
	}
	return r
}

// recordsPerRequest is how many of a request's refused events have a record of their own; the others are summed,
// one record for each code.
const recordsPerRequest = 16

// noteEvents puts the n events that were refused with a code into the account. It may make so many records and
// one more, and returns how many are left for the next code.
func (h *Handler) noteEvents(x *exchange, code string, n, records int) int {
	from := x.sender()
	if reason, _ := deadletter.ReasonOf(code); !reason.Cause.Kept() {
		h.refused(x, from, code, n)
		return records
	}
	h.warnOfConflict(x, from, code, n)
	for i := range x.outcomes {
		o := &x.outcomes[i]
		if o.why == nil || o.why.code != code {
			continue
		}
		count := 1
		if records == 0 {
			count = n
		} else {
			records--
		}
		if h.refused(x, from, code, count) {
			h.keep(x, from, h.eventRecord(x, i, count))
		}
		if n -= count; n == 0 {
			break
		}
	}
	return records
}

// warnOfConflict logs that ids are taken by other content: a defect of the producer, or somebody who forges.
func (h *Handler) warnOfConflict(x *exchange, from sender, code string, n int) {
	if code != uplink.CodeEventIDConflict {
		return
	}
	if hushed, ok := h.o.Refusals.Say(from.tenant); ok {
		h.o.Logger.Warn("event ids are taken by other content", zap.String("tenant", from.tenant), zap.String("kid", x.signed.Kid),
			zap.String("request_id", x.signed.RequestID), zap.Int("events", n), zap.Int("hushed", hushed))
	}
}

// eventRecord is the record of one event, or of it and those behind it with the same code.
func (h *Handler) eventRecord(x *exchange, i, count int) *deadletter.Record {
	o, e := &x.outcomes[i], &x.decoded[i].Event
	r := &deadletter.Record{
		Code: o.why.code, Status: o.httpStatus(), Detail: o.why.detail, Pointer: o.why.pointer,
		EventID: o.eventID, EventType: e.Type, Count: count, Bytes: len(e.Raw),
	}
	if !x.single {
		r.Index = &i
	}
	if len(e.Raw) > 0 {
		sum := sha256.Sum256(e.Raw)
		r.SHA256 = hex.EncodeToString(sum[:])
	}
	return r
}

// keep completes a record with what is known of its request and hands it over.
func (h *Handler) keep(x *exchange, from sender, r *deadletter.Record) {
	reason, _ := deadletter.ReasonOf(r.Code)
	r.Cause, r.ReceivedAt, r.Proof, r.Producer = reason.Cause, x.now, from.proof, from.source
	if !reason.Named {
		r.Pointer = deadletter.Pointer(r.Pointer)
	}
	if x.grammar() == nil { // else they may hold anything
		r.Kid = x.signed.Kid
		if id := x.named(); keyring.ValidKid(id) {
			r.RequestID = id
		}
		if x.form != formBody {
			skew := -int64(x.skew() / time.Second)
			r.Skew = &skew
		}
	}
	if trace := parseTrace(x.request.Header[headerTraceParent]); trace != "" {
		r.TraceID = trace[3:35]
	}
	r.Peer = deadletter.Network(x.request.RemoteAddr)
	if r.EventType != "" {
		if v, ok := h.plans.Load(from.tenant); ok {
			r.Topic = v.(*plan).table.Match(r.EventType).Name
		}
	}
	h.o.Refusals.Keep(from.tenant, r)
}
