package hub

import (
	"context"
	"net/http"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/streams/schema/rule"
)

// RulesSpec asks for a tenant's rules.
type RulesSpec struct {
	rule.Set
	Canary *accounts.TrialSpec `json:"canary,omitempty"`
}

// SetRules replaces a tenant's rules, in any region; of two writes the later one holds. With dryRun they are judged alone.
func (h *Hub) SetRules(ctx context.Context, tenant string, spec RulesSpec, dryRun bool, by string) (*accounts.Rules, error) {
	const op = "schema.rules"
	if err := h.requireOpen(op); err != nil {
		return nil, err
	}
	if _, ok := h.State().Tenant(tenant); !ok {
		return nil, noSuchTenant(op, tenant)
	}
	if _, err := rule.Compile(&spec.Set); err != nil {
		return nil, err
	}
	if err := accounts.DefaultTrial().With(spec.Canary).Validate(); err != nil {
		return nil, err
	}
	r := &accounts.Rules{Tenant: tenant, Set: spec.Set, Canary: spec.Canary, By: by, At: h.opts.Now().UTC().Truncate(time.Second)}
	if dryRun {
		return r, nil
	}
	return r, h.state.Put(ctx, control.KindRules, tenant, r, by)
}

// Rules are a tenant's rules; those that ask nothing where none were set.
func (h *Hub) Rules(tenant string) (*accounts.Rules, error) {
	if _, ok := h.State().Tenant(tenant); !ok {
		return nil, noSuchTenant("schema.rules", tenant)
	}
	return h.State().RulesOf(tenant), nil
}

// ruleRoutes are the part of the admin API that is about rules. Every region serves them.
func (a *adminServer) ruleRoutes(mux *http.ServeMux) {
	mux.Handle("GET /v1/tenants/{name}/rules", a.handle("schema.rules", func(r *http.Request, _ string) (any, error) {
		return a.hub.Rules(r.PathValue("name"))
	}))
	mux.Handle("PUT /v1/tenants/{name}/rules", a.handle("schema.rules.set", func(r *http.Request, by string) (any, error) {
		var spec RulesSpec
		if err := decodeBody(r, "schema.rules", &spec); err != nil {
			return nil, err
		}
		return a.hub.SetRules(r.Context(), r.PathValue("name"), spec, dryRun(r), by)
	}))
}
