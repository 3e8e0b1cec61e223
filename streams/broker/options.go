package broker

import (
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// AnyPort lets the operating system choose; ClientURL tells which port it became, and so does the log.
const AnyPort = -1

// Listen is where a listener binds. An empty host is 127.0.0.1.
type Listen struct {
	Host string
	Port int // 0 = no such listener (the client listener must have one), AnyPort = any free port
}

func (l Listen) host() string {
	if l.Host == "" {
		return "127.0.0.1"
	}
	return l.Host
}

func (l Listen) address() string { return net.JoinHostPort(l.host(), strconv.Itoa(l.Port)) }

func (l Listen) loopback() bool {
	if l.host() == "localhost" {
		return true
	}
	ip := net.ParseIP(l.host())
	return ip != nil && ip.IsLoopback()
}

// Cluster makes the server one of several of its region.
type Cluster struct {
	Name   string   // the same on every server of the region, and on no server of another
	Routes []string // route URLs of all servers of the region, nats-route://host:port; its own may be among them
	// Advertise is the host:port by which the others hear of this server, if not the route listener's.
	Advertise string
}

// Link is a leafnode connection that this server solicits for one account. Every server of the soliciting
// region needs it; the accepting region lists all of its servers.
type Link struct {
	Account     string   // public nkey of the account
	URLs        []string // leaf listeners of all servers of the other region, tls://host:port
	Credentials string   // file, read anew at every connect: rotate by rewriting it, never by another path
}

// Leaf is a leafnode connection that is up.
type Leaf struct {
	ID        uint64 // of the connection; a reconnect gets another
	Account   string // public nkey
	Peer      string // name of the server on the other end
	Solicited bool   // this server dialled
}

// Durability is what the running server really does, read from itself and not from the options.
type Durability struct {
	SyncInterval time.Duration // longest time until stored bytes are fsynced
	SyncAlways   bool          // fsync before every acknowledgement
	Servers      int           // servers of the region that this one knows, itself included
	MaxStore     int64         // bytes that JetStream may use on disk
}

// Options is what a Broker is made from. TLS configurations are cloned, never changed. A listener without
// TLS is allowed on a loopback address only.
type Options struct {
	Name     string // server name, unique in the mesh, such as "eu-0"
	Region   string // also the JetStream domain
	StoreDir string // created if absent; belongs to one process at a time
	MaxStore int64  // bytes of disk for JetStream; 0 = 3/4 of what is free

	Client Listen
	// HoldClients refuses the TLS handshake of clients until OpenClients, and links of every account that is not
	// in Accounts: nothing is stored that does not come from this process. In-process clients, routes and the
	// links of Accounts come in. It needs ClientTLS, and LeafTLS where there is a leaf listener.
	HoldClients bool
	Leaf        Listen // links of other regions
	Route       Listen // the other servers of the region; needs Cluster

	ClientTLS     *tls.Config // client certificates are optional (VerifyClientCertIfGiven): credentials decide
	LeafTLS       *tls.Config // RequireAndVerifyClientCert
	LeafClientTLS *tls.Config // for links that this server dials: RootCAs and the own certificate
	RouteTLS      *tls.Config // both directions: RootCAs, ClientCAs, Certificates

	OperatorJWT   string
	SystemAccount string            // public nkey
	Accounts      map[string]string // public nkey -> account JWT; in the resolver before the server starts

	Cluster      *Cluster // nil = the region is this one server
	SyncInterval time.Duration
	SyncAlways   bool
	MaxPayload   int
	StartTimeout time.Duration // for listeners and JetStream; recovery of large streams takes its time

	Logger *zap.Logger

	held   *atomic.Bool // clients are refused while it is set
	barred *atomic.Bool // links of all accounts are refused while it is set: until those to be held are known
}

// DefaultOptions has everything that need not be chosen: fsync at least once a second, 1 MiB payload.
func DefaultOptions() Options {
	return Options{SyncInterval: time.Second, MaxPayload: 1 << 20, StartTimeout: 2 * time.Minute, Logger: zap.NewNop()}
}

// withDefaults fills what was left zero.
func (o Options) withDefaults() Options {
	o.held, o.barred = new(atomic.Bool), new(atomic.Bool)
	d := DefaultOptions()
	if o.SyncInterval == 0 {
		o.SyncInterval = d.SyncInterval
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = d.MaxPayload
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = d.StartTimeout
	}
	if o.Logger == nil {
		o.Logger = d.Logger
	}
	return o
}

func (o Options) validate() error {
	bad := func(format string, args ...any) error {
		return fault.New("broker.options", fault.Invalid, "invalid_options", format, args...)
	}
	switch {
	case o.Name == "" || o.Region == "":
		return bad("the server needs a name and a region")
	case o.StoreDir == "":
		return bad("the server needs a store directory")
	case o.Client.Port == 0:
		return bad("the client listener needs a port")
	case o.SystemAccount == "" || o.Accounts[o.SystemAccount] == "":
		return bad("the system account's JWT is missing")
	case o.MaxPayload < 0 || o.MaxPayload > 8<<20:
		return bad("a payload limit of %d bytes: 1 to %d are possible", o.MaxPayload, 8<<20)
	case o.HoldClients && (o.ClientTLS == nil || o.Leaf.Port != 0 && o.LeafTLS == nil):
		return bad("clients and links can be held only where they come over TLS")
	case o.Cluster != nil && (o.Cluster.Name == "" || o.Route.Port == 0):
		return bad("a cluster needs a name and a route listener")
	}
	for name, l := range map[string]struct {
		Listen
		tls *tls.Config
	}{"client": {o.Client, o.ClientTLS}, "leaf": {o.Leaf, o.LeafTLS}, "route": {o.Route, o.RouteTLS}} {
		if l.Port != 0 && l.tls == nil && !l.loopback() {
			return bad("the %s listener on %s needs TLS", name, l.host())
		}
	}
	if _, err := jwt.DecodeOperatorClaims(o.OperatorJWT); err != nil {
		return &fault.Error{Op: "broker.options", Kind: fault.Invalid, Code: "invalid_operator", Detail: "the operator JWT is damaged", Err: err}
	}
	return nil
}

// serverSync is how often the server syncs. Unless it syncs before each acknowledgement, the broker does at SyncInterval
// (see diskSync), and the server's own sync, which makes the stream wait, is what stops it when the disk hangs: no more
// than that much is ever acknowledged and not synced.
func (o Options) serverSync() time.Duration {
	if o.SyncAlways {
		return o.SyncInterval
	}
	return max(o.SyncInterval, min(backstop*o.SyncInterval, maxBackstop))
}

// The server's own syncs are rarer than the broker's by the factor backstop, but come at least every maxBackstop.
const (
	backstop    = 10
	maxBackstop = 2 * time.Minute
)

// accountsDir is where the resolver keeps account JWTs; JetStream uses StoreDir/jetstream.
// messagesDir is where the server keeps streams and consumers.
func (o Options) messagesDir() string { return filepath.Join(o.StoreDir, server.JetStreamStoreDir) }

func (o Options) accountsDir() string { return filepath.Join(o.StoreDir, "accounts") }

// Lame duck: what Stop gives clients to go elsewhere before their connections are closed.
const (
	lameDuckDuration = time.Second
	lameDuckGrace    = 250 * time.Millisecond
)

// build makes the server's options anew from nothing but its arguments. A reload needs exactly that: options
// that a server was started with cannot be cloned (it has filled trusted keys in), and a remote that is
// mutated in place changes nothing and reports success.
func build(o Options, links []Link, resolver server.AccountResolver) (*server.Options, error) {
	operator, err := jwt.DecodeOperatorClaims(o.OperatorJWT)
	if err != nil {
		return nil, fault.Wrap("broker.build", fault.Invalid, err)
	}
	out := &server.Options{
		ServerName: o.Name, Host: o.Client.host(), Port: o.Client.Port,
		NoLog: true, NoSigs: true, DisableJetStreamBanner: true,
		MaxPayload: int32(o.MaxPayload), PingInterval: 15 * time.Second, MaxPingsOut: 2,
		LameDuckDuration: lameDuckDuration, LameDuckGracePeriod: lameDuckGrace,
		TrustedOperators: []*jwt.OperatorClaims{operator}, SystemAccount: o.SystemAccount, AccountResolver: resolver,
		JetStream: true, JetStreamDomain: o.Region, StoreDir: o.StoreDir,
		JetStreamMaxStore: o.MaxStore, JetStreamMaxMemory: 64 << 20,
		SyncInterval: o.serverSync(), SyncAlways: o.SyncAlways,
	}
	if o.ClientTLS != nil {
		out.TLS, out.TLSConfig, out.TLSTimeout = true, o.clientTLS(), 5
	}
	if err := buildLeaf(o, links, &out.LeafNode); err != nil {
		return nil, err
	}
	return out, buildCluster(o, out)
}

// clientTLS refuses every handshake while clients are held. The listener itself cannot be what is closed: the
// server opens no routes before it listens for clients.
func (o Options) clientTLS() *tls.Config { return o.holding(o.ClientTLS, o.held) }

// holding is a copy of c that refuses every handshake while the flag is set.
func (o Options) holding(c *tls.Config, flag *atomic.Bool) *tls.Config {
	c = c.Clone()
	if !o.HoldClients {
		return c
	}
	next := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch {
		case flag.Load():
			return nil, errHeld
		case next != nil:
			return next(hello)
		default:
			return nil, nil // the configuration itself
		}
	}
	return c
}

var errHeld = errors.New("nobody is let in yet")

func buildLeaf(o Options, links []Link, leaf *server.LeafNodeOpts) error {
	off := server.CompressionOpts{Mode: server.CompressionOff}
	leaf.ReconnectInterval = time.Second
	leaf.DialTimeout = 5 * time.Second
	leaf.Compression = off
	leaf.IsolateLeafnodeInterest = true // else three regions in a full mesh are refused as a loop
	if o.Leaf.Port != 0 {
		leaf.Host, leaf.Port, leaf.NoAdvertise, leaf.TLSTimeout = o.Leaf.host(), o.Leaf.Port, true, 5
		if o.LeafTLS != nil {
			leaf.TLSConfig = o.holding(o.LeafTLS, o.barred)
		}
	}
	for _, l := range links {
		remote := &server.RemoteLeafOpts{
			LocalAccount: l.Account, Credentials: l.Credentials, Compression: off,
			LocalIsolation: true, RequestIsolation: true,
		}
		remote.IgnoreDiscoveredServers = true // the other side's own view of its address may bypass what is in between
		for _, raw := range l.URLs {
			u, err := parseURL(raw)
			if err != nil {
				return err
			}
			remote.URLs = append(remote.URLs, u)
		}
		if o.LeafClientTLS != nil {
			remote.TLS, remote.TLSConfig, remote.TLSTimeout = true, o.LeafClientTLS.Clone(), 5
		}
		leaf.Remotes = append(leaf.Remotes, remote)
	}
	return nil
}

func buildCluster(o Options, out *server.Options) error {
	if o.Cluster == nil {
		return nil
	}
	out.Cluster = server.ClusterOpts{
		Name: o.Cluster.Name, Host: o.Route.host(), Port: o.Route.Port, Advertise: o.Cluster.Advertise, NoAdvertise: true,
		Compression: server.CompressionOpts{Mode: server.CompressionOff},
	}
	if o.RouteTLS != nil {
		out.Cluster.TLSConfig, out.Cluster.TLSTimeout = o.RouteTLS.Clone(), 5
	}
	for _, raw := range o.Cluster.Routes {
		u, err := parseURL(raw)
		if err != nil {
			return err
		}
		out.Routes = append(out.Routes, u)
	}
	return nil
}

func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Port() == "" {
		return nil, fault.New("broker.url", fault.Invalid, "invalid_url", "%q is no URL of the form scheme://host:port", raw)
	}
	return u, nil
}

// checkLink refuses what the server would only log, again and again.
func checkLink(l Link) error {
	const op = "broker.links"
	if l.Account == "" || len(l.URLs) == 0 {
		return fault.New(op, fault.Invalid, "invalid_link", "a link needs an account and the other region's URLs")
	}
	for _, raw := range l.URLs {
		if _, err := parseURL(raw); err != nil {
			return err
		}
	}
	if _, err := os.Stat(l.Credentials); err != nil {
		return &fault.Error{Op: op, Kind: fault.Invalid, Code: "no_credentials", Detail: "the link's credentials file cannot be read", Err: err}
	}
	return nil
}
