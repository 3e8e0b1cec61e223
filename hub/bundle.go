package hub

import (
	"encoding/base64"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// Reissue makes a tenant's files again from the control state: the secret of its newest usable key, a fresh
// client certificate, fresh owner credentials. What was issued before stays valid.
func (h *Hub) Reissue(name string) (*Bundle, error) {
	const op = "tenant.reissue"
	if err := h.requireHome(op); err != nil {
		return nil, err
	}
	ten := h.tenancyOf(name)
	if ten == nil {
		return nil, fault.New(op, fault.NotFound, "no_such_tenant", "there is no tenant %q", name)
	}
	var key *keyring.Key
	for _, k := range h.State().TenantKeys(name) {
		if k.Usable(h.opts.Now()) == nil {
			key = k
		}
	}
	if key == nil {
		return nil, fault.New(op, fault.Conflict, "no_usable_key", "tenant %s has no usable key", name)
	}
	secret, err := h.opts.Identity.Sealer.Open(key.Sealed)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return h.bundle(key, secret, ten.tenant.Account, ten.signing)
}

// bundle makes a tenant's files: a fresh certificate and fresh owner credentials around a key that exists.
func (h *Hub) bundle(key *keyring.Key, secret keyring.Secret, account string, signing []byte) (*Bundle, error) {
	const op = "tenant.bundle"
	name := key.Tenant
	cert, certKey, err := h.opts.Identity.Home.CA.Issue(pki.Spec{
		CommonName: name, URIs: []string{pki.Principal{Role: pki.RoleTenant, Tenant: name, Producer: key.Producer}.URI()}, Client: true, TTL: clientTTL,
	})
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	token, seed, err := issuer.User(issuer.UserSpec{Name: name + "-owner", Permissions: grant.Owner(), Account: account, SigningSeed: signing})
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	creds, err := issuer.FormatCreds(token, seed)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return &Bundle{
		Tenant: name, Kid: key.Kid, Secret: base64.StdEncoding.EncodeToString(secret.Bytes()),
		ClientCert: string(cert), ClientKey: string(certKey), ConsumerCreds: string(creds),
	}, nil
}
