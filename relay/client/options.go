// Package client is the reference producer: it signs events, sends them in batches to a relay and
// retries what is not stored, always under the same event ids.
//
// weft send, the demo traffic and the tests use it; it is a good model for a client in another language.
// A Client is safe for concurrent use.
package client

import (
	"context"
	"crypto/tls"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// Options of a Client.
type Options struct {
	URL    string      // of the relay, such as "https://127.0.0.1:18443"
	TLS    *tls.Config // with the producer's certificate and the relay's authority
	Kid    string
	Secret keyring.Secret
	Scheme string // of the signature: one that the key lists; keyring.StandardWebhooksV1a takes an Ed25519 private key or its seed as Secret
	// Token returns the access token of a request, one that holds for longer than an attempt takes; it is asked
	// for each attempt and should keep what it has fetched. A failure is retried like a missing answer; after a refusal
	// that a newer token or certificate can end, it is asked once more, for a new connection. Nil: none.
	Token func(ctx context.Context) (string, error)

	BatchEvents int // in one request
	BatchBytes  int // in one request
	// Concurrency is how many requests may be under way. Events of one key stay in one lane and so in order.
	Concurrency int

	MaxRetries int           // of one batch, after its first attempt
	Deadline   time.Duration // for one batch with all its retries; 0: only MaxRetries counts
	Timeout    time.Duration // of one attempt
	MinBackoff time.Duration // the first pause is up to this long, the next up to twice as long, ...
	MaxBackoff time.Duration // ... up to this; a longer Retry-After is obeyed as it is, up to MaxRetryAfter

	MaxRetryAfter time.Duration
	OnResults     func([]Result) // after every settled batch, from its lane; nil: nobody
	OnWarning     func(Warning)  // what a relay says about events that it took, each once, from a lane; nil: it is logged
	Logger        *zap.Logger
	Now           func() time.Time
}

// DefaultOptions sets everything but URL, TLS, Kid and Secret.
func DefaultOptions() Options {
	return Options{
		Scheme: keyring.WeftV1, BatchEvents: 500, BatchBytes: 400 << 10, Concurrency: 1,
		MaxRetries: 10, Deadline: time.Minute, Timeout: 15 * time.Second,
		MinBackoff: 50 * time.Millisecond, MaxBackoff: 5 * time.Second, MaxRetryAfter: 30 * time.Second,
		Logger: zap.NewNop(), Now: time.Now,
	}
}

func (o *Options) validate() (*url.URL, error) {
	const op = "client.new"
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https":
		return nil, fault.New(op, fault.Invalid, "url", "%q is not the https URL of a relay", o.URL)
	case !keyring.ValidKid(o.Kid):
		return nil, fault.New(op, fault.Invalid, "kid", "%q is not a key id", o.Kid)
	case o.BatchEvents < 1 || o.BatchBytes < 1 || o.Concurrency < 1 || o.MaxRetries < 0:
		return nil, fault.New(op, fault.Invalid, "limits", "BatchEvents, BatchBytes and Concurrency must be positive")
	case o.Timeout <= 0 || o.MinBackoff <= 0 || o.MaxBackoff < o.MinBackoff || o.Deadline < 0 || o.MaxRetryAfter < 0:
		return nil, fault.New(op, fault.Invalid, "limits", "Timeout and MinBackoff must be positive, MaxBackoff no less than MinBackoff")
	case o.Logger == nil || o.Now == nil:
		return nil, fault.New(op, fault.Invalid, "options", "Logger and Now must be set")
	}
	return u.JoinPath("/v1/events"), o.checkSecret()
}

// Warning is something to know about events that a relay took.
type Warning struct {
	Code   string `json:"code"`
	Schema string `json:"schema"` // type@version
	Detail string `json:"detail"`
}

// Status is what became of an event.
type Status string

// The statuses; all but Rejected and Unknown mean that the mesh has the event.
const (
	Stored    Status = "stored"
	Duplicate Status = "duplicate" // it was stored before
	Forwarded Status = "forwarded" // stored in its key's home region
	// DeadLettered is an event whose type has no schema, kept where no consumer sees it.
	DeadLettered Status = "dead_lettered"
	Rejected     Status = "rejected" // never stored as it is: Code and Detail say why
	Unknown      Status = "unknown"  // the last answer was a failure to store, or there was none: send it again
)

// Result is the outcome of one event.
type Result struct {
	Index   int // in the slice given to Send
	EventID string
	Status  Status
	Code    string
	Detail  string
	Pointer string // RFC 6901, into the event
	Region  string // where it is stored, when the relay said so
	Seq     uint64 // in that region's stream, when the relay said so
	Ack     string // what the answer guarantees, such as "stored"
}

// Settled says that the mesh has the event.
func (r *Result) Settled() bool {
	return r.Status == Stored || r.Status == Duplicate || r.Status == Forwarded || r.Status == DeadLettered
}
