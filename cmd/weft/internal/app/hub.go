// Package app is the composition root of weft's processes: it turns configuration into running hubs and
// relays, alone (weft hub, weft relay) or as a whole mesh in one process (weft up).
//
// Used by the verbs of cmd/weft. Every Run blocks until its context ends and leaves nothing behind; values
// are not safe for concurrent use unless said otherwise.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/fault"
)

// RunHub runs one hub process until ctx ends, or until the hub says that it must be started again: then the
// error tells why, and a supervisor's restart is all that is needed.
func RunHub(ctx context.Context, c *config.Hub, log *zap.Logger) error {
	defer TuneRuntime()()
	tel, err := telemetry.New(c.Listen.Metrics, log)
	if err != nil {
		return err
	}
	h, err := newHub(c, tel, log)
	if err != nil {
		return err
	}
	if err := tel.Start(); err != nil {
		return err
	}
	defer stopTelemetry(tel)
	start, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := h.Start(start); err != nil {
		return err
	}
	if why := h.Ready(); why != nil {
		log.Warn("hub runs and is closed", zap.String("region", c.Region), zap.String("origin", h.Origin().String()), zap.String("why", why.Error()))
	} else {
		log.Info("hub ready", zap.String("region", c.Region), zap.String("origin", h.Origin().String()), zap.String("nats", c.Listen.Nats))
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-h.Failed():
	}
	log.Info("hub stopping")
	return errors.Join(failed, stopWithin(30*time.Second, h.Stop))
}

// RunRelay runs one relay process until ctx ends, then drains it.
func RunRelay(ctx context.Context, c *config.Relay, log *zap.Logger) error {
	defer TuneRuntime()()
	tel, err := telemetry.New(c.Listen.Metrics, log)
	if err != nil {
		return err
	}
	var running atomic.Pointer[Relay]
	tel.Check("relay", func() error { // from the first moment: until the hub answers nothing is served
		if r := running.Load(); r != nil {
			return r.Check()
		}
		return errors.New("starting: the hub of the region has not answered yet")
	})
	if err := tel.Start(); err != nil {
		return err
	}
	defer stopTelemetry(tel)
	id, err := identity.LoadRelay(c.Data, c.Region)
	if err != nil {
		return err
	}
	issuers, err := tokenIssuers(c.Tokens.Issuers)
	if err != nil {
		return err
	}
	r, err := NewRelay(ctx, RelayConfig{Identity: id, ID: c.ID, Listen: c.Listen.HTTPS, HubURLs: c.Hub, TLS: c.TLS, Logger: log, Tune: func(o *relay.Options) {
		o.Hosts, o.Registerer, o.Issuers = c.Hosts, tel.Registry, issuers
		o.Limits.BodyBytes, o.Limits.ReadTimeout = int64(c.Limits.Body), c.Limits.ReadTimeout
		o.Limits.AckTimeout, o.Limits.RemoteTimeout, o.Limits.Window = c.Limits.AckTimeout, c.Limits.Remote, c.Limits.Window
		o.Limits.Requests = c.Limits.Requests
	}})
	if err != nil {
		return err
	}
	if err := r.Start(); err != nil {
		return err
	}
	running.Store(r)
	log.Info("relay ready", zap.String("region", c.Region), zap.String("https", r.Addr()))
	<-ctx.Done()
	log.Info("relay draining")
	return stopWithin(c.Limits.Drain, r.Stop)
}

func newHub(c *config.Hub, tel *telemetry.Server, log *zap.Logger) (*hub.Hub, error) {
	id, err := identity.LoadHub(c.Data, c.Region)
	if err != nil {
		return nil, err
	}
	o := hub.DefaultOptions()
	o.Identity, o.Server, o.Logger, o.Registerer, o.Now = id, c.Server, log, tel.Registry, clock()
	o.StoreDir = StoreDir(c.Data, c.Region, c.Server)
	for _, l := range []struct {
		into *broker.Listen
		addr string
	}{{&o.Client, c.Listen.Nats}, {&o.Leaf, c.Listen.Leaf}, {&o.Route, c.Listen.Route}} {
		if *l.into, err = listen(l.addr); err != nil {
			return nil, err
		}
	}
	o.Admin, o.Routes, o.Advertise = c.Listen.Admin, c.Routes, c.Advertise
	o.DedupeWindow, o.AskPeers, o.RepairEvery = c.DedupeWindow, c.AskPeers, c.RepairEvery
	o.RepairAfter, o.RepairBucket = c.RepairAfter, c.RepairBucket
	for _, p := range c.Peers {
		o.Peers = append(o.Peers, hub.Peer{Name: p.Name, Leaf: p.Leaf})
	}
	o.MaxStore, o.SyncAlways, o.SyncInterval = int64(c.MaxStore), c.Sync == "always", c.SyncInterval
	o.RelaxedCritical = c.Durability == "relaxed"
	if id := boot(); id != "" {
		o.BootID = id
	}
	h, err := hub.New(o)
	if err != nil {
		return nil, err
	}
	tel.Check("hub", h.Ready)
	return h, nil
}

// StoreDir is where a server keeps its data: every server of a region has its own.
func StoreDir(data, region string, server int) string {
	return filepath.Join(identity.StoreDir(data, region), strconv.Itoa(server))
}

func listen(addr string) (broker.Listen, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return broker.Listen{}, fault.New("config", fault.Invalid, "bad_address", "%q is not host:port", addr)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return broker.Listen{}, fault.New("config", fault.Invalid, "bad_address", "%q: the port is not a number", addr)
	}
	return broker.Listen{Host: host, Port: n}, nil
}

func stopTelemetry(t *telemetry.Server) { _ = stopWithin(2*time.Second, t.Stop) }

func stopWithin(d time.Duration, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := stop(ctx); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}
