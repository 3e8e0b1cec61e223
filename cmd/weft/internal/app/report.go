package app

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/subject"
)

// reporter tells the hubs of the region what the relay knows: at every change of the control state, so that who
// rotates a key waits no longer than he must, and every few seconds.
type reporter struct {
	conn   *nats.Conn
	state  *control.Log
	sealer keyring.Sealer
	region string
	id     string
	log    *zap.Logger
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func startReports(conn *nats.Conn, state *control.Log, id *identity.Relay, relayID string, log *zap.Logger) *reporter {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reporter{conn: conn, state: state, sealer: id.Sealer, region: id.Region, id: relayID, log: log, cancel: cancel}
	r.done.Go(func() { r.run(ctx) })
	return r
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
	raw, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	return r.conn.Publish(subject.Relays(r.region), raw)
}
