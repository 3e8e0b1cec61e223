package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/revocation"
	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/relay/clock"
	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/relay/guard"
	"github.com/weft-mesh/weft/relay/intake"
	"github.com/weft-mesh/weft/relay/reject"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Relay is one running edge of the mesh.
type Relay struct {
	o        Options
	listener net.Listener
	server   *http.Server
	handler  *intake.Handler
	door     *door
	pool     *uplink.Pool
	guard    *guard.Guard
	conns    *connections
	rejects  *reject.Log
	gates    *gate.Gates
	clock    *clock.Watch
	tokens   *token.Verifier // nil without issuers
	undo     func()          // unregisters the metrics
	began    time.Time

	started  atomic.Bool
	stopping atomic.Bool
	stop     sync.Once
	stopErr  error
	quit     chan struct{}  // ends the watch over the control state
	served   chan error     // the server's end, once
	done     sync.WaitGroup // watch and server
}

// New binds the listen address. It accepts nothing before Start; Stop releases what New took.
func New(o Options) (*Relay, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Clients == nil {
		conf := revocation.DefaultOptions()
		conf.State, conf.Logger, conf.Now = o.Control.State, o.Logger, o.Now
		c, err := revocation.New(context.Background(), conf)
		if err != nil {
			return nil, err
		}
		o.Clients = c
	}
	r := &Relay{o: o, began: o.Now(), quit: make(chan struct{}), served: make(chan error, 1), undo: func() {}}
	r.conns = &connections{clients: o.Clients, log: o.Logger, now: o.Now, open: map[net.Conn]*connection{}}
	if err := r.assemble(); err != nil {
		r.release()
		return nil, err
	}
	return r, nil
}

// assemble makes the parts from the bottom up; release takes back those that were made.
func (r *Relay) assemble() (err error) {
	const op = "relay.new"
	if r.listener, err = net.Listen("tcp", r.o.Listen); err != nil {
		return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "listen", Detail: "cannot listen on " + r.o.Listen, Err: err}
	}
	up := uplink.DefaultOptions()
	up.Region, up.Connect, up.Logger, up.Now = r.o.Origin, r.o.Connect, r.o.Logger, r.o.Now
	up.Window, up.AckTimeout, up.DigestTimeout = r.o.Limits.Window, r.o.Limits.AckTimeout, r.o.Limits.DigestTimeout
	up.RemoteTimeout = r.o.Limits.RemoteTimeout
	if r.pool, err = uplink.New(up); err != nil {
		return err
	}
	if len(r.o.Issuers) > 0 {
		t := token.DefaultOptions()
		t.Issuers, t.Logger, t.Now = r.o.Issuers, r.o.Logger, r.o.Now
		if r.tokens, err = token.New(t); err != nil {
			return err
		}
	}
	if err := r.newGuard(); err != nil {
		return err
	}
	m, undo, err := newMetrics(r.o.Registerer, r.pool, r.guard, r.tokens)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err)
	}
	r.undo = undo
	if r.clock, err = r.newClock(); err != nil {
		return err
	}
	if r.rejects, err = reject.New(reject.Options{
		Region: r.o.Origin, Relay: r.o.ID, Connect: r.pool.Conn, Limits: r.o.Rejects, Logger: r.o.Logger, Registerer: r.o.Registerer, Now: r.o.Now,
	}); err != nil {
		return err
	}
	if r.gates, err = gate.New(gate.Options{Region: r.o.Origin, Age: r.o.Control.HeartbeatAge, Logger: r.o.Logger, Registerer: r.o.Registerer}); err != nil {
		return err
	}
	hosts, err := r.hosts()
	if err != nil {
		return err
	}
	limits := intake.DefaultLimits()
	limits.BodyBytes, limits.BatchEvents = r.o.Limits.BodyBytes, r.o.Limits.BatchEvents
	in := intake.Options{
		Region: r.o.Origin, RelayID: r.o.ID, Hosts: hosts, Control: r.o.Control, Publisher: r.pool, Guard: r.guard, Client: r.conns.check, Sealer: r.o.Sealer,
		Limits: limits, Recorder: m, Refusals: r.rejects, Schemas: r.gates, Clock: r.clock, Logger: r.o.Logger, Now: r.o.Now,
	}
	if r.tokens != nil {
		in.Tokens = r.tokens
	}
	if r.handler, err = intake.New(in); err != nil {
		return err
	}
	r.door = &door{next: r.handler}
	r.server = r.newServer()
	return nil
}

func (r *Relay) release() {
	if r.listener != nil {
		_ = r.listener.Close()
	}
	if r.guard != nil {
		r.guard.Stop()
	}
	if r.rejects != nil { // over the pool's connections
		ctx, cancel := context.WithTimeout(context.Background(), r.o.Rejects.Timeout)
		r.rejects.Stop(ctx)
		cancel()
	}
	if r.pool != nil {
		r.pool.Close()
	}
	if r.tokens != nil {
		r.tokens.Stop()
	}
	if r.clock != nil {
		r.clock.Close()
	}
	if r.gates != nil {
		r.gates.Close()
	}
	r.undo()
}

func (r *Relay) newClock() (*clock.Watch, error) {
	o := clock.DefaultOptions()
	o.Now, o.Elapsed, o.Heartbeat, o.Logger, o.Registerer = r.o.Now, r.o.Elapsed, r.o.Control.Heartbeat, r.o.Logger, r.o.Registerer
	if o.Elapsed == nil {
		began := time.Now()
		o.Elapsed = func() time.Duration { return time.Since(began) }
	}
	return clock.New(o)
}

// newServer hardens net/http: time and size of everything that a peer controls is bounded.
func (r *Relay) newServer() *http.Server {
	l := &r.o.Limits
	conf := r.harden(r.o.TLS)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           r.door,
		TLSConfig:         conf,
		ConnContext:       r.conns.context,
		ConnState:         r.conns.state,
		Protocols:         protocols,
		ReadHeaderTimeout: l.ReadTimeout,
		ReadTimeout:       l.ReadTimeout,
		// a request may be read, wait for its issuer's keys, and then for its events, their copies, and the probes of what is refused: for
		// their acknowledgements, the comparison of duplicates and another region
		WriteTimeout: 2*l.ReadTimeout + token.DefaultOptions().Wait + 2*l.AckTimeout + 2*uplink.DefaultOptions().ProbeTimeout +
			3*l.DigestTimeout + 3*l.RemoteTimeout,
		IdleTimeout:    l.IdleTimeout,
		MaxHeaderBytes: l.HeaderBytes,
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: l.Streams, SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		ErrorLog:       log.New(serverLog{r.o.Logger}, "", 0),
	}
}

// harden is a copy of a configuration that asks for a client certificate and checks it, and so are the ones that it
// gives when the authorities change.
func (r *Relay) harden(c *tls.Config) *tls.Config {
	conf := c.Clone()
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	conf.NextProtos = []string{"h2", "http/1.1"}
	conf.VerifyConnection = chain(conf.VerifyConnection, r.o.Clients.VerifyConnection)
	if next := c.GetConfigForClient; next != nil {
		conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := next(hello)
			if err != nil || other == nil {
				return nil, err
			}
			return r.harden(other), nil
		}
	}
	return conf
}

func chain(a, b func(tls.ConnectionState) error) func(tls.ConnectionState) error {
	if a == nil {
		return b
	}
	return func(s tls.ConnectionState) error { return errors.Join(a(s), b(s)) }
}

// serverLog takes net/http's lines: broken handshakes and connections, each the peer's fault.
type serverLog struct{ log *zap.Logger }

func (l serverLog) Write(b []byte) (int, error) {
	l.log.Debug("connection failed", zap.String("reason", string(b[:min(len(b), 300)])))
	return len(b), nil
}

// hosts are the configured names or else the listen address and the certificate's names.
func (r *Relay) hosts() ([]string, error) {
	address := r.listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fault.Wrap("relay.new", fault.Internal, err)
	}
	if len(r.o.Hosts) > 0 {
		return withPort(r.o.Hosts, port), nil
	}
	names := []string{address, r.o.Listen}
	if cert := r.certificate(); cert != nil {
		for _, name := range cert.DNSNames {
			names = append(names, net.JoinHostPort(name, port))
		}
		for _, ip := range cert.IPAddresses {
			names = append(names, net.JoinHostPort(ip.String(), port))
		}
	}
	return names, nil
}

// withPort lets a name without port stand for itself, which is what clients send for port 443, and for
// itself with the port that the relay listens on.
func withPort(names []string, port string) []string {
	var out []string
	for _, name := range names {
		out = append(out, name)
		if _, _, err := net.SplitHostPort(name); err != nil {
			bare := name
			if n := len(name); n > 1 && name[0] == '[' && name[n-1] == ']' {
				bare = name[1 : n-1]
			}
			out = append(out, net.JoinHostPort(bare, port))
		}
	}
	return out
}

func (r *Relay) certificate() *x509.Certificate {
	var cert *tls.Certificate
	if get := r.o.TLS.GetCertificate; get != nil {
		cert, _ = get(&tls.ClientHelloInfo{})
	} else if len(r.o.TLS.Certificates) > 0 {
		cert = &r.o.TLS.Certificates[0]
	}
	if cert == nil || len(cert.Certificate) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

func (r *Relay) newGuard() (err error) {
	o := guard.DefaultOptions()
	o.Relay, o.Origin, o.Tenants, o.Journal, o.Entries = r.o.ID, r.origin, r.tenants, r.o.Journal, r.o.Limits.Requests
	o.Logger, o.Now = r.o.Logger, r.o.Now
	r.guard, err = guard.New(o)
	return err
}

// origin is the region's live origin.
func (r *Relay) origin() (subject.Origin, error) {
	info := r.o.Control.State().Regions[r.o.Origin]
	if info == nil {
		return subject.Origin{}, fault.New("relay.origin", fault.Unavailable, "region_unknown", "the control state does not name region %s yet", r.o.Origin)
	}
	return info.Origin(), nil
}

// tenants is how many there are.
func (r *Relay) tenants() int { return len(r.o.Control.State().ActiveTenants()) }

// Remembered is how many requests the relay tells from copies at present.
func (r *Relay) Remembered() int64 { return r.guard.Stats().Entries }

// Addr is the address that the relay listens on.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Start serves until Stop.
func (r *Relay) Start() error {
	if r.stopping.Load() || !r.started.CompareAndSwap(false, true) {
		return fault.New("relay.start", fault.Conflict, "started", "the relay was started or stopped before")
	}
	if r.tokens != nil {
		r.tokens.Start()
	}
	r.guard.Start()
	r.gates.Follow(r.o.Control.State()) // nothing is taken unseen
	r.done.Go(r.watch)
	r.done.Go(r.compile)
	r.done.Go(func() { r.clock.Run(r.quit) })
	r.done.Go(func() {
		err := r.server.ServeTLS(r.listener, "", "")
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		r.served <- err
	})
	r.o.Logger.Info("relay listens", zap.String("address", r.Addr()), zap.String("region", r.o.Origin), zap.String("id", r.o.ID))
	return nil
}

// compile keeps the gates as the control state says, beside all else: it may take a while.
func (r *Relay) compile() {
	for {
		changed := r.o.Control.Changed()
		r.gates.Follow(r.o.Control.State())
		select {
		case <-changed:
		case <-r.quit:
			return
		}
	}
}

// SchemaTallies is what each version of a schema has judged since the relay was made; see Began.
func (r *Relay) SchemaTallies() []gate.Tally { return r.gates.Tallies() }

// Began is when the relay was made: its tallies count from then on.
func (r *Relay) Began() time.Time { return r.began }

// watch opens what is new and drops what belongs to tenants and keys that are gone, at every change of
// the control state, and looks at the open connections every now and then.
func (r *Relay) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		changed := r.o.Control.Changed()
		state := r.o.Control.State()
		r.handler.Follow(state)
		serves := func(tenant string) bool {
			t, ok := state.Tenant(tenant)
			return ok && t.In(r.o.Origin)
		}
		r.pool.Retain(serves)
		r.rejects.Retain(serves)
		if r.tokens != nil {
			r.tokens.Retain(serves)
		}
		for same := true; same; {
			r.conns.look()
			select {
			case <-changed:
				same = false
			case <-tick.C:
			case <-r.quit:
				return
			}
		}
	}
}

// Stop takes no new connection, lets the requests under way finish until ctx ends, and then closes
// everything. A request that was answered is stored; one cut off by ctx has no answer. It is idempotent
// and waits for the first call's end.
func (r *Relay) Stop(ctx context.Context) error {
	r.stop.Do(func() {
		r.stopping.Store(true)
		if r.started.Load() {
			r.stopErr = r.drain(ctx)
		}
		close(r.quit)
		r.done.Wait()
		r.release()
	})
	return r.stopErr
}

// drainTime is how long Run lets requests finish: longer than the slowest of them may take.
const drainTime = 20 * time.Second

// Run starts the relay, serves until ctx ends, and stops it.
func (r *Relay) Run(ctx context.Context) error {
	if err := r.Start(); err != nil {
		return err
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-r.served:
		err = fault.Wrap("relay.serve", fault.Internal, err)
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return errors.Join(err, r.Stop(stop))
}

// Ready lists why producers should not be sent here; an empty list means that they may.
func (r *Relay) Ready() (reasons []string) {
	switch {
	case r.stopping.Load():
		reasons = append(reasons, "the relay is stopping")
	case !r.started.Load():
		reasons = append(reasons, "the relay is not started")
	}
	if why := r.clock.Unsure(); why != "" {
		reasons = append(reasons, why)
	}
	if r.o.Control.State().Regions[r.o.Origin] == nil {
		reasons = append(reasons, "the control state does not name region "+r.o.Origin+" yet")
	} else if why := r.guard.Reason(); why != "" {
		reasons = append(reasons, why)
	}
	// one tenant without a connection is that tenant's trouble
	if down, all := r.pool.Down(); all {
		reasons = append(reasons, "no connection to the streams of "+strings.Join(down, ", "))
	}
	return reasons
}
