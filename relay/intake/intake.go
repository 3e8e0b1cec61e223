// Package intake is the HTTP side of a relay: POST /v1/events, from the size cap to the answer.
//
// It verifies who sends, decodes and routes every event before the first is published, and answers for
// each. The relay serves it; it knows streams only through a Publisher. A Handler is safe for concurrent
// use, takes no lock on the way of an event, and keeps nothing of a request after its answer.
package intake

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/relay/guard"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Path is where events are posted.
const Path = "/v1/events"

// Control is the control state as the intake reads it.
type Control interface {
	// State is the present snapshot, never nil and never changed.
	State() *control.State
	// HeartbeatAge is how long ago the control home was last heard of.
	HeartbeatAge() time.Duration
}

// Publisher stores messages in their order. When Publish returns, every one of results, which is as long
// as msgs, is set, and nothing refers to msgs any more. It does not retry: the producer does.
type Publisher interface {
	Publish(ctx context.Context, tenant string, s *uplink.Stamp, msgs []uplink.Message, results []uplink.Result)
	// Probe finds out which messages are stored, within bounds that it keeps, and stores none. Results are set as by
	// Publish: Duplicate, Rejected for a conflict, Unavailable where the id is taken and more cannot be said, Absent or Unasked.
	Probe(ctx context.Context, tenant string, msgs []uplink.Message, results []uplink.Result)
}

// Guard remembers requests over the time in which they can be valid, for all relays of the mesh.
type Guard interface {
	// Check says whether the key of a verified request was claimed: guard.Fresh, guard.Replayed or guard.Unavailable.
	Check(tenant string, k guard.Key) guard.Verdict
	// Claim takes the key of a verified request. Of all calls with one key one is told guard.Fresh, or none; its
	// request may be accepted once the group's Stored is true.
	Claim(tenant string, k guard.Key) (*guard.Group, guard.Verdict)
	// Reason is why the others say guard.Unavailable.
	Reason() string
}

// Recorder counts what happens. Its methods are called on the way of a request and must not block.
type Recorder interface {
	// Request is called once for each answered request; code is "ok" or the problem's code.
	Request(status int, code string, took time.Duration)
	// Signature is called once for each request whose signature was checked; code is "ok" or the problem's code.
	Signature(scheme, code string)
	// Events is called for each tenant, status and code of a request's events with their number.
	Events(tenant, status, code string, n int)
	// Replayed is called for each request that was refused because it is a copy.
	Replayed(tenant string)
	// Copies is called for the copies of events in another major version, with what became of them.
	Copies(tenant, result string, n int)
	// Probed is called for refused events about which the streams were asked, with what they said.
	Probed(tenant, result string, n int)
	// Published is called once for each publish with the time until the last acknowledgement.
	Published(took time.Duration)
}

// Limits bound what one request may hold and how far clocks may differ.
type Limits struct {
	BodyBytes   int64
	BatchEvents int
	Skew        time.Duration // between the request's time, an event's future and the relay's clock
	CoarseSkew  time.Duration // beyond it a request is refused before its signature is looked at
	Heartbeat   time.Duration // age of the control heartbeat beyond which critical topics are refused
	RetryAfter  time.Duration // told with 503; whole seconds
}

// DefaultLimits are the limits of the wire format.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes: 512 << 10, BatchEvents: 10000, Skew: 300 * time.Second, CoarseSkew: 24 * time.Hour,
		Heartbeat: 10 * time.Minute, RetryAfter: time.Second,
	}
}

// Options of a Handler.
type Options struct {
	Region    string
	RelayID   string
	Hosts     []string // "host:port" or "host", lower case: what the Host of a request may be
	Control   Control
	Publisher Publisher
	Guard     Guard
	// Client says whether the certificate of a request's connection is still accepted: nil, an Unauthenticated fault
	// (401) with the code of the answer, or an Unavailable one (503). Without it nothing is asked.
	Client   func(r *http.Request) error
	Sealer   keyring.Opener
	Tokens   Tokens  // nil: no issuer is configured, and a request with a token is refused
	Schemas  Schemas // nil: events are held to no schema and no rule
	Limits   Limits
	Recorder Recorder
	Refusals Refusals // nil: nobody keeps account of them
	Clock    Clock    // nil: the relay's clock is trusted always
	Logger   *zap.Logger
	Now      func() time.Time
}

func (o *Options) validate() error {
	const op = "intake.new"
	switch l := &o.Limits; {
	case !subject.ValidRegion(o.Region) || o.RelayID == "":
		return fault.New(op, fault.Invalid, "options", "Region and RelayID must be set")
	case len(o.Hosts) == 0:
		return fault.New(op, fault.Invalid, "hosts", "no host name: every request would be refused")
	case o.Control == nil || o.Publisher == nil || o.Guard == nil || o.Sealer == nil || o.Recorder == nil || o.Logger == nil || o.Now == nil:
		return fault.New(op, fault.Invalid, "options", "Control, Publisher, Guard, Sealer, Recorder, Logger and Now must be set")
	case l.BodyBytes < 1 || l.BatchEvents < 1 || l.Skew <= 0 || l.CoarseSkew < l.Skew || l.Heartbeat <= 0 || l.RetryAfter < time.Second:
		return fault.New(op, fault.Invalid, "limits", "every limit must be positive, CoarseSkew no less than Skew, RetryAfter at least 1s")
	}
	return nil
}

// Handler serves Path.
type Handler struct {
	o         Options
	hosts     map[string]struct{}
	dummy     keyring.Secret // an unknown key costs as much as a known one
	secrets   sync.Map       // kid -> *opened
	siblings  atomic.Pointer[map[producer][]string]
	plans     sync.Map // tenant -> *plan
	exchanges sync.Pool
	events    event.Limits
	retry     string

	dummyPublic keyring.Secret // the same for Ed25519
	nobody      *keyring.Key   // whose secret is dummy
}

var _ http.Handler = (*Handler)(nil)
