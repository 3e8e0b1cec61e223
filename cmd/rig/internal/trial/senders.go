package trial

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/cmd/rig/internal/fleet"
	"github.com/weft-mesh/weft/cmd/rig/internal/load"
)

// credential is what a producer signs and identifies itself with, and what the trial knows of its life.
type credential struct {
	fault  string
	kid    string
	secret keyring.Secret
	http   *http.Client
	calm   bool // what it is good for depends on the relay's clock

	mu    sync.Mutex
	from  int64 // it has to be let in from here ...
	until int64 // ... to here; 0: it need not
	bad   int64 // it must not be let in after this, 0: it never was good
}

func newCredential(fault, kid string, secret keyring.Secret, conf *tls.Config) *credential {
	return &credential{fault: fault, kid: kid, secret: secret, http: load.NewSender(conf), until: checker.Forever, bad: checker.Forever}
}

// lives sets until when the credential has to be let in, and after when it must not be.
func (c *credential) lives(until, bad int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.bad = until, bad
}

// told is what a relay said to a request with a credential.
type told struct {
	checker.Probe
	by   *credential
	last bool // after the heal
}

// captured is a request that was accepted.
type captured struct {
	*load.Request
	id string
	by *credential
	at int64 // when its answer came
}

// senders are producers whose credentials end, or are misused. It is safe for concurrent use.
type senders struct {
	t *trial

	mu       sync.Mutex
	n        int
	attempts []checker.Attempt
	probes   []told
	dead     []*credential
	copies   []*captured
}

func (s *senders) close() {
	for _, c := range s.dead {
		c.http.CloseIdleConnections()
	}
}

// name is a new one, of events, keys and files.
func (s *senders) name(what string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return fmt.Sprintf("%s-%d", what, s.n)
}

// ends keeps a credential that is, or will be, good for nothing: it is tried once more after the heal.
func (s *senders) ends(c *credential) *credential {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = append(s.dead, c)
	return c
}

// sending is how one event is sent.
type sending struct {
	ahead  time.Duration       // of the sender's clock
	tamper func(*load.Request) // after it was signed; nil: nothing
	once   bool                // copies of it follow
	last   bool                // after the heal: nothing excuses an acceptance
}

// send sends one event with the credential, and notes the attempt and what the relay told. The request is returned
// when it was accepted.
func (s *senders) send(ctx context.Context, c *credential, region string, o sending) (load.Reply, *captured) {
	id := s.name(c.fault)
	body := event(id, "vault.event", 60)
	req, err := load.Sign(c.kid, c.secret, fleet.SharedHost, id, time.Now().Add(o.ahead), body)
	if err != nil {
		panic(err) // the host is a constant
	}
	a := checker.Attempt{ID: id, Tenant: keysTenant, Key: id, Body: load.Hash(body), Once: o.once}
	if o.tamper != nil {
		o.tamper(req)
		a.Poison = true
	}
	at := s.t.clock()
	a.Sends = []checker.Send{{At: at, Region: region}}
	reply := req.Send(ctx, c.http, s.t.fleet.RelayURL(region))
	now := s.t.clock()
	switch reply.Answer {
	case checker.Accepted, checker.Known:
		a.Outcome, a.Region, a.AckedAt = checker.Acked, reply.Region, now
	case checker.Barred:
		a.Outcome = checker.Refused
	}
	s.note(told{Probe: s.probe(c, region, id, at, now, reply), by: c, last: o.last}, a)
	if reply.Answer != checker.Accepted {
		return reply, nil
	}
	return reply, &captured{Request: req, id: id, by: c, at: now}
}

// again sends the copy of a request.
func (s *senders) again(ctx context.Context, r *captured, region string) {
	at := s.t.clock()
	reply := r.Send(ctx, r.by.http, s.t.fleet.RelayURL(region))
	p := s.probe(r.by, region, r.id, at, s.t.clock(), reply)
	p.Copy = true
	s.note(told{Probe: p, by: r.by})
}

func (s *senders) probe(c *credential, region, id string, at, now int64, r load.Reply) checker.Probe {
	return checker.Probe{Fault: c.fault, Tenant: keysTenant, Region: region, ID: id, At: at, Answered: now, Answer: r.Answer, Code: r.Code, Calm: c.calm}
}

func (s *senders) note(p told, as ...checker.Attempt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probes = append(s.probes, p)
	s.attempts = append(s.attempts, as...)
}

// everywhere sends with the credentials to all regions until ctx ends.
func (s *senders) everywhere(ctx context.Context, o sending, cs ...*credential) {
	var wg sync.WaitGroup
	for _, r := range s.t.plan.Regions {
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, c := range cs {
					s.send(context.WithoutCancel(ctx), c, r.Name, o)
				}
				sleep(ctx, 20*time.Millisecond)
			}
		})
	}
	wg.Wait()
}

// last tries everything that has ended, and every captured request, once more in every region, after the heal.
func (s *senders) last(ctx context.Context) {
	for _, r := range s.t.plan.Regions {
		for _, c := range s.dead {
			for range 3 {
				s.send(ctx, c, r.Name, sending{last: true})
			}
		}
		for _, copied := range s.copies {
			s.again(ctx, copied, r.Name)
		}
	}
}

// probed counts probes by fault and answer.
func probed(ps []checker.Probe) map[string]int {
	out := map[string]int{}
	for i := range ps {
		code := ps[i].Code
		switch ps[i].Answer {
		case checker.Accepted:
			code = "accepted"
		case checker.Known:
			code = "duplicate"
		}
		out[ps[i].Fault+": "+code]++
	}
	return out
}

// told are all probes, with what their credentials turned out to be good for.
func (s *senders) told() []checker.Probe {
	out := make([]checker.Probe, len(s.probes))
	for i, p := range s.probes {
		out[i] = p.Probe
		if !p.Copy && !p.last {
			out[i].GoodFrom, out[i].GoodUntil, out[i].BadFrom = p.by.from, p.by.until, p.by.bad
		}
	}
	return out
}
