package uplink

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Connect opens a connection in a tenant's account. Its user may publish events and ask for digests,
// its CustomInboxPrefix is the relay's own, and its reconnect buffer must be off
// (nats.ReconnectBufSize(-1)), so that nothing is sent long after its producer was told that it failed.
type Connect func(ctx context.Context, tenant string) (*nats.Conn, error)

// Options of a Pool.
type Options struct {
	Region        string        // the relay's region
	Connect       Connect       // called once for each tenant at a time
	Window        int           // events in flight for each tenant
	AckTimeout    time.Duration // from the last publish of a request
	DigestTimeout time.Duration // for the comparison of a request's duplicates
	RemoteTimeout time.Duration // for the confirmation of another region, where events ask for it
	ProbeTimeout  time.Duration // for the connection, and then for the answer to each probe
	DialTimeout   time.Duration
	Redial        time.Duration // how long a failed Connect is remembered
	Logger        *zap.Logger
	Now           func() time.Time
}

// DefaultOptions are the limits of a relay; Region and Connect are the caller's.
func DefaultOptions() Options {
	return Options{
		Window: 4000, AckTimeout: 5 * time.Second, DigestTimeout: 2 * time.Second, RemoteTimeout: 5 * time.Second, ProbeTimeout: time.Second,
		DialTimeout: 5 * time.Second, Redial: 500 * time.Millisecond, Logger: zap.NewNop(), Now: time.Now,
	}
}

func (o *Options) validate() error {
	const op = "uplink.new"
	switch {
	case !subject.ValidRegion(o.Region):
		return fault.New(op, fault.Invalid, "region", "region %q is not a region's name", o.Region)
	case o.Connect == nil || o.Logger == nil || o.Now == nil:
		return fault.New(op, fault.Invalid, "options", "Connect, Logger and Now must be set")
	case o.Window < 1 || o.Window > maxWindow:
		return fault.New(op, fault.Invalid, "window", "window %d is not between 1 and %d", o.Window, maxWindow)
	case o.AckTimeout <= 0 || o.DigestTimeout <= 0 || o.RemoteTimeout <= 0 || o.ProbeTimeout <= 0 || o.DialTimeout <= 0 || o.Redial < 0:
		return fault.New(op, fault.Invalid, "timeout", "timeouts must be positive")
	}
	return nil
}

// Pool holds the uplinks of a relay, one for each tenant that has sent something.
type Pool struct {
	shared  shared
	links   sync.Map // tenant -> *link
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex // guards dialing and closed; never taken by a request whose uplink is open
	closed  bool
	dialing sync.WaitGroup
}

// link is one attempt to have an uplink. ready is closed when up or err is set.
type link struct {
	ready   chan struct{}
	waiting atomic.Int32 // requests that wait for ready
	up      *Uplink
	err     error
	at      time.Time // of the failure
}

// maxWaiting bounds the requests that wait for a connection being made: a hub that does not answer must not
// fill the relay with waiting requests.
const maxWaiting = 64

// New makes an empty pool. Close it.
func New(o Options) (*Pool, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	p := &Pool{}
	p.shared.Options = o
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// Publish is Uplink.Publish over the tenant's uplink, which it opens if it must.
func (p *Pool) Publish(ctx context.Context, tenant string, s *Stamp, msgs []Message, results []Result) {
	u, err := p.get(ctx, tenant)
	if err != nil {
		for i := range results {
			results[i] = notLinked
		}
		return
	}
	u.Publish(ctx, s, msgs, results)
}

// Conn is the connection in the tenant's account, which is opened if it must be. It belongs to the pool.
func (p *Pool) Conn(ctx context.Context, tenant string) (*nats.Conn, error) {
	u, err := p.get(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return u.conn, nil
}

func (p *Pool) get(ctx context.Context, tenant string) (*Uplink, error) {
	for {
		l, err := p.link(tenant)
		if err != nil {
			return nil, err
		}
		if err := l.await(ctx); err != nil {
			return nil, err
		}
		switch {
		case l.err == nil && !l.up.dead.Load():
			return l.up, nil
		case l.err != nil && p.shared.Now().Sub(l.at) < p.shared.Redial:
			return nil, l.err
		}
		if p.links.CompareAndDelete(tenant, l) && l.up != nil {
			l.up.close()
		}
	}
}

func (l *link) await(ctx context.Context) error {
	select {
	case <-l.ready:
		return nil
	default:
	}
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > maxWaiting {
		return fault.New("uplink.get", fault.Unavailable, CodeStreamUnreachable, "the connection is being made")
	}
	select {
	case <-l.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// link returns the present attempt for a tenant or starts one.
func (p *Pool) link(tenant string) (*link, error) {
	if v, ok := p.links.Load(tenant); ok {
		return v.(*link), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fault.New("uplink.get", fault.Unavailable, "closed", "the relay is stopping")
	}
	l := &link{ready: make(chan struct{})}
	if v, taken := p.links.LoadOrStore(tenant, l); taken {
		return v.(*link), nil
	}
	p.dialing.Go(func() { p.dial(tenant, l) })
	return l, nil
}

func (p *Pool) dial(tenant string, l *link) {
	defer close(l.ready)
	ctx, cancel := context.WithTimeout(p.ctx, p.shared.DialTimeout)
	defer cancel()
	conn, err := p.shared.Connect(ctx, tenant)
	if err == nil {
		l.up, err = open(conn, &p.shared)
	}
	if err != nil {
		l.err, l.at = err, p.shared.Now()
		p.shared.Logger.Warn("no uplink", zap.String("tenant", tenant), zap.Error(err))
		return
	}
	p.shared.Logger.Info("uplink open", zap.String("tenant", tenant))
}

// Retain closes the uplinks of all tenants that keep refuses.
func (p *Pool) Retain(keep func(tenant string) bool) {
	p.links.Range(func(k, v any) bool {
		if tenant := k.(string); !keep(tenant) && p.links.CompareAndDelete(k, v) {
			p.end(tenant, v.(*link))
		}
		return true
	})
}

func (p *Pool) end(tenant string, l *link) {
	<-l.ready
	if l.up != nil {
		l.up.close()
		p.shared.Logger.Info("uplink closed", zap.String("tenant", tenant))
	}
}

// Close ends all uplinks and refuses new ones. Requests in flight are settled as lost, so drain first.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.dialing.Wait()
	p.Retain(func(string) bool { return false })
}

// each calls f for every open uplink.
func (p *Pool) each(f func(tenant string, u *Uplink)) {
	p.links.Range(func(k, v any) bool {
		l := v.(*link)
		select {
		case <-l.ready:
			if l.up != nil {
				f(k.(string), l.up)
			}
		default:
		}
		return true
	})
}

// InFlight is how many slots of all windows are taken.
func (p *Pool) InFlight() int {
	n := 0
	p.each(func(_ string, u *Uplink) { n += u.window.inFlight() })
	return n
}

// Late is how many acknowledgements came for events that had been given up, since New.
func (p *Pool) Late() uint64 { return p.shared.late.Load() }

// Down lists the tenants whose uplink exists and is not connected, in order; all says that no other is.
func (p *Pool) Down() (tenants []string, all bool) {
	all = true
	p.each(func(tenant string, u *Uplink) {
		if u.conn.IsConnected() {
			all = false
		} else {
			tenants = append(tenants, tenant)
		}
	})
	slices.Sort(tenants)
	return tenants, all && len(tenants) > 0
}
