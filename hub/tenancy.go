package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// tenancy is what this server runs for one tenant. It is made and changed by the reconcile loop; the watch
// loop reads it under Hub.mu.
type tenancy struct {
	tenant  *accounts.Tenant
	signing []byte // the account's signing seed, opened
	links   *linkSet
	live    atomic.Pointer[session]
	stream  bool          // EVENTS exists here
	logs    bool          // REJECTS and DLQ exist here; of the reconcile loop alone
	maxAge  time.Duration // of EVENTS as it was applied last; routes may change it
	problem string        // why the tenant is not ready here, or ""
	watch   watched
}

func (t *tenancy) close() {
	if s := t.openSession(); s != nil {
		s.conn.Close()
	}
}

// coalesce is how long the reconcile loop waits for more changes: a reload re-authorises every client, so
// a hundred tenants added together cost one of them.
const coalesce = 100 * time.Millisecond

func (h *Hub) reconcileLoop(ctx context.Context) {
	for {
		changed := h.state.Changed()
		h.reconcile(ctx)
		wait := time.NewTimer(coalesce)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-h.dirty:
		}
	}
}

// touch asks for a reconcile round.
func (h *Hub) touch() {
	select {
	case h.dirty <- struct{}{}:
	default:
	}
}

// reconcile makes this server hold what the control state says: accounts, links, streams, services. Each
// step is idempotent; a step that fails is told in the tenant's status and tried again.
func (h *Hub) reconcile(ctx context.Context) {
	state := h.state.State()
	if err := h.mint(h.uplinks); err != nil {
		h.log.Error("links of the control state not renewed", zap.Error(err))
	}
	h.keepGuard(ctx)
	for _, t := range state.Tenants {
		if t.State == accounts.Removed {
			h.retire(ctx, t)
		}
	}
	active := state.ActiveTenants()
	for _, t := range active {
		if err := h.admit(ctx, t); err != nil {
			h.log.Error("tenant not admitted", zap.String("tenant", t.Name), zap.Error(err))
		}
	}
	if err := h.setLinks(); err != nil {
		h.log.Error("links not set", zap.Error(err))
		time.AfterFunc(time.Second, h.touch)
	}
	for _, t := range active {
		if ten := h.tenancyOf(t.Name); ten != nil {
			h.settle(ctx, ten)
		}
	}
}

func (h *Hub) tenancyOf(name string) *tenancy {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tenants[name]
}

// admit gives the broker the tenant's account and prepares links and session. The account of a tenant
// that was here before the restart is in the broker's resolver already; storing it again changes nothing.
func (h *Hub) admit(ctx context.Context, t *accounts.Tenant) error {
	ten := h.tenancyOf(t.Name)
	if ten != nil {
		if err := h.mint(ten.links); err != nil {
			return err
		}
	}
	if ten != nil && ten.tenant.JWT == t.JWT {
		return nil
	}
	if err := h.broker.StoreAccount(t.Account, t.JWT); err != nil {
		return err
	}
	if ten != nil {
		h.mu.Lock()
		ten.tenant = t
		h.mu.Unlock()
		return nil
	}
	seed, err := h.opts.Identity.Seeds.Open(ctx, t.SigningSeed)
	if err != nil {
		return fault.Wrap("hub.admit "+t.Name, fault.Internal, err)
	}
	ten = &tenancy{tenant: t, signing: seed.Bytes()}
	ten.links = newLinkSet(linkSpec{name: t.Name, account: t.Account, signing: ten.signing, families: []grant.Family{grant.EventsFamily()}})
	if err := h.mint(ten.links); err != nil {
		return err
	}
	h.mu.Lock()
	h.tenants[t.Name] = ten
	h.mu.Unlock()
	return nil
}

// setLinks hands the broker the links of every account at once: of CONTROL alone while the region is closed,
// because over a tenant's link another region's relays store events here.
func (h *Hub) setLinks() error {
	h.mu.Lock()
	all := slices.Clone(h.uplinks.links)
	if h.linked.Load() {
		for _, t := range h.tenants {
			all = append(all, t.links.links...)
		}
	}
	h.mu.Unlock()
	return h.broker.SetLinks(all)
}

// settle opens the tenant's session and makes its stream, and records how that went.
func (h *Hub) settle(ctx context.Context, t *tenancy) {
	err := h.makeStream(ctx, t)
	if err == nil {
		err = h.makeLogs(ctx, t)
	}
	if ctx.Err() != nil {
		return // the hub stops: that says nothing about the tenant
	}
	problem := ""
	if err != nil {
		problem = err.Error()
		h.log.Warn("tenant not ready", zap.String("tenant", t.tenant.Name), zap.Error(err))
		time.AfterFunc(time.Second, h.touch)
	}
	h.mu.Lock()
	t.problem = problem
	h.mu.Unlock()
	h.report(ctx, t)
}

// openSession is the hub's connection into the tenant's account; nil before there is one.
func (t *tenancy) openSession() *session { return t.live.Load() }

// openTenant opens the session of a tenant and the services in its account.
func (h *Hub) openTenant(t *tenancy) error {
	if t.openSession() != nil {
		return nil
	}
	s, err := h.connect(t.tenant.Name, t.tenant.Account, t.signing, grant.Service(h.Origin()))
	if err != nil {
		return err
	}
	if err := errors.Join(h.serveDigests(s), h.serveRemote(t, s)); err != nil {
		s.conn.Close()
		return err
	}
	t.live.Store(s)
	return nil
}

// makeStream opens the session and makes the stream of a tenant, where they are not there yet.
func (h *Hub) makeStream(ctx context.Context, t *tenancy) error {
	if err := h.openTenant(t); err != nil {
		return err
	}
	cfg := h.eventsConfig(t.tenant)
	if t.stream && t.maxAge == cfg.MaxAge || !h.leads() {
		return nil
	}
	h.edit.Lock()
	defer h.edit.Unlock()
	have, err := h.present(ctx, t.openSession(), subject.EventsStream)
	if err != nil {
		return err
	}
	switch {
	case have != nil:
		cfg.Sources = have.Sources
	case h.broker.HasMessages(t.tenant.Account, subject.EventsStream):
		// The stream's description was lost and its messages were not: with the history of a peer on top of them they
		// would stand there twice. What they lack comes back by the comparison between the regions.
		h.log.Warn("messages of a stream that is unknown are taken over", zap.String("tenant", t.tenant.Name))
	default:
		cfg.Sources = h.history(ctx, t.tenant.Name, h.peersOf(t.tenant))
	}
	if _, err := streams.Apply(ctx, t.openSession().js, []jetstream.StreamConfig{cfg}); err != nil {
		return err
	}
	h.mu.Lock()
	t.stream, t.maxAge = true, cfg.MaxAge
	h.mu.Unlock()
	select {
	case h.settled <- struct{}{}:
	default:
	}
	return nil
}

// eventsConfig is the tenant's EVENTS stream in this region with every source that it should have. A part
// of the account's disk stays free for the tenant's other streams.
func (h *Hub) eventsConfig(t *accounts.Tenant) jetstream.StreamConfig {
	routes := h.state.State().RoutesOf(t.Name)
	age := time.Duration(0)
	for _, topic := range routes.Topics {
		age = max(age, time.Duration(topic.Retention))
	}
	return streams.EventsConfig(streams.EventsSpec{
		Self: h.Origin(), Peers: h.peersOf(t), Replicas: h.opts.replicas(),
		MaxBytes: t.Limits.DiskBytes / int64(h.opts.replicas()) / 5 * 4, MaxAge: age, Duplicates: h.opts.DedupeWindow,
	})
}

// peersOf are the origins that a tenant's stream sources: every peer that its residency allows.
func (h *Hub) peersOf(t *accounts.Tenant) []subject.Origin {
	var out []subject.Origin
	for _, p := range h.opts.Peers {
		if t.In(p.Name) && t.In(h.Origin().Region) {
			out = append(out, h.originOf(p.Name))
		}
	}
	return out
}

// report writes the tenant's status of this region when it changed.
func (h *Hub) report(ctx context.Context, t *tenancy) {
	if !h.leads() {
		return
	}
	h.mu.Lock()
	missing := h.missingSources(t)
	s := accounts.TenantStatus{Tenant: t.tenant.Name, Region: h.Origin().Region, Stored: t.stream, Problem: t.problem}
	h.mu.Unlock()
	if s.Problem == "" && len(missing) > 0 {
		s.Problem = fmt.Sprintf("waiting for the link to %v", missing)
	}
	s.Ready = s.Stored && s.Problem == ""
	h.putStatus(ctx, s)
}

func (h *Hub) putStatus(ctx context.Context, s accounts.TenantStatus) {
	if have, ok := h.state.State().Status[control.StatusKey(s.Tenant, s.Region)]; ok && *have == s {
		return
	}
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if err := h.state.Put(call, control.KindStatus, s.Tenant+"."+s.Region, s, "hub "+h.serverName()); err != nil && ctx.Err() == nil {
		h.log.Warn("tenant status not recorded", zap.String("tenant", s.Tenant), zap.Error(err))
		time.AfterFunc(time.Second, h.touch)
	}
}

// retire takes a removed tenant off this server: services, stream, links, then the account, which closes
// every connection that is left. Other servers of the region wait until the leading one deleted the stream.
func (h *Hub) retire(ctx context.Context, t *accounts.Tenant) {
	status, known := h.state.State().Status[control.StatusKey(t.Name, h.Origin().Region)]
	ten := h.tenancyOf(t.Name)
	if ten == nil {
		// Again in every round: a neighbour that heard of the removal later may have brought the account back.
		if err := h.broker.RemoveAccount(t.Account); err != nil {
			h.log.Error("account of a removed tenant", zap.String("tenant", t.Name), zap.Error(err))
		}
		return
	}
	if s := ten.openSession(); h.leads() && s != nil {
		if err := h.deleteStreams(ctx, s); err != nil {
			h.log.Warn("streams of a removed tenant not deleted yet", zap.String("tenant", t.Name), zap.Error(err))
			time.AfterFunc(time.Second, h.touch)
			return
		}
	} else if !h.leads() && known && status.Stored {
		return
	}
	ten.close()
	h.mu.Lock()
	delete(h.tenants, t.Name)
	h.mu.Unlock()
	if err := h.setLinks(); err != nil {
		h.log.Error("links of a removed tenant", zap.String("tenant", t.Name), zap.Error(err))
	}
	if err := h.broker.RemoveAccount(t.Account); err != nil {
		h.log.Error("account of a removed tenant", zap.String("tenant", t.Name), zap.Error(err))
	}
	if h.leads() {
		h.putStatus(ctx, accounts.TenantStatus{Tenant: t.Name, Region: h.Origin().Region})
	}
}

func (h *Hub) deleteStreams(ctx context.Context, s *session) error {
	call, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	names := s.js.StreamNames(call)
	var errs []error
	for name := range names.Name() {
		if err := s.js.DeleteStream(call, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, names.Err())...)
}
