package group

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
)

// every is the time between two beats: what one member gives back another one claims after its next.
func (o *Options) every() time.Duration { return min(o.TTL/8, 500*time.Millisecond) }

// Member is a process's part in a group.
type Member struct {
	opts     Options
	log      *zap.Logger
	registry Registry
	durables []string
	nc       *nats.Conn
	owns     bool
	region   *region
	metrics  *metrics

	// Run's own.
	view   View
	handle Handling
	work   sync.WaitGroup
	wake   chan struct{} // a claim ended: beat now

	mu     sync.Mutex
	heard  time.Time // when the registry last answered
	silent error     // why it did not since
	claims map[string]*Claim
	busy   map[string]bool // durables that are being claimed, owned or given back
	ended  []Held          // to be said in the next beat
}

// Join connects, if need be, and looks at the stream. The member is known to the others when Run begins.
func Join(ctx context.Context, o Options) (*Member, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	registry, err := o.registry()
	if err != nil {
		return nil, err
	}
	m := &Member{
		opts: o, registry: registry, durables: Durables(o.Group, o.Width), nc: o.Subscription.Conn,
		log:    o.Subscription.Logger.With(zap.String("group", o.Group), zap.String("member", o.Member)),
		wake:   make(chan struct{}, 1),
		claims: make(map[string]*Claim), busy: make(map[string]bool),
	}
	m.metrics = newMetrics(o.Group)
	if m.nc == nil {
		if m.nc, err = consumers.Connect(ctx, o.Subscription); err != nil {
			return nil, err
		}
		m.owns = true
	}
	if err := m.look(ctx); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Member) look(ctx context.Context) error {
	js, err := jetstream.New(m.nc)
	if err != nil {
		return fault.Wrap(opJoin, fault.Internal, err)
	}
	m.region, err = lookAt(ctx, js, m.opts.Subscription.Stream, m.opts.Subscription.APITimeout)
	return err
}

// Close closes the connection that Join opened. Run does it at its end, so it is for a Member that was never run.
func (m *Member) Close() {
	if m.owns {
		m.nc.Close()
	}
}

// Name is what the member is called in the registry.
func (m *Member) Name() string { return m.opts.Member }

// Handling handles the events of a claimed durable by running its subscription: until ctx ends, which is when the claim does.
type Handling func(ctx context.Context, c *Claim, sub *consumers.Subscription) error

// Run takes its part until ctx ends: it claims durables, and for each of them asks handler for what handles its events. Then it
// finishes what is being handled, gives all back and returns nil. It returns an error when the group refuses it. A member runs once.
func (m *Member) Run(ctx context.Context, handler func(*Claim) consumers.Handler) error {
	return m.RunEach(ctx, func(ctx context.Context, c *Claim, sub *consumers.Subscription) error {
		return sub.Run(ctx, handler(c))
	})
}

// RunEach is Run for whoever runs the subscriptions: to handle batches, or with a sink.
func (m *Member) RunEach(ctx context.Context, handle Handling) error {
	m.handle = handle
	unregister, err := m.metrics.register(m.opts.Subscription.Registerer, m.owned)
	if err != nil {
		m.Close()
		return err
	}
	defer unregister()
	defer m.Close()
	err = m.lead(ctx)
	m.leave(context.WithoutCancel(ctx))
	return err
}

// lead beats and does what the view asks for, until ctx ends.
func (m *Member) lead(ctx context.Context) error {
	for ctx.Err() == nil {
		err := m.beat(ctx, false)
		switch {
		case err == nil:
			m.act(ctx)
		case fault.CodeOf(err) == CodeDisagree:
			return err
		case ctx.Err() == nil:
			m.log.Warn("no word from the registry", zap.Error(err))
			m.metrics.failures.Inc()
		}
		m.rest(ctx, err == nil)
	}
	return nil
}

// leave gives everything back. What a handler does not finish in a TTL lapses.
func (m *Member) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.opts.TTL)
	defer cancel()
	done := make(chan struct{})
	m.each(func(c *Claim) { c.end() })
	go func() { m.work.Wait(); close(done) }()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-ctx.Done():
			waiting = false
		case <-time.After(m.opts.every()):
			_ = m.beat(ctx, false) // the others learn what was given back
		}
	}
	if err := m.beat(context.WithoutCancel(ctx), true); err != nil {
		m.log.Warn("the registry was not told that this member left: what it held lapses", zap.Error(err))
	}
	<-done
}

// beat tells the registry what is held, and learns what is so. A member without its region's server says nothing: it could
// not handle events either.
func (m *Member) beat(ctx context.Context, leave bool) error {
	if !leave && !m.nc.IsConnected() {
		err := fault.New(opBeat, fault.Unavailable, "not_connected", "the region's server is not connected")
		m.note(err)
		return err
	}
	begun := time.Now()
	b := Beat{Group: m.opts.Group, Width: m.opts.Width, Member: m.opts.Member, Region: m.region.home.Region, TTL: m.opts.TTL, Leave: leave}
	var said []*Claim
	m.mu.Lock()
	b.Held, m.ended = m.ended, nil
	for _, c := range m.claims {
		b.Held = append(b.Held, Held{Durable: c.durable, Epoch: c.lease.Epoch, Moved: c.track.take()})
		said = append(said, c)
	}
	m.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, m.opts.TTL/4)
	defer cancel()
	view, err := m.registry.Beat(call, b)
	m.note(err)
	if err != nil {
		m.unsaid(said, b.Held)
		return err
	}
	m.view = view
	for _, c := range said {
		if view.holds(c.durable, m.opts.Member, c.lease.Epoch) {
			c.extend(begun.Add(m.opts.TTL / 2))
		} else {
			c.lose("another member has it")
		}
	}
	return nil
}

func (m *Member) note(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.silent = err; err == nil {
		m.heard = time.Now()
	}
}

// Ready is nil while the member is one of the group's and can do its part, also if that is to stand by.
func (m *Member) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.heard.IsZero() && m.silent == nil:
		return fault.New(opBeat, fault.Unavailable, "not_joined", "the member has not joined the group yet")
	case time.Since(m.heard) < m.opts.TTL/2:
		return nil
	default:
		return m.silent
	}
}

// unsaid keeps what a beat did not get across for the next one.
func (m *Member) unsaid(said []*Claim, held []Held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(held) - len(said)
	m.ended = append(m.ended, held[:n]...)
	for i, c := range said {
		c.track.giveBack(held[n+i].Moved)
	}
}

// holds says whether a member has a durable under an epoch.
func (v *View) holds(durable, member string, epoch uint64) bool {
	return slices.ContainsFunc(v.Leases, func(l Lease) bool {
		return l.Durable == durable && l.Member == member && l.Epoch == epoch && l.Left > 0
	})
}

// act does what the view asks for.
func (m *Member) act(ctx context.Context) {
	if m.view.Region != m.region.home.Region && m.opts.Failover > 0 && m.view.silent() > m.opts.Failover {
		m.takeRegion(ctx)
		return
	}
	m.mu.Lock()
	held := slices.Collect(maps.Keys(m.busy))
	m.mu.Unlock()
	claim, release := m.view.share(m.opts.Member, m.durables, held)
	for _, d := range claim {
		m.begin(ctx, d)
	}
	for _, d := range release {
		m.mu.Lock()
		c := m.claims[d]
		m.mu.Unlock()
		if c != nil {
			c.end()
		}
	}
}

// takeRegion makes this member's region active, because nobody lives in the one that is.
func (m *Member) takeRegion(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, m.opts.TTL/4)
	defer cancel()
	err := m.registry.Switch(call, m.region.home.Region, m.view.Turn)
	if err != nil && fault.CodeOf(err) != CodeTurned {
		m.log.Warn("region not taken over", zap.Error(err))
		return
	}
	m.log.Warn("the active region is silent, this one takes over", zap.String("silent", m.view.Region), zap.String("region", m.region.home.Region))
	m.nudge()
}

// rest waits for the next beat: the usual time, or until somebody's lease lapses, or a claim ended.
func (m *Member) rest(ctx context.Context, fresh bool) {
	wait := m.opts.every()
	if fresh {
		for _, l := range m.view.Leases {
			if l.Member != m.opts.Member && l.Left > 0 {
				wait = min(wait, l.Left+time.Millisecond)
			}
		}
	}
	select {
	case <-time.After(wait):
	case <-m.wake:
	case <-ctx.Done():
	}
}

func (m *Member) nudge() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *Member) each(do func(*Claim)) {
	m.mu.Lock()
	claims := make([]*Claim, 0, len(m.claims))
	for _, c := range m.claims {
		claims = append(claims, c)
	}
	m.mu.Unlock()
	for _, c := range claims {
		do(c)
	}
}

// owned is how many durables the member owns.
func (m *Member) owned() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.claims)
}
