// Package revocation decides whether a client's certificate is still accepted: on every new and resumed connection,
// and again at every request of an open one.
//
// What it knows comes from three sides: the control log (the mesh's own certificates), revocation lists of other
// authorities (files and URLs), and their OCSP responders. A relay has one. A Checker is safe for concurrent use; a
// check takes no lock and reads snapshots that are swapped whole. Start begins to look at lists and to ask
// responders, Stop ends it.
package revocation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// The codes of refusals.
const (
	CodeRevoked   = "certificate_revoked"
	CodeUnknown   = "revocation_unknown"  // stale list, silent responder: Unavailable, as it may pass
	CodeUntrusted = "authority_untrusted" // the authority may not, or no longer, speak for the principal
)

// Client is the certificate that a connection came with. It is made once for each connection, from what the handshake
// verified.
type Client struct {
	leaf    *x509.Certificate
	issuer  *x509.Certificate
	who     pki.Principal
	ids     []pki.ID     // of every certificate below an authority that is trusted, in all chains; the leaf's first
	records []string     // the names of the same in the control state
	anchors []pki.Issuer // of the chains
	ocsp    *answer      // nil: not asked for
}

// Client reads a connection whose chains the handshake has verified. Resumed connections have them too.
func (c *Checker) Client(s *tls.ConnectionState) (*Client, error) {
	if len(s.PeerCertificates) == 0 || len(s.VerifiedChains) == 0 {
		return nil, errUnverified
	}
	out := &Client{leaf: s.PeerCertificates[0]}
	out.who, _ = pki.FromCertificate(out.leaf) // nobody is refused by the intake, and by Speaks
	seen := map[pki.ID]bool{}
	for _, chain := range s.VerifiedChains {
		out.anchors = append(out.anchors, pki.IssuerOf(chain[len(chain)-1]))
		for i, cert := range chain[:len(chain)-1] {
			if id := pki.IDOf(cert, chain[i+1]); !seen[id] {
				seen[id] = true
				record := accounts.Certificate{Issuer: id.Issuer.String(), Serial: pki.SerialText(cert.SerialNumber)}
				out.ids, out.records = append(out.ids, id), append(out.records, record.ID())
			}
		}
	}
	if chain := s.VerifiedChains[0]; len(chain) > 1 {
		out.issuer = chain[1]
		c.attend(out, s.OCSPResponse)
	}
	return out, nil
}

var errUnverified = fault.New("revocation.client", fault.Unauthenticated, "no_certificate", "the client's certificate is not verified")

// Serial is the certificate's number in hex, for logs.
func (c *Client) Serial() string { return pki.SerialText(c.leaf.SerialNumber) }

// Checker knows what is revoked.
type Checker struct {
	o      Options
	http   *http.Client
	lists  atomic.Pointer[map[pki.Issuer]*list] // the newest of each authority
	warned sync.Map                             // warning -> true
	books  []*source                            // of New, then of the looking goroutine alone

	seen      sync.Mutex // guards the two below
	asked     map[pki.ID]*answer
	questions int // under way

	run    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// New makes a checker and reads the lists once. A list in a file must be there; one that a URL does not give is asked
// for again later.
func New(ctx context.Context, o Options) (*Checker, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	c := &Checker{o: o, http: o.HTTP, asked: map[pki.ID]*answer{}}
	if c.http == nil {
		c.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	c.lists.Store(&map[pki.Issuer]*list{})
	c.run, c.cancel = context.WithCancel(context.Background())
	return c, c.open(ctx)
}

// Start looks at lists and asks responders until Stop.
func (c *Checker) Start() {
	c.work.Go(func() {
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-c.run.Done():
				return
			case <-tick.C:
				c.look(c.run)
				c.ask()
			}
		}
	})
}

// lookEvery is the interval at which files and the age of answers are looked at.
const lookEvery = time.Second

// Stop ends what Start began and waits for it. It is idempotent.
func (c *Checker) Stop() {
	c.seen.Lock() // no question begins after it
	c.cancel()
	c.seen.Unlock()
	c.work.Wait()
}

// Check is nil while the client's certificate is accepted; else an Unauthenticated fault, or an Unavailable one if it
// is not known. That the certificate has not run out is the handshake's and the intake's to check.
func (c *Checker) Check(client *Client) error {
	if client == nil {
		return errUnverified
	}
	if !c.trusted(client) {
		return errUntrusted
	}
	own, lists := c.o.State().Certificates, *c.lists.Load()
	for i, id := range client.ids {
		if record := own[client.records[i]]; record != nil && record.State == accounts.CertificateRevoked {
			return errRevoked
		}
		if len(c.o.Lists) == 0 {
			continue
		}
		l := lists[id.Issuer]
		if l != nil && l.has(id.Serial) {
			return errRevoked
		}
		if (l == nil || c.o.Now().After(l.nextUpdate)) && !c.o.Trust.Own(id.Issuer) && !c.lenient(c.o.ListStale, "list", id.Issuer) {
			return errStale
		}
	}
	return c.checkAnswer(client)
}

// The refusals are made once: a request costs nothing for them.
var (
	errRevoked   = fault.New("revocation.check", fault.Unauthenticated, CodeRevoked, "the client certificate is revoked")
	errUntrusted = fault.New("revocation.check", fault.Unauthenticated, CodeUntrusted, "the authority of the client certificate may not speak for its tenant")
	errStale     = fault.New("revocation.check", fault.Unavailable, CodeUnknown, "this relay has no current revocation list of the client certificate's authority")
	errSilent    = fault.New("revocation.check", fault.Unavailable, CodeUnknown, "the OCSP responder has not said that the client certificate is good")
)

func (c *Checker) trusted(client *Client) bool {
	if c.o.Trust == nil {
		return true
	}
	for _, anchor := range client.anchors {
		if c.o.Trust.Speaks(anchor, client.who) {
			return true
		}
	}
	return false
}

// VerifyConnection is for tls.Config: it runs on every handshake, resumed ones too, where the certificate hooks do not.
// Of whom it is not known whether it is revoked gets a connection, on which Check refuses each request until it is known:
// an alert about the certificate would tell a producer to give up.
func (c *Checker) VerifyConnection(s tls.ConnectionState) error {
	client, err := c.Client(&s)
	if err != nil {
		return err
	}
	if client.ocsp != nil {
		c.await(client)
	}
	if err := c.Check(client); fault.KindOf(err) != fault.Unavailable {
		return err
	}
	return nil
}
