package intake

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/fault"
)

// opened is the secret of a key. It is valid as long as the key's record seals the same.
type opened struct {
	sealed string
	secret keyring.Secret
}

// secret opens the secret of a key once. Without one (no key, revoked) it is the dummy, so that the MAC
// costs the same, and usable is false.
func (h *Handler) secret(key *keyring.Key) (s keyring.Secret, usable bool, err error) {
	if key == nil || key.Sealed == "" {
		return h.dummy, false, nil
	}
	if v, ok := h.secrets.Load(key.Kid); ok && v.(*opened).sealed == key.Sealed {
		return v.(*opened).secret, true, nil
	}
	s, err = h.o.Sealer.Open(key.Sealed)
	if err == nil && len(s) == 0 {
		err = fault.New("intake.secret", fault.Invalid, "secret_empty", "the secret of the key is empty")
	}
	if err != nil {
		return h.dummy, false, err
	}
	h.secrets.Store(key.Kid, &opened{sealed: key.Sealed, secret: s})
	return s, true, nil
}

// authenticate finds the key, its tenant and checks the signature. The MAC is computed in every case.
func (h *Handler) authenticate(x *exchange, r *http.Request) *problem {
	key := x.state.Keys[x.signed.Kid]
	secret, usable, err := h.secret(key)
	genuine := signature.Verify(secret, &x.signed, r.Header[signature.Signature][0])
	if key == nil {
		return fail(http.StatusUnauthorized, codeKeyUnknown, "%s names no key that this relay knows", signature.KeyID)
	}
	if err := key.Usable(x.now); err != nil {
		return fail(http.StatusUnauthorized, fault.CodeOf(err), "%s: %s", signature.KeyID, detailOf(err))
	}
	tenant, ok := x.state.Tenant(key.Tenant)
	switch {
	case !ok:
		return fail(http.StatusUnauthorized, codeTenant, "the tenant of this key is not active")
	case !key.Allows(signature.Scheme):
		return fail(http.StatusUnauthorized, codeAlgorithm, "the key may not be used with %s", signature.Scheme)
	case err != nil || !usable:
		h.o.Logger.Error("the secret of a key cannot be opened", zap.String("kid", key.Kid), zap.Error(err))
		return fail(http.StatusServiceUnavailable, codeKeyUnavailable, "this relay cannot open the key's secret")
	case !genuine:
		return fail(http.StatusUnauthorized, codeSignature,
			"%s is not the %s signature of this request: compare the signed string line by line, the body byte by byte", signature.Signature, signature.Scheme)
	}
	x.caller = caller{key: key, tenant: tenant, producer: key.Producer}
	return nil
}

// checkIdentity compares the key's owner with the client certificate's.
func checkIdentity(x *exchange, r *http.Request) *problem {
	mismatch := func(format string, args ...any) *problem {
		return fail(http.StatusForbidden, codeIdentity, format, args...)
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return mismatch("the connection has no client certificate")
	}
	cert := r.TLS.PeerCertificates[0]
	who, err := pki.FromCertificate(cert)
	switch key := x.caller.key; {
	case err != nil:
		return mismatch("the client certificate names no principal of the mesh")
	case who.Role != pki.RoleTenant:
		return mismatch("the client certificate is not a tenant's")
	case who.Tenant != key.Tenant:
		return mismatch("the client certificate belongs to another tenant than the key")
	case key.Producer != "" && who.Producer != key.Producer:
		return mismatch("the client certificate belongs to another producer than the key")
	case x.now.After(cert.NotAfter):
		// a connection outlives the handshake that looked at this
		return mismatch("the client certificate expired at %s", cert.NotAfter.UTC().Format(time.RFC3339))
	}
	x.caller.producer = who.Producer
	return nil
}
