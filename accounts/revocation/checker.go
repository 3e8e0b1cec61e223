// Package revocation decides whether a client's certificate is still accepted: on every new and resumed connection,
// and again at every request of an open one.
//
// What it knows comes from three sides: the control log (the mesh's own certificates), revocation lists of other
// authorities (files and URLs), and their OCSP responders. A Checker is safe for concurrent use; a check takes no
// lock and reads snapshots that are swapped whole.
package revocation

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// CodeRevoked is the code of a refusal.
const CodeRevoked = "certificate_revoked"

// Client is the certificate that a connection came with. It is made once for each connection, from what the handshake
// verified, and never changes.
type Client struct {
	leaf *x509.Certificate
	ids  []pki.ID // of every certificate between the leaf and an authority that is trusted, in all chains
}

// NewClient reads a connection whose chains the handshake has verified. Resumed connections have them too.
func NewClient(s *tls.ConnectionState) (*Client, error) {
	if len(s.PeerCertificates) == 0 || len(s.VerifiedChains) == 0 {
		return nil, errUnverified
	}
	c := &Client{leaf: s.PeerCertificates[0]}
	seen := map[pki.ID]bool{}
	for _, chain := range s.VerifiedChains {
		for i, cert := range chain[:len(chain)-1] {
			if id := pki.IDOf(cert, chain[i+1]); !seen[id] {
				seen[id] = true
				c.ids = append(c.ids, id)
			}
		}
	}
	return c, nil
}

var errUnverified = fault.New("revocation.client", fault.Unauthenticated, "no_certificate", "the client's certificate is not verified")

// Serial is the certificate's number in hex, for logs.
func (c *Client) Serial() string { return pki.SerialText(c.leaf.SerialNumber) }

// Checker knows what is revoked.
type Checker struct {
	now func() time.Time
	own atomic.Pointer[map[pki.ID]struct{}] // revoked by the mesh itself
}

// New makes a checker that knows of no revocation yet.
func New(now func() time.Time) *Checker {
	c := &Checker{now: now}
	c.own.Store(&map[pki.ID]struct{}{})
	return c
}

// Follow takes over what the control state says. Only certificates that could still be presented are kept.
func (c *Checker) Follow(state *control.State) {
	own := map[pki.ID]struct{}{}
	for _, cert := range state.Certificates {
		if cert.State != accounts.CertificateRevoked || c.now().After(cert.NotAfter) {
			continue
		}
		if id, err := pki.ParseID(cert.Issuer, cert.Serial); err == nil {
			own[id] = struct{}{}
		}
	}
	c.own.Store(&own)
}

// Check is nil while the client's certificate is accepted; else an Unauthenticated fault that says why not. That the
// certificate has not run out is the handshake's and the intake's to check.
func (c *Checker) Check(client *Client) error {
	const op = "revocation.check"
	if client == nil {
		return errUnverified
	}
	own := *c.own.Load()
	for _, id := range client.ids {
		if _, revoked := own[id]; revoked {
			return fault.New(op, fault.Unauthenticated, CodeRevoked, "the client certificate is revoked")
		}
	}
	return nil
}

// VerifyConnection is for tls.Config: it runs on every handshake, resumed ones too, where the certificate hooks do not.
func (c *Checker) VerifyConnection(s tls.ConnectionState) error {
	client, err := NewClient(&s)
	if err != nil {
		return err
	}
	return c.Check(client)
}
