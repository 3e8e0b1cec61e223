package hub

import (
	"context"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/flag"
	"github.com/weft-mesh/weft/streams/fault"
)

// FlagSpec asks for a flag to be set.
type FlagSpec struct {
	Percent int    `json:"percent"`
	Why     string `json:"why,omitempty"`
}

// SetFlag sets a tenant's flag, in any region; of two writes the later one holds.
func (h *Hub) SetFlag(ctx context.Context, tenant, name string, spec FlagSpec, by string) (*flag.Flag, error) {
	const op = "flag.set"
	if err := h.requireOpen(op); err != nil {
		return nil, err
	}
	state := h.State()
	if _, ok := state.Tenant(tenant); !ok {
		return nil, noSuchTenant(op, tenant)
	}
	f := &flag.Flag{Tenant: tenant, Name: name, Percent: spec.Percent, By: by, At: h.opts.Now().UTC().Truncate(time.Second), Why: spec.Why}
	if err := f.Validate(); err != nil {
		return nil, err
	}
	if n := len(state.TenantFlags(tenant)); n >= flag.MaxOfTenant && state.Flag(tenant, name) == nil {
		return nil, fault.New(op, fault.Limited, "flag_limit", "the tenant has %d flags, and no more are possible: use one that is off for good", n)
	}
	return f, h.state.Put(ctx, control.KindFlag, flag.ID(tenant, name), f, by)
}

// Flags lists a tenant's flags by name.
func (h *Hub) Flags(tenant string) ([]*flag.Flag, error) {
	if _, ok := h.State().Tenant(tenant); !ok {
		return nil, noSuchTenant("flag.ls", tenant)
	}
	return h.State().TenantFlags(tenant), nil
}

// flagRoutes are the part of the admin API that is about flags. Every region serves them.
func (a *adminServer) flagRoutes(mux *http.ServeMux) {
	mux.Handle("GET /v1/tenants/{name}/flags", a.handle("flag.ls", func(r *http.Request, _ string) (any, error) {
		return a.hub.Flags(r.PathValue("name"))
	}))
	mux.Handle("PUT /v1/tenants/{name}/flags/{flag}", a.handle("flag.set", func(r *http.Request, by string) (any, error) {
		var spec FlagSpec
		if err := decodeBody(r, "flag.set", &spec); err != nil {
			return nil, err
		}
		return a.hub.SetFlag(r.Context(), r.PathValue("name"), r.PathValue("flag"), spec, by)
	}))
}
