// Package relay is the edge of the mesh: it takes signed events over HTTPS, verifies and validates
// them, and publishes them into the tenant's stream of its region or of the key's home region.
//
// cmd/weft runs one as a process or beside a hub; it knows the hub only through the wire: the control
// state that it is given, and connections in tenants' accounts. A Relay is safe for concurrent use.
package relay

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/relay/guard"
	"github.com/weft-mesh/weft/relay/intake"
	"github.com/weft-mesh/weft/relay/reject"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Control is the control state as a relay reads it; control.Log is one.
type Control interface {
	// State is the present snapshot, never nil and never changed.
	State() *control.State
	// Changed is closed at the next change. Take it before State, so that no change is missed.
	Changed() <-chan struct{}
	// HeartbeatAge is how long ago the control home was last heard of.
	HeartbeatAge() time.Duration
	// Heartbeat is when the hub of the own region wrote its last heartbeat, by the hub's clock.
	Heartbeat() time.Time
}

// Limits bound what one relay takes and holds.
type Limits struct {
	BodyBytes     int64         // of one request
	BatchEvents   int           // of one request
	HeaderBytes   int           // of one request
	Streams       int           // concurrent requests on one HTTP/2 connection
	ReadTimeout   time.Duration // for a whole request, header and body
	IdleTimeout   time.Duration // between requests of a connection
	Window        int           // events in flight for each tenant
	AckTimeout    time.Duration // for the acknowledgement of an event
	DigestTimeout time.Duration // for the comparison of a request's duplicates
	RemoteTimeout time.Duration // for the confirmation of another region, where topics ask for it
	Requests      int           // that are told from copies: of the last eleven minutes, all tenants and regions
}

// Options of a Relay.
type Options struct {
	Origin string // the region whose streams this relay feeds
	ID     string // the relay's name, unique in its region: [a-z0-9-]{1,32}
	Listen string // host:port; port 0 picks one
	// Hosts are the names under which producers reach the relay, "host:port" or "host"; a signed request
	// for another host is refused. Empty: the listen address and the certificate's names, with the port.
	Hosts []string
	TLS   *tls.Config // with the relay's certificate and, in ClientCAs, the tenants' authority
	// Clients decides over certificates; the caller starts and stops it. Nil: a
	// certificate of an authority in TLS is accepted unless the control state says that it is revoked.
	Clients Clients
	Control Control
	// Connect opens a connection in a tenant's account, as uplink.Connect describes.
	Connect    func(ctx context.Context, tenant string) (*nats.Conn, error)
	Journal    jetstream.JetStream // in the CONTROL account of the region: where relays tell each other of requests
	Sealer     keyring.Opener      // opens the secrets of keys
	Issuers    []token.Issuer      // of access tokens; none: requests with a token are refused
	Limits     Limits
	Rejects    reject.Limits // what the account of refusals may cost
	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept and not published
	Now        func() time.Time
	Elapsed    func() time.Duration // a clock that nobody sets; nil: the process's own
}

// DefaultOptions has every limit set; Origin, ID, Listen, TLS, Control, Connect, Journal and Sealer are the
// caller's.
func DefaultOptions() Options {
	up, in := uplink.DefaultOptions(), intake.DefaultLimits()
	return Options{
		Limits: Limits{
			BodyBytes: in.BodyBytes, BatchEvents: in.BatchEvents, HeaderBytes: 16 << 10, Streams: 250,
			ReadTimeout: 5 * time.Second, IdleTimeout: time.Minute,
			Window: up.Window, AckTimeout: up.AckTimeout, DigestTimeout: up.DigestTimeout, RemoteTimeout: up.RemoteTimeout,
			Requests: guard.DefaultOptions().Entries,
		},
		Rejects: reject.DefaultLimits(),
		Logger:  zap.NewNop(),
		Now:     time.Now,
	}
}

const maxID = 32

func validID(s string) bool {
	if s == "" || len(s) > maxID {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func (o *Options) validate() error {
	const op = "relay.new"
	bad := func(code, format string, args ...any) error {
		return fault.New(op, fault.Invalid, code, format, args...)
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return bad("listen", "listen address %q is not host:port", o.Listen)
	}
	switch l := &o.Limits; {
	case !subject.ValidRegion(o.Origin):
		return bad("origin", "origin %q is not a region's name", o.Origin)
	case !validID(o.ID):
		return bad("id", "relay id %q is not of the form [a-z0-9-]{1,%d}", o.ID, maxID)
	case o.TLS == nil || len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil:
		return bad("tls", "TLS has no certificate")
	case o.TLS.ClientCAs == nil && o.TLS.GetConfigForClient == nil:
		return bad("tls", "TLS.ClientCAs is not set: certificates of every public authority would be let in")
	case o.Control == nil || o.Connect == nil || o.Journal == nil || o.Sealer == nil || o.Logger == nil || o.Now == nil:
		return bad("options", "Control, Connect, Journal, Sealer, Logger and Now must be set")
	case l.BodyBytes < 1 || l.BatchEvents < 1 || l.HeaderBytes < 1 || l.Streams < 1:
		return bad("limits", "BodyBytes, BatchEvents, HeaderBytes and Streams must be positive")
	case l.ReadTimeout <= 0 || l.IdleTimeout <= 0 || l.AckTimeout <= 0 || l.DigestTimeout <= 0 || l.RemoteTimeout <= 0:
		return bad("limits", "timeouts must be positive")
	}
	return nil
}
