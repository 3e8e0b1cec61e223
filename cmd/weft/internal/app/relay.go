package app

import (
	"context"
	"crypto/tls"
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
	close   sync.Once
}

// connectWait bounds the wait for a hub that is not there yet; relays and hubs may start in any order.
const connectWait = 60 * time.Second

// NewRelay connects to the hub and prepares the relay. It waits for the hub up to connectWait.
func NewRelay(ctx context.Context, c RelayConfig) (*Relay, error) {
	id := c.Identity
	serverTLS, err := pki.ServerTLS(id.CertFile, id.KeyFile, id.CAFile, tls.RequireAndVerifyClientCert)
	if err != nil {
		return nil, fault.Wrap("relay.tls", fault.Invalid, err)
	}
	clientTLS, err := pki.ClientTLS(id.CertFile, id.KeyFile, id.CAFile)
	if err != nil {
		return nil, fault.Wrap("relay.tls", fault.Invalid, err)
	}
	r := &Relay{}
	r.dial = dialer{region: id.Region, relayID: c.ID, urls: c.HubURLs, tls: clientTLS, log: c.Logger}
	if r.control, err = r.dial.connect("control", nats.UserCredentials(id.CredsFile), nats.RetryOnFailedConnect(true)); err != nil {
		return nil, err
	}
	r.dial.control = r.control
	if r.state, err = openControl(ctx, r.control, id.Region, c.Logger); err != nil {
		r.control.Close()
		return nil, err
	}
	journal, err := jetstream.New(r.control, jetstream.WithDefaultTimeout(2*time.Second))
	if err != nil {
		r.shut()
		return nil, err
	}
	o := relay.DefaultOptions()
	o.Origin, o.ID, o.Listen, o.TLS, o.Sealer, o.Logger = id.Region, c.ID, c.Listen, serverTLS, id.Sealer, c.Logger
	o.Control, o.Connect, o.Journal, o.Now = r.state, r.dial.tenant, journal, clock()
	if c.Tune != nil {
		c.Tune(&o)
	}
	if r.Relay, err = relay.New(o); err != nil {
		r.shut()
		return nil, err
	}
	r.reports = startReports(r.control, r.state, id, c.ID, c.Logger)
	return r, nil
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
		r.state.Close()
		r.control.Close()
	})
}

// dialer opens a relay's connections to its hub.
type dialer struct {
	region, relayID string
	urls            []string
	tls             *tls.Config
	control         *nats.Conn
	log             *zap.Logger
}

func (d *dialer) connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	opts = append(opts, nats.Name(fmt.Sprintf("relay %s %s", d.relayID, name)), nats.Secure(d.tls),
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
