package hub

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// TenantSpec asks for a tenant. Zero limits stand for the mesh's defaults.
type TenantSpec struct {
	Name    string           `json:"name"`
	Limits  accounts.Limits  `json:"limits,omitzero"`
	Regions []string         `json:"regions,omitempty"` // residency; empty: all
	Routes  *accounts.Routes `json:"routes,omitempty"`  // nil: one default topic
}

// Bundle is everything that a new tenant needs to send and receive. It is shown once: the mesh keeps the
// secret sealed and the private keys not at all.
type Bundle struct {
	Tenant        string `json:"tenant"`
	Kid           string `json:"kid"`
	Secret        string `json:"secret"`         // base64 of the HMAC key
	ClientCert    string `json:"client_cert"`    // PEM
	ClientKey     string `json:"client_key"`     // PEM
	ConsumerCreds string `json:"consumer_creds"` // a NATS credentials file: the owner's
	// Waiting names the regions that had not made the tenant ready in time, with what they said.
	Waiting map[string]string `json:"waiting,omitempty"`
}

const (
	// readyWait bounds how long AddTenant waits for the other regions.
	readyWait = 15 * time.Second
)

// requireHome refuses what only the control home region may do.
func (h *Hub) requireHome(op string) error {
	if h.opts.Identity.Home == nil {
		return fault.New(op, fault.Conflict, "not_control_home", "tenants are added and removed in the control home region %s, this is %s",
			h.opts.Identity.Mesh.Home, h.Origin().Region)
	}
	return h.requireOpen(op)
}

// AddTenant makes a tenant in all its regions: account, key, credentials, certificate, streams. It returns
// when every region is ready or readyWait has passed; a region that was not reached follows by itself.
func (h *Hub) AddTenant(ctx context.Context, spec TenantSpec, by string) (*Bundle, error) {
	const op = "tenant.add"
	if err := h.requireHome(op); err != nil {
		return nil, err
	}
	if err := h.checkSpec(&spec); err != nil {
		return nil, err
	}
	tenant, signing, err := h.newAccount(ctx, spec)
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	key, secret, err := h.newKey(ctx, KeySpec{Tenant: spec.Name, Kid: spec.Name + "-1", Active: true})
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	bundle, err := h.bundle(ctx, key, secret, owner{tenant.Account, signing.Bytes()}, by)
	if err != nil {
		return nil, err
	}
	// This server knows the account before any region hears of the tenant and dials its link.
	if err := h.broker.StoreAccount(tenant.Account, tenant.JWT); err != nil {
		return nil, err
	}
	// The tenant comes last: whoever sees it finds its key and routes there.
	if spec.Routes != nil {
		if err := h.state.Put(ctx, control.KindRoutes, spec.Name, spec.Routes, by); err != nil {
			return nil, err
		}
	}
	if err := h.state.Put(ctx, control.KindKey, key.Kid, key, by); err != nil {
		return nil, err
	}
	if err := h.state.Put(ctx, control.KindTenant, spec.Name, tenant, by); err != nil {
		return nil, err
	}
	bundle.Waiting = h.waitReady(ctx, tenant)
	return bundle, nil
}

func (h *Hub) checkSpec(spec *TenantSpec) error {
	const op = "tenant.add"
	if !accounts.ValidName(spec.Name) {
		return fault.New(op, fault.Invalid, "invalid_name", "%q is no tenant name: a lower-case letter, then up to 31 of a-z, 0-9 and -", spec.Name)
	}
	state := h.state.State()
	if t, ok := state.Tenants[spec.Name]; ok {
		if t.State == accounts.Removed {
			return fault.New(op, fault.Conflict, "name_used", "tenant %s was removed; a name is never used again, because records of it remain", spec.Name)
		}
		return fault.New(op, fault.Conflict, "tenant_exists", "tenant %s exists since %s", spec.Name, t.CreatedAt.UTC().Format(time.RFC3339))
	}
	for _, r := range spec.Regions {
		if _, ok := state.Regions[r]; !ok {
			return fault.New(op, fault.Invalid, "unknown_region", "residency names region %q, which this mesh does not have", r)
		}
	}
	if spec.Routes != nil {
		spec.Routes.Tenant = spec.Name
		if err := spec.Routes.ValidateIn(h.regionCount(spec.Regions)); err != nil {
			return err
		}
	}
	spec.Limits = h.withDefaults(spec.Limits)
	return h.checkCapacity(spec)
}

// withDefaults fills what was left open from the mesh's own defaults.
func (h *Hub) withDefaults(l accounts.Limits) accounts.Limits {
	if l.DiskBytes == 0 {
		l.DiskBytes = h.opts.TenantLimits.DiskBytes
	}
	if l.MaxPayload == 0 {
		l.MaxPayload = h.opts.TenantLimits.MaxPayload
	}
	return l.OrDefault()
}

// checkCapacity says before what the server would only log: an account that does not fit into the store
// would get "no responders" to every request.
func (h *Hub) checkCapacity(spec *TenantSpec) error {
	in := streams.CapacityInput{
		Store: h.broker.MaxStore(), Servers: h.opts.servers(), Replicas: h.opts.replicas(),
		Accounts: []streams.AccountCapacity{{Name: spec.Name, DiskBytes: spec.Limits.DiskBytes, Streams: tenantStreams}},
	}
	for _, t := range h.state.State().ActiveTenants() {
		in.Accounts = append(in.Accounts, streams.AccountCapacity{Name: t.Name, DiskBytes: t.Limits.DiskBytes, Streams: tenantStreams})
	}
	if problems := streams.CheckCapacity(in); len(problems) > 0 {
		return fault.New("tenant.add", fault.Limited, "capacity", "%s", problems[0].String())
	}
	return nil
}

// tenantStreams is how many streams a tenant has in each region: EVENTS, REJECTS and DLQ.
const tenantStreams = 3

// newAccount makes the tenant's record and the seed that signs its account's users.
func (h *Hub) newAccount(ctx context.Context, spec TenantSpec) (*accounts.Tenant, keyring.Secret, error) {
	acc, err := issuer.NewAccount(h.opts.Identity.Home.Operator, issuer.AccountSpec{Name: spec.Name, Limits: spec.Limits})
	if err != nil {
		return nil, nil, err
	}
	sealed, err := h.opts.Identity.Seeds.Seal(ctx, acc.SigningSeed.Bytes())
	if err != nil {
		return nil, nil, err
	}
	return &accounts.Tenant{
		Name: spec.Name, State: accounts.Active, Account: acc.Public, JWT: acc.JWT, SigningSeed: sealed,
		Limits: spec.Limits, Regions: spec.Regions, CreatedAt: h.opts.Now().UTC(),
	}, acc.SigningSeed, nil
}

// waitReady waits until every region of the tenant says that it is ready, and returns those that do not.
func (h *Hub) waitReady(ctx context.Context, t *accounts.Tenant) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for {
		changed := h.state.Changed()
		waiting := h.waiting(t)
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return waiting
		case <-changed:
		}
	}
}

func (h *Hub) waiting(t *accounts.Tenant) map[string]string {
	out := map[string]string{}
	state := h.state.State()
	for _, r := range h.opts.Identity.Mesh.Regions {
		if !t.In(r.Name) {
			continue
		}
		s, ok := state.Status[control.StatusKey(t.Name, r.Name)]
		switch {
		case !ok:
			out[r.Name] = "no word from this region yet"
		case !s.Ready:
			out[r.Name] = s.Problem
		}
	}
	return out
}

// SetRoutes replaces a tenant's topics and rules. Relays of every region use them within seconds; events that
// are stored stay in the topics that they have.
func (h *Hub) SetRoutes(ctx context.Context, name string, routes accounts.Routes, by string) (*accounts.Routes, error) {
	if err := h.requireOpen("tenant.routes"); err != nil {
		return nil, err
	}
	t, ok := h.state.State().Tenant(name)
	if !ok {
		return nil, fault.New("tenant.routes", fault.NotFound, "no_such_tenant", "there is no tenant %q", name)
	}
	routes.Tenant = name
	if err := routes.ValidateIn(h.regionCount(t.Regions)); err != nil {
		return nil, err
	}
	return &routes, h.state.Put(ctx, control.KindRoutes, name, routes, by)
}

// RemoveTenant ends a tenant in all regions: keys refused, connections closed, streams deleted. Removal wins
// over every other write. With dryRun nothing happens; the report says what would.
func (h *Hub) RemoveTenant(ctx context.Context, name string, dryRun bool, by string) (*Removal, error) {
	const op = "tenant.rm"
	if err := h.requireHome(op); err != nil {
		return nil, err
	}
	state := h.state.State()
	t, ok := state.Tenant(name)
	if !ok {
		return nil, fault.New(op, fault.NotFound, "no_such_tenant", "there is no tenant %q", name)
	}
	r := &Removal{Tenant: name, DryRun: dryRun}
	for _, k := range state.TenantKeys(name) {
		r.Keys = append(r.Keys, k.Kid)
	}
	for _, g := range h.opts.Identity.Mesh.Regions {
		if t.In(g.Name) {
			r.Regions = append(r.Regions, g.Name)
		}
	}
	if ten := h.tenancyOf(name); ten != nil && ten.openSession() != nil {
		if s, err := ten.openSession().js.Stream(ctx, subject.EventsStream); err == nil {
			r.Events, r.Bytes = s.CachedInfo().State.Msgs, s.CachedInfo().State.Bytes
		}
	}
	if dryRun {
		return r, nil
	}
	gone := *t
	gone.State, gone.SigningSeed, gone.JWT = accounts.Removed, "", ""
	if err := h.state.Put(ctx, control.KindTenant, name, gone, by); err != nil {
		return nil, err
	}
	for _, k := range state.TenantKeys(name) {
		if err := h.state.Put(ctx, control.KindKey, k.Kid, k.Dead(), by); err != nil {
			return nil, err
		}
	}
	return r, h.waitRemoved(ctx, name, r.Regions)
}

// Removal tells what removing a tenant takes with it.
type Removal struct {
	Tenant  string   `json:"tenant"`
	DryRun  bool     `json:"dry_run"`
	Regions []string `json:"regions"`
	Keys    []string `json:"keys"`
	Events  uint64   `json:"events"` // in this region
	Bytes   uint64   `json:"bytes"`
}

func (h *Hub) waitRemoved(ctx context.Context, name string, regions []string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for {
		changed := h.state.Changed()
		left := slices.DeleteFunc(slices.Clone(regions), func(r string) bool {
			s, ok := h.state.State().Status[control.StatusKey(name, r)]
			return ok && !s.Stored && !s.Ready
		})
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New("tenant.rm", fault.Unavailable, "region_behind", "%s", fmt.Sprintf("tenant %s is removed; %v will follow when reachable", name, left))
		case <-changed:
		}
	}
}
