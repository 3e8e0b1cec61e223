package hub

import (
	"context"
	"net/http"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
)

// StreamPlan is the difference between wanted and present streams of one account in this region.
type StreamPlan struct {
	Account string           `json:"account"`
	Changes []streams.Change `json:"changes"`
}

func (a *adminServer) planStreams(r *http.Request, _ string) (any, error) {
	return a.hub.eachAccount(r, streams.MakePlan)
}

func (a *adminServer) applyStreams(r *http.Request, _ string) (any, error) {
	return a.hub.eachAccount(r, streams.Apply)
}

// eachAccount runs plan or apply over CONTROL and every tenant, or over the one that the request names.
func (h *Hub) eachAccount(r *http.Request, do func(context.Context, jetstream.JetStream, []jetstream.StreamConfig) (*streams.Plan, error)) ([]StreamPlan, error) {
	if err := h.requireOpen("stream.plan"); err != nil {
		return nil, err
	}
	only := r.URL.Query().Get("tenant")
	out := []StreamPlan{}
	run := func(name string, s *session, want ...jetstream.StreamConfig) error {
		h.edit.Lock()
		p, err := do(r.Context(), s.js, want)
		h.edit.Unlock()
		if err != nil {
			return err
		}
		out = append(out, StreamPlan{Account: name, Changes: p.Changes})
		return nil
	}
	if only == "" {
		guard, err := h.guardConfig()
		if err != nil {
			return nil, err
		}
		control := streams.ControlConfig(streams.ControlSpec{Self: h.Origin(), Peers: h.peerOrigins(), Replicas: h.opts.replicas()})
		if err := run("CONTROL", h.control, control, guard); err != nil {
			return nil, err
		}
	}
	found := only == ""
	for _, t := range h.State().ActiveTenants() {
		ten := h.tenancyOf(t.Name)
		if ten == nil || ten.openSession() == nil || (only != "" && only != t.Name) {
			continue
		}
		found = true
		if err := run(t.Name, ten.openSession(), h.eventsConfig(t), h.rejectsConfig(t), h.deadLettersConfig(t)); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, fault.New("stream.plan", fault.NotFound, "no_such_tenant", "there is no tenant %q in this region", only)
	}
	return out, nil
}
