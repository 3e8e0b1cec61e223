// Package config turns flags, environment and a YAML file into the settings of a hub or a relay, and says
// of each setting where it came from.
//
// The order is flag > environment (WEFT_…) > file > default. Defaults live in DefaultHub and DefaultRelay
// alone. A key that no setting has refuses the start and names the nearest one that exists; all problems
// of a configuration are reported at once. Used by the verbs hub, relay and config; the packages
// below cmd get plain options and never see viper. Functions are safe for concurrent use; the values they
// return belong to the caller.
package config

import (
	"os"
	"strings"
	"time"
)

// Log says what is logged and how.
type Log struct {
	Level  string `mapstructure:"level" usage:"debug, info, warn or error"`
	Format string `mapstructure:"format" usage:"auto (console on a terminal, else json), console or json"`
}

// Hub is the configuration of one hub server.
type Hub struct {
	Region       string        `mapstructure:"region" usage:"name of the region that this server belongs to"`
	Server       int           `mapstructure:"server" usage:"number of this server within the region, from 0"`
	Data         string        `mapstructure:"data" usage:"directory of the mesh's files and the store"`
	Listen       HubListen     `mapstructure:"listen"`
	Peers        []Peer        `mapstructure:"peers" usage:"leaf addresses of the other regions: NAME=tls://host:port[,…];NAME=…"`
	Routes       []string      `mapstructure:"routes" usage:"route addresses of the region's servers, when it has three"`
	Advertise    string        `mapstructure:"route_advertise" usage:"host:port by which the region's other servers hear of this one, if not the route address"`
	Sync         string        `mapstructure:"sync" usage:"interval (fsync every sync_interval) or always (fsync before each ack)"`
	SyncInterval time.Duration `mapstructure:"sync_interval" usage:"longest time between two fsyncs"`
	MaxStore     ByteSize      `mapstructure:"max_store" usage:"disk that the store may use"`
	DedupeWindow time.Duration `mapstructure:"dedupe_window" usage:"time in which a second event of the same id is called a duplicate"`
	AskPeers     time.Duration `mapstructure:"ask_peers" usage:"how long a start waits for the other regions' word that nothing was lost here, when nothing else speaks for a loss"`
	RepairEvery  time.Duration `mapstructure:"repair_every" usage:"interval of the comparison with the other regions, which brings lost events back; 0: never"`
	RepairAfter  time.Duration `mapstructure:"repair_after" usage:"age from which events are compared"`
	RepairBucket time.Duration `mapstructure:"repair_bucket" usage:"time that one sum of the comparison covers; the same in all regions"`
	Durability   string        `mapstructure:"durability" usage:"strict (critical topics require stored-fsync) or relaxed"`
	Log          Log           `mapstructure:"log"`
}

// HubListen is where a hub server listens, as host:port.
type HubListen struct {
	Nats    string `mapstructure:"nats" usage:"address for NATS clients (TLS)"`
	Leaf    string `mapstructure:"leaf" usage:"address for the other regions' links (TLS)"`
	Route   string `mapstructure:"route" usage:"address for the region's other servers (TLS)"`
	Admin   string `mapstructure:"admin" usage:"address of the admin API (TLS)"`
	Metrics string `mapstructure:"metrics" usage:"address of health, metrics and pprof (plain HTTP: keep it private)"`
}

// Peer is another region and where its leaf listeners are.
type Peer struct {
	Name string   `mapstructure:"name" json:"name" yaml:"name"`
	Leaf []string `mapstructure:"leaf" json:"leaf" yaml:"leaf,flow"` // tls://host:port
}

// Relay is the configuration of one relay.
type Relay struct {
	Region string      `mapstructure:"region" usage:"name of the region that this relay belongs to"`
	ID     string      `mapstructure:"id" usage:"name of this relay, unique in its region"`
	Data   string      `mapstructure:"data" usage:"directory of the mesh's files"`
	Listen RelayListen `mapstructure:"listen"`
	Hosts  []string    `mapstructure:"hosts" usage:"names by which producers reach this relay, host or host:port; others get 421 (default: the listen address and the certificate's names)"`
	Hub    []string    `mapstructure:"hub" usage:"NATS addresses of the region's hub servers"`
	Limits Limits      `mapstructure:"limits"`
	TLS    TLS         `mapstructure:"tls"`
	Tokens Tokens      `mapstructure:"tokens"`
	Log    Log         `mapstructure:"log"`
}

// RelayListen is where a relay listens, as host:port.
type RelayListen struct {
	HTTPS   string `mapstructure:"https" usage:"address for producers (mTLS)"`
	Metrics string `mapstructure:"metrics" usage:"address of health, metrics and pprof (plain HTTP: keep it private)"`
}

// Limits bound what a relay accepts and how long it waits.
type Limits struct {
	Body        ByteSize      `mapstructure:"body" usage:"largest request body"`
	ReadTimeout time.Duration `mapstructure:"read_timeout" usage:"time in which a request has to arrive"`
	AckTimeout  time.Duration `mapstructure:"ack_timeout" usage:"time to wait for the stream's ack before answering unavailable"`
	Remote      time.Duration `mapstructure:"remote_timeout" usage:"time to wait, after that, for another region where a topic asks for ack remote"`
	Window      int           `mapstructure:"window" usage:"events without an ack per tenant before requests are shed"`
	Requests    int           `mapstructure:"requests" usage:"requests of the last 11 minutes, of all tenants and regions, that are told from copies (about 30 bytes of memory each)"`
	Drain       time.Duration `mapstructure:"drain" usage:"time for open requests at shutdown"`
}

// DefaultHub is a hub with every default; Region has none.
func DefaultHub() Hub {
	return Hub{
		Data: "weft-data",
		Listen: HubListen{
			Nats: "0.0.0.0:4222", Leaf: "0.0.0.0:7422", Route: "0.0.0.0:6222",
			Admin: "127.0.0.1:8480", Metrics: "127.0.0.1:8490",
		},
		Sync:         "interval",
		SyncInterval: time.Second,
		MaxStore:     8 << 30,
		DedupeWindow: 2 * time.Minute,
		AskPeers:     3 * time.Second,
		RepairEvery:  time.Minute,
		RepairAfter:  3 * time.Minute,
		RepairBucket: time.Minute,
		Durability:   "strict",
		Log:          Log{Level: "info", Format: "auto"},
	}
}

// DefaultRelay is a relay with every default; Region has none.
func DefaultRelay() Relay {
	return Relay{
		ID:     hostID(),
		Data:   "weft-data",
		Listen: RelayListen{HTTPS: "0.0.0.0:8443", Metrics: "127.0.0.1:8491"},
		Hub:    []string{"tls://127.0.0.1:4222"},
		Limits: Limits{
			Body: 512 << 10, ReadTimeout: 5 * time.Second, AckTimeout: 5 * time.Second, Remote: 5 * time.Second,
			Window: 4096, Requests: 16 << 20, Drain: 10 * time.Second,
		},
		TLS: defaultTLS(),
		Log: Log{Level: "info", Format: "auto"},
	}
}

// hostID is the host's name as a relay's name: the usual deployment has one relay per host.
func hostID() string {
	name, err := os.Hostname()
	if err != nil {
		return "relay"
	}
	name, _, _ = strings.Cut(strings.ToLower(name), ".")
	id := strings.Map(func(r rune) rune {
		if isIDRune(r) {
			return r
		}
		return '-'
	}, name)
	if id = id[:min(len(id), maxID)]; id == "" {
		return "relay"
	}
	return id
}

const maxID = 32

func isIDRune(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }
