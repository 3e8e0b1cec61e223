package hub

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams"
)

// makeLogs makes the tenant's streams of refusals and of dead letters, where they are not there yet.
func (h *Hub) makeLogs(ctx context.Context, t *tenancy) error {
	if t.logs || !h.leads() {
		return nil
	}
	h.edit.Lock()
	defer h.edit.Unlock()
	if _, err := streams.Apply(ctx, t.openSession().js, []jetstream.StreamConfig{h.rejectsConfig(t.tenant), h.deadLettersConfig(t.tenant)}); err != nil {
		return err
	}
	t.logs = true
	return nil
}

// Of a small account's disk its log of refusals takes a twentieth at most, and its dead letters a tenth. EVENTS leaves
// them a fifth.
const (
	rejectsShare     = 20
	deadLettersShare = 10
)

func (h *Hub) rejectsConfig(t *accounts.Tenant) jetstream.StreamConfig {
	return streams.RejectsConfig(streams.RejectsSpec{
		Region: h.Origin().Region, Replicas: h.opts.replicas(), MaxBytes: h.share(t, streams.RejectsBytes, rejectsShare),
	})
}

func (h *Hub) deadLettersConfig(t *accounts.Tenant) jetstream.StreamConfig {
	return streams.DeadLettersConfig(streams.DeadLettersSpec{
		Region: h.Origin().Region, Replicas: h.opts.replicas(), MaxBytes: h.share(t, streams.DeadLettersBytes, deadLettersShare),
	})
}

// share is the size of a stream that takes at most one part in so many of the account's disk.
func (h *Hub) share(t *accounts.Tenant, size, parts int64) int64 {
	if disk := t.Limits.DiskBytes; disk > 0 {
		return min(size, max(disk/int64(h.opts.replicas())/parts, 1<<20))
	}
	return size
}
