package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// beatEvery is the interval of control heartbeats; relays refuse critical topics after 10 minutes without.
const beatEvery = 5 * time.Second

func (h *Hub) tlsConfigs() (c tlsConfigs, err error) {
	id := h.opts.Identity
	h.files, err = pki.Open(pki.FilesOptions{Cert: id.CertFile, Key: id.KeyFile, CA: id.CAFile, Logger: h.log, Now: h.opts.Now})
	if err != nil {
		return c, fault.Wrap("hub.tls", fault.Invalid, err)
	}
	c.client = h.files.Server(tls.VerifyClientCertIfGiven) // plain NATS clients come with credentials alone
	c.leaf = h.files.Server(tls.RequireAndVerifyClientCert)
	c.route = h.files.Server(tls.RequireAndVerifyClientCert)
	c.admin = h.files.Server(tls.RequireAndVerifyClientCert)
	c.leafDial = h.files.Client()
	// A route is dialled and accepted with one configuration.
	c.route.RootCAs, c.route.GetClientCertificate = c.leafDial.RootCAs, c.leafDial.GetClientCertificate
	return c, nil
}

func (h *Hub) brokerOptions(t tlsConfigs) broker.Options {
	id := h.opts.Identity
	o := broker.Options{
		Name: h.serverName(), Region: id.Region, StoreDir: h.opts.StoreDir, MaxStore: h.opts.MaxStore,
		HoldClients: true, // until the gate is passed
		Client:      h.opts.Client, Leaf: h.opts.Leaf,
		ClientTLS: t.client, LeafTLS: t.leaf, LeafClientTLS: t.leafDial, RouteTLS: t.route,
		OperatorJWT: id.OperatorJWT, SystemAccount: id.System.Public,
		Accounts:     map[string]string{id.System.Public: id.System.JWT, id.Control.Public: id.Control.JWT, id.Audit.Public: id.Audit.JWT},
		SyncInterval: h.opts.SyncInterval, SyncAlways: h.opts.SyncAlways, Logger: h.log,
	}
	if h.opts.servers() > 1 {
		o.Route = h.opts.Route
		o.Cluster = &broker.Cluster{Name: id.Region, Routes: h.opts.Routes, Advertise: h.opts.Advertise}
	}
	return o
}

// startControl opens the control state: links of the CONTROL account, its stream, the folded log, the services.
func (h *Hub) startControl(ctx context.Context) error {
	for {
		before := h.Origin()
		if err := h.connectControl(); err != nil {
			return err
		}
		if err := h.openControl(ctx); err != nil {
			return err
		}
		if h.Origin() == before {
			return errors.Join(h.serveCredentials(), h.servePositions(), h.serveRejoins(), h.serveKnown(), h.serveRenewals())
		}
		h.state.Close() // the region lives under another origin than this server knew: its grants are others
		h.control.conn.Close()
	}
}

func (h *Hub) connectControl() error {
	id := h.opts.Identity
	h.uplinks = newLinkSet(linkSpec{
		name: "CONTROL", account: id.Control.Public, signing: id.Control.SigningSeed.Bytes(),
		families: []grant.Family{grant.ControlFamily(), grant.GuardFamily()},
	})
	if err := h.mint(h.uplinks); err != nil {
		return err
	}
	if err := h.setLinks(); err != nil {
		return err
	}
	var err error
	h.control, err = h.connect("CONTROL", id.Control.Public, id.Control.SigningSeed.Bytes(), grant.Service(h.Origin()))
	return err
}

// openControl makes the control stream of the own region and folds it. In a region of several servers it is
// asked again until the cluster has a leader and this server has heard of the stream; sources follow in
// the watch loop, when their links are up.
func (h *Hub) openControl(ctx context.Context) error {
	for {
		err := h.tryControl(ctx)
		if err == nil || fault.KindOf(err) == fault.Invalid {
			return err
		}
		h.log.Debug("control state not there yet", zap.Error(err))
		select {
		case <-ctx.Done():
			return fault.Wrap("hub.control", fault.Unavailable, errors.Join(ctx.Err(), err))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (h *Hub) tryControl(ctx context.Context) error {
	have, err := h.present(ctx, h.control, subject.ControlStream)
	if err != nil {
		return err
	}
	cfg := streams.ControlConfig(streams.ControlSpec{Self: h.Origin(), Replicas: h.opts.replicas()})
	if have != nil {
		if o, ok := originOfControl(have.Subjects, h.opts.Identity.Region); ok && o.Epoch > h.Origin().Epoch {
			if err := h.adopt(o); err != nil {
				return err
			}
		}
		cfg = streams.ControlConfig(streams.ControlSpec{Self: h.Origin(), Replicas: h.opts.replicas()})
		cfg.Sources = have.Sources
	}
	if _, err := streams.Apply(ctx, h.control.js, []jetstream.StreamConfig{cfg}); err != nil {
		return err
	}
	h.state, err = control.Open(ctx, control.Options{JS: h.control.js, Self: h.Origin(), Logger: h.log, Now: h.opts.Now})
	return err
}

// present is a stream's configuration, nil when the stream does not exist.
func (h *Hub) present(ctx context.Context, s *session, stream string) (*jetstream.StreamConfig, error) {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	st, err := s.js.Stream(call, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &st.CachedInfo().Config, nil
}

// peerOrigins are the live origins of the other regions.
func (h *Hub) peerOrigins() []subject.Origin {
	out := make([]subject.Origin, 0, len(h.opts.Peers))
	for _, p := range h.opts.Peers {
		out = append(out, h.originOf(p.Name))
	}
	return out
}

// originOf is a peer's live origin as the control state tells it; the first epoch before it does.
func (h *Hub) originOf(region string) subject.Origin {
	o := subject.Origin{Region: region, Epoch: 1}
	if h.state != nil {
		if info, ok := h.state.State().Regions[region]; ok {
			o.Epoch = info.Epoch
		}
	}
	o.Epoch = max(o.Epoch, h.noted.of(region))
	return o
}

func (h *Hub) beatLoop(ctx context.Context) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		if h.leads() {
			call, cancel := context.WithTimeout(ctx, apiTimeout)
			if err := h.state.Beat(call); err != nil && ctx.Err() == nil {
				h.log.Warn("control heartbeat not stored", zap.Error(err))
			}
			cancel()
			h.restate(ctx)
			h.buryKeys(ctx)
			h.noteKeys()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
