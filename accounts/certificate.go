package accounts

import (
	"slices"
	"time"
)

// CertificateState is where a certificate stands in its life. It only moves forward.
type CertificateState string

// The states of a certificate. One that ran out needs no state: its time says so.
const (
	CertificateIssued  CertificateState = "issued"
	CertificateRevoked CertificateState = "revoked" // refused on new, resumed and open connections
)

// Rank orders the states by age; of two records of one certificate the greater rank holds.
func (s CertificateState) Rank() int {
	return slices.Index([]CertificateState{CertificateIssued, CertificateRevoked}, s)
}

// Certificate is a client certificate that the mesh issued to a tenant, as the control log holds it.
type Certificate struct {
	Serial    string           `json:"serial"` // lower-case hex
	Issuer    string           `json:"issuer"` // lower-case hex SHA-256 of the authority's public key
	Tenant    string           `json:"tenant"`
	Producer  string           `json:"producer"`
	State     CertificateState `json:"state"`
	IssuedAt  time.Time        `json:"issued_at"`
	NotAfter  time.Time        `json:"not_after"`
	By        string           `json:"by"` // who asked for it
	RevokedAt time.Time        `json:"revoked_at,omitzero"`
	RevokedBy string           `json:"revoked_by,omitempty"`
}

// ID names the certificate among those of all authorities.
func (c *Certificate) ID() string { return c.Issuer + "." + c.Serial }
