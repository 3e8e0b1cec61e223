// Package reject keeps account of what a relay refuses: it counts every refusal, measures the clocks of sources,
// and writes a record of each refusal that names a tenant into the tenant's stream REJECTS.
//
// The relay makes one Log and hands it to the intake. A Log is safe for concurrent use. Nothing in here waits on
// the way of a request: records are queued within bounds and written by goroutines of the Log's own, and what
// does not fit is counted, in the metrics and in the next record. Accepted events pass no lock of it.
package reject

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Limits bound what refusals may cost.
type Limits struct {
	PerCode   rate.Limit // records a second for each tenant and code
	CodeBurst int
	PerTenant rate.Limit // records a second for each tenant
	Burst     int
	Queue     int           // records that wait, for each tenant
	QueueAll  int           // records that wait, in all
	Sources   int           // sources that have metrics of their own, for each tenant; the others are "other"
	Lines     rate.Limit    // lines of the log a second for each tenant, and for all that names none
	LineBurst int           // of them at once
	Timeout   time.Duration // for the acknowledgement of a record
	Sweep     time.Duration // how often what was suppressed is told
}

// DefaultLimits keep a flooded tenant at some 30 KB of records a second and relay.
func DefaultLimits() Limits {
	return Limits{
		PerCode: 5, CodeBurst: 100, PerTenant: 50, Burst: 500, Queue: 512, QueueAll: 8192, Sources: 64,
		Lines: 1, LineBurst: 20, Timeout: 2 * time.Second, Sweep: 5 * time.Second,
	}
}

// Options of a Log.
type Options struct {
	Region string
	Relay  string
	// Connect gives the connection in a tenant's account, on which the relay may publish its region's refusals.
	Connect    func(ctx context.Context, tenant string) (*nats.Conn, error)
	Limits     Limits
	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept and not published
	Now        func() time.Time
}

func (o *Options) validate() error {
	const op = "reject.new"
	switch l := &o.Limits; {
	case !subject.ValidRegion(o.Region) || o.Relay == "":
		return fault.New(op, fault.Invalid, "options", "Region and Relay must be set")
	case o.Connect == nil || o.Logger == nil || o.Now == nil:
		return fault.New(op, fault.Invalid, "options", "Connect, Logger and Now must be set")
	case l.PerCode <= 0 || l.CodeBurst < 1 || l.PerTenant <= 0 || l.Burst < 1 || l.Lines <= 0 || l.LineBurst < 1:
		return fault.New(op, fault.Invalid, "limits", "rates and bursts must be positive")
	case l.Queue < 1 || l.QueueAll < 1 || l.Sources < 1 || l.Timeout <= 0 || l.Sweep <= 0:
		return fault.New(op, fault.Invalid, "limits", "Queue, QueueAll, Sources, Timeout and Sweep must be positive")
	}
	return nil
}

// Log is the account of one relay.
type Log struct {
	o       Options
	metrics *metrics
	sources sources

	ctx    context.Context // of the writers
	cancel context.CancelFunc
	quit   chan struct{}
	work   sync.WaitGroup

	mu     sync.Mutex // guards what follows and every lane
	lanes  map[string]*lane
	queued int
	closed bool
}

// lane is what waits and what was held back for one tenant. The one without a name is for what names no tenant.
type lane struct {
	codes   map[string]*budget
	all     *rate.Limiter
	lines   *rate.Limiter
	hushed  int // lines not logged since the last that was
	queue   []*deadletter.Record
	writing bool
}

// budget is what one tenant may have recorded of one code.
type budget struct {
	*rate.Limiter
	suppressed int // refusals not recorded since the last record
}

// New makes a Log. Stop it.
func New(o Options) (*Log, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fault.Wrap("reject.new", fault.Invalid, err)
	}
	l := &Log{o: o, metrics: m, quit: make(chan struct{}), lanes: map[string]*lane{}}
	l.sources.init(m, o.Limits.Sources)
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.work.Go(l.sweep)
	return l, nil
}

// Stop takes no record any more, writes what waits until ctx ends, and counts the rest as dropped. It is
// idempotent.
func (l *Log) Stop(ctx context.Context) {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.quit)
	}
	done := make(chan struct{})
	go func() { l.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	l.cancel()
	<-done
	l.metrics.unregister()
}

// Skew notes how far the clock of a source is ahead of the relay's, as one authenticated request showed it.
func (l *Log) Skew(tenant, source string, ahead time.Duration) {
	l.sources.of(tenant, source).observe(ahead)
}

// Refused counts n refusals and says whether a record of them is wanted: Keep is to be called then. Without a
// tenant nothing is recorded.
func (l *Log) Refused(tenant, source, code string, n int) bool {
	reason, _ := deadletter.ReasonOf(code)
	l.sources.of(tenant, source).refused(code, n)
	if tenant == "" || !reason.Cause.Kept() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	lane, now := l.lane(tenant), l.o.Now()
	b := lane.budget(code, &l.o.Limits)
	if b.AllowN(now, 1) && lane.all.AllowN(now, 1) {
		return true
	}
	b.suppressed += n
	l.metrics.records.suppressed.Add(float64(n))
	return false
}

// Keep queues the record of a tenant's refusal, which it completes and owns from now on.
func (l *Log) Keep(tenant string, r *deadletter.Record) {
	r.Region, r.Relay = l.o.Region, l.o.Relay
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := l.lane(tenant)
	b := lane.budget(r.Code, &l.o.Limits)
	if l.closed || len(lane.queue) >= l.o.Limits.Queue || l.queued >= l.o.Limits.QueueAll {
		b.suppressed += r.Count
		l.metrics.records.dropped.Add(float64(r.Count))
		return
	}
	r.Suppressed, b.suppressed = b.suppressed, 0
	lane.queue = append(lane.queue, r)
	l.queued++
	if !lane.writing {
		lane.writing = true
		l.work.Go(func() { l.write(tenant, lane) })
	}
}

// Say says whether a refusal may have a line in the relay's own log, and how many had none since the last one.
func (l *Log) Say(tenant string) (hushed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lane := l.lane(tenant)
	if !lane.lines.AllowN(l.o.Now(), 1) {
		lane.hushed++
		l.metrics.hushed.Inc()
		return 0, false
	}
	hushed, lane.hushed = lane.hushed, 0
	return hushed, true
}

// Retain forgets the tenants that keep refuses.
func (l *Log) Retain(keep func(tenant string) bool) {
	l.sources.retain(keep)
	l.mu.Lock()
	defer l.mu.Unlock()
	for tenant, lane := range l.lanes {
		if tenant != "" && !keep(tenant) && !lane.writing {
			delete(l.lanes, tenant)
		}
	}
}

// lane is the tenant's. Tenants are those of the control state, so there are no more than of these. l.mu is held.
func (l *Log) lane(tenant string) *lane {
	if found := l.lanes[tenant]; found != nil {
		return found
	}
	o := &l.o.Limits
	made := &lane{codes: map[string]*budget{}, all: rate.NewLimiter(o.PerTenant, o.Burst), lines: rate.NewLimiter(o.Lines, o.LineBurst)}
	l.lanes[tenant] = made
	return made
}

func (l *lane) budget(code string, o *Limits) *budget {
	if found := l.codes[code]; found != nil {
		return found
	}
	made := &budget{Limiter: rate.NewLimiter(o.PerCode, o.CodeBurst)}
	l.codes[code] = made
	return made
}
