// Package broker runs one embedded NATS server of a region: listeners with TLS, operator mode with account
// JWTs kept locally, JetStream in a domain of its own, and leafnode links to the other regions that are
// added and removed while it runs. It is the only importer of nats-server.
//
// The hub owns a Broker and decides what its accounts and links are; the broker only makes it so. A region
// of three servers has three brokers in three processes, each of which is told the same.
//
// # Concurrency
//
// Every method may be called from any goroutine. Those that change something (Start, Stop, SetLinks,
// StoreAccount, RemoveAccount) run one at a time; those that look (Leaves, LeadsStream, URLs) never wait for
// them. The server's goroutines end before Stop returns nil.
package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// Broker is one server of a region. It can be started again after a stop.
type Broker struct {
	opts Options
	log  *zap.Logger
	run  atomic.Pointer[running] // nil while stopped

	op    chan struct{} // held by whoever changes something; a channel, so that waiting ends with a context
	links []Link        // guarded by op; survives a restart
	lame  <-chan struct{}

	gone   sync.Map                // accounts that were removed in this process
	broken chan error              // holds why the server takes no more writes
	sync   func(path string) error // puts a file or directory on disk

	quitMu sync.Mutex
	quit   chan struct{} // closed when Stop begins: ends the retries of SetLinks
}

// running is one life of the server; nothing in it changes after Start.
type running struct {
	server             *server.Server
	resolver           *server.DirAccResolver
	lock               io.Closer
	clientURL, leafURL string
	disk               *diskSync
	endSync            func() // ends it, after a last round
}

// New checks the options. It touches neither disk nor network: Start does.
func New(o Options) (*Broker, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Broker{opts: o, log: o.Logger.Named("broker").With(zap.String("server", o.Name)), op: make(chan struct{}, 1), broken: make(chan error, 1), sync: syncPath}, nil
}

// Broken delivers why the server must not go on: its disk failed, or was full, so that it refuses writes until it is
// started again, or what it took is not synced. It goes on answering, so whoever runs the broker has to end it.
func (b *Broker) Broken() <-chan error { return b.broken }

func (b *Broker) breaks(err error) {
	select {
	case b.broken <- err:
	default: // nobody waits for a second one
	}
}

// acquire takes the right to change something, or gives up with the context.
func (b *Broker) acquire(ctx context.Context, op string) error {
	select {
	case b.op <- struct{}{}:
		return nil
	default:
	}
	select {
	case b.op <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "busy", Detail: "another change of the server did not end in time", Err: ctx.Err()}
	}
}

func (b *Broker) release() { <-b.op }

// Run starts the server, waits for ctx to end and stops it within grace.
func (b *Broker) Run(ctx context.Context, grace time.Duration) error {
	if err := b.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return b.Stop(stop)
}

// Start brings the server up. Nil means that all listeners accept and JetStream has recovered its streams; a
// server of a cluster may still look for its peers (see Quorum). After an error nothing runs, and the
// error names the one thing that is wrong. Starting what runs already does nothing.
func (b *Broker) Start(ctx context.Context) error {
	const op = "broker.start"
	if err := b.acquire(ctx, op); err != nil {
		return err
	}
	defer b.release()
	if b.run.Load() != nil {
		return nil
	}
	if b.lame != nil { // a stop that ran out of time: the old server must be gone first
		select {
		case <-b.lame:
			b.lame = nil
		case <-ctx.Done():
			return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "stopping", Detail: "the server has not ended its last stop", Err: ctx.Err()}
		}
	}
	r, err := b.start(ctx)
	if err != nil {
		return err
	}
	b.quitMu.Lock()
	b.quit = make(chan struct{})
	b.quitMu.Unlock()
	b.run.Store(r)
	b.log.Info("server ready", zap.String("clients", r.clientURL), zap.String("leaves", r.leafURL), zap.Int("links", len(b.links)))
	return nil
}

// start does the work of Start and undoes all of it on failure.
func (b *Broker) start(ctx context.Context) (_ *running, err error) {
	if err := checkPorts(b.opts); err != nil {
		return nil, err
	}
	lock, err := checkStore(b.opts.StoreDir)
	if err != nil {
		return nil, err
	}
	select {
	case <-b.broken: // of an earlier life
	default:
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	disk := newDiskSync(b.opts.messagesDir(), !b.opts.SyncAlways, b.sync)
	held := newKeep(&b.opts)
	for _, step := range []func() error{disk.all, held.hold} {
		if err := step(); err != nil {
			return nil, storeFault("broker.start", b.opts.StoreDir, err)
		}
	}
	endSync := disk.start(b.opts.SyncInterval, b.log, b.breaks)
	r, err := b.launch(ctx, held)
	if err != nil {
		endSync()
		back, restoreErr := held.restore()
		if len(back) > 0 {
			b.log.Warn("put back what the server deleted because it could not recover it", zap.Strings("directories", back))
		}
		if restoreErr != nil {
			b.log.Error("what the server deleted is held and not put back yet: the next start tries again", zap.Error(restoreErr))
		}
		return nil, err
	}
	r.lock, r.disk, r.endSync = lock, disk, endSync
	return r, nil
}

// launch makes the server, waits until it has recovered all that held holds, and drops that. On failure it has ended.
func (b *Broker) launch(ctx context.Context, held *keep) (_ *running, err error) {
	res, err := newResolver(b.opts)
	if err != nil {
		return nil, err
	}
	b.opts.held.Store(b.opts.HoldClients)
	b.opts.barred.Store(b.opts.HoldClients)
	options, err := build(b.opts, b.links, res)
	if err != nil {
		res.Close()
		return nil, err
	}
	s, err := server.NewServer(options)
	if err != nil {
		res.Close()
		return nil, &fault.Error{Op: "broker.start", Kind: fault.Invalid, Code: "server_refused", Detail: "the server refuses its options", Err: err}
	}
	logs := &serverLog{breaks: b.breaks, held: b.opts.held, gone: &b.gone, log: b.opts.Logger.Named("nats").With(zap.String("server", b.opts.Name))}
	s.SetLoggerV2(logs, false, false, false)
	if err = b.await(ctx, s, logs); err == nil {
		for account := range b.opts.Accounts {
			if err := load(s, account); err != nil {
				b.log.Warn("account not loaded", zap.String("account", account), zap.Error(err))
			}
		}
		err = b.recovered(held, logs)
	}
	if err == nil {
		if err = held.drop(); err != nil {
			err = storeFault("broker.start", b.opts.StoreDir, err)
		}
	}
	if err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		res.Close()
		return nil, err
	}
	r := &running{server: s, resolver: res}
	if b.opts.HoldClients {
		b.eachTenant(r, (*running).holdLinks)
		b.opts.barred.Store(false)
	}
	r.clientURL, r.leafURL = b.urls(s)
	return r, nil
}

// recovered insists that every stream is there that was there before the start. In a cluster one may have been
// removed while this server was away: there it counts only together with the server's own complaint.
func (b *Broker) recovered(held *keep, logs *serverLog) error {
	streams, consumers, err := held.missing()
	if err != nil {
		return storeFault("broker.start", b.opts.StoreDir, err)
	}
	complaint := logs.lost()
	gone := slices.Concat(streams, consumers)
	if len(gone) == 0 || complaint == "" && (len(streams) == 0 || b.opts.Cluster != nil) {
		return nil
	}
	return fault.New("broker.start", fault.Unavailable, "not_recovered",
		"the server could not recover %s (%s): its files are kept; see to the disk of %s and start again", gone[0], complaint, b.opts.StoreDir)
}

// OpenClients lets in the clients and links that HoldClients refused. Doing it again does nothing.
func (b *Broker) OpenClients() error {
	r, release, err := b.change("broker.open")
	if err != nil {
		return err
	}
	defer release()
	if b.opts.held.Load() {
		// Before anybody uses the accounts: the server reads some of what this writes without a lock.
		b.eachTenant(r, (*running).letLinks)
		b.opts.held.Store(false)
	}
	return nil
}

// await runs the server's start, which recovers streams before it returns, and gives up with the context.
func (b *Broker) await(ctx context.Context, s *server.Server, logs *serverLog) error {
	const op = "broker.start"
	ctx, cancel := context.WithTimeout(ctx, b.opts.StartTimeout)
	defer cancel()
	started := make(chan struct{})
	go func() {
		defer close(started)
		s.Start()
	}()
	select {
	case <-started:
	case <-ctx.Done():
		s.Shutdown()
		<-started
		return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "start_timeout", Detail: "the server was not ready in time", Err: ctx.Err()}
	}
	if msg := logs.fatal(); msg != "" {
		return fault.New(op, fault.Internal, "server_failed", "%s", msg)
	}
	if !s.ReadyForConnections(5 * time.Second) {
		if msg := logs.fatal(); msg != "" {
			return fault.New(op, fault.Internal, "server_failed", "%s", msg)
		}
		return fault.New(op, fault.Unavailable, "not_listening", "a listener did not open within 5s")
	}
	if !s.JetStreamEnabled() {
		return fault.New(op, fault.Internal, "no_jetstream", "JetStream did not start: see the log of %s", b.opts.Name)
	}
	return nil
}

// Stop lets clients go (they are told to reconnect elsewhere and have a moment for it), hands raft
// leaderships over, closes and syncs the store and waits for the server's goroutines. It is idempotent and ends with
// ctx: then the error says so and the rest goes on in the background. A server of a cluster that is just catching up a
// stream first tries that to its end, which takes 15 s where nobody answers it.
func (b *Broker) Stop(ctx context.Context) error {
	const op = "broker.stop"
	b.quitMu.Lock()
	if b.quit != nil {
		close(b.quit)
		b.quit = nil
	}
	b.quitMu.Unlock()
	if err := b.acquire(ctx, op); err != nil {
		return err
	}
	defer b.release()
	r := b.run.Swap(nil)
	if r == nil {
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.server.LameDuckShutdown()
		r.server.Shutdown()
		r.server.WaitForShutdown()
		r.endSync()
		if err := r.disk.all(); err != nil {
			b.log.Error("what was stored last is not synced", zap.Error(err))
		}
		r.resolver.Close()
		r.lock.Close()
	}()
	select {
	case <-done:
		b.log.Info("server stopped")
		return nil
	case <-ctx.Done():
		b.lame = done
		go r.server.Shutdown() // ends lame duck mode at once; done follows
		return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "stop_timeout", Detail: "the server did not stop in time", Err: ctx.Err()}
	}
}

// InProcess makes a client connect through memory instead of the client listener, to whichever server life
// is current when it connects. Credentials are checked as everywhere; TLS is not used.
func (b *Broker) InProcess() nats.Option { return nats.InProcessServer(inProcess{b}) }

type inProcess struct{ b *Broker }

// InProcessConn is what nats.InProcessServer calls.
func (p inProcess) InProcessConn() (net.Conn, error) {
	r := p.b.run.Load()
	if r == nil {
		return nil, errStopped("broker.connect")
	}
	return r.server.InProcessConn()
}

// ClientURL is the client listener as a URL, empty while stopped.
func (b *Broker) ClientURL() string {
	if r := b.run.Load(); r != nil {
		return r.clientURL
	}
	return ""
}

func (b *Broker) urls(s *server.Server) (client, leaf string) {
	if a, ok := s.Addr().(*net.TCPAddr); ok {
		client = listenURL("nats", b.opts.Client.host(), a.Port, b.opts.ClientTLS != nil)
	}
	port := b.opts.Leaf.Port
	if port == AnyPort {
		if v, err := s.Varz(nil); err == nil {
			port = v.LeafNode.Port
		}
	}
	if port > 0 {
		leaf = listenURL("nats-leaf", b.opts.Leaf.host(), port, b.opts.LeafTLS != nil)
	}
	return client, leaf
}

func listenURL(plain, host string, port int, tls bool) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := plain
	if tls {
		scheme = "tls"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port))
}

func errStopped(op string) error {
	return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "stopped", Err: errors.New("the server is not running")}
}
