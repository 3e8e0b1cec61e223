package hub

import (
	"context"
	"encoding/base64"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// Reissue makes a tenant's files again from the control state: the secret of its newest usable key, a fresh
// client certificate, fresh owner credentials. What was issued before stays valid.
func (h *Hub) Reissue(ctx context.Context, name, by string) (*Bundle, error) {
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
		if k.Usable(h.opts.Now()) == nil && (key == nil || k.Since().After(key.Since())) {
			key = k
		}
	}
	if key == nil {
		return nil, fault.New(op, fault.Conflict, "no_usable_key", "tenant %s has no usable key", name)
	}
	secret, err := h.opts.Identity.Sealer.Open(ctx, key.Sealed)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	return h.bundle(ctx, key, secret, owner{ten.tenant.Account, ten.signing}, by)
}

// owner is what the credentials of a tenant's owner are made with.
type owner struct {
	account string
	signing []byte
}

// bundle makes a tenant's files: a fresh certificate, which is put on record, and fresh owner credentials around a
// key that exists.
func (h *Hub) bundle(ctx context.Context, key *keyring.Key, secret keyring.Secret, o owner, by string) (*Bundle, error) {
	const op = "tenant.bundle"
	name := key.Tenant
	cert, certKey, err := h.opts.Identity.Home.CA.Issue(clientSpec(name, key.Producer, maxCertificateTTL))
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	token, seed, err := issuer.User(issuer.UserSpec{Name: name + "-owner", Permissions: grant.Owner(), Account: o.account, SigningSeed: o.signing})
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	creds, err := issuer.FormatCreds(token, seed)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	if _, err := h.recordCertificate(ctx, cert, name, key.Producer, by); err != nil {
		return nil, err
	}
	return &Bundle{
		Tenant: name, Kid: key.Kid, Secret: base64.StdEncoding.EncodeToString(secret.Bytes()),
		ClientCert: string(cert), ClientKey: string(certKey), ConsumerCreds: string(creds),
	}, nil
}
