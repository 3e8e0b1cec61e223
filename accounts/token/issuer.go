package token

import (
	"crypto/x509"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
)

// Issuer is one issuer of tokens as it is configured.
type Issuer struct {
	Name     string         // the iss of its tokens, compared byte by byte
	Audience string         // that its tokens must name
	JWKSURL  string         // https, where its key set is; or
	JWKSFile string         // the file that holds it
	RootCAs  *x509.CertPool // authorities of JWKSURL; nil: the system's
	// Algorithms that its tokens may be signed with, of those in Algorithms().
	Algorithms  []string
	TenantClaim string // the claim that names the tenant, a text
	// Tenants maps the values of that claim to the tenants for which the issuer may speak.
	Tenants        map[string]string
	RequiredFor    []string      // tenants whose every request needs a token
	RequireBinding bool          // refuse tokens that are not bound to a certificate
	MaxLifetime    time.Duration // between iat and exp
	Refresh        time.Duration // interval between two reads of the key set
	Throttle       time.Duration // least time between two reads that unknown key ids cause
	Outage         time.Duration // age of the key set beyond which it vouches for nothing
}

// DefaultIssuer has every duration and the name of the tenant claim; the rest is the operator's.
func DefaultIssuer() Issuer {
	return Issuer{
		TenantClaim: "tenant", MaxLifetime: time.Hour,
		Refresh: 5 * time.Minute, Throttle: 10 * time.Second, Outage: time.Hour,
	}
}

// Algorithms are those that an issuer may be configured with: asymmetric ones only. With a shared secret
// or none at all, who knows the public key could sign (RFC 8725, 2.1).
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

const maxName = 512 // of an issuer or an audience, in bytes

// Validate reports everything that is wrong as joined faults; the code of each is the name that the field
// has in a configuration file.
func (i *Issuer) Validate() error {
	var found []error
	bad := func(code, format string, args ...any) {
		found = append(found, fault.New("token.issuer", fault.Invalid, code, format, args...))
	}
	if i.Name == "" || len(i.Name) > maxName {
		bad("issuer", "must be the iss of the issuer's tokens, 1 to %d bytes", maxName)
	}
	if i.Audience == "" || len(i.Audience) > maxName {
		bad("audience", "must be the aud of tokens for this mesh, 1 to %d bytes", maxName)
	}
	switch {
	case (i.JWKSURL == "") == (i.JWKSFile == ""):
		bad("jwks_url", "set either jwks_url or jwks_file: where the issuer's public keys are")
	case i.JWKSURL != "" && !validURL(i.JWKSURL):
		bad("jwks_url", "%.200q is not an https URL without user and fragment", i.JWKSURL)
	}
	if len(i.Algorithms) == 0 {
		bad("algorithms", "is empty: list those that the issuer signs with, such as RS256")
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(Algorithms(), a) {
			bad("algorithms", "%.50q is not one of %s", a, strings.Join(Algorithms(), ", "))
		}
	}
	i.validateTenants(bad)
	for _, d := range []struct {
		key       string
		is        time.Duration
		low, high time.Duration
	}{
		{"max_lifetime", i.MaxLifetime, time.Second, 7 * 24 * time.Hour}, {"refresh", i.Refresh, time.Second, 24 * time.Hour},
		{"throttle", i.Throttle, 100 * time.Millisecond, 10 * time.Minute}, {"outage", i.Outage, i.Refresh, 30 * 24 * time.Hour},
	} {
		if d.is < d.low || d.is > d.high {
			bad(d.key, "%s is not between %s and %s", d.is, d.low, d.high)
		}
	}
	return errors.Join(found...)
}

func (i *Issuer) validateTenants(bad func(code, format string, args ...any)) {
	if i.TenantClaim == "" {
		bad("tenant_claim", "must name the claim that says whose a token is")
	}
	if len(i.Tenants) == 0 {
		bad("tenants", "is empty: list the tenants that the issuer may speak for, TENANT or VALUE=TENANT")
	}
	named := map[string]bool{}
	for value, tenant := range i.Tenants {
		if named[tenant] = true; value == "" || !accounts.ValidName(tenant) {
			bad("tenants", "%.100q is not TENANT or VALUE=TENANT", value+"="+tenant)
		}
	}
	for _, tenant := range i.RequiredFor {
		if !named[tenant] {
			bad("required_for", "%.50q is not among tenants: no token could let it in", tenant)
		}
	}
}

func validURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Fragment == ""
}
