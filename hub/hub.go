// Package hub is a region: its broker, the links to the other regions, the control state, and the
// duties that keep streams flowing (source watchdog, markers, heartbeats) and whole (repair between regions).
//
// cmd/weft runs one Hub for each server of a region. A region of three servers has three hubs; each looks
// after its own broker and links, and the one whose server leads the CONTROL stream does the region's
// duties. Relays and consumers meet a hub on the wire only.
//
// # Concurrency
//
// All exported methods may be called from any goroutine. Start launches six loops (renew, reconcile,
// watch, beat, repair, trial), which Stop ends and waits for. What each loop owns is said at the fields of Hub.
package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// apiTimeout bounds one JetStream API call: after a step-down some are never answered.
const apiTimeout = 2 * time.Second

// Hub is one server of a region.
type Hub struct {
	opts    Options
	origin  atomic.Pointer[subject.Origin] // changes once at most, while the region is closed
	log     *zap.Logger
	metrics *metrics
	files   *pki.Files // the certificate of every listener and link
	broker  *broker.Broker
	admin   *adminServer

	control *session     // the hub's own user in the CONTROL account
	uplinks *linkSet     // of the CONTROL account
	state   *control.Log // the folded control state

	gate    *gate
	linked  atomic.Bool // tenants' links are dialled: not before the gate is passed
	lost    atomic.Bool // a peer holds what is missing here
	failed  chan error  // holds why the hub has to end
	noted   *epochs     // epochs of peers that the control state may not name yet
	repairs *repairs
	remotes *remotes // loops behind remote acknowledgements
	relays  *relays  // what the region's relays know

	trials *trials // what they count of new versions of schemas

	keyMetrics   *keyMetrics
	trialMetrics *trialMetrics

	mu      sync.Mutex
	tenants map[string]*tenancy // by name; entries are added and removed by the reconcile loop alone

	guardOf subject.Origin // for which GUARD was made; of the reconcile loop

	edit sync.Mutex // held while a stream's configuration is read and written back
	move sync.Mutex // held while another origin is taken over

	schemas sync.Mutex // held while a schema is judged and written

	dirty   chan struct{} // asks the reconcile loop for a round
	settled chan struct{} // tells the watch loop that there is something new to look at
	cancel  context.CancelFunc
	loops   sync.WaitGroup
	ready   atomic.Pointer[string] // nil once ready; else why not
	stop    sync.Once
}

// session is a connection of the hub into one account, with JetStream on it.
type session struct {
	conn *nats.Conn
	js   jetstream.JetStream
}

// New prepares a hub; nothing listens yet.
func New(o Options) (*Hub, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	origin, err := loadOrigin(o.StoreDir, o.Identity.Region)
	if err != nil {
		return nil, err
	}
	h := &Hub{
		opts: o, tenants: map[string]*tenancy{}, dirty: make(chan struct{}, 1), settled: make(chan struct{}, 1),
		gate: newGate(), repairs: newRepairs(), remotes: newRemotes(), relays: newRelays(), trials: newTrials(),
		keyMetrics: newKeyMetrics(o.Registerer, o.Identity.Region, o.Server), trialMetrics: newTrialMetrics(o.Registerer, o.Identity.Region, o.Server), failed: make(chan error, 1),
		log:     o.Logger.With(zap.String("region", o.Identity.Region), zap.Int("server", o.Server)),
		metrics: newMetrics(o.Registerer, o.Identity.Region, o.Server),
	}
	h.origin.Store(&origin)
	if h.noted, err = loadEpochs(o.StoreDir); err != nil {
		return nil, err
	}
	h.notReady("starting")
	if err := h.checkLoops(); err != nil {
		return nil, err
	}
	tlsc, err := h.tlsConfigs()
	if err != nil {
		return nil, err
	}
	h.metrics.certificate(o.Registerer, h.files, o.Now)
	if h.broker, err = broker.New(h.brokerOptions(tlsc)); err != nil {
		return nil, err
	}
	if o.Admin != "" {
		h.admin = newAdminServer(h, tlsc.admin)
	}
	return h, nil
}

// Origin is the origin under which this region writes.
func (h *Hub) Origin() subject.Origin { return *h.origin.Load() }

// State is the newest snapshot of the control state; nil before Start returned.
func (h *Hub) State() *control.State {
	if h.state == nil {
		return nil
	}
	return h.state.State()
}

// Ready is nil once the hub serves, and says what is missing until then.
func (h *Hub) Ready() error {
	if why := h.ready.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

func (h *Hub) notReady(why string) { h.ready.Store(&why) }

// Start brings the region up: broker, control state, the tenants that it knows, the admin API. It returns when
// the region serves, or when it stays closed for a reason that Ready tells (see gate.go); it then goes on
// trying. ctx bounds the start. Peers need not be there: their links and sources follow when they are.
func (h *Hub) Start(ctx context.Context) error {
	if err := h.broker.Start(ctx); err != nil {
		return err
	}
	run, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	if err := os.RemoveAll(filepath.Join(h.opts.StoreDir, "links")); err != nil { // made anew below
		return errors.Join(fault.Wrap("hub.start", fault.Unavailable, err), h.abort())
	}
	if err := h.startControl(ctx); err != nil {
		return errors.Join(err, h.abort())
	}
	if h.admin != nil {
		if err := h.admin.start(h.opts.Admin); err != nil {
			return errors.Join(err, h.abort())
		}
	}
	h.loops.Go(func() { h.live(run) })
	h.loops.Go(func() { h.renewLoop(run) })
	h.loops.Go(func() {
		select {
		case <-run.Done():
		case err := <-h.broker.Broken():
			h.fail(err)
		}
	})
	select {
	case <-h.gate.first:
		return nil
	case <-ctx.Done():
		why := h.Ready()
		return errors.Join(fault.Wrap("hub.start", fault.Unavailable, ctx.Err()), why, h.abort())
	}
}

// open begins to serve: the region announces itself, makes what its tenants need, and lets clients and links
// in. The streams come before the links, so that nothing is stored under an origin that was left. An open that
// fails half way is tried again.
func (h *Hub) open(ctx context.Context) error {
	if err := h.noteLife(false); err != nil {
		return err
	}
	h.lost.Store(false)
	call, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := h.announce(call); err != nil {
		return err
	}
	if err := h.announceNoted(call); err != nil {
		return err
	}
	h.reconcile(ctx)
	if err := h.broker.OpenClients(); err != nil {
		return err
	}
	h.linked.Store(true)
	if err := h.setLinks(); err != nil {
		return err
	}
	if err := h.opts.Identity.Opened(h.opts.Server); err != nil {
		return err
	}
	h.gate.mu.Lock()
	h.gate.open = true
	h.gate.mu.Unlock()
	for _, loop := range []func(context.Context){h.reconcileLoop, h.watchLoop, h.beatLoop, h.repairLoop, h.trialLoop} {
		h.loops.Go(func() { loop(ctx) })
	}
	h.metrics.closed.Set(0)
	h.ready.Store(nil)
	return nil
}

// abort undoes a start that failed half way.
func (h *Hub) abort() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return h.Stop(ctx)
}

// Stop ends the hub: admin API first, then the loops, then the broker in lame-duck mode. It is idempotent.
func (h *Hub) Stop(ctx context.Context) error {
	var err error
	h.stop.Do(func() {
		h.notReady("stopping")
		if h.admin != nil {
			err = h.admin.stop(ctx)
		}
		if h.cancel != nil {
			h.cancel()
		}
		h.loops.Wait()
		h.remotes.stop()
		h.mu.Lock()
		for _, t := range h.tenants {
			t.close()
		}
		h.mu.Unlock()
		if h.state != nil {
			h.state.Close()
		}
		if h.control != nil {
			h.control.conn.Close()
		}
		stopped := h.broker.Stop(ctx)
		if stopped == nil && h.served() && !h.lost.Load() {
			stopped = h.noteLife(true)
		}
		err = errors.Join(err, stopped)
	})
	return err
}

// served says whether the region was open in this life.
func (h *Hub) served() bool {
	h.gate.mu.Lock()
	defer h.gate.mu.Unlock()
	return h.gate.open
}

// Run starts the hub, serves until ctx ends or the hub fails, and stops it within ten seconds.
func (h *Hub) Run(ctx context.Context) error {
	if err := h.Start(ctx); err != nil {
		return err
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-h.Failed():
	}
	stop, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(failed, h.Stop(stop))
}

// connect opens the hub's own service connection into an account, in process.
func (h *Hub) connect(name, account string, signing []byte, perms grant.Permissions) (*session, error) {
	token, seed, err := issuer.User(issuer.UserSpec{
		Name: "hub-" + h.serverName(), Permissions: perms, Account: account, SigningSeed: signing,
	})
	if err != nil {
		return nil, err
	}
	conn, err := nats.Connect("", h.broker.InProcess(), nats.Name("hub "+name), nats.UserJWTAndSeed(token, string(seed.Bytes())),
		nats.CustomInboxPrefix(subject.InboxPrefix(h.opts.Identity.Region)), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			h.log.Warn("service connection", zap.String("account", name), zap.Error(err))
		}))
	if err != nil {
		return nil, fault.Wrap("hub.connect "+name, fault.Unavailable, err)
	}
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(apiTimeout))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &session{conn: conn, js: js}, nil
}

// checkLoops refuses to start a topology in which a message could run in circles between the regions.
func (h *Hub) checkLoops() error {
	regions := map[string][]jetstream.StreamConfig{}
	for _, self := range h.opts.Identity.Mesh.Regions {
		var peers []subject.Origin
		for _, p := range h.opts.Identity.Mesh.Regions {
			if p.Name != self.Name {
				peers = append(peers, subject.Origin{Region: p.Name, Epoch: 1})
			}
		}
		own := subject.Origin{Region: self.Name, Epoch: 1}
		regions[self.Name] = []jetstream.StreamConfig{
			streams.EventsConfig(streams.EventsSpec{Self: own, Peers: peers, Replicas: 1}),
			streams.ControlConfig(streams.ControlSpec{Self: own, Peers: peers, Replicas: 1}),
			streams.GuardConfig(streams.GuardSpec{Self: own, Peers: peers, Replicas: 1}),
		}
	}
	return streams.CheckLoops(regions)
}

func (h *Hub) serverName() string { return fmt.Sprintf("%s-%d", h.opts.Identity.Region, h.opts.Server) }

// regionOfServer is the region in a server name made by serverName.
func regionOfServer(server string) string {
	if i := strings.LastIndexByte(server, '-'); i > 0 {
		return server[:i]
	}
	return server
}

// leads says whether this server does the region's duties.
func (h *Hub) leads() bool {
	return h.opts.servers() == 1 || h.broker.LeadsStream(h.opts.Identity.Control.Public, subject.ControlStream)
}

// announce records what the other regions and the relays must know of this region.
func (h *Hub) announce(ctx context.Context) error {
	ack := accounts.AckStored
	if h.broker.Durability().SyncAlways { // what the server does, not what it was asked to do
		ack = accounts.AckStoredFsync
	}
	r := h.opts.region()
	info := accounts.RegionInfo{
		Name: r.Name, Epoch: h.Origin().Epoch, Weight: r.Weight, Replicas: h.opts.replicas(), Ack: ack, RelaxedCritical: h.opts.RelaxedCritical,
	}
	if have, ok := h.state.State().Regions[r.Name]; ok && *have == info {
		return nil
	}
	return h.state.Put(ctx, control.KindRegion, r.Name, info, "hub "+h.serverName())
}

func saveOrigin(store string, o subject.Origin) error {
	return writeDurably(filepath.Join(store, "origin"), []byte(o.String()+"\n"))
}

// loadOrigin reads under which origin this store was written, or begins with the first epoch.
func loadOrigin(store, region string) (subject.Origin, error) {
	path := filepath.Join(store, "origin")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		o := subject.Origin{Region: region, Epoch: 1}
		if err := os.MkdirAll(store, 0o700); err != nil {
			return o, fault.Wrap("hub.store", fault.Unavailable, err)
		}
		return o, saveOrigin(store, o)
	}
	if err != nil {
		return subject.Origin{}, fault.Wrap("hub.store", fault.Unavailable, err)
	}
	o, err := subject.ParseOrigin(strings.TrimSpace(string(raw)))
	if err != nil || o.Region != region {
		return o, fault.New("hub.store", fault.Conflict, "foreign_store", "%s says %s: this data belongs to another region than %s", path, strconv.Quote(strings.TrimSpace(string(raw))), region)
	}
	return o, nil
}
