package hub

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// watched is what the watch loop remembers of one sourcing stream; only that loop writes it, under Hub.mu.
type watched struct {
	present []string             // keys of the sources that the stream has
	kicked  map[string]time.Time // key -> when it was last kicked
	backoff map[string]time.Duration
	seen    uint64 // the stream's last sequence when a marker was last considered

	answered time.Time // when the stream last answered
	told     bool      // that it does not
}

// silentStream is how long a stream may have no leader before an operator is told: elections take seconds.
const silentStream = 20 * time.Second

const (
	minKick = 5 * time.Second // a request of the last kick may still be under way
	maxKick = time.Minute
)

// watchLoop looks at every sourcing stream: it adds sources whose link is up, kicks those that fell silent
// and writes markers. It acts on the age of a source's activity, never on its lag, which is zero for a
// source that never connected.
func (h *Hub) watchLoop(ctx context.Context) {
	var controlWatch, guardWatch watched
	led := false
	every, next := h.opts.WatchEvery, time.Time{} // round over all tenants
	for wait := firstWatch; ; {
		if h.leads() {
			if !led {
				h.touch() // a server that only follows makes no streams and does not know which are there
			}
			began := time.Now()
			all := !led || !began.Before(next)
			led = true
			h.watchStreams(ctx, all, &controlWatch, &guardWatch)
			if all {
				every = max(h.opts.WatchEvery, watchShare*time.Since(began))
				next = time.Now().Add(every)
			}
		} else {
			led = false
		}
		wait = min(2*wait, every)
		pause := wait
		if led {
			pause = min(wait, time.Until(next))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-h.settled:
			timer.Stop()
			wait = firstWatch
		case <-timer.C:
		}
	}
}

// firstWatch is the first of the growing pauses after a change: a new link is up within a few of them.
const firstWatch = 20 * time.Millisecond

// watchShare is how many times as long as a round over all tenants takes the next one comes later: a thousand tenants
// are looked at every few seconds, and most of the time nothing is.
const watchShare = 8

// watchStreams looks at the streams of all tenants, or only at those that miss a source: what came a moment ago does not
// wait for a walk over everything.
func (h *Hub) watchStreams(ctx context.Context, all bool, controlWatch, guardWatch *watched) {
	leaves := h.leaves()
	h.watchControl(ctx, controlWatch, leaves)
	h.watchGuard(ctx, guardWatch, leaves)
	h.mu.Lock()
	some := make([]*tenancy, 0, len(h.tenants))
	for _, t := range h.tenants {
		if t.stream && (all || len(h.missingSources(t)) > 0) {
			some = append(some, t)
		}
	}
	h.mu.Unlock()
	for _, t := range some {
		if ctx.Err() != nil {
			return
		}
		tg := target{name: t.tenant.Name, account: t.tenant.Account, stream: subject.EventsStream, session: t.openSession(), want: h.eventsConfig(t.tenant).Sources}
		if st := h.watch(ctx, tg, &t.watch, leaves); st != nil {
			h.mark(ctx, t, st)
			h.report(ctx, t)
		}
	}
}

func (h *Hub) watchControl(ctx context.Context, w *watched, leaves map[string][]string) {
	want := streams.ControlConfig(streams.ControlSpec{Self: h.Origin(), Peers: h.peerOrigins(), Replicas: h.opts.replicas()}).Sources
	h.watch(ctx, target{name: "CONTROL", account: h.opts.Identity.Control.Public, stream: subject.ControlStream, session: h.control, want: want}, w, leaves)
}

// target is one stream to watch and the sources that it should have.
type target struct {
	name, account, stream string
	session               *session
	want                  []*jetstream.StreamSource
}

// leaves are the links of this server that are up: account -> peer regions. A server of a cluster does not
// see the links of its neighbours, so nil there means "cannot know".
func (h *Hub) leaves() map[string][]string {
	up := map[string][]string{}
	for _, l := range h.broker.Leaves() {
		up[l.Account] = append(up[l.Account], regionOfServer(l.Peer))
	}
	h.metrics.links.Set(float64(len(up)))
	return up
}

func (h *Hub) linkUp(leaves map[string][]string, account, region string) bool {
	return h.opts.servers() > 1 || slices.Contains(leaves[account], region)
}

// watch looks at one stream once and returns what it saw, or nil when the server did not answer.
func (h *Hub) watch(ctx context.Context, t target, w *watched, leaves map[string][]string) jetstream.Stream {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	st, err := t.session.js.Stream(call, t.stream)
	if err != nil {
		if ctx.Err() == nil {
			h.unanswered(t, w, err)
		}
		return nil
	}
	w.answered, w.told = h.opts.Now(), false
	h.metrics.streamSilence.WithLabelValues(t.name).Set(0)
	info := st.CachedInfo()
	if t.stream == subject.ControlStream {
		if o, ok := originOfControl(info.Config.Subjects, h.opts.Identity.Region); ok && o != h.Origin() {
			h.fail(fault.New("hub.watch", fault.Conflict, "origin_moved", "the region goes on under %s, this server knows %s: start it again", o, h.Origin()))
			return nil
		}
	}
	h.mu.Lock()
	w.present = w.present[:0]
	for _, s := range info.Config.Sources {
		w.present = append(w.present, watchKey(s))
	}
	if w.kicked == nil {
		w.kicked, w.backoff = map[string]time.Time{}, map[string]time.Duration{}
	}
	h.mu.Unlock()
	for _, src := range t.want {
		peer := regionOfAPI(src)
		if !h.linkUp(leaves, t.account, peer) {
			continue
		}
		if !slices.Contains(w.present, watchKey(src)) {
			h.addSource(ctx, t, w, src)
			continue
		}
		h.kickIfStale(ctx, t, w, src, activity(info, src))
	}
	for _, src := range info.Config.Sources { // history of older epochs
		if !slices.ContainsFunc(t.want, func(s *jetstream.StreamSource) bool { return streams.SameSource(s, src) }) && h.linkUp(leaves, t.account, regionOfAPI(src)) {
			h.kickIfStale(ctx, t, w, src, activity(info, src))
		}
	}
	return st
}

// unanswered tells of a stream that has no leader: nothing of its tenant is stored in this region meanwhile.
func (h *Hub) unanswered(t target, w *watched, err error) {
	if w.answered.IsZero() {
		w.answered = h.opts.Now()
	}
	silent := h.opts.Now().Sub(w.answered)
	h.metrics.streamSilence.WithLabelValues(t.name).Set(silent.Seconds())
	if silent < silentStream || w.told {
		return
	}
	w.told = true
	h.log.Error("a stream does not answer: nothing that is sent to it is stored in this region, and the other regions are not affected; start the region's servers again, one after the other",
		zap.String("account", t.name), zap.String("stream", t.stream), zap.Time("since", w.answered), zap.Error(err))
}

func (h *Hub) addSource(ctx context.Context, t target, w *watched, src *jetstream.StreamSource) {
	h.edit.Lock()
	err := h.stillLive(src)
	if err == nil {
		err = streams.AddSourceTo(ctx, t.session.js, t.stream, src)
	}
	h.edit.Unlock()
	if err != nil {
		h.log.Warn("source not added", zap.String("account", t.name), zap.String("filter", src.FilterSubject), zap.Error(err))
		return
	}
	h.log.Info("source added", zap.String("account", t.name), zap.String("filter", src.FilterSubject))
	h.mu.Lock()
	w.present = append(w.present, watchKey(src))
	w.kicked[watchKey(src)] = h.opts.Now()
	h.mu.Unlock()
}

// stillLive refuses a source of an origin that its region has left since the round began. Hub.edit is held.
func (h *Hub) stillLive(src *jetstream.StreamSource) error {
	o := h.originOf(regionOfAPI(src))
	switch src.FilterSubject {
	case subject.Replicated(o), subject.ControlOf(o), subject.GuardOf(o):
		return nil
	}
	return fault.New("hub.watch", fault.Conflict, "origin_left", "%s is not the live origin %s", src.FilterSubject, o)
}

// kickIfStale drops and re-adds a source that is silent although its link is up. Attempts at one source
// grow apart, because each one has a request under way that the next would cut off.
func (h *Hub) kickIfStale(ctx context.Context, t target, w *watched, src *jetstream.StreamSource, silent time.Duration) {
	f := watchKey(src)
	h.metrics.sourceSilence.WithLabelValues(t.name, regionOfAPI(src)).Set(silent.Seconds())
	if silent < h.opts.StaleAfter {
		delete(w.backoff, f)
		return
	}
	wait := max(w.backoff[f], minKick)
	if h.opts.Now().Sub(w.kicked[f]) < wait {
		return
	}
	h.edit.Lock()
	err := streams.Kick(ctx, t.session.js, t.stream, src)
	h.edit.Unlock()
	w.kicked[f] = h.opts.Now()
	w.backoff[f] = min(2*wait, maxKick)
	h.metrics.kicks.WithLabelValues(t.name, regionOfAPI(src)).Inc()
	h.log.Info("silent source kicked", zap.String("account", t.name), zap.String("filter", src.FilterSubject), zap.Duration("silent", silent), zap.Error(err))
}

// watchKey tells the sources of a stream apart: one history may be read from several regions.
func watchKey(src *jetstream.StreamSource) string { return regionOfAPI(src) + " " + src.FilterSubject }

// neverActive stands for a source that has not been heard of at all.
const neverActive = 1000 * time.Hour

// activity is how long a source has been silent.
func activity(info *jetstream.StreamInfo, src *jetstream.StreamSource) time.Duration {
	for _, s := range info.Sources {
		if s.FilterSubject == src.FilterSubject && s.External != nil && src.External != nil && s.External.APIPrefix == src.External.APIPrefix && s.Active >= 0 {
			return s.Active
		}
	}
	return neverActive
}

// regionOfAPI is the region that a source reads from.
func regionOfAPI(src *jetstream.StreamSource) string {
	if src.External == nil {
		return ""
	}
	return subject.RegionOfAPI(src.External.APIPrefix)
}

// mark stores a small unique message after traffic of the own origin. Duplicates that a sourcing stream skips
// do not move its saved position; a message stored after them does, so that a restart does not bring them
// in again. Sourced messages ask for no marker: two regions would answer each other's for ever.
func (h *Hub) mark(ctx context.Context, t *tenancy, st jetstream.Stream) {
	last := st.CachedInfo().State.LastSeq
	if last == t.watch.seen {
		return
	}
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if err := h.markTraffic(call, t); err != nil {
		h.log.Warn("marker not stored", zap.String("tenant", t.tenant.Name), zap.Error(err))
		return
	}
	h.mu.Lock()
	t.watch.seen = last
	h.mu.Unlock()
}

func (h *Hub) markTraffic(ctx context.Context, t *tenancy) error {
	marker := subject.Marker(h.Origin())
	last, err := t.openSession().message(ctx, subject.EventsStream, getRequest{Last: subject.OfOrigin(h.Origin())})
	if errors.Is(err, jetstream.ErrMsgNotFound) || (err == nil && last.Subject == marker) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = t.openSession().js.PublishMsg(ctx, &nats.Msg{Subject: marker, Header: nats.Header{nats.MsgIdHdr: {marker + "." + nuid.Next()}}})
	return err
}

// missingSources are the peers whose source the stream should have and has not. Hub.mu is held.
func (h *Hub) missingSources(t *tenancy) []string {
	var out []string
	for _, o := range h.peersOf(t.tenant) {
		if !slices.Contains(t.watch.present, o.Region+" "+subject.Replicated(o)) {
			out = append(out, o.Region)
		}
	}
	return out
}
