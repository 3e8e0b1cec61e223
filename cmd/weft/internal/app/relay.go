package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/revocation"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// RelayConfig is what differs from one relay process to another.
type RelayConfig struct {
	Identity *identity.Relay
	ID       string
	Listen   string
	HubURLs  []string
	TLS      config.TLS // the zero value: the mesh's own authority alone
	Logger   *zap.Logger
	Tune     func(*relay.Options) // settings from flags and files; may be nil
}

// Relay is a relay with its connections to the hub of its region: one into CONTROL, over which it reads the
// control state and asks for users, and one into each tenant's account, opened by the relay when needed.
type Relay struct {
	*relay.Relay
	control *nats.Conn
	state   *control.Log
	dial    dialer
	reports *reporter
	files   *pki.Files
	clients *revocation.Checker
	tending sync.WaitGroup // the loop over certificates
	cancel  context.CancelFunc
	close   sync.Once
}

// connectWait bounds the wait for a hub that is not there yet; relays and hubs may start in any order.
const connectWait = 60 * time.Second

// NewRelay connects to the hub and prepares the relay. It waits for the hub up to connectWait.
func NewRelay(ctx context.Context, c RelayConfig) (*Relay, error) {
	id := c.Identity
	files, err := relayFiles(id, c.TLS, c.Logger)
	if err != nil {
		return nil, err
	}
	r := &Relay{files: files}
	r.dial = dialer{region: id.Region, relayID: c.ID, urls: c.HubURLs, files: files, log: c.Logger}
	if r.control, err = r.dial.connect("control", nats.UserCredentials(id.CredsFile), nats.RetryOnFailedConnect(true)); err != nil {
		return nil, err
	}
	r.dial.control = r.control
	if r.state, err = openControl(ctx, r.control, id.Region, c.Logger); err != nil {
		r.control.Close()
		return nil, err
	}
	if r.clients, err = relayClients(ctx, files, r.state.State, id, c.TLS, c.Logger); err != nil {
		r.shut()
		return nil, err
	}
	journal, err := jetstream.New(r.control, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		r.shut()
		return nil, err
	}
	o := relay.DefaultOptions()
	o.Origin, o.ID, o.Listen, o.TLS, o.Sealer, o.Logger = id.Region, c.ID, c.Listen, files.Server(tls.RequireAndVerifyClientCert), id.Sealer, c.Logger
	o.Control, o.Connect, o.Journal, o.Clients, o.Now = r.state, r.dial.tenant, journal, r.clients, clock()
	if c.Tune != nil {
		c.Tune(&o)
	}
	if r.Relay, err = relay.New(o); err != nil {
		r.shut()
		return nil, err
	}
	r.reports = &reporter{conn: r.control, state: r.state, sealer: id.Sealer, region: id.Region, id: c.ID, counts: r.Relay, log: c.Logger}
	r.reports.start()
	if err := r.watchCertificates(o.Registerer); err != nil {
		return nil, errors.Join(err, r.Stop(ctx))
	}
	return r, nil
}

// Start serves until Stop.
func (r *Relay) Start() error {
	r.clients.Start()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.tending.Go(func() { r.tend(ctx) })
	return r.Relay.Start()
}

// openControl waits for the hub's control stream and folds it.
func openControl(ctx context.Context, conn *nats.Conn, region string, log *zap.Logger) (*control.Log, error) {
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	for {
		state, err := control.Open(ctx, control.Options{JS: js, Self: subject.Origin{Region: region, Epoch: 1}, Logger: log})
		if err == nil {
			return state, nil
		}
		log.Debug("the hub does not answer yet", zap.Error(err))
		select {
		case <-ctx.Done():
			return nil, fault.New("relay.start", fault.Unavailable, "hub_unreachable", "the hub of region %s does not answer (last: %v, %v)", region, err, conn.LastError())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Check is nil when the relay serves, and says what is missing otherwise.
func (r *Relay) Check() error {
	if reasons := r.Ready(); len(reasons) > 0 {
		return errors.New(strings.Join(reasons, "; "))
	}
	return nil
}

// Stop drains the relay, then closes its connections.
func (r *Relay) Stop(ctx context.Context) error {
	err := r.Relay.Stop(ctx)
	r.shut()
	return err
}

func (r *Relay) shut() {
	r.close.Do(func() {
		if r.reports != nil {
			r.reports.stop()
		}
		if r.cancel != nil {
			r.cancel()
		}
		r.tending.Wait()
		if r.clients != nil {
			r.clients.Stop()
		}
		r.state.Close()
		r.control.Close()
	})
}

// dialer opens a relay's connections to its hub.
type dialer struct {
	region, relayID string
	urls            []string
	files           *pki.Files
	control         *nats.Conn
	log             *zap.Logger
}

func (d *dialer) connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	opts = append(opts, nats.Name(fmt.Sprintf("relay %s %s", d.relayID, name)), nats.Secure(d.files.Client()),
		func(o *nats.Options) error { // asked before each connection, as the authorities may change
			o.RootCAsCB = func() (*x509.CertPool, error) { return d.files.Roots(), nil }
			return nil
		},
		nats.CustomInboxPrefix(subject.InboxPrefix(d.region)+"."+d.relayID), nats.MaxReconnects(-1), nats.ReconnectWait(200*time.Millisecond),
		nats.ReconnectBufSize(-1), nats.IgnoreAuthErrorAbort(), nats.PingInterval(15*time.Second), nats.Timeout(5*time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			d.log.Warn("connection to the hub", zap.String("account", name), zap.Error(err))
		}))
	conn, err := nats.Connect(strings.Join(d.urls, ","), opts...)
	return conn, fault.Wrap("relay.connect "+name, fault.Unavailable, err)
}

// tenant connects into a tenant's account. The key pair is made here and never leaves the process; the hub
// signs a user for it at every (re)connect.
func (d *dialer) tenant(_ context.Context, tenant string) (*nats.Conn, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	public, err := kp.PublicKey()
	if err != nil {
		return nil, err
	}
	token := func() (string, error) { return d.credential(tenant, public) }
	return d.connect(tenant, nats.UserJWT(token, kp.Sign))
}

func (d *dialer) credential(tenant, public string) (string, error) {
	raw, err := json.Marshal(accounts.CredentialRequest{Tenant: tenant, RelayID: d.relayID, UserPublic: public})
	if err != nil {
		return "", err
	}
	m, err := d.control.Request(subject.Credential(d.region), raw, 2*time.Second)
	if err != nil {
		return "", err
	}
	var resp accounts.CredentialResponse
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return "", err
	}
	if resp.Error != "" {
		return "", errors.New(resp.Error)
	}
	return resp.JWT, nil
}
