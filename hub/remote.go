package hub

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/confirm"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	// askEvery is the interval in which the peers are asked again while somebody waits: less than a lease, and
	// how long a question that was lost over a broken link goes unnoticed.
	askEvery = 250 * time.Millisecond
	// askAgain is how soon after a question the next one makes no peer look sooner.
	askAgain = 5 * time.Millisecond
	// askLinger is how long the peers are asked after nobody waits any more: the next event is likely to come.
	askLinger = time.Second
	// maxWaiters bounds the questions of relays that wait, for each tenant.
	maxWaiters = 1 << 14
)

// remotes owns what runs on this server for remote acknowledgements: for each tenant, and only while somebody
// wants to know, one loop that asks the peers and one for each origin that a peer asks about.
type remotes struct {
	ctx    context.Context //nolint:containedctx // the life of the loops, which outlast the calls that start them
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed, so that no loop starts once stop waits
	closed bool
	loops  sync.WaitGroup
}

func newRemotes() *remotes {
	r := &remotes{}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *remotes) run(loop func(context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.loops.Go(func() { loop(r.ctx) })
	}
}

func (r *remotes) stop() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.loops.Wait()
}

// serveRemote answers, in a tenant's account, relays that want a second region to have an event, and the other
// regions' hubs, which have to know it for theirs.
func (h *Hub) serveRemote(t *tenancy, s *session) error {
	c := &confirmer{hub: h, name: t.tenant.Name, tenancy: t, session: s, inbox: s.conn.NewInbox(), held: map[string]uint64{}, again: make(chan struct{}, 1)}
	l := &lender{hub: h, name: t.tenant.Name, session: s, leases: map[subject.Origin]*lease{}}
	self := h.Origin().Region
	_, err1 := s.conn.Subscribe(c.inbox+".*", c.heard)
	_, err2 := s.conn.QueueSubscribe(subject.Remote(self), queue, c.asked)
	_, err3 := s.conn.QueueSubscribe(subject.Held(self), queue, l.lend)
	return errors.Join(err1, err2, err3)
}

// confirmer knows how much of what this region wrote its peers have stored. It learns that only while
// relays wait, by one question to each peer however many they are.
type confirmer struct {
	hub     *Hub
	name    string // of the tenant
	tenancy *tenancy
	session *session
	inbox   string        // answers of a peer come to inbox.<peer>
	again   chan struct{} // holds one token: somebody waits where nobody did

	mu      sync.Mutex
	origin  subject.Origin    // that held is about
	held    map[string]uint64 // peer -> up to where it has stored what origin wrote
	waiting waiters
	asking  bool      // the loop runs
	used    time.Time // when somebody last waited
	alive   bool      // a peer answered since the loop last looked
}

// waiter is one question of a relay.
type waiter struct {
	seq   uint64
	msg   *nats.Msg
	since time.Time
	timer *time.Timer
	at    int // in the heap, -1 once it is out
}

// asked takes the question of a relay. It answers at once or leaves a waiter.
func (c *confirmer) asked(m *nats.Msg) {
	var q confirm.Request
	if err := json.Unmarshal(m.Data, &q); err != nil {
		return // a relay never sends this; whoever does is not answered
	}
	if answer, ok := c.admit(m, &q); ok {
		c.hub.respond(m, answer)
	}
}

// admit is the answer that can be given now; false when the question waits.
func (c *confirmer) admit(m *nats.Msg, q *confirm.Request) (confirm.Response, bool) {
	live := c.hub.Origin()
	if q.Origin != live.String() {
		return confirm.Response{Error: confirm.Moved}, true
	}
	if len(c.peers()) == 0 {
		return confirm.Response{Error: confirm.NoPeers}, true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.origin != live {
		c.origin = live
		clear(c.held)
	}
	best := c.best()
	switch {
	case best.Seq >= q.Seq || q.WaitMS <= 0:
		return best, true
	case len(c.waiting) >= maxWaiters:
		best.Error = confirm.Busy
		return best, true
	}
	c.wait(m, q)
	return confirm.Response{}, false
}

// wait adds a waiter and sees to it that the peers are asked. The mutex is held.
func (c *confirmer) wait(m *nats.Msg, q *confirm.Request) {
	now := time.Now()
	w := &waiter{seq: q.Seq, msg: m, since: now}
	heap.Push(&c.waiting, w)
	w.timer = time.AfterFunc(time.Duration(min(q.WaitMS, confirm.MaxWait.Milliseconds()))*time.Millisecond, func() { c.expire(w) })
	c.used = now
	if !c.asking {
		c.asking = true
		c.hub.remotes.run(c.ask)
	} else if len(c.waiting) == 1 {
		select {
		case c.again <- struct{}{}:
		default:
		}
	}
}

// best is the answer of the peer that holds most. The mutex is held.
func (c *confirmer) best() (r confirm.Response) {
	for peer, seq := range c.held {
		if seq > r.Seq {
			r = confirm.Response{Seq: seq, Region: peer}
		}
	}
	return r
}

func (c *confirmer) peers() []subject.Origin {
	c.hub.mu.Lock()
	t := c.tenancy.tenant
	c.hub.mu.Unlock()
	return c.hub.peersOf(t)
}

// heard takes a peer's answer and lets go whoever waited for it.
func (c *confirmer) heard(m *nats.Msg) {
	var a heldAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return // no hub sends this
	}
	peer := strings.TrimPrefix(m.Subject, c.inbox+".")
	c.mu.Lock()
	if a.Origin != c.origin.String() {
		c.mu.Unlock()
		return // of a former life of this region
	}
	c.alive = true
	c.held[peer] = max(c.held[peer], a.Seq) // a follower of the peer's stream may be behind another
	best := c.best()
	var done []*waiter
	for len(c.waiting) > 0 && c.waiting[0].seq <= best.Seq {
		done = append(done, heap.Pop(&c.waiting).(*waiter))
	}
	c.mu.Unlock()
	for _, w := range done {
		w.timer.Stop()
		c.hub.respond(w.msg, best)
	}
}

// expire answers a question whose time is over with what is known.
func (c *confirmer) expire(w *waiter) {
	c.mu.Lock()
	if w.at < 0 {
		c.mu.Unlock()
		return
	}
	heap.Remove(&c.waiting, w.at)
	best := c.best()
	c.mu.Unlock()
	if !c.session.conn.IsClosed() {
		c.hub.respond(w.msg, best)
	}
}

// ask is the loop that asks the peers while somebody waits and a little longer.
func (c *confirmer) ask(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		c.askPeers()
		asked := time.Now()
		for again := false; !again; {
			select {
			case <-ctx.Done():
				return
			case <-c.again:
				again = time.Since(asked) >= askAgain
			case <-tick.C:
				if !c.wanted() {
					return
				}
				c.nudge(ctx)
				again = true
			}
		}
	}
}

// wanted says whether the loop goes on; when not, the next waiter starts another.
func (c *confirmer) wanted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asking = !c.session.conn.IsClosed() && (len(c.waiting) > 0 || time.Since(c.used) < askLinger)
	return c.asking
}

// askPeers sends every peer one question. A peer that does not hear it is asked again soon.
func (c *confirmer) askPeers() {
	c.mu.Lock()
	raw, err := json.Marshal(heldRequest{Origin: c.origin.String()})
	c.mu.Unlock()
	for _, peer := range c.peers() {
		if err == nil {
			err = c.session.conn.PublishRequest(subject.Held(peer.Region), c.inbox+"."+peer.Region, raw)
		}
	}
	if err != nil && !c.session.conn.IsClosed() {
		c.hub.log.Warn("peers not asked what they hold", zap.String("tenant", c.name), zap.Error(err))
	}
}

// nudge stores a marker when somebody waits although a peer answers. An event that the peer had already, because
// a producer sent it there too, is skipped and moves nothing; the marker after it does.
func (c *confirmer) nudge(ctx context.Context) {
	c.mu.Lock()
	stuck := c.alive && len(c.waiting) > 0 && time.Since(c.waiting[0].since) >= askEvery
	c.alive = false
	c.mu.Unlock()
	if !stuck {
		return
	}
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if err := c.hub.markTraffic(call, c.tenancy); err != nil && ctx.Err() == nil && !c.session.conn.IsClosed() {
		c.hub.log.Warn("marker for a remote acknowledgement not stored", zap.String("tenant", c.name), zap.Error(err))
	}
}

// whereFrom says what a relay must know of a duplicate's original before it may be confirmed: the origin when the
// other regions are given it from here, or that it came from another region. A regional event is neither.
func whereFrom(msg *jetstream.RawStreamMsg) (origin string, sourced bool) {
	if msg.Header.Get(header.StreamSource) != "" || msg.Header.Get(header.Repaired) != "" {
		return "", true
	}
	if e, err := subject.Parse(msg.Subject); err == nil && e.Scope == subject.Global {
		return e.Origin.String(), false
	}
	return "", false
}

// regionCount is in how many regions of the mesh a tenant of that residency lives.
func (h *Hub) regionCount(residency []string) int {
	n, t := 0, accounts.Tenant{Regions: residency}
	for _, r := range h.opts.Identity.Mesh.Regions {
		if t.In(r.Name) {
			n++
		}
	}
	return n
}

// waiters is a heap by sequence: those that an answer lets go come first.
type waiters []*waiter

func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].seq < w[j].seq }
func (w waiters) Swap(i, j int)      { w[i], w[j] = w[j], w[i]; w[i].at, w[j].at = i, j }

// Push is heap.Interface's.
func (w *waiters) Push(x any) {
	one := x.(*waiter)
	one.at = len(*w)
	*w = append(*w, one)
}

// Pop is heap.Interface's.
func (w *waiters) Pop() any {
	last := len(*w) - 1
	one := (*w)[last]
	(*w)[last], *w = nil, (*w)[:last]
	one.at = -1
	return one
}
