package intake

import (
	"context"
	"net/http"
	"strings"

	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/streams/fault"
)

// Codes of refusals that concern a request's access token. Those of package token join them unchanged.
const (
	codeTokenMissing     = "token_missing"
	codeTokenUnsupported = "token_unsupported"
	codeScope            = "scope_missing"
)

const headerAuthorization = "Authorization"

// Tokens verifies access tokens; token.Verifier is one.
type Tokens interface {
	// Required says whether every request of the tenant must carry a token.
	Required(tenant string) bool
	// Verify returns what the token lets its bearer do. The error is a fault of kind Unauthenticated,
	// Denied or Unavailable, with a detail for the producer; it is not retried here.
	Verify(ctx context.Context, raw string, who token.Bearer) (*token.Grant, error)
}

// checkToken verifies the access token of a request, which is a proof beside the signature and never instead
// of it: the token, the key and the certificate must agree. It comes after the signature, so that nobody
// without a key costs the relay or the issuer anything.
func (h *Handler) checkToken(x *exchange, r *http.Request) *problem {
	tenant := x.caller.tenant.Name
	values := r.Header[headerAuthorization]
	switch {
	case len(values) > 1:
		return repeated(headerAuthorization, len(values))
	case len(values) == 0 && h.o.Tokens != nil && h.o.Tokens.Required(tenant):
		return fail(http.StatusUnauthorized, codeTokenMissing, "requests of this tenant need an access token: %s: Bearer …", headerAuthorization)
	case len(values) == 0:
		return nil
	case h.o.Tokens == nil:
		return fail(http.StatusUnauthorized, codeTokenUnsupported, "this relay is configured with no issuer of tokens: leave the header %s out", headerAuthorization)
	}
	raw, ok := bearer(values[0])
	if !ok {
		return fail(http.StatusUnauthorized, token.CodeMalformed, "the header %s is not of the form Bearer TOKEN", headerAuthorization)
	}
	grant, err := h.o.Tokens.Verify(r.Context(), raw, token.Bearer{Tenant: tenant, Certificate: r.TLS.PeerCertificates[0]})
	if err != nil {
		return fail(tokenStatus(err), fault.CodeOf(err), "%s", detailOf(err))
	}
	x.caller.grant = grant
	return nil
}

// bearer is the token of an Authorization header (RFC 6750, 2.1).
func bearer(value string) (raw string, ok bool) {
	scheme, raw, ok := strings.Cut(value, " ")
	return raw, ok && strings.EqualFold(scheme, "Bearer") && raw != "" && !strings.ContainsAny(raw, " \t,")
}

func tokenStatus(err error) int {
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	}
	return http.StatusServiceUnavailable
}

// challenge is the WWW-Authenticate of a refusal for its token (RFC 6750, 3), "" for every other.
func challenge(p *problem) string {
	switch {
	case p.code == codeTokenMissing:
		return "Bearer"
	case p.code == codeScope:
		return `Bearer error="insufficient_scope"`
	case p.status == http.StatusUnauthorized && strings.HasPrefix(p.code, "token_"):
		return `Bearer error="invalid_token"`
	}
	return ""
}
