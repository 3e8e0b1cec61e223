// Package pki is the mesh's own certificate authority: it issues the certificates of servers, relays,
// hubs, operators and tenants, reads the principal out of one, and makes TLS configurations that follow
// their files.
//
// The control home issues, everybody else reads. Authorities and TLS configurations are safe for
// concurrent use.
package pki

import (
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// The roles of principals.
const (
	RoleTenant   = "tenant"
	RoleOperator = "operator"
	RoleHub      = "hub"
	RoleRelay    = "relay"
)

// Principal is who a certificate speaks for. A tenant's has Tenant and Producer, a hub's and a relay's has
// Region, the operator's neither.
type Principal struct {
	Role     string
	Tenant   string
	Producer string
	Region   string
}

const trustDomain = "spiffe://weft/"

// URI is the principal's SPIFFE ID, such as spiffe://weft/tenant/acme/producer/default.
func (p Principal) URI() string {
	switch p.Role {
	case RoleTenant:
		return trustDomain + RoleTenant + "/" + p.Tenant + "/producer/" + p.Producer
	case RoleHub, RoleRelay:
		return trustDomain + p.Role + "/" + p.Region
	}
	return trustDomain + p.Role
}

// ParseURI reads a SPIFFE ID that URI wrote; everything else is refused, also other spellings of the same.
func ParseURI(s string) (Principal, error) {
	path, ok := strings.CutPrefix(s, trustDomain)
	t := strings.Split(path, "/")
	switch {
	case !ok:
	case len(t) == 4 && t[0] == RoleTenant && t[2] == "producer" && accounts.ValidName(t[1]) && accounts.ValidName(t[3]):
		return Principal{Role: RoleTenant, Tenant: t[1], Producer: t[3]}, nil
	case len(t) == 2 && (t[0] == RoleHub || t[0] == RoleRelay) && subject.ValidRegion(t[1]):
		return Principal{Role: t[0], Region: t[1]}, nil
	case len(t) == 1 && t[0] == RoleOperator:
		return Principal{Role: RoleOperator}, nil
	}
	return Principal{}, fault.New("principal.parse", fault.Unauthenticated, "no_principal", "%.100q names no principal of this mesh", s)
}

// FromCertificate reads the principal of a certificate that has been verified: its one SPIFFE ID.
func FromCertificate(cert *x509.Certificate) (Principal, error) {
	const op = "principal.read"
	var id *url.URL
	for _, u := range cert.URIs {
		if !strings.EqualFold(u.Scheme, "spiffe") {
			continue
		}
		if id != nil {
			return Principal{}, fault.New(op, fault.Unauthenticated, "no_principal", "the certificate has more than one SPIFFE ID")
		}
		id = u
	}
	if id == nil {
		return Principal{}, fault.New(op, fault.Unauthenticated, "no_principal", "the certificate has no SPIFFE ID")
	}
	return ParseURI(id.String())
}
