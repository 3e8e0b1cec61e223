package deadletter

import "strings"

// Cause is a class of reasons: what a person would look for. It is a token of the subjects in REJECTS.
type Cause string

// The causes.
const (
	Request   Cause = "request"   // what arrived is no request for events: path, size, headers, content type
	Signature Cause = "signature" // key or signature: missing, malformed, unknown, wrong, revoked
	Expired   Cause = "expired"   // the time of the signature, or of its key, is over or has not come
	Replay    Cause = "replay"    // the request was there before
	Identity  Cause = "identity"  // certificate, token and key are not the same one's
	Policy    Cause = "policy"    // who it is is known, and may not
	Envelope  Cause = "envelope"  // not JSON, or not an event
	Schema    Cause = "schema"    // an event, and not one that its schema allows
	Conflict  Cause = "conflict"  // the event id is taken by other content
	Limit     Cause = "limit"     // too much for now
	Mesh      Cause = "mesh"      // the mesh's own trouble, not the sender's
)

// Kept says whether refusals of the cause are recorded. What is refused only for now is not: the sender is told
// to come again, and at the worst moment there would be the most to write.
func (c Cause) Kept() bool { return c != Limit && c != Mesh }

// Reason is what there is to know about a code.
type Reason struct {
	Code   string
	Cause  Cause
	Status int // HTTP, of a request or a single event that is refused for it
	// Named says that a pointer of the code comes from the tenant's own configuration, not from the event, so
	// that the names in it may be told.
	Named bool
}

// ReasonOf is the reason with a code; ok is false for one that is not in the table.
func ReasonOf(code string) (r Reason, ok bool) {
	for i := range reasons {
		if reasons[i].Code == code {
			return reasons[i], true
		}
	}
	return Reason{Code: code, Cause: Mesh}, false
}

// Reasons lists every reason in the order of the table.
func Reasons() []Reason { return append([]Reason(nil), reasons[:]...) }

// IsCause says whether s is one of the causes.
func IsCause(s string) bool {
	for i := range reasons {
		if string(reasons[i].Cause) == s {
			return true
		}
	}
	return false
}

// Causes lists the causes as one text, for messages.
func Causes() string {
	var out []string
	for i := range reasons {
		if c := string(reasons[i].Cause); len(out) == 0 || out[len(out)-1] != c {
			out = append(out, c)
		}
	}
	return strings.Join(out, ", ")
}

// reasons are grouped by cause. deploy/docs/refusals.md tells what to do about each.
var reasons = [...]Reason{
	{Code: "not_found", Cause: Request, Status: 404},
	{Code: "method_not_allowed", Cause: Request, Status: 405},
	{Code: "invalid_query", Cause: Request, Status: 400},
	{Code: "invalid_method", Cause: Request, Status: 400},
	{Code: "invalid_host", Cause: Request, Status: 400},
	{Code: "invalid_path", Cause: Request, Status: 400},
	{Code: "invalid_content_type", Cause: Request, Status: 400},
	{Code: "invalid_content_encoding", Cause: Request, Status: 400},
	{Code: "header_repeated", Cause: Request, Status: 400},
	{Code: "header_forbidden", Cause: Request, Status: 400},
	{Code: "schemes_mixed", Cause: Request, Status: 400},
	{Code: "content_type", Cause: Request, Status: 415},
	{Code: "content_encoding", Cause: Request, Status: 415},
	{Code: "host_unknown", Cause: Request, Status: 421},
	{Code: "read_timeout", Cause: Request, Status: 408},
	{Code: "body_incomplete", Cause: Request, Status: 400},
	{Code: "too_large", Cause: Request, Status: 413},
	{Code: "too_many_events", Cause: Request, Status: 413},
	{Code: "empty_batch", Cause: Request, Status: 400},

	{Code: "signature_missing", Cause: Signature, Status: 401},
	{Code: "signature_invalid", Cause: Signature, Status: 401},
	{Code: "invalid_key_id", Cause: Signature, Status: 401},
	{Code: "invalid_timestamp", Cause: Signature, Status: 401},
	{Code: "invalid_request_id", Cause: Signature, Status: 401},
	{Code: "invalid_webhook_id", Cause: Signature, Status: 401},
	{Code: "invalid_webhook_signature", Cause: Signature, Status: 401},
	{Code: "key_unknown", Cause: Signature, Status: 401},
	{Code: "key_pending", Cause: Signature, Status: 401},
	{Code: "key_revoked", Cause: Signature, Status: 401},
	{Code: "key_invalid", Cause: Signature, Status: 401},
	{Code: "algorithm_not_allowed", Cause: Signature, Status: 401},
	{Code: "tenant_inactive", Cause: Signature, Status: 401},

	{Code: "timestamp_skew", Cause: Expired, Status: 401},
	{Code: "key_expired", Cause: Expired, Status: 401},
	{Code: "token_expired", Cause: Expired, Status: 401},
	{Code: "token_not_yet_valid", Cause: Expired, Status: 401},

	{Code: "replayed", Cause: Replay, Status: 401},

	{Code: "identity_mismatch", Cause: Identity, Status: 403},
	{Code: "no_certificate", Cause: Identity, Status: 401},
	{Code: "certificate_revoked", Cause: Identity, Status: 401},
	{Code: "authority_untrusted", Cause: Identity, Status: 401},
	{Code: "token_missing", Cause: Identity, Status: 401},
	{Code: "token_unsupported", Cause: Identity, Status: 401},
	{Code: "token_malformed", Cause: Identity, Status: 401},
	{Code: "token_too_long", Cause: Identity, Status: 401},
	{Code: "token_type", Cause: Identity, Status: 401},
	{Code: "token_issuer", Cause: Identity, Status: 401},
	{Code: "token_algorithm", Cause: Identity, Status: 401},
	{Code: "token_key_unknown", Cause: Identity, Status: 401},
	{Code: "token_signature", Cause: Identity, Status: 401},
	{Code: "token_audience", Cause: Identity, Status: 401},
	{Code: "token_claims", Cause: Identity, Status: 401},
	{Code: "token_lifetime", Cause: Identity, Status: 401},
	{Code: "token_tenant", Cause: Identity, Status: 403},
	{Code: "token_binding", Cause: Identity, Status: 403},

	{Code: "topic_denied", Cause: Policy, Status: 403},
	{Code: "scope_missing", Cause: Policy, Status: 403},
	{Code: "residency", Cause: Policy, Status: 403},
	{Code: "routing_key_missing", Cause: Policy, Status: 422, Named: true},
	{Code: "occurred_at_future", Cause: Policy, Status: 422},
	{Code: "occurred_at_too_old", Cause: Policy, Status: 422},

	{Code: "syntax", Cause: Envelope, Status: 400},
	{Code: "duplicate_key", Cause: Envelope, Status: 400},
	{Code: "invalid_utf8", Cause: Envelope, Status: 400},
	{Code: "depth", Cause: Envelope, Status: 400},
	{Code: "number_range", Cause: Envelope, Status: 400},
	{Code: "trailing_data", Cause: Envelope, Status: 400},
	{Code: "not_object", Cause: Envelope, Status: 422},
	{Code: "missing_field", Cause: Envelope, Status: 422},
	{Code: "wrong_type", Cause: Envelope, Status: 422},
	{Code: "invalid_event_id", Cause: Envelope, Status: 422},
	{Code: "invalid_event_type", Cause: Envelope, Status: 422},
	{Code: "invalid_schema_version", Cause: Envelope, Status: 422},
	{Code: "invalid_occurred_at", Cause: Envelope, Status: 422},
	{Code: "invalid_user_id", Cause: Envelope, Status: 422},
	{Code: "invalid_source_seq", Cause: Envelope, Status: 422},

	{Code: "schema_violation", Cause: Schema, Status: 422},
	{Code: "field_blocked", Cause: Schema, Status: 422},
	{Code: "field_missing", Cause: Schema, Status: 422},
	{Code: "unknown_type", Cause: Schema, Status: 422},
	{Code: "schema_version_unknown", Cause: Schema, Status: 422},
	{Code: "schema_version_draft", Cause: Schema, Status: 422},
	{Code: "schema_version_retired", Cause: Schema, Status: 422},
	{Code: "schema_version_quarantined", Cause: Schema, Status: 422},
	{Code: "schema_major_off", Cause: Schema, Status: 422},

	{Code: "event_id_conflict", Cause: Conflict, Status: 409},

	{Code: "guard_full", Cause: Limit, Status: 429},

	{Code: "internal", Cause: Mesh, Status: 500},
	{Code: "clock_unsure", Cause: Mesh, Status: 503},
	{Code: "key_unavailable", Cause: Mesh, Status: 503},
	{Code: "revocation_unknown", Cause: Mesh, Status: 503},
	{Code: "guard_unavailable", Cause: Mesh, Status: 503},
	{Code: "token_key_pending", Cause: Mesh, Status: 503},
	{Code: "issuer_unreachable", Cause: Mesh, Status: 503},
	{Code: "region_unknown", Cause: Mesh, Status: 503},
	{Code: "routes_invalid", Cause: Mesh, Status: 503},
	{Code: "schema_pending", Cause: Mesh, Status: 503},
	{Code: "schema_unusable", Cause: Mesh, Status: 503},
	{Code: "control_stale", Cause: Mesh, Status: 503},
	{Code: "durability", Cause: Mesh, Status: 503},
	{Code: "home_unknown", Cause: Mesh, Status: 503},
	{Code: "overloaded", Cause: Mesh, Status: 503},
	{Code: "stream_full", Cause: Mesh, Status: 503},
	{Code: "stream_unreachable", Cause: Mesh, Status: 503},
	{Code: "home_unreachable", Cause: Mesh, Status: 503},
	{Code: "wrong_stream", Cause: Mesh, Status: 503},
	{Code: "ack_timeout", Cause: Mesh, Status: 503},
	{Code: "ack_lost", Cause: Mesh, Status: 503},
	{Code: "stream_error", Cause: Mesh, Status: 503},
	{Code: "digest_unavailable", Cause: Mesh, Status: 503},
	{Code: "remote_unconfirmed", Cause: Mesh, Status: 503},
	{Code: "copy_unavailable", Cause: Mesh, Status: 503},
}
