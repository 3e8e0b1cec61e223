package hub

import (
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// The journal of request ids: the hub makes its stream and keeps its sources; relays write and read it.

// guardConfig is GUARD in this region with every source that it should have. A quarter of the account's disk is
// left to the control log.
func (h *Hub) guardConfig() (jetstream.StreamConfig, error) {
	disk, err := issuer.DiskOf(h.opts.Identity.Control.JWT)
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	return streams.GuardConfig(streams.GuardSpec{
		Self: h.Origin(), Peers: h.peerOrigins(), Replicas: h.opts.replicas(), MaxBytes: disk / int64(h.opts.replicas()) / 4 * 3,
	}), nil
}

// keepGuard has the stream made wherever this server leads and has not done it for the live origin yet. It is called
// by the reconcile loop alone.
func (h *Hub) keepGuard(ctx context.Context) {
	if !h.leads() || h.guardOf == h.Origin() {
		return
	}
	origin := h.Origin()
	if err := h.makeGuard(ctx); err != nil {
		h.log.Warn("the journal of request ids is not ready: relays refuse requests until it is", zap.Error(err))
		time.AfterFunc(time.Second, h.touch)
		return
	}
	h.guardOf = origin
	select {
	case h.settled <- struct{}{}:
	default:
	}
}

// makeGuard makes the stream, or gives it the region's live origin. In a later life of the region it reads what the
// older ones wrote back from the peers, because requests of that time may still be valid. The other sources
// follow in the watch loop.
func (h *Hub) makeGuard(ctx context.Context) error {
	cfg, err := h.guardConfig()
	if err != nil {
		return err
	}
	h.edit.Lock()
	defer h.edit.Unlock()
	have, err := h.present(ctx, h.control, subject.GuardStream)
	if err != nil {
		return err
	}
	cfg.Sources = nil
	if have != nil {
		cfg.Sources = have.Sources
	}
	self := h.Origin()
	if have == nil || !slices.Equal(have.Subjects, cfg.Subjects) {
		for _, p := range h.opts.Peers {
			for e := 1; e < self.Epoch; e++ {
				src := streams.Source(subject.GuardStream, self.Region, p.Name, subject.GuardOf(subject.Origin{Region: self.Region, Epoch: e}))
				if !slices.ContainsFunc(cfg.Sources, func(s *jetstream.StreamSource) bool { return streams.SameSource(s, src) }) {
					cfg.Sources = append(cfg.Sources, src)
				}
			}
		}
	}
	_, err = streams.Apply(ctx, h.control.js, []jetstream.StreamConfig{cfg})
	return fault.Wrap("hub.guard", fault.Unavailable, err)
}

// watchGuard keeps the sources of the stream.
func (h *Hub) watchGuard(ctx context.Context, w *watched, leaves map[string][]string) {
	want := streams.GuardConfig(streams.GuardSpec{Self: h.Origin(), Peers: h.peerOrigins()}).Sources
	h.watch(ctx, target{name: "GUARD", account: h.opts.Identity.Control.Public, stream: subject.GuardStream, session: h.control, want: want}, w, leaves)
}
