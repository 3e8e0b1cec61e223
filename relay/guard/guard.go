// Package guard makes a captured request worthless: a request that was accepted once, by any relay of any region, is
// not accepted again for as long as it can be valid, over restarts too.
//
// Each relay has a Guard. It holds the keys of all requests of the last eleven minutes in memory, claims the key of
// a request before its events are published, and journals claims in groups in the stream GUARD of its region,
// which every relay of the mesh reads. A group is acknowledged before any of its requests is answered. Copies
// that reach two relays within the way of a group pass both; their events have the same ids, and the
// stream keeps one of each. ADR 12 says what holds when, and why.
//
// No clock of another process enters: an entry lives from the moment in which it was claimed or read here.
//
// # Concurrency
//
// Check, Claim, Reason and Stats may be called from any goroutine. Two goroutines, which Stop ends and waits for, write
// and read the journal.
package guard

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Options of a Guard.
type Options struct {
	Relay   string                         // this relay's id
	Origin  func() (subject.Origin, error) // the region's live origin
	Tenants func() int                     // how many tenants share the space
	Journal jetstream.JetStream            // of the CONTROL account in the own region
	Entries int                            // requests that are held, all tenants together
	Valid   time.Duration                  // how long a request can be valid, by the clocks of all relays
	Stale   time.Duration                  // how old the newest own group that was read back may be
	Ack     time.Duration                  // the wait for the acknowledgement of a group
	Probe   time.Duration                  // between groups when there are no requests
	Logger  *zap.Logger
	Now     func() time.Time
}

// DefaultOptions are a relay's; Relay, Origin, Tenants and Journal are the caller's.
func DefaultOptions() Options {
	return Options{
		Entries: 16 << 20, Valid: 660 * time.Second, Stale: 30 * time.Second, Ack: 2 * time.Second, Probe: 5 * time.Second,
		Logger: zap.NewNop(), Now: time.Now,
	}
}

// minEntries is what a Guard needs to be of use.
const minEntries = 1 << 10

func (o *Options) validate() error {
	const op = "guard.new"
	switch {
	case o.Relay == "" || o.Origin == nil || o.Tenants == nil || o.Journal == nil || o.Logger == nil || o.Now == nil:
		return fault.New(op, fault.Invalid, "options", "Relay, Origin, Tenants, Journal, Logger and Now must be set")
	case o.Entries < minEntries:
		return fault.New(op, fault.Invalid, "entries", "%d requests are too few to remember, at least %d", o.Entries, minEntries)
	case o.Valid < time.Second || o.Ack <= 0 || o.Probe <= 0 || o.Stale <= o.Probe:
		return fault.New(op, fault.Invalid, "times", "Valid, Ack and Probe must be positive, Stale longer than Probe")
	}
	return nil
}

// Verdict is what the guard says of a request.
type Verdict int

// The verdicts.
const (
	Fresh       Verdict = iota // never seen; it is claimed now
	Replayed                   // seen before
	Full                       // the tenant has no place left
	Unavailable                // the guard cannot know; Reason tells why
)

// Guard is one relay's part in the mesh's memory of requests.
type Guard struct {
	o       Options
	began   time.Time
	process uint64
	spread  scatter
	span    time.Duration
	queue   queue
	wake    chan struct{} // holds one token: the queue is not empty

	sets  sync.Map     // tenant -> *set
	total atomic.Int64 // entries of all sets
	floor atomic.Int64 // entries that each tenant may have whatever the others hold

	refused atomic.Bool            // the journal did not take the last group
	back    atomic.Pointer[moment] // when the newest own group that was read back was sent; nil: none was
	groups  atomic.Int64           // acknowledged

	stopping atomic.Bool
	cancel   context.CancelFunc
	loops    sync.WaitGroup
}

// New makes a guard that refuses everything until it is started and has read its journal.
func New(o Options) (*Guard, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	g := &Guard{
		o: o, began: o.Now(), process: rand.Uint64(), spread: scatter{xor: rand.Uint64(), odd: rand.Uint64() | 1},
		span: span(o.Valid), wake: make(chan struct{}, 1),
	}
	return g, nil
}

// Start begins to read and write the journal.
func (g *Guard) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.share()
	g.loops.Go(func() { g.write(ctx) })
	g.loops.Go(func() { g.follow(ctx) })
}

// Stop ends the guard. Groups that are not acknowledged count as not stored. It is idempotent.
func (g *Guard) Stop() {
	g.stopping.Store(true)
	if g.cancel != nil {
		g.cancel()
	}
	g.loops.Wait()
	if open := g.queue.close(); open != nil {
		open.settle(false)
	}
}

// moment is a time by two clocks: the one never steps, the other goes on while the machine sleeps.
type moment struct{ since, wall time.Duration } // since the guard began

func (g *Guard) moment() moment {
	now := g.o.Now()
	return moment{since: now.Sub(g.began), wall: now.Round(0).Sub(g.began.Round(0))}
}

// after is how much later m is than a former moment by the clock that says more.
func (m moment) after(former *moment) time.Duration {
	return max(m.since-former.since, m.wall-former.wall)
}

// generation is the number of the generation of a time. Numbers begin where those of the journal's past are positive.
func (g *Guard) generation(at time.Duration) int64 { return int64(at/g.span) + 2*generations }

// Claim takes the key of a tenant's verified request. Where the verdict is Fresh, the request is only accepted
// once the group's Stored has said so. A key that was claimed stays claimed, whatever becomes of its request.
func (g *Guard) Claim(tenant string, k Key) (*Group, Verdict) {
	now := g.moment()
	if g.troubled(now) {
		return nil, Unavailable
	}
	v, dropped := g.set(tenant).claim(k, g.generation(now.since), g.allow)
	g.total.Add(-int64(dropped))
	if v != Fresh {
		return nil, v
	}
	g.total.Add(1)
	group, first := g.queue.push(entry{tenant: tenant, key: k})
	if group == nil {
		return nil, Unavailable
	}
	if first {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
	return group, Fresh
}

// Check says whether a key was claimed: Fresh, Replayed or Unavailable. It takes nothing.
func (g *Guard) Check(tenant string, k Key) Verdict {
	now := g.moment()
	if g.troubled(now) {
		return Unavailable
	}
	s := g.set(tenant)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(&k, g.generation(now.since)) {
		return Replayed
	}
	return Fresh
}

// allow says whether a tenant that holds n entries may have one more. No tenant takes more than a quarter of the
// space, and no number of them takes the half of it that all tenants' floors add up to.
func (g *Guard) allow(n int) bool {
	if int64(n) < g.floor.Load() {
		return true
	}
	return n < g.o.Entries/4 && g.total.Load() < int64(g.o.Entries/2)
}

// share divides the floors anew.
func (g *Guard) share() { g.floor.Store(int64(max(g.o.Entries/2/max(g.o.Tenants(), 1), 1))) }

func (g *Guard) set(tenant string) *set {
	if s, ok := g.sets.Load(tenant); ok {
		return s.(*set)
	}
	s, _ := g.sets.LoadOrStore(tenant, &set{spread: g.spread})
	return s.(*set)
}

// sweep drops what is over, of tenants too that send nothing any more.
func (g *Guard) sweep() {
	present := g.generation(g.moment().since)
	g.sets.Range(func(_, v any) bool {
		s := v.(*set)
		s.mu.Lock()
		g.total.Add(-int64(s.expire(present)))
		s.mu.Unlock()
		return true
	})
}

// troubled is Reason without the words.
func (g *Guard) troubled(now moment) bool {
	back := g.back.Load()
	return back == nil || g.refused.Load() || now.after(back) > g.o.Stale || g.stopping.Load()
}

// Reason is why the guard lets nothing in, "" while it does.
func (g *Guard) Reason() string {
	back, now := g.back.Load(), g.moment()
	switch {
	case g.stopping.Load():
		return "the replay guard is stopping"
	case g.refused.Load():
		return "the journal of request ids takes no groups"
	case back == nil:
		return "the journal of request ids is being read"
	case now.after(back) > g.o.Stale:
		return fmt.Sprintf("the journal of request ids is %s behind, at most %s is allowed", now.after(back).Round(time.Second), g.o.Stale)
	}
	return ""
}

// Stats are a guard's figures.
type Stats struct {
	Entries int64         // held
	Groups  int64         // acknowledged since the start
	Lag     time.Duration // age of the newest own group that was read back
}

// Stats returns the present figures.
func (g *Guard) Stats() Stats {
	back := g.back.Load()
	if back == nil {
		back = &moment{}
	}
	return Stats{Entries: g.total.Load(), Groups: g.groups.Load(), Lag: g.moment().after(back)}
}
