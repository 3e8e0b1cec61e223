package hub

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// RejoinReport tells what a rejoin did, or with DryRun would do, and what the region lost.
type RejoinReport struct {
	Region  string       `json:"region"`
	From    string       `json:"from"` // origin
	To      string       `json:"to"`
	DryRun  bool         `json:"dry_run"`
	Peers   []string     `json:"peers"` // that dropped their sources of the old origin
	Losses  []Loss       `json:"losses"`
	Streams []LostStream `json:"streams"` // event by event
	Steps   []string     `json:"steps"`
	Restart bool         `json:"restart,omitempty"` // this server ends and has to be started again
}

// rejoinNotice is what a region tells its peers before it goes on under another epoch.
type rejoinNotice struct {
	Epoch int    `json:"epoch"`
	By    string `json:"by"`
}

type rejoinAnswer struct {
	Dropped int    `json:"dropped"` // sources
	Error   string `json:"error,omitempty"`
}

// Rejoin lets a region that lost data go on under its next epoch, in the one order that doubles nothing: every
// peer drops its sources of this region first; then this region writes under the new origin and reads its
// own history back from a peer; then the peers source the new origin. What an older copy of the store still
// has is kept, and what it lacks comes back by the comparison between the regions.
func (h *Hub) Rejoin(ctx context.Context, dryRun bool, by string) (*RejoinReport, error) {
	const op = "hub.rejoin"
	h.edit.Lock()
	defer h.edit.Unlock()
	report, err := h.planRejoin(ctx)
	if err != nil {
		return nil, err
	}
	report.DryRun = dryRun
	if dryRun {
		return report, nil
	}
	to, err := subject.ParseOrigin(report.To)
	if err != nil {
		return nil, err
	}
	h.tellLosses(report, by)
	ctx = context.WithoutCancel(ctx) // a client that leaves must not leave half of it done
	for _, p := range h.opts.Peers {
		if err := h.notify(ctx, p.Name, rejoinNotice{Epoch: to.Epoch, By: by}); err != nil {
			return nil, fault.New(op, fault.Unavailable, "peer_not_prepared",
				"region %s did not drop its sources of %s: %v. Nothing was changed here; run the command again", p.Name, report.From, err)
		}
	}
	if err := h.moveControl(ctx, to); err != nil {
		return nil, fault.Wrap(op, fault.Unavailable, err)
	}
	if err := h.moveTo(to); err != nil {
		return nil, err
	}
	h.gate.look()
	return report, nil
}

// tellLosses puts into the log what a rejoin gives up.
func (h *Hub) tellLosses(r *RejoinReport, by string) {
	h.log.Warn("rejoin", zap.String("from", r.From), zap.String("to", r.To), zap.String("by", by))
	for _, s := range r.Streams {
		newest := LostEvent{}
		if s.Newest != nil {
			newest = *s.Newest
		}
		h.log.Warn("what this region acknowledged after its newest event that another one has is lost", zap.String("tenant", s.Tenant), zap.String("peer", s.Peer),
			zap.String("event", newest.ID), zap.Time("at", newest.At), zap.Uint64("seq", newest.Seq), zap.Uint64("lacking_here", s.Missing))
	}
}

// planRejoin refuses whatever would be the wrong order and says what will be done.
func (h *Hub) planRejoin(ctx context.Context) (*RejoinReport, error) {
	const op = "hub.rejoin"
	h.gate.mu.Lock()
	open := h.gate.open
	h.gate.mu.Unlock()
	self := h.Origin()
	if open {
		return nil, fault.New(op, fault.Conflict, "is_open", "region %s is open under %s: nothing is lost, so it must not rejoin", self.Region, self)
	}
	target := self.Next()
	for _, p := range h.opts.Peers {
		one, cancel := context.WithTimeout(ctx, 4*askWait)
		a, err := h.ask(one, p.Name)
		cancel()
		if err != nil {
			return nil, fault.New(op, fault.Unavailable, "peer_silent",
				"region %s does not answer (%v): it has to drop its sources of %s first, else every event would come in twice. Bring its link up and run the command again", p.Name, err, self)
		}
		if a.Epoch >= target.Epoch {
			target.Epoch = a.Epoch
			if a.Used {
				target.Epoch++
			}
		}
	}
	losses, silent := h.askPeers(ctx, h.opts.Peers)
	if len(silent) > 0 {
		return nil, fault.New(op, fault.Unavailable, "peer_silent", "%s stopped answering; run the command again", strings.Join(slices.Sorted(maps.Keys(silent)), ", "))
	}
	if len(losses) == 0 {
		return nil, fault.New(op, fault.Conflict, "nothing_lost", "region %s lacks nothing that its peers were given: it opens by itself", self.Region)
	}
	r := &RejoinReport{
		Region: self.Region, From: self.String(), To: target.String(), Losses: losses, Streams: h.lostStreams(ctx, losses), Restart: target != self.Next(),
	}
	for _, p := range h.opts.Peers {
		r.Peers = append(r.Peers, p.Name)
		r.Steps = append(r.Steps, p.Name+" drops its sources of "+self.Region)
	}
	r.Steps = append(r.Steps,
		self.Region+" writes under "+target.String()+" and reads its history back",
		"the others source "+target.String(),
		"the comparison between the regions brings back what an older copy lacks")
	return r, nil
}

const (
	noticeWait  = 5 * time.Second
	noticeTries = 4
)

// notify repeats what is not answered: a peer that hears of an epoch which its links do not cover yet makes them
// anew, and the answer may be on its way then. A notice that is heard twice does nothing more.
func (h *Hub) notify(ctx context.Context, peer string, n rejoinNotice) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	var m *nats.Msg
	for range noticeTries {
		call, cancel := context.WithTimeout(ctx, noticeWait)
		m, err = h.control.conn.RequestWithContext(call, subject.Rejoin(peer, h.opts.Identity.Region), raw)
		if errors.Is(err, nats.ErrNoResponders) { // the link is down, and dialled every second
			<-call.Done()
		}
		cancel()
		if err == nil {
			break
		}
	}
	if err != nil {
		return err
	}
	var a rejoinAnswer
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return nil
}

// moveControl gives the control stream the new origin and lets it read the region's own older records back
// from every peer: folding them twice changes nothing.
func (h *Hub) moveControl(ctx context.Context, to subject.Origin) error {
	have, err := h.present(ctx, h.control, subject.ControlStream)
	if err != nil {
		return err
	}
	cfg := streams.ControlConfig(streams.ControlSpec{Self: to, Replicas: h.opts.replicas()})
	if have != nil {
		cfg.Sources = have.Sources
	}
	for _, p := range h.opts.Peers {
		for e := 1; e < to.Epoch; e++ {
			src := streams.Source(subject.ControlStream, to.Region, p.Name, subject.ControlOf(subject.Origin{Region: to.Region, Epoch: e}))
			if !slices.ContainsFunc(cfg.Sources, func(s *jetstream.StreamSource) bool { return streams.SameSource(s, src) }) {
				cfg.Sources = append(cfg.Sources, src)
			}
		}
	}
	_, err = streams.Apply(ctx, h.control.js, []jetstream.StreamConfig{cfg})
	return err
}

// adopt makes o the origin of this server.
func (h *Hub) adopt(o subject.Origin) error {
	if err := saveOrigin(h.opts.StoreDir, o); err != nil {
		return err
	}
	h.log.Warn("the region goes on under another origin", zap.String("from", h.Origin().String()), zap.String("to", o.String()))
	h.origin.Store(&o)
	return nil
}

// moveTo adopts an origin while the hub runs. What it holds of grants covers its live epoch and the next; for
// a later one it has to be started again.
func (h *Hub) moveTo(o subject.Origin) error {
	h.move.Lock()
	defer h.move.Unlock()
	if h.Origin() == o {
		return nil // the gate saw it first
	}
	next := h.Origin().Next()
	if err := h.adopt(o); err != nil {
		return err
	}
	h.state.Rebase(o)
	if o != next {
		h.fail(fault.New("hub.rejoin", fault.Unavailable, "restart_needed", "region %s goes on under %s: start this server again", o.Region, o))
	}
	return nil
}

// serveRejoins answers peers that go on under another epoch. Every server of the region hears a notice and
// keeps it; the one that edits the region's streams drops the sources and answers.
func (h *Hub) serveRejoins() error {
	at := subject.Rejoin(h.opts.Identity.Region, "*")
	_, err := h.control.conn.Subscribe(at, func(m *nats.Msg) {
		var n rejoinNotice
		who := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		if err := json.Unmarshal(m.Data, &n); err != nil || n.Epoch < 2 || !h.isPeer(who) {
			return // no hub sends this
		}
		err := h.noted.note(who, n.Epoch)
		if !h.leads() {
			h.touch()
			if err != nil {
				h.log.Error("a peer's epoch was not kept", zap.String("peer", who), zap.Error(err))
			}
			return
		}
		a := rejoinAnswer{}
		if err == nil {
			a.Dropped, err = h.release(who, n)
		}
		if err != nil {
			a.Error = err.Error()
		}
		h.respond(m, a)
	})
	return err
}

func (h *Hub) isPeer(region string) bool {
	return slices.ContainsFunc(h.opts.Peers, func(p Peer) bool { return p.Name == region })
}

// release drops every source from a peer that goes on under another epoch, so that nothing of its old origin
// comes in while it fills itself with its own history.
func (h *Hub) release(peer string, n rejoinNotice) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Second)
	defer cancel()
	h.log.Warn("a region goes on under another epoch", zap.String("peer", peer), zap.Int("epoch", n.Epoch), zap.String("by", n.By))
	if h.served() {
		if err := h.announceNoted(ctx); err != nil {
			return 0, err
		}
	}
	h.edit.Lock()
	defer h.edit.Unlock()
	dropped, err := h.dropSources(ctx, peer)
	h.touch()
	return dropped, err
}

// dropSources drops every source from a peer in every account. Hub.edit is held.
func (h *Hub) dropSources(ctx context.Context, peer string) (int, error) {
	dropped := 0
	for _, stream := range []string{subject.ControlStream, subject.GuardStream} {
		n, err := h.dropFrom(ctx, h.control, stream, peer)
		dropped += n
		if err != nil {
			return dropped, err
		}
	}
	for _, t := range h.State().ActiveTenants() {
		ten := h.tenancyOf(t.Name)
		if !t.In(h.opts.Identity.Region) || ten == nil {
			continue
		}
		if ten.openSession() == nil {
			return dropped, fault.New("hub.release", fault.Unavailable, "starting", "tenant %s is not open yet", t.Name)
		}
		k, err := h.dropFrom(ctx, ten.openSession(), subject.EventsStream, peer)
		dropped += k
		if err != nil {
			return dropped, err
		}
	}
	return dropped, nil
}

// dropFrom takes every source from one region out of a stream. Hub.edit is held.
func (h *Hub) dropFrom(ctx context.Context, s *session, stream, peer string) (int, error) {
	have, err := h.present(ctx, s, stream)
	if err != nil || have == nil {
		return 0, err
	}
	dropped := 0
	for _, src := range have.Sources {
		if regionOfAPI(src) != peer {
			continue
		}
		if err := streams.DropSourceOf(ctx, s.js, stream, src); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

// history are the sources with which a tenant's stream that is made anew in a later life of the mesh is filled:
// each older epoch of the region from the peer that has the most of it, and each of a peer from that peer itself.
func (h *Hub) history(ctx context.Context, tenant string, peers []subject.Origin) []*jetstream.StreamSource {
	var out []*jetstream.StreamSource
	self := h.Origin()
	add := func(o subject.Origin, from string) {
		out = append(out, streams.Source(subject.EventsStream, self.Region, from, subject.Replicated(o)))
	}
	for e := 1; e < self.Epoch && len(peers) > 0; e++ {
		o := subject.Origin{Region: self.Region, Epoch: e}
		add(o, h.fullest(ctx, tenant, o, peers))
	}
	for _, p := range peers {
		for e := 1; e < p.Epoch; e++ {
			add(subject.Origin{Region: p.Region, Epoch: e}, p.Region)
		}
	}
	return out
}

// fullest is the peer that holds the most of what an origin wrote for a tenant, the first where none tells.
func (h *Hub) fullest(ctx context.Context, tenant string, o subject.Origin, peers []subject.Origin) string {
	best, most := peers[0].Region, uint64(0)
	for _, p := range peers {
		call, cancel := context.WithTimeout(ctx, askWait)
		a, err := h.askOf(call, p.Region, o)
		cancel()
		if err == nil && a.Events[tenant].Seq > most {
			best, most = p.Region, a.Events[tenant].Seq
		}
	}
	return best
}

// restate keeps what the mesh knows of this region true: what it says of itself, and what it wrote in epochs
// that the peers no longer source.
func (h *Hub) restate(ctx context.Context) {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if err := h.announce(call); err != nil && ctx.Err() == nil {
		h.log.Warn("the region's own record is not as it should be", zap.Error(err))
	}
	h.reassert(ctx)
}

// reassert writes again what this region wrote in older epochs and what still holds: the peers no longer
// source those, and may lack the last of them. A newer value that only they have outranks what is written.
func (h *Hub) reassert(ctx context.Context) {
	self := h.Origin()
	for _, r := range h.state.State().WrittenBy(self.Region, self.Epoch) {
		call, cancel := context.WithTimeout(ctx, apiTimeout)
		err := h.state.Restate(call, r, "rejoin of "+self.String())
		cancel()
		if err != nil && fault.KindOf(err) != fault.Conflict {
			h.log.Warn("a record of an older epoch could not be written again", zap.String("kind", string(r.Kind)), zap.String("id", r.ID), zap.Error(err))
		}
	}
}
