package intake

import (
	"net/http"
	"time"

	"github.com/weft-mesh/weft/accounts/pki"
)

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
