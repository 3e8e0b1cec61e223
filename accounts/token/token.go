// Package token verifies the access tokens that producers present beside their request signatures: JWTs
// of an OAuth 2.0 issuer, as its client credentials grant hands them out (RFC 9068), for a tenant, with
// scopes by topic, and bound to the client certificate where they say so (RFC 8705).
//
// The relay owns one Verifier. What a token says is never followed: the issuers, their key sets and their
// algorithms are configured, and the headers jku, jwk, x5u and x5c are not read. Each issuer has one
// goroutine that reads its key set; at most one read is under way, and unknown key ids cause at most one
// for each interval. A Verifier is safe for concurrent use. No error and no log line holds a token.
package token

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// Options of a Verifier.
type Options struct {
	Issuers  []Issuer
	MaxBytes int           // of a token; a longer one is not parsed
	Leeway   time.Duration // by which an issuer's clock may be ahead: of nbf and iat, never of exp
	Wait     time.Duration // how long a request waits for a key set that is being read
	Fetch    time.Duration // how long one read of a key set may take
	Kept     int           // verified tokens that are remembered for each tenant
	Logger   *zap.Logger
	Now      func() time.Time
}

// DefaultOptions sets everything but Issuers.
func DefaultOptions() Options {
	return Options{
		MaxBytes: 8 << 10, Leeway: 30 * time.Second, Wait: 2 * time.Second, Fetch: 5 * time.Second, Kept: 64,
		Logger: zap.NewNop(), Now: time.Now,
	}
}

func (o *Options) validate() error {
	const op = "token.new"
	switch {
	case o.MaxBytes < 1 || o.Leeway < 0 || o.Wait <= 0 || o.Fetch <= 0 || o.Kept < 1:
		return fault.New(op, fault.Invalid, "limits", "MaxBytes, Wait, Fetch and Kept must be positive")
	case o.Logger == nil || o.Now == nil:
		return fault.New(op, fault.Invalid, "options", "Logger and Now must be set")
	}
	names := map[string]bool{}
	for i := range o.Issuers {
		issuer := &o.Issuers[i]
		if err := issuer.Validate(); err != nil {
			return fault.Wrap(op, fault.Invalid, err)
		}
		if names[issuer.Name] {
			return fault.New(op, fault.Invalid, "issuer", "issuer %.200q is there twice", issuer.Name)
		}
		names[issuer.Name] = true
	}
	return nil
}

// Verifier knows the issuers and their keys.
type Verifier struct {
	o        Options
	sources  map[string]*source // by issuer
	required map[string]bool    // by tenant
	cache    cache

	stop    sync.Once
	cancel  context.CancelFunc
	context context.Context // of the readers of key sets
	done    sync.WaitGroup
}

// New makes a verifier, which knows no key before Start.
func New(o Options) (*Verifier, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	v := &Verifier{o: o, sources: map[string]*source{}, required: map[string]bool{}, cache: cache{kept: o.Kept}}
	v.context, v.cancel = context.WithCancel(context.Background())
	for i := range o.Issuers {
		issuer := &o.Issuers[i]
		v.sources[issuer.Name] = newSource(issuer, &v.o)
		for _, tenant := range issuer.RequiredFor {
			v.required[tenant] = true
		}
	}
	return v, nil
}

// Start begins to read the issuers' key sets. It does not wait for them: a request does that.
func (v *Verifier) Start() {
	for _, s := range v.sources {
		v.done.Go(func() { s.run(v.context) })
	}
}

// Stop ends the readers and waits for them. It is idempotent.
func (v *Verifier) Stop() {
	v.stop.Do(v.cancel)
	v.done.Wait()
}

// Required says whether requests of the tenant must carry a token.
func (v *Verifier) Required(tenant string) bool { return v.required[tenant] }

// Retain forgets what is remembered for tenants that keep does not name.
func (v *Verifier) Retain(keep func(tenant string) bool) { v.cache.retain(keep) }

// Status is what is known of one issuer.
type Status struct {
	Issuer    string
	Reachable bool          // its key set is younger than the outage limit
	Age       time.Duration // of the key set; 0 when there is none
	Keys      int           // that can verify tokens
	Reads     uint64        // of the key set, since the start
	Failures  uint64        // among them
}

// Status lists the issuers in the order in which they are configured.
func (v *Verifier) Status() []Status {
	out := make([]Status, 0, len(v.o.Issuers))
	for i := range v.o.Issuers {
		out = append(out, v.sources[v.o.Issuers[i].Name].status())
	}
	return out
}
