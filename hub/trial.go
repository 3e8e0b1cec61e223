package hub

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/canary"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/registry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
)

const (
	// refreshLooks is after how many looks a region writes its record of a trial anew although nothing has changed, so
	// that the region that judges knows that it has heard all.
	refreshLooks = 12
	// silentLooks is the age of the last word of a region, in looks, from which on no version is promoted without it.
	silentLooks = 3 * refreshLooks
	// maxTrialWrites bounds what one look writes to the control log; the rest is written by the next ones.
	maxTrialWrites = 64
	// retryTrial is how long what could not be done is left alone: judging compatibility costs.
	retryTrial = time.Minute
)

// trials is what a server knows of versions on trial besides the control state.
type trials struct {
	mu    sync.Mutex
	heard map[string]*accounts.Trial // what relays of the own region told in this life of the server, by accounts.SchemaID

	// of the loop over trials alone, by accounts.SchemaID
	word  map[string]map[string]lastWord // of other regions
	retry map[string]time.Time           // when what failed is tried again
	began time.Time                      // when the loop began: relays are heard of since
}

// lastWord is when a region's record last changed, by the own clock; the zero time for a record that was found.
type lastWord struct{ at, heard time.Time }

func newTrials() *trials {
	return &trials{heard: map[string]*accounts.Trial{}, word: map[string]map[string]lastWord{}, retry: map[string]time.Time{}}
}

// note takes in what a relay tells of versions on trial. What it checked by must be what is registered.
func (t *trials) note(rep *accounts.RelayReport, state *control.State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range rep.Versions[:min(len(rep.Versions), accounts.MaxReported)] {
		v := &rep.Versions[i]
		id := accounts.SchemaID(v.Tenant, v.Subject, v.Version)
		if s := state.Schemas[id]; s == nil || s.Hash != v.Hash || s.Trial == nil {
			continue
		}
		have := t.heard[id]
		if have == nil {
			have = new(accounts.Trial)
		}
		for i := range v.Faults {
			v.Faults[i] = v.Faults[i].Bounded()
		}
		told := accounts.RelayCounts{Began: rep.Began, Now: v.Counts}
		t.heard[id] = have.Join(&accounts.Trial{Relays: map[string]accounts.RelayCounts{rep.ID: told}, Faults: v.Faults})
	}
}

// of is what was heard of a version; nothing before the first word.
func (t *trials) of(id string) *accounts.Trial {
	t.mu.Lock()
	defer t.mu.Unlock()
	if have := t.heard[id]; have != nil {
		return have
	}
	return new(accounts.Trial)
}

// retain forgets what is on trial no more.
func (t *trials) retain(on []*accounts.Schema) {
	ids := map[string]bool{}
	for _, s := range on {
		ids[s.ID()] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.heard, func(id string, _ *accounts.Trial) bool { return !ids[id] })
	maps.DeleteFunc(t.retry, func(id string, _ time.Time) bool { return !ids[id] })
	maps.DeleteFunc(t.word, func(id string, _ map[string]lastWord) bool { return !ids[id] })
}

// forget drops what was heard of relays that ended, once it is in the record of all of them.
func (t *trials) forget(id string, relays []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if have := t.heard[id]; have != nil && len(relays) > 0 {
		next := have.Join(&accounts.Trial{})
		for _, relay := range relays {
			delete(next.Relays, relay)
		}
		t.heard[id] = next
	}
}

// trialLoop looks at versions on trial: each server hears of them, the one that leads the region records what it heard,
// and the one that leads the control home judges.
func (h *Hub) trialLoop(ctx context.Context) {
	h.trials.began = time.Now()
	tick := time.NewTicker(h.opts.TrialEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		state := h.State()
		on := state.OnTrial()
		h.trials.retain(on)
		if h.leads() {
			h.lookAtTrials(ctx, state, on)
			h.trialMetrics.set(h.State())
		}
	}
}

// judges says whether this region decides: one alone does, so that no two can disagree.
func (h *Hub) judges() bool { return h.opts.Identity.Home != nil }

func (h *Hub) lookAtTrials(ctx context.Context, state *control.State, on []*accounts.Schema) {
	own := func(s *accounts.Schema) *accounts.Trial {
		if t := state.Trials[accounts.TrialID(s.Tenant, s.Subject, s.Version, h.opts.Identity.Region)]; t != nil {
			return t
		}
		return &accounts.Trial{Tenant: s.Tenant, Subject: s.Subject, Version: s.Version, Region: h.opts.Identity.Region}
	}
	slices.SortStableFunc(on, func(a, b *accounts.Schema) int { return own(a).At.Compare(own(b).At) }) // whose turn it is
	writes := 0
	for _, s := range on {
		if tenant, ok := state.Tenant(s.Tenant); !ok || !tenant.In(h.opts.Identity.Region) && !h.judges() {
			continue
		}
		have := own(s)
		next := have.Join(h.trials.of(s.ID()))
		h.trials.forget(s.ID(), next.Fold(h.relayEnded))
		if h.judges() {
			h.judgeTrial(ctx, state, s, next)
		}
		if writes < maxTrialWrites && h.worthTelling(have, next) {
			writes++
			h.recordTrial(ctx, next)
		}
	}
}

// relayEnded says whether a relay of the region has ended. What a server that has just started has not heard says nothing.
func (h *Hub) relayEnded(relay string) bool {
	now := time.Now()
	return now.Sub(h.trials.began) > 2*relayGone && !h.relays.lives(relay, now)
}

// worthTelling says whether a record differs from the one that the control log has, or that one is old.
func (h *Hub) worthTelling(have, next *accounts.Trial) bool {
	if h.opts.Now().Sub(have.At) >= refreshLooks*h.opts.TrialEvery {
		return true
	}
	a, b := have.Verdict, next.Verdict
	return !maps.Equal(have.Relays, next.Relays) || len(have.Faults) != len(next.Faults) || (a == nil) != (b == nil) || a != nil && *a != *b
}

func (h *Hub) recordTrial(ctx context.Context, t *accounts.Trial) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	t.At = h.opts.Now().UTC().Truncate(time.Millisecond)
	if err := h.state.Put(ctx, control.KindTrial, t.ID(), t, h.name()); err != nil && ctx.Err() == nil {
		h.log.Warn("what was counted of a version is not recorded; it is tried again", zap.String("schema", t.ID()), zap.Error(err))
	}
}

// judgeTrial puts the verdict on a version into the own region's record, and does what it asks for.
func (h *Hub) judgeTrial(ctx context.Context, state *control.State, s *accounts.Schema, own *accounts.Trial) {
	now := h.opts.Now().UTC().Truncate(time.Millisecond) // as the record has it
	look := canary.Look{Schema: s, Sum: state.Counted(s), Silent: h.silent(state, s, now), Now: now}
	judge, err := registry.Rollback(state.TenantSchemas(s.Tenant, s.Subject), s)
	look.Back = err == nil && judge != nil
	last := state.Verdict(s)
	v, action := canary.Judge(last, look)
	own.Verdict = &v
	if last == nil || last.State != v.State {
		h.log.Info("a version on trial", zap.String("schema", s.ID()), zap.String("state", string(v.State)), zap.String("why", canary.Why(v, s.Trial)))
	}
	if action == canary.None {
		return
	}
	if at, failed := h.trials.retry[s.ID()]; failed && now.Before(at) {
		v.Waits = last.Waits
		return
	}
	if err := h.act(ctx, s, action, canary.Why(v, s.Trial)); err != nil {
		h.trials.retry[s.ID()] = now.Add(retryTrial)
		v.Waits = "it could not be done: " + shortWhy(err.Error())
		h.log.Warn("a verdict on a version was not carried out", zap.String("schema", s.ID()), zap.Error(err))
	}
}

// act carries a verdict out.
func (h *Hub) act(ctx context.Context, s *accounts.Schema, action canary.Action, why string) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	h.schemas.Lock()
	defer h.schemas.Unlock()
	now := h.State().Schemas[s.ID()]
	if now == nil || now.Run != s.Run || now.Status != s.Status {
		return nil // somebody was faster
	}
	step := accounts.SchemaStep{By: h.name(), At: h.opts.Now().UTC().Truncate(time.Second), Why: why}
	if action == canary.RollBack {
		_, err := h.rollBack(ctx, now, step, false)
		return err
	}
	step.Status = schema.Active
	r, err := h.step(ctx, now, step, now.Trial, false)
	if err == nil {
		h.log.Info("promoted", zap.String("schema", r.Subject), zap.Stringer("version", r.Version), zap.String("why", why))
		h.trialMetrics.promotions.WithLabelValues(s.Tenant).Inc()
	}
	return err
}

// silent lists the regions of a version's tenant, besides the own one, of which nothing was heard for a while.
func (h *Hub) silent(state *control.State, s *accounts.Schema, now time.Time) []string {
	var out []string
	tenant, _ := state.Tenant(s.Tenant)
	for _, r := range h.opts.Identity.Mesh.Regions {
		if r.Name == h.opts.Identity.Region || !tenant.In(r.Name) {
			continue
		}
		word := h.trials.hear(s.ID(), r.Name, state.Trials[accounts.TrialID(s.Tenant, s.Subject, s.Version, r.Name)], now)
		if now.Sub(word.heard) > silentLooks*h.opts.TrialEvery {
			out = append(out, r.Name)
		}
	}
	return out
}

// hear notes whether a region's record has changed since it was last looked at.
func (t *trials) hear(id, region string, rec *accounts.Trial, now time.Time) lastWord {
	if rec == nil {
		return lastWord{}
	}
	if t.word[id] == nil {
		t.word[id] = map[string]lastWord{}
	}
	have, known := t.word[id][region]
	switch {
	case !known:
		have = lastWord{at: rec.At} // it may be an old one: the next will tell
	case !have.at.Equal(rec.At):
		have = lastWord{at: rec.At, heard: now}
	}
	t.word[id][region] = have
	return have
}

// name is who this server is in the control log.
func (h *Hub) name() string { return "hub " + h.serverName() }

// shortWhy fits a text into a record.
func shortWhy(text string) string {
	for len(text) > accounts.MaxSchemaWhy {
		runes := []rune(text)
		text = string(runes[:len(runes)*3/4]) + "…"
	}
	return text
}

// SchemaRollbackSpec asks for an active version to be taken back.
type SchemaRollbackSpec struct {
	Why string `json:"why"`
}

// RollbackSchema takes an active version back, in any region: it is a canary again, and what names it is judged by another
// version, as registry.Rollback says. With dryRun nothing happens.
func (h *Hub) RollbackSchema(ctx context.Context, tenant, subject, version string, spec SchemaRollbackSpec, dryRun bool, by string) (*SchemaStepReport, error) {
	const op = "schema.rollback"
	if err := h.mayWriteSchema(op, tenant, spec.Why); err != nil {
		return nil, err
	}
	if spec.Why == "" && !dryRun {
		return nil, fault.New(op, fault.Invalid, "schema_why", "say why: whoever finds the version rolled back has to know")
	}
	h.schemas.Lock()
	defer h.schemas.Unlock()
	s, err := h.findSchema(op, tenant, subject, version)
	if err != nil {
		return nil, err
	}
	return h.rollBack(ctx, s, accounts.SchemaStep{By: by, At: h.opts.Now().UTC().Truncate(time.Second), Why: spec.Why}, dryRun)
}

// rollBack is called with schemas held. What judges afterwards is made active first: what fails between the two is done
// by doing all again.
func (h *Hub) rollBack(ctx context.Context, s *accounts.Schema, step accounts.SchemaStep, dryRun bool) (*SchemaStepReport, error) {
	all := h.State().TenantSchemas(s.Tenant, s.Subject)
	judge, err := registry.Rollback(all, s)
	if err != nil {
		return nil, err
	}
	policy := cmp.Or(s.Trial, h.trialOf(s.Tenant))
	next := s.RollBack(step, *policy, h.State().Counted(s))
	r := h.stepReport(all, s, next, dryRun)
	if judge != nil {
		r.Judge = &judge.Version
	}
	if dryRun {
		return r, nil
	}
	if judge != nil && judge.Status == schema.Deprecated {
		again := step
		again.Status, again.Why = schema.Active, shortWhy(s.Version.String()+" was rolled back: "+step.Why)
		if err := h.state.Put(ctx, control.KindSchema, judge.ID(), judge.Step(again), step.By); err != nil {
			return nil, err
		}
	}
	if err := h.state.Put(ctx, control.KindSchema, next.ID(), next, step.By); err != nil {
		return nil, err
	}
	h.log.Warn("rolled back", zap.String("schema", s.ID()), zap.String("by", step.By), zap.String("why", step.Why))
	h.trialMetrics.rollbacks.WithLabelValues(s.Tenant).Inc()
	return r, nil
}

// trialOf is the tenant's policy for versions of which nobody says another.
func (h *Hub) trialOf(tenant string) *accounts.TrialPolicy {
	p := accounts.DefaultTrial().With(h.State().RulesOf(tenant).Canary)
	return &p
}
