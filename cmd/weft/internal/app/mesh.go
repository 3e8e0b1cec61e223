package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/streams/fault"
)

// MeshOptions describe a whole mesh in one process.
type MeshOptions struct {
	Data     string
	Regions  []string // the first is the control home
	PortBase int
	Servers  int             // of each region: 1 or 3
	Tenants  []TenantOptions // made when they do not exist
	Routes   func(tenant string) *accounts.Routes
	Sync     string // "interval" or "always"
	Logger   *zap.Logger
	Say      io.Writer // progress for a person
}

// TenantOptions are of a tenant that is made.
type TenantOptions struct {
	Name string
	Disk int64 // bytes in each region
}

// Mesh is a running mesh.
type Mesh struct {
	opts    MeshOptions
	began   time.Time
	saying  sync.Mutex
	regions []*region
	unlock  func()
	failed  chan error    // the first hub that has to end
	ended   chan struct{} // closed by Stop
	end     sync.Once
	follow  sync.WaitGroup
}

// region is one region of the mesh in this process.
type region struct {
	name      string
	hubs      []*hub.Hub
	relay     *Relay
	telemetry *telemetry.Server
}

// The ports of a region count from base + 400 + 100 for each region before it.
const (
	portNats    = 22 // 22, 23, 24 for up to three servers
	portLeaf    = 32
	portRelay   = 43
	portRoute   = 52
	portAdmin   = 80 // 80, 81, 82
	portMetrics = 90
)

func (o *MeshOptions) port(region int, of int) int { return o.PortBase + 400 + 100*region + of }

func (o *MeshOptions) addr(region int, of int) string {
	return fmt.Sprintf("127.0.0.1:%d", o.port(region, of))
}

// stepTime bounds each part of a start; a region that lost data waits for its operator as long as it takes.
const stepTime = 90 * time.Second

// StartMesh brings the mesh up and returns when every region is ready and mesh.json is written.
func StartMesh(ctx context.Context, o MeshOptions) (m *Mesh, err error) {
	m = &Mesh{opts: o, began: time.Now(), failed: make(chan error, 1), ended: make(chan struct{})}
	if err := o.validate(); err != nil {
		return nil, err
	}
	if m.unlock, err = lockData(o.Data); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			stop, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			err = errors.Join(err, m.Stop(stop))
			m = nil
		}
	}()
	if err := meshfile.Remove(o.Data); err != nil { // what a killed mesh left behind
		return m, err
	}
	if err := m.identity(); err != nil {
		return m, err
	}
	hubs, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	if err := m.startHubs(hubs); err != nil {
		return m, err
	}
	if err := m.awaitOpen(ctx); err != nil {
		return m, err
	}
	tenants, err := m.ensureTenants(ctx)
	if err != nil {
		return m, err
	}
	relays, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	if err := m.startRelays(relays); err != nil {
		return m, err
	}
	return m, m.writeFile(tenants)
}

// awaitOpen waits until every region is open. A region that lost data needs an operator, who finds the admin
// APIs through mesh.json.
func (m *Mesh) awaitOpen(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	told := map[string]string{}
	for {
		waiting := false
		for _, r := range m.regions {
			for s, h := range r.hubs {
				why := h.Ready()
				if why == nil {
					continue
				}
				waiting = true
				if name := fmt.Sprintf("%s-%d", r.name, s); h.Status().Waits() && told[name] != why.Error() {
					told[name] = why.Error()
					m.say("region %s: %v", r.name, why)
					if err := m.writeFile(nil); err != nil {
						return err
					}
				}
			}
		}
		if !waiting {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-m.Failed():
			return err
		case <-tick.C:
		}
	}
}

// Failed delivers why the mesh has to be started again; most never use it.
func (m *Mesh) Failed() <-chan error { return m.failed }

func (o *MeshOptions) validate() error {
	switch {
	case len(o.Regions) == 0:
		return fault.New("up", fault.Invalid, "no_regions", "name at least one region")
	case o.Servers != 1 && o.Servers != 3:
		return fault.New("up", fault.Invalid, "bad_servers", "a region has 1 or 3 servers, not %d", o.Servers)
	case o.PortBase < 1024 || o.port(len(o.Regions)-1, 99) > 65535:
		return fault.New("up", fault.Invalid, "bad_port_base", "port base %d leaves no room for %d regions: choose 1024 to %d", o.PortBase, len(o.Regions), 65535-499-100*(len(o.Regions)-1))
	}
	return nil
}

// say prints one step with the time since the start.
func (m *Mesh) say(format string, args ...any) {
	m.saying.Lock()
	defer m.saying.Unlock()
	fmt.Fprintf(m.opts.Say, "%6.2fs  %s\n", time.Since(m.began).Seconds(), fmt.Sprintf(format, args...))
}

func (m *Mesh) identity() error {
	desc := identity.Mesh{Name: "weft", Home: m.opts.Regions[0]}
	for _, name := range m.opts.Regions {
		desc.Regions = append(desc.Regions, identity.Region{Name: name, Servers: m.opts.Servers, Weight: 1})
	}
	if err := identity.Create(m.opts.Data, desc); err != nil {
		return err
	}
	m.say("keys and certificates in %s", m.opts.Data)
	return nil
}

// hubConfig is what the config file of one server would say.
func (m *Mesh) hubConfig(i, server int) *config.Hub {
	o := &m.opts
	c := config.DefaultHub()
	c.Region, c.Server, c.Data, c.Durability = o.Regions[i], server, o.Data, "relaxed"
	c.Sync = o.Sync
	c.Listen = config.HubListen{
		Nats: o.addr(i, portNats+server), Leaf: o.addr(i, portLeaf+server), Route: o.addr(i, portRoute+server), Admin: o.addr(i, portAdmin+server),
	}
	c.MaxStore = 0
	for s := range o.Servers {
		if o.Servers > 1 {
			c.Routes = append(c.Routes, "tls://"+o.addr(i, portRoute+s))
		}
	}
	for j, peer := range o.Regions {
		if j == i {
			continue
		}
		p := config.Peer{Name: peer}
		for s := range o.Servers {
			p.Leaf = append(p.Leaf, "tls://"+o.addr(j, portLeaf+s))
		}
		c.Peers = append(c.Peers, p)
	}
	return &c
}

// startHubs starts every server of every region at once: servers of one region need each other to be ready.
func (m *Mesh) startHubs(ctx context.Context) error {
	for i, name := range m.opts.Regions {
		tel, err := telemetry.New(m.opts.addr(i, portMetrics), m.opts.Logger)
		if err != nil {
			return err
		}
		r := &region{name: name, telemetry: tel}
		m.regions = append(m.regions, r)
		if err := tel.Start(); err != nil {
			return err
		}
		for s := range m.opts.Servers {
			h, err := newHub(m.hubConfig(i, s), tel, m.opts.Logger)
			if err != nil {
				return err
			}
			r.hubs = append(r.hubs, h)
			m.follow.Go(func() { m.listen(h) })
		}
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(m.regions)*m.opts.Servers)
	for i, r := range m.regions {
		for s, h := range r.hubs {
			wg.Go(func() {
				err := h.Start(ctx)
				if err == nil {
					m.say("region %s: broker %s, links on %s", r.name, m.opts.addr(i, portNats+s), m.opts.addr(i, portLeaf+s))
				}
				errs <- err
			})
		}
	}
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// listen passes on why a hub has to end.
func (m *Mesh) listen(h *hub.Hub) {
	select {
	case err := <-h.Failed():
		select {
		case m.failed <- err:
		default:
		}
	case <-m.ended:
	}
}

// home is the hub that adds tenants.
func (m *Mesh) home() *hub.Hub { return m.regions[0].hubs[0] }

func (m *Mesh) startRelays(ctx context.Context) error {
	for i, r := range m.regions {
		id, err := identity.LoadRelay(m.opts.Data, r.name)
		if err != nil {
			return err
		}
		var urls []string
		for s := range m.opts.Servers {
			urls = append(urls, "tls://"+m.opts.addr(i, portNats+s))
		}
		if r.relay, err = NewRelay(ctx, RelayConfig{
			Identity: id, ID: r.name + "-relay", Listen: m.opts.addr(i, portRelay), HubURLs: urls, Logger: m.opts.Logger,
			Tune: func(o *relay.Options) { o.Registerer = r.telemetry.Registry },
		}); err != nil {
			return err
		}
		r.telemetry.Check("relay", r.relay.Check)
		if err := r.relay.Start(); err != nil {
			return err
		}
		m.say("region %s: relay https://%s", r.name, m.opts.addr(i, portRelay))
	}
	return nil
}

// ensureTenants makes the tenants that do not exist and the files that are missing, and lists every tenant
// whose files are here.
func (m *Mesh) ensureTenants(ctx context.Context) ([]meshfile.Tenant, error) {
	adding, together := errgroup.WithContext(ctx)
	adding.SetLimit(addedTogether)
	for _, t := range m.opts.Tenants {
		if _, ok := m.home().State().Tenants[t.Name]; !ok {
			adding.Go(func() error { return m.addTenant(together, t) })
		}
	}
	if err := adding.Wait(); err != nil {
		return nil, err
	}
	var out []meshfile.Tenant
	for _, t := range m.home().State().ActiveTenants() {
		entry, ok := bundleFiles(m.opts.Data, t.Name)
		if !ok {
			b, err := m.reissue(ctx, t.Name)
			if err != nil {
				m.say("tenant %s: its files cannot be made again: %v", t.Name, err)
				continue
			}
			if entry, err = WriteBundle(m.opts.Data, b); err != nil {
				return nil, err
			}
			m.say("tenant %s: files made again", t.Name)
		}
		out = append(out, entry)
	}
	return out, nil
}

// addedTogether is how many tenants are added at a time: the hubs take up all that came within a moment in one step,
// which costs as much as there are tenants already.
const addedTogether = 32

// addTenant and reissue have a step's time for each tenant: a mesh may have a thousand.
func (m *Mesh) addTenant(ctx context.Context, t TenantOptions) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	spec := hub.TenantSpec{Name: t.Name, Limits: accounts.Limits{DiskBytes: t.Disk}}
	if m.opts.Routes != nil {
		spec.Routes = m.opts.Routes(t.Name)
	}
	b, err := m.home().AddTenant(ctx, spec, "weft up")
	for again := false; err != nil; again = true {
		if again && fault.CodeOf(err) == "tenant_exists" {
			return nil // the attempt before was heard; its files are made again
		}
		if fault.KindOf(err) != fault.Unavailable || ctx.Err() != nil {
			return err
		}
		m.say("tenant %s: %v; trying again", t.Name, err)
		b, err = m.home().AddTenant(ctx, spec, "weft up")
	}
	if _, err := WriteBundle(m.opts.Data, b); err != nil {
		return err
	}
	m.say("tenant %s: account, key %s, certificate, streams in %s", t.Name, b.Kid, strings.Join(m.opts.Regions, ", "))
	return nil
}

func (m *Mesh) reissue(ctx context.Context, tenant string) (*hub.Bundle, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	return m.home().Reissue(ctx, tenant, "weft up")
}

func (m *Mesh) writeFile(tenants []meshfile.Tenant) error {
	f := &meshfile.Mesh{CA: filepath.Join("pki", "ca.pem"), Tenants: tenants}
	for i, r := range m.regions {
		var admins []string
		for s := range r.hubs {
			admins = append(admins, "https://"+m.opts.addr(i, portAdmin+s))
		}
		f.Regions = append(f.Regions, meshfile.Region{
			Admins: admins, Name: r.name, Origin: r.hubs[0].Origin().String(), Relay: "https://" + m.opts.addr(i, portRelay),
			NATS: "tls://" + m.opts.addr(i, portNats), Admin: "https://" + m.opts.addr(i, portAdmin), Metrics: "http://" + m.opts.addr(i, portMetrics),
		})
	}
	return meshfile.Write(m.opts.Data, f)
}

// Stop takes the mesh down: relays drain first, then the hubs stop, all regions side by side.
func (m *Mesh) Stop(ctx context.Context) error {
	m.end.Do(func() { close(m.ended) })
	m.follow.Wait()
	err := meshfile.Remove(m.opts.Data)
	err = errors.Join(err, m.each(func(r *region) error {
		if r.relay == nil {
			return nil
		}
		return r.relay.Stop(ctx)
	}))
	err = errors.Join(err, m.each(func(r *region) error {
		var errs []error
		for _, h := range r.hubs {
			errs = append(errs, h.Stop(ctx))
		}
		return errors.Join(append(errs, r.telemetry.Stop(ctx))...)
	}))
	m.unlock()
	return err
}

func (m *Mesh) each(do func(*region) error) error {
	errs := make([]error, len(m.regions))
	var wg sync.WaitGroup
	for i, r := range m.regions {
		wg.Go(func() { errs[i] = do(r) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
