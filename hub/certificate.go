package hub

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// How long a tenant's certificates may live.
const (
	DefaultCertificateTTL = 24 * time.Hour
	minCertificateTTL     = time.Minute
	maxCertificateTTL     = 30 * 24 * time.Hour
)

// CertificateSpec asks for a client certificate of a tenant.
type CertificateSpec struct {
	Request  string            `json:"request"`            // PKCS #10 in PEM: the private key stays where it was made
	Producer string            `json:"producer,omitempty"` // empty: default
	TTL      accounts.Duration `json:"ttl,omitempty"`      // 0: DefaultCertificateTTL
}

// CertificateView is what the admin API tells of a certificate.
type CertificateView struct {
	Serial    string    `json:"serial"`
	Tenant    string    `json:"tenant"`
	Producer  string    `json:"producer"`
	State     string    `json:"state"` // issued, revoked or expired
	IssuedAt  time.Time `json:"issued_at"`
	NotAfter  time.Time `json:"not_after"`
	By        string    `json:"by"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`
	RevokedBy string    `json:"revoked_by,omitempty"`
	// Certificate is the PEM text, in the answer to the request that made it alone.
	Certificate string `json:"certificate,omitempty"`
	DryRun      bool   `json:"dry_run,omitempty"` // nothing was done
}

func (h *Hub) viewCertificate(c *accounts.Certificate) *CertificateView {
	v := &CertificateView{
		Serial: c.Serial, Tenant: c.Tenant, Producer: c.Producer, State: string(c.State), IssuedAt: c.IssuedAt, NotAfter: c.NotAfter,
		By: c.By, RevokedAt: c.RevokedAt, RevokedBy: c.RevokedBy,
	}
	if c.State == accounts.CertificateIssued && h.opts.Now().After(c.NotAfter) {
		v.State = "expired"
	}
	return v
}

// IssueCertificate certifies the key of a request for a tenant's producer. The certificate is on record before
// anybody has it, so that each one that is about can be revoked.
func (h *Hub) IssueCertificate(ctx context.Context, tenant string, spec CertificateSpec, by string) (*CertificateView, error) {
	const op = "tenant.cert.issue"
	if err := h.requireHome(op); err != nil {
		return nil, err
	}
	if _, ok := h.State().Tenant(tenant); !ok {
		return nil, fault.New(op, fault.NotFound, "no_such_tenant", "there is no tenant %q", tenant)
	}
	if spec.Producer == "" {
		spec.Producer = "default"
	}
	if !accounts.ValidName(spec.Producer) {
		return nil, fault.New(op, fault.Invalid, "invalid_name", "%q is no producer name: a lower-case letter, then up to 31 of a-z, 0-9 and -", spec.Producer)
	}
	ttl := time.Duration(spec.TTL)
	if ttl == 0 {
		ttl = DefaultCertificateTTL
	}
	if ttl < minCertificateTTL || ttl > maxCertificateTTL {
		return nil, fault.New(op, fault.Invalid, "invalid_ttl", "a certificate lives %s to %s, not %s", minCertificateTTL, maxCertificateTTL, ttl)
	}
	text, err := h.opts.Identity.Home.CA.Sign([]byte(spec.Request), clientSpec(tenant, spec.Producer, ttl))
	if err != nil {
		return nil, err
	}
	record, err := h.recordCertificate(ctx, text, tenant, spec.Producer, by)
	if err != nil {
		return nil, err
	}
	v := h.viewCertificate(record)
	v.Certificate = string(text)
	return v, nil
}

// clientSpec describes the certificate of a tenant's producer.
func clientSpec(tenant, producer string, ttl time.Duration) pki.Spec {
	return pki.Spec{
		CommonName: tenant, URIs: []string{pki.Principal{Role: pki.RoleTenant, Tenant: tenant, Producer: producer}.URI()}, Client: true, TTL: ttl,
	}
}

// recordCertificate puts a tenant's new certificate on record.
func (h *Hub) recordCertificate(ctx context.Context, text []byte, tenant, producer, by string) (*accounts.Certificate, error) {
	cert, err := pki.ParseCertificate(text)
	if err != nil {
		return nil, err
	}
	c := &accounts.Certificate{
		Serial: pki.SerialText(cert.SerialNumber), Issuer: pki.IssuerOf(h.opts.Identity.Home.CA.Certificate()).String(), Tenant: tenant, Producer: producer,
		State: accounts.CertificateIssued, IssuedAt: h.opts.Now().UTC().Truncate(time.Second), NotAfter: cert.NotAfter.UTC(), By: by,
	}
	return c, h.state.Put(ctx, control.KindCertificate, c.ID(), c, by)
}

// Certificates lists a tenant's certificates, the newest first. Those that ran out are forgotten after a while.
func (h *Hub) Certificates(tenant string) ([]*CertificateView, error) {
	state := h.State()
	if _, ok := state.Tenant(tenant); !ok {
		return nil, fault.New("tenant.cert.ls", fault.NotFound, "no_such_tenant", "there is no tenant %q", tenant)
	}
	out := []*CertificateView{}
	for _, c := range state.TenantCertificates(tenant) {
		out = append(out, h.viewCertificate(c))
	}
	return out, nil
}

// plainSerial takes a serial number as other tools write it: openssl in capitals and with a leading zero, browsers with colons.
func plainSerial(s string) string {
	return strings.TrimLeft(strings.ToLower(strings.ReplaceAll(s, ":", "")), "0")
}

// RevokeCertificate ends a certificate in all regions: relays refuse it on new, resumed and open connections as soon
// as the record reaches them. Any region may do it, and nothing undoes it. With dryRun nothing happens.
func (h *Hub) RevokeCertificate(ctx context.Context, tenant, serial string, dryRun bool, by string) (*CertificateView, error) {
	const op = "tenant.cert.revoke"
	if err := h.requireOpen(op); err != nil {
		return nil, err
	}
	var found *accounts.Certificate
	for _, c := range h.State().TenantCertificates(tenant) {
		if plainSerial(c.Serial) == plainSerial(serial) {
			found = c
		}
	}
	if found == nil {
		return nil, fault.New(op, fault.NotFound, "no_such_certificate", "tenant %q has no certificate %q: list them with `weft tenant cert ls %s`", tenant, serial, tenant)
	}
	dead := *found
	if dead.State != accounts.CertificateRevoked {
		dead.State, dead.RevokedAt, dead.RevokedBy = accounts.CertificateRevoked, h.opts.Now().UTC().Truncate(time.Second), by
		if !dryRun {
			if err := h.state.Put(ctx, control.KindCertificate, dead.ID(), dead, by); err != nil {
				return nil, err
			}
		}
	}
	v := h.viewCertificate(&dead)
	v.DryRun = dryRun
	return v, nil
}

// certificateRoutes are the part of the admin API that is about certificates.
func (a *adminServer) certificateRoutes(mux *http.ServeMux) {
	mux.Handle("GET /v1/tenants/{name}/certificates", a.handle("tenant.cert.ls", func(r *http.Request, _ string) (any, error) {
		return a.hub.Certificates(r.PathValue("name"))
	}))
	mux.Handle("POST /v1/tenants/{name}/certificates", a.handle("tenant.cert.issue", func(r *http.Request, by string) (any, error) {
		var spec CertificateSpec
		if err := decodeBody(r, "tenant.cert.issue", &spec); err != nil {
			return nil, err
		}
		return a.hub.IssueCertificate(r.Context(), r.PathValue("name"), spec, by)
	}))
	mux.Handle("DELETE /v1/tenants/{name}/certificates/{serial}", a.handle("tenant.cert.revoke", func(r *http.Request, by string) (any, error) {
		return a.hub.RevokeCertificate(r.Context(), r.PathValue("name"), r.PathValue("serial"), dryRun(r), by)
	}))
}
