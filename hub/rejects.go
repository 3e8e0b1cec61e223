package hub

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams"
)

// makeRejects makes the tenant's log of refusals, where it is not there yet.
func (h *Hub) makeRejects(ctx context.Context, t *tenancy) error {
	if t.rejects || !h.leads() {
		return nil
	}
	h.edit.Lock()
	defer h.edit.Unlock()
	if _, err := streams.Apply(ctx, t.openSession().js, []jetstream.StreamConfig{h.rejectsConfig(t.tenant)}); err != nil {
		return err
	}
	t.rejects = true
	return nil
}

// rejectsShare of a small account's disk is the most that its log of refusals takes: a twentieth. EVENTS leaves it
// a fifth.
const rejectsShare = 20

func (h *Hub) rejectsConfig(t *accounts.Tenant) jetstream.StreamConfig {
	replicas := h.opts.replicas()
	size := int64(streams.RejectsBytes)
	if disk := t.Limits.DiskBytes; disk > 0 {
		size = min(size, max(disk/int64(replicas)/rejectsShare, 1<<20))
	}
	return streams.RejectsConfig(streams.RejectsSpec{Region: h.Origin().Region, Replicas: replicas, MaxBytes: size})
}
