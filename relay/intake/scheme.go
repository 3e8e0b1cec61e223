package intake

import (
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/fault"
)

// form is which set of headers signs a request. The request shows it; whether its key may be used so, the
// key says.
type form uint8

const (
	formWeft    form = iota // X-Key-Id, X-Timestamp, X-Request-Id, X-Signature
	formWebhook             // X-Key-Id, webhook-id, webhook-timestamp, webhook-signature
	formBody                // X-Key-Id, X-Signature
)

// scheme is the name of the form: what a key must list to be used so.
func (f form) scheme() string {
	return [...]string{formWeft: keyring.WeftV1, formWebhook: keyring.StandardWebhooks, formBody: keyring.Body}[f]
}

// allows says whether the key may be used with requests of the form.
func (f form) allows(k *keyring.Key) bool {
	return k.Allows(f.scheme()) || f == formWebhook && k.Allows(keyring.StandardWebhooksV1a)
}

func (f form) signatureHeader() string {
	if f == formWebhook {
		return signature.WebhookSignature
	}
	return signature.Signature
}

func (f form) timestampHeader() string {
	if f == formWebhook {
		return signature.WebhookTimestamp
	}
	return signature.Timestamp
}

// guardKey names a request for the replay guard. Two genuine requests of one sender differ in it; a copy has
// the original's, whatever was changed in what its signature leaves open.
type guardKey struct {
	scheme string // keyring.WeftV1, StandardWebhooks (for v1a too) or Body
	// owner is the kid. Under StandardWebhooks it is "<tenant>/<producer>": the kid is not signed there, and
	// a copy of a request that carries the signatures of two keys could name either.
	owner string
	// id is the request id; "<webhook-id>.<timestamp>"; for Body the hex SHA-256 of the body. A retry under
	// Body is the same request by its nature: if the first was not stored, only the streams know.
	id string
}

// signing is what a request says of its signature.
type signing struct {
	form      form
	signed    signature.Request // of formWeft; the others use what of it they know
	timestamp string            // unix seconds, of any form; empty when the scheme has none
	webhookID string
	mac       string   // the header that holds the signature
	content   []byte   // what formWebhook signs
	guard     guardKey // set once the signature is verified
}

func (x *exchange) setGuardKey() {
	key := x.caller.key
	switch x.form {
	case formWeft:
		x.guard = guardKey{scheme: keyring.WeftV1, owner: key.Kid, id: x.signed.RequestID}
	case formWebhook:
		x.guard = guardKey{scheme: keyring.StandardWebhooks, owner: key.Tenant + "/" + key.Producer, id: x.webhookID + "." + x.timestamp}
	case formBody:
		x.guard = guardKey{scheme: keyring.Body, owner: key.Kid, id: hex.EncodeToString(x.signed.BodySHA256[:])}
	}
}

// readSignature finds the form of the request and takes each of its headers, which must be there once.
func (x *exchange) readSignature(head http.Header) *problem {
	has := func(name string) bool { return len(head[name]) > 0 }
	weft := has(signature.Timestamp) || has(signature.RequestID)
	switch webhook := has(signature.WebhookID) || has(signature.WebhookTimestamp) || has(signature.WebhookSignature); {
	case webhook && (weft || has(signature.Signature)):
		return fail(http.StatusBadRequest, codeSchemesMixed, "the request has headers of two signature schemes: send those of one")
	case webhook:
		x.form = formWebhook
		return take(head, field{signature.KeyID, &x.signed.Kid}, field{signature.WebhookID, &x.webhookID},
			field{signature.WebhookTimestamp, &x.timestamp}, field{signature.WebhookSignature, &x.mac})
	case weft || !has(signature.Signature) || strings.HasPrefix(head[signature.Signature][0], "v1="):
		x.form = formWeft
		p := take(head, field{signature.KeyID, &x.signed.Kid}, field{signature.Timestamp, &x.timestamp},
			field{signature.RequestID, &x.signed.RequestID}, field{signature.Signature, &x.mac})
		x.signed.Timestamp = x.timestamp
		return p
	default:
		x.form = formBody
		return take(head, field{signature.KeyID, &x.signed.Kid}, field{signature.Signature, &x.mac})
	}
}

type field struct {
	name string
	to   *string
}

func take(head http.Header, fields ...field) *problem {
	for _, f := range fields {
		switch vs := head[f.name]; {
		case len(vs) == 0 || len(vs) == 1 && vs[0] == "":
			return fail(http.StatusUnauthorized, codeSignatureMissing, "the header %s is missing", f.name)
		case len(vs) > 1:
			return repeated(f.name, len(vs))
		default:
			*f.to = vs[0]
		}
	}
	return nil
}

// checkSigned holds what is signed to its grammar, and what the scheme leaves unsigned to one value.
func (x *exchange) checkSigned() *problem {
	if err := x.grammar(); err != nil {
		status := http.StatusBadRequest
		if fault.KindOf(err) == fault.Unauthenticated {
			status = http.StatusUnauthorized
		}
		return fail(status, fault.CodeOf(err), "%s", detailOf(err))
	}
	if x.form == formWeft {
		return nil
	}
	switch s := &x.signed; {
	case s.Target != Path:
		return fail(http.StatusBadRequest, codeQuery, "this signature does not cover the query: there must be none")
	case s.ContentType != typeJSON && s.ContentType != typeJSON+"; charset=utf-8":
		return fail(http.StatusUnsupportedMediaType, codeContentType, "this signature does not cover Content-Type: it must be %s", typeJSON)
	case s.ContentEncoding != "":
		return fail(http.StatusUnsupportedMediaType, codeContentEncoding, "this signature does not cover Content-Encoding: there must be none")
	}
	return nil
}

func (x *exchange) grammar() error {
	if x.form == formWeft {
		return x.signed.Validate()
	}
	if !keyring.ValidKid(x.signed.Kid) {
		return fault.New("signature", fault.Unauthenticated, "invalid_key_id", "%s: not [A-Za-z0-9_-]{1,64}", signature.KeyID)
	}
	if x.form == formWebhook {
		return signature.ValidateWebhook(x.webhookID, x.timestamp, x.mac)
	}
	return nil
}

// named is the id that the sender gave the request, empty unless it is fit for an answer and a log.
func (x *exchange) named() string {
	switch {
	case x.grammar() != nil:
		return ""
	case x.form == formWebhook:
		return x.webhookID
	default:
		return x.signed.RequestID
	}
}
