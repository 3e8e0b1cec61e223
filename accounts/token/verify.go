package token

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/weft-mesh/weft/streams/fault"
)

const opVerify = "token.verify"

// The codes of refusals. Each stands in deploy/docs/tokens.md with what to do about it.
const (
	CodeMalformed   = "token_malformed"
	CodeTooLong     = "token_too_long"
	CodeType        = "token_type"
	CodeIssuer      = "token_issuer"
	CodeAlgorithm   = "token_algorithm"
	CodeKeyUnknown  = "token_key_unknown"
	CodeKeyPending  = "token_key_pending" // 503
	CodeSignature   = "token_signature"
	CodeAudience    = "token_audience"
	CodeClaims      = "token_claims"
	CodeExpired     = "token_expired"
	CodeNotYet      = "token_not_yet_valid"
	CodeLifetime    = "token_lifetime"
	CodeTenant      = "token_tenant"       // 403
	CodeBinding     = "token_binding"      // 403
	CodeUnreachable = "issuer_unreachable" // 503
)

// Bearer is who presents a token, as the request's signature and the connection have proven it.
type Bearer struct {
	Tenant      string
	Certificate *x509.Certificate
}

// verified is a token that was good, with everything that can still change its worth.
type verified struct {
	source     *source
	set        *keySet // in which the key was found
	kid        string
	key        *key
	expires    time.Time
	tenant     string
	thumbprint string // of the certificate that it is bound to
	bound      bool
	grant      *Grant
}

// Verify checks a token and that it agrees with its bearer. The error is a fault: Unauthenticated when the
// token proves nothing, Denied when it is somebody else's, Unavailable when nobody can say at the moment
// and a retry is right. It waits for an issuer at most Options.Wait.
func (v *Verifier) Verify(ctx context.Context, raw string, who Bearer) (*Grant, error) {
	if len(raw) > v.o.MaxBytes {
		return nil, fault.New(opVerify, fault.Unauthenticated, CodeTooLong, "the token is longer than %d bytes", v.o.MaxBytes)
	}
	id := sha256.Sum256([]byte(raw))
	good := v.cache.get(who.Tenant, id)
	if good != nil && good.current() && v.o.Now().Before(good.expires) {
		if err := good.agrees(who); err != nil {
			return nil, err
		}
		return good.grant, nil
	}
	if good != nil {
		v.cache.drop(who.Tenant, id)
	}
	good, err := v.verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if err := good.agrees(who); err != nil {
		return nil, err
	}
	v.cache.put(who.Tenant, id, good, v.o.Now())
	return good.grant, nil
}

// current says whether the issuer still publishes the key, in a set that holds.
func (g *verified) current() bool {
	set := g.source.current.Load()
	if !g.source.holds(set, g.source.now()) {
		return false
	}
	if set == g.set {
		return true
	}
	k := set.keys[g.kid]
	return k != nil && k.same(g.key)
}

// verify checks everything that does not depend on the bearer.
func (v *Verifier) verify(ctx context.Context, raw string) (*verified, error) {
	p, err := split(raw)
	if err != nil {
		return nil, err
	}
	if err := p.header.validate(); err != nil {
		return nil, err
	}
	s := v.sources[p.claims.text("iss")]
	if s == nil {
		return nil, fault.New(opVerify, fault.Unauthenticated, CodeIssuer, "the token's iss is not an issuer that this relay is configured with")
	}
	if !slices.Contains(s.Algorithms, p.header.Algorithm) {
		return nil, fault.New(opVerify, fault.Unauthenticated, CodeAlgorithm, "the token's alg is not one that its issuer is configured with")
	}
	set, k, err := s.lookup(ctx, p.header.Kid)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(k.algorithms, p.header.Algorithm) {
		return nil, fault.New(opVerify, fault.Unauthenticated, CodeAlgorithm, "the token's alg does not fit the key that its kid names")
	}
	if jwt.GetSigningMethod(p.header.Algorithm).Verify(p.signed, p.signature, k.public) != nil {
		return nil, fault.New(opVerify, fault.Unauthenticated, CodeSignature, "the token's signature is not that of the key that its kid names")
	}
	g := &verified{source: s, set: set, kid: p.header.Kid, key: k}
	if err := g.read(p.claims, v.o.Now(), v.o.Leeway); err != nil {
		return nil, err
	}
	return g, nil
}

// read takes what counts from claims whose signature was good.
func (g *verified) read(c claims, now time.Time, leeway time.Duration) error {
	if !c.hasAudience(g.source.Audience) {
		return fault.New(opVerify, fault.Unauthenticated, CodeAudience, "the token's aud does not name this mesh, which is %s", g.source.Audience)
	}
	if err := g.readTimes(c, now, leeway); err != nil {
		return err
	}
	g.tenant = g.source.Tenants[c.text(g.source.TenantClaim)]
	if g.tenant == "" {
		return fault.New(opVerify, fault.Denied, CodeTenant, "the token's claim %s names no tenant that its issuer may speak for", g.source.TenantClaim)
	}
	switch g.thumbprint, g.bound = c.binding(); {
	case g.bound && g.thumbprint == "":
		return fault.New(opVerify, fault.Denied, CodeBinding, "the token is bound to something else than a certificate, which this relay cannot check")
	case !g.bound && g.source.RequireBinding:
		return fault.New(opVerify, fault.Denied, CodeBinding, "the token is not bound to a client certificate (cnf.x5t#S256), which its issuer is configured to do")
	}
	g.grant = newGrant(c.scopes())
	return nil
}

func (g *verified) readTimes(c claims, now time.Time, leeway time.Duration) error {
	bad := func(code, format string, args ...any) error {
		return fault.New(opVerify, fault.Unauthenticated, code, format, args...)
	}
	expires, ok1 := c.date("exp")
	issued, ok2 := c.date("iat")
	notBefore, ok3 := c.date("nbf")
	switch most := g.source.MaxLifetime; {
	case !ok1 || !ok2 || !ok3 || expires.IsZero() || issued.IsZero():
		return bad(CodeClaims, "the token needs exp and iat, and these and nbf must be seconds since 1970")
	case !now.Before(expires):
		return expired(expires)
	case issued.After(now.Add(leeway)) || notBefore.After(now.Add(leeway)):
		return bad(CodeNotYet, "the token is valid from a time that is more than %s ahead of this relay's clock, which says %s",
			leeway, now.UTC().Format(time.RFC3339))
	case expires.Sub(issued) > most:
		return bad(CodeLifetime, "the token lives longer than the %s that its issuer is configured with", most)
	}
	g.expires = expires
	return nil
}

func expired(at time.Time) error {
	return fault.New(opVerify, fault.Unauthenticated, CodeExpired, "the token expired at %s: fetch a new one", at.UTC().Format(time.RFC3339))
}

// agrees compares the token with who presents it.
func (g *verified) agrees(who Bearer) error {
	if g.tenant != who.Tenant {
		return fault.New(opVerify, fault.Denied, CodeTenant, "the token belongs to another tenant than the key")
	}
	if !g.bound {
		return nil
	}
	if who.Certificate != nil {
		have := Thumbprint(who.Certificate)
		if subtle.ConstantTimeCompare([]byte(have), []byte(g.thumbprint)) == 1 {
			return nil
		}
	}
	return fault.New(opVerify, fault.Denied, CodeBinding, "the token is bound to another certificate than the connection's")
}

// Thumbprint is the x5t#S256 of a certificate (RFC 8705, 3.1).
func Thumbprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
