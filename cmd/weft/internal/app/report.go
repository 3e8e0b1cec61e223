package app

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/subject"
)

// counted is what a relay has counted of versions of schemas.
type counted interface {
	SchemaTallies() []gate.Tally
	Began() time.Time
}

// reporter tells the hubs of the region what the relay knows, and what it has counted of versions on trial: at every
// change of the control state, so that who rotates a key waits no longer than he must, and every few seconds.
type reporter struct {
	conn   *nats.Conn
	state  *control.Log
	sealer keyring.Sealer
	region string
	id     string
	counts counted
	log    *zap.Logger
	cancel context.CancelFunc // of start
	done   sync.WaitGroup
}

// start sends reports until stop.
func (r *reporter) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done.Go(func() { r.run(ctx) })
}

func (r *reporter) stop() {
	r.cancel()
	r.done.Wait()
}

func (r *reporter) run(ctx context.Context) {
	tick := time.NewTicker(accounts.ReportEvery)
	defer tick.Stop()
	for {
		changed := r.state.Changed()
		if err := r.report(ctx); err != nil && ctx.Err() == nil {
			r.log.Debug("the hub was not told what this relay knows", zap.Error(err)) // it is told again
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

func (r *reporter) report(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, accounts.ReportEvery)
	defer cancel()
	rep := accounts.RelayReport{ID: r.id, Recorded: r.state.Recorded()}
	var err error
	if rep.Masters, err = r.sealer.Masters(ctx); err != nil {
		r.log.Warn("the master keys cannot be listed", zap.Error(err)) // the rest is told all the same
	}
	rep.Began = r.counts.Began().UnixNano()
	for _, one := range split(rep, r.versions()) {
		raw, err := json.Marshal(one)
		if err != nil {
			return err
		}
		if err := r.conn.Publish(subject.Relays(r.region), raw); err != nil {
			return err
		}
	}
	return nil
}

// split is one report for so many versions as it may speak of, and one at least.
func split(rep accounts.RelayReport, versions []accounts.VersionReport) []accounts.RelayReport {
	out := []accounts.RelayReport{rep}
	for i, part := range slices.Collect(slices.Chunk(versions, accounts.MaxReported)) {
		if i > 0 {
			out = append(out, rep)
		}
		out[i].Versions = part
	}
	return out
}

// versions is what the relay has counted of those on trial.
func (r *reporter) versions() []accounts.VersionReport {
	on := map[string]*accounts.Schema{}
	for _, s := range r.state.State().OnTrial() {
		on[s.ID()] = s
	}
	var out []accounts.VersionReport
	for _, t := range r.counts.SchemaTallies() {
		s := on[accounts.SchemaID(t.Tenant, t.Subject, t.Version)]
		if s == nil {
			continue
		}
		v := accounts.VersionReport{Tenant: t.Tenant, Subject: t.Subject, Version: t.Version, Hash: t.Hash, Counts: accounts.Counts{
			Shadow: accounts.Count{Checked: t.Shadow.Checked, Failed: t.Shadow.Failed},
			Active: accounts.Count{Checked: t.Judged.Checked, Failed: t.Judged.Regressed},
		}}
		first := t.Shadow.First
		if s.Status == schema.Active {
			first = t.Judged.First
		}
		for _, f := range first {
			v.Faults = append(v.Faults, accounts.TrialFault{Rule: f.Rule, Place: f.Schema})
		}
		out = append(out, v)
	}
	return out
}
