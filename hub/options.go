package hub

import (
	"crypto/tls"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/fault"
)

// Peer is another region: where this region's servers solicit leaf links to.
type Peer struct {
	Name string
	Leaf []string // tls://host:port of every server of that region
}

// Options configure a Hub. The zero value is not usable; start from DefaultOptions.
type Options struct {
	Identity *identity.Hub // keys and files of this region
	StoreDir string        // JetStream data, account claims, link credentials
	Server   int           // which server of the region this is, from 0

	Client broker.Listen // NATS clients: relays, consumers
	Leaf   broker.Listen // links of other regions
	Route  broker.Listen // the other servers of this region; unused when there are none
	Routes []string      // tls://host:port of the region's servers, when there are several
	// Advertise is the host:port by which the region's other servers hear of this one, if not Route.
	Advertise string
	Admin     string // host:port of the admin API; empty: none

	Peers           []Peer
	MaxStore        int64 // bytes of disk that JetStream may use; 0: decided by the server
	SyncAlways      bool  // fsync before every acknowledgement
	SyncInterval    time.Duration
	RelaxedCritical bool // critical topics are accepted although acknowledgements are weaker than stored-fsync

	DedupeWindow time.Duration // of EVENTS: a second event of the same id within it is a duplicate
	AskPeers     time.Duration // how long a start waits for the peers' word when nothing speaks for a loss; 0: one look
	RepairEvery  time.Duration // interval of the comparison with the peers; 0: never
	RepairAfter  time.Duration // age from which events are compared
	RepairBucket time.Duration // time that one sum of the comparison covers; the same in all regions

	TenantLimits accounts.Limits // of tenants that are added without limits of their own

	WatchEvery time.Duration // how often sources are looked at
	StaleAfter time.Duration // silence of a source after which it is kicked
	TrialEvery time.Duration // how often versions of schemas on trial are looked at

	BootID string // names one run of the operating system; "": not known, so that a killed server proves nothing

	Logger     *zap.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// DefaultOptions are the settings of a region of one server.
func DefaultOptions() Options {
	return Options{
		SyncInterval: time.Second,
		DedupeWindow: streams.DefaultDuplicates,
		AskPeers:     3 * time.Second,
		RepairEvery:  time.Minute,
		RepairAfter:  3 * time.Minute,
		RepairBucket: time.Minute,
		TenantLimits: accounts.DefaultLimits(),
		WatchEvery:   2 * time.Second,
		StaleAfter:   5 * time.Second,
		TrialEvery:   accounts.ReportEvery,
		BootID:       bootID(),
		Logger:       zap.NewNop(),
		Registerer:   prometheus.NewRegistry(),
		Now:          time.Now,
	}
}

func (o *Options) validate() error {
	switch {
	case o.Identity == nil:
		return fault.New("hub.options", fault.Invalid, "no_identity", "the hub needs the identity files of its region: make them with `weft init`")
	case o.StoreDir == "":
		return fault.New("hub.options", fault.Invalid, "no_store", "the hub needs a directory for its data")
	case o.Server < 0 || o.Server >= o.servers():
		return fault.New("hub.options", fault.Invalid, "no_such_server", "server %d: region %s has %d servers, counted from 0", o.Server, o.Identity.Region, o.servers())
	case o.DedupeWindow != 0 && (o.DedupeWindow < 100*time.Millisecond || o.DedupeWindow > 24*time.Hour):
		return fault.New("hub.options", fault.Invalid, "bad_dedupe_window", "a dedupe window of %s: 100ms to 24h are possible, 0 is the default", o.DedupeWindow)
	case o.AskPeers < 0 || o.AskPeers > time.Hour:
		return fault.New("hub.options", fault.Invalid, "bad_ask_peers", "asking the peers for %s: 0 to 1h are possible", o.AskPeers)
	case o.RepairEvery < 0 || o.RepairEvery > 0 && (o.RepairAfter <= 0 || o.RepairBucket <= 0):
		return fault.New("hub.options", fault.Invalid, "bad_repair", "repair needs an interval, an age and a bucket that are more than 0")
	case o.TrialEvery <= 0:
		return fault.New("hub.options", fault.Invalid, "bad_trial", "versions on trial have to be looked at: TrialEvery must be more than 0")
	case o.servers() > 1 && len(o.Routes) == 0:
		return fault.New("hub.options", fault.Invalid, "no_routes", "region %s has %d servers: list their routes", o.Identity.Region, o.servers())
	}
	for _, p := range o.Peers {
		if !slices.ContainsFunc(o.Identity.Mesh.Regions, func(r identity.Region) bool { return r.Name == p.Name }) {
			return fault.New("hub.options", fault.Invalid, "unknown_peer", "peer %q is no region of this mesh", p.Name)
		}
	}
	return nil
}

// region is the own region's description in the mesh.
func (o *Options) region() identity.Region {
	for _, r := range o.Identity.Mesh.Regions {
		if r.Name == o.Identity.Region {
			return r
		}
	}
	return identity.Region{Name: o.Identity.Region, Servers: 1}
}

func (o *Options) servers() int { return max(1, o.region().Servers) }

// replicas is how many servers hold each stream of the region.
func (o *Options) replicas() int {
	if o.servers() >= 3 {
		return 3
	}
	return 1
}

// solicits says whether this region dials the peer: of a pair, the larger name does.
func (o *Options) solicits(peer string) bool { return o.Identity.Region > peer }

type tlsConfigs struct{ client, leaf, leafDial, route, admin *tls.Config }
