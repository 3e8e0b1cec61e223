package intake

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/weft-mesh/weft/relay/gate"
)

// Codes of problems and results that the intake itself decides. Those of packages event, keyring,
// signature and uplink join them unchanged.
const (
	codeInternal         = "internal"
	codeNotFound         = "not_found"
	codeMethod           = "method_not_allowed"
	codeQuery            = "invalid_query"
	codeTooLarge         = "too_large"
	codeReadTimeout      = "read_timeout"
	codeBodyIncomplete   = "body_incomplete"
	codeHeaderRepeated   = "header_repeated"
	codeHeaderForbidden  = "header_forbidden"
	codeSignatureMissing = "signature_missing"
	codeSchemesMixed     = "schemes_mixed"
	codeContentType      = "content_type"
	codeContentEncoding  = "content_encoding"
	codeSkew             = "timestamp_skew"
	codeClock            = "clock_unsure"
	codeHost             = "host_unknown"
	codeKeyUnknown       = "key_unknown"
	codeKeyUnavailable   = "key_unavailable"
	codeAlgorithm        = "algorithm_not_allowed"
	codeTenant           = "tenant_inactive"
	codeSignature        = "signature_invalid"
	codeIdentity         = "identity_mismatch"
	codeResidency        = "residency"
	codeRegion           = "region_unknown"
	codeRoutes           = "routes_invalid"
	codeTopicDenied      = "topic_denied"
	codeRoutingKey       = "routing_key_missing"
	codeFuture           = "occurred_at_future"
	codeTooOld           = "occurred_at_too_old"
	codeControlStale     = "control_stale"
	codeDurability       = "durability"
	codeHomeUnknown      = "home_unknown"
	codeReplayed         = "replayed"
	codeGuardFull        = "guard_full"
	codeGuardUnavailable = "guard_unavailable"
)

// problem is a failure of a whole request or of its single event: RFC 9457.
type problem struct {
	status   int
	code     string
	detail   string
	instance string
	allow    string        // of a 405
	index    int           // of the event in the batch, with hasIndex
	hasIndex bool          // the problem lies in one event of a batch
	pointer  string        // RFC 6901, into the event
	eventID  string        // of the single event, when it has one
	results  *results      // of a batch of which nothing could be stored
	drift    *drift        // of a request refused for its time
	refusal  *gate.Refusal // of the single event, by schemas or rules
}

// drift is what a client needs to set its clock right, in seconds.
type drift struct {
	ahead int64 // of the client's clock before the relay's; negative: it is behind
	most  int64 // that is allowed, either way
}

func fail(status int, code, format string, args ...any) *problem {
	return &problem{status: status, code: code, detail: fmt.Sprintf(format, args...)}
}

// append writes the problem as JSON.
func (p *problem) append(b []byte) []byte {
	b = append(b, `{"type":"urn:weft:problem:`...)
	b = append(b, p.code...)
	b = append(b, `","title":`...)
	b = appendString(b, http.StatusText(p.status))
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.status), 10)
	b = appendMember(b, "code", p.code)
	b = appendMember(b, "detail", p.detail)
	b = appendMember(b, "instance", p.instance)
	b = appendMember(b, "event_id", p.eventID)
	if p.drift != nil {
		b = strconv.AppendInt(append(b, `,"skew_s":`...), p.drift.ahead, 10)
		b = strconv.AppendInt(append(b, `,"max_skew_s":`...), p.drift.most, 10)
	}
	switch {
	case p.refusal != nil && len(p.refusal.Violations) > 0:
		b = appendViolations(b, p.refusal, true)
	case p.pointer != "" || p.hasIndex:
		b = append(b, `,"errors":[{"index":`...)
		b = strconv.AppendInt(b, int64(p.index), 10)
		b = appendMember(b, "pointer", p.pointer)
		b = appendMember(b, "code", p.code)
		b = appendMember(b, "detail", p.detail)
		b = append(b, `}]`...)
	}
	if p.results != nil {
		b = append(b, ',')
		b = p.results.append(b)
	}
	return append(b, '}', '\n')
}

// appendMember appends ,"name":"value" unless the value is empty.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendString(b, value)
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil { // invalid UTF-8: AppendQuote has replaced it and said so
		return b
	}
	return b
}
