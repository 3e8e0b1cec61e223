package hub

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// A region that lost acknowledged writes, or came back with an older copy of them, must not go on under the
// same origin: what it writes next takes sequences that its peers believe to have, and they would skip it
// silently. So a hub starts with its client listener closed, asks every peer how much of this region's
// writes it holds, and opens when nothing is missing here. A region that lacks something stays closed until
// an operator lets it rejoin under the next epoch.

// gate is where a start stands. Its fields are guarded by mu, except that only the goroutine of live asks.
type gate struct {
	mu      sync.Mutex
	open    bool
	losses  []Loss
	origin  subject.Origin    // that the losses are of
	silent  map[string]string // peers that did not answer, with the reason
	waived  map[string]string // peers that an operator does without, and which one
	records int               // of this region that the peer with the most of them counts
	epochs  map[string]int    // of peers, as they said last
	partial bool              // a peer that answered is closed itself: what it wrote may come from it later
	back    readBack          // of the goroutine of live alone
	told    string            // the last reason that was logged; likewise
	first   chan struct{}     // closed when the first verdict is known
	once    sync.Once
	nudge   chan struct{} // asks for another look at once
}

func newGate() *gate {
	return &gate{silent: map[string]string{}, waived: map[string]string{}, first: make(chan struct{}), nudge: make(chan struct{}, 1)}
}

func (g *gate) decided() { g.once.Do(func() { close(g.first) }) }

func (g *gate) look() {
	select {
	case g.nudge <- struct{}{}:
	default:
	}
}

// verdict is what follows from what is known.
type verdict int

const (
	wait  verdict = iota // ask again
	admit                // open for writes
	expel                // stay closed: rejoin
)

// decide is the rule. Losses outrank everything. A silent peer is waited for, unless an operator does
// without it or the server can prove that it lost nothing and the time for asking is over.
func decide(losses []Loss, silent, waived map[string]string, proof evidence, over bool) verdict {
	if len(losses) > 0 {
		return expel
	}
	for peer := range silent {
		if _, ok := waived[peer]; !ok && (proof == noEvidence || !over) {
			return wait
		}
	}
	return admit
}

const (
	gateEvery = 250 * time.Millisecond
	askWait   = time.Second
)

// live passes the gate and then serves until ctx ends.
func (h *Hub) live(ctx context.Context) {
	proof := h.evidence()
	began := h.opts.Now()
	for ctx.Err() == nil {
		over := h.opts.Now().Sub(began) >= h.opts.AskPeers
		v := h.judge(ctx, proof, over)
		if v == admit {
			err := h.open(ctx)
			if err == nil {
				h.gate.decided()
				h.verifyLater(ctx)
				return
			}
			h.notReady(err.Error())
			h.log.Warn("region not open yet", zap.Error(err))
		}
		if v == expel || over {
			h.gate.decided() // a start does not wait for an operator or a peer that is away
		}
		h.pause(ctx)
	}
}

func (h *Hub) pause(ctx context.Context) {
	t := time.NewTimer(gateEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	case <-h.gate.nudge:
	}
}

// judge looks once, tells what it saw and returns what follows.
func (h *Hub) judge(ctx context.Context, proof evidence, over bool) verdict {
	h.metrics.closed.Set(1)
	if err := h.prepare(ctx); err != nil {
		h.notReady("starting: " + err.Error())
		return wait
	}
	losses, silent := h.askPeers(ctx, h.opts.Peers)
	if err := h.catchUp(ctx); err != nil {
		h.notReady("starting: " + err.Error())
		return wait
	}
	g := h.gate
	g.mu.Lock()
	losses = g.remember(h.Origin(), losses, silent)
	changed := len(g.losses) != len(losses) || !slices.Equal(slices.Sorted(maps.Keys(g.silent)), slices.Sorted(maps.Keys(silent)))
	g.losses, g.silent = losses, silent
	v := decide(losses, silent, g.waived, proof, over)
	g.mu.Unlock()
	why := h.closedReason(v, losses, silent, over)
	if changed && v == expel {
		h.log.Error(why)
		if err := h.noteLost(); err != nil {
			h.log.Error("the loss was not noted in the store", zap.Error(err))
		}
	} else if why != g.told && (v == wait && over || v == admit && len(silent) > 0) {
		g.told = why
		h.log.Warn(why, zap.String("evidence", string(proof)))
	}
	if v == admit {
		if why = h.unread(ctx); why == "" {
			return admit
		}
		v = wait
	}
	h.notReady(why)
	return v
}

// remember adds what peers said that do not answer now: a loss is one until the peer that told of it says
// otherwise, or the region goes on under another origin. gate.mu is held.
func (g *gate) remember(now subject.Origin, losses []Loss, silent map[string]string) []Loss {
	if g.origin == now {
		for _, l := range g.losses {
			if _, away := silent[l.Peer]; away {
				losses = append(losses, l)
			}
		}
	}
	g.origin = now
	return losses
}

func (h *Hub) closedReason(v verdict, losses []Loss, silent map[string]string, over bool) string {
	peers := slices.Sorted(maps.Keys(silent))
	switch {
	case v == expel:
		parts := make([]string, len(losses))
		for i, l := range losses {
			parts[i] = l.String()
		}
		return fmt.Sprintf("closed for writes: region %s lost data that other regions were given: %s. Rejoin under the next epoch: weft hub rejoin --region %s",
			h.opts.Identity.Region, strings.Join(parts, "; "), h.opts.Identity.Region)
	case v == wait && !over:
		return fmt.Sprintf("starting: %s is asked whether something was lost here", strings.Join(peers, " and "))
	case v == wait:
		return fmt.Sprintf("closed for writes: whether something was lost here can only be told by %s, which does not answer; without it: weft hub open --region %s --without %s",
			strings.Join(peers, " and "), h.opts.Identity.Region, strings.Join(peers, ","))
	default:
		return fmt.Sprintf("opens without the word of %s, which is asked again when it can be reached", strings.Join(peers, " and "))
	}
}

// String is one line for an operator.
func (l Loss) String() string {
	what := "the control state"
	if l.Tenant != "" {
		what = "stream " + l.Stream + " of " + l.Tenant
	}
	switch l.Kind {
	case LossGone:
		return fmt.Sprintf("%s is gone, %s has up to sequence %d", what, l.Peer, l.Peers.Seq)
	case LossShort:
		last := uint64(0)
		if l.Own != nil {
			last = l.Own.Seq
		}
		return fmt.Sprintf("%s ends at sequence %d, %s has up to %d", what, last, l.Peer, l.Peers.Seq)
	case LossEpoch:
		return fmt.Sprintf("%s was told that this region goes on under epoch %d", l.Peer, l.Epoch)
	default:
		return fmt.Sprintf("%s has another message at sequence %d than %s was given", what, l.Peers.Seq, l.Peer)
	}
}

// catchUp does what this region missed when a peer went on under another epoch: an older copy of a store still
// has sources of the peer's old origin, which would read a stream that the peer has made anew.
func (h *Hub) catchUp(ctx context.Context) error {
	h.gate.mu.Lock()
	epochs := maps.Clone(h.gate.epochs)
	h.gate.mu.Unlock()
	for peer, epoch := range epochs {
		if epoch <= max(1, h.noted.of(peer)) {
			continue
		}
		if h.leads() {
			h.edit.Lock()
			_, err := h.dropSources(ctx, peer)
			h.edit.Unlock()
			if err != nil {
				return err
			}
		}
		if err := h.noted.note(peer, epoch); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes what is needed to compare: the accounts and sessions of every tenant that is known, and the
// origin that the region lives under when a neighbour has moved on.
func (h *Hub) prepare(ctx context.Context) error {
	if err := h.followEpoch(ctx); err != nil {
		return err
	}
	if err := h.mint(h.uplinks); err != nil {
		return err
	}
	for _, t := range h.State().ActiveTenants() {
		if err := h.admit(ctx, t); err != nil {
			return err
		}
		if err := h.openTenant(h.tenancyOf(t.Name)); err != nil {
			return err
		}
	}
	return h.setLinks()
}

// askPeers asks all peers at once and compares what they say with what is here.
func (h *Hub) askPeers(ctx context.Context, peers []Peer) ([]Loss, map[string]string) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	var mu sync.Mutex
	var losses []Loss
	silent := map[string]string{}
	records, epochs, partial := 0, map[string]int{}, false
	var wg sync.WaitGroup
	for _, p := range peers {
		wg.Go(func() {
			var found []Loss
			a, err := h.ask(ctx, p.Name)
			if err == nil {
				check, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*apiTimeout)
				defer cancel()
				found, err = h.losses(check, a)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent[p.Name] = err.Error()
				return
			}
			records = max(records, a.Records)
			epochs[p.Name], partial = a.Own, partial || a.Closed
			losses = append(losses, found...)
		})
	}
	wg.Wait()
	h.gate.mu.Lock()
	h.gate.records, h.gate.epochs, h.gate.partial = records, epochs, partial
	h.gate.mu.Unlock()
	slices.SortFunc(losses, func(a, b Loss) int { return strings.Compare(a.Peer+a.Tenant+a.Stream, b.Peer+b.Tenant+b.Stream) })
	return losses, silent
}

// followEpoch reads under which origin the region's own control stream is written and takes it over: another
// server of the region may have rejoined, and a wiped server knows no origin at all.
func (h *Hub) followEpoch(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	st, err := h.control.js.Stream(call, subject.ControlStream)
	if err != nil {
		return err
	}
	o, ok := originOfControl(st.CachedInfo().Config.Subjects, h.opts.Identity.Region)
	if !ok || o.Epoch <= h.Origin().Epoch {
		return nil
	}
	return h.moveTo(o)
}

// originOfControl is the origin in a control stream's subjects.
func originOfControl(subjects []string, region string) (subject.Origin, bool) {
	for _, s := range subjects {
		parts := strings.Split(s, ".")
		if len(parts) != 3 || parts[0] != "ctl" || parts[2] != ">" {
			continue
		}
		if o, err := subject.ParseOrigin(parts[1]); err == nil && o.Region == region {
			return o, true
		}
	}
	return subject.Origin{}, false
}

// verifyLater keeps asking the peers without whose word the region opened. When one of them holds what is
// missing here, the hub ends: its next start stays closed.
func (h *Hub) verifyLater(ctx context.Context) {
	h.gate.mu.Lock()
	left := map[string]bool{}
	for peer := range h.gate.silent {
		if _, waived := h.gate.waived[peer]; !waived {
			left[peer] = true
		}
	}
	h.gate.mu.Unlock()
	for len(left) > 0 && ctx.Err() == nil {
		h.pause(ctx)
		var peers []Peer
		for _, p := range h.opts.Peers {
			if left[p.Name] {
				peers = append(peers, p)
			}
		}
		if len(peers) == 0 {
			return
		}
		losses, silent := h.askPeers(ctx, peers)
		if len(losses) > 0 {
			if err := h.noteLost(); err != nil {
				h.log.Error("the loss was not noted in the store", zap.Error(err))
			}
			h.fail(fault.New("hub.gate", fault.Conflict, "data_lost", "%s", h.closedReason(expel, losses, nil, true)))
			return
		}
		for _, p := range peers {
			if _, still := silent[p.Name]; !still {
				delete(left, p.Name)
				h.log.Info("a peer confirms that nothing was lost here", zap.String("peer", p.Name))
			}
		}
	}
}

// fail takes the region out of service for good: whoever runs the hub sees it in Failed and stops it.
func (h *Hub) fail(err error) {
	h.notReady(err.Error())
	h.log.Error("the hub has to end", zap.Error(err))
	select {
	case h.failed <- err:
	default:
	}
}

// Failed delivers why the hub must be stopped and started again; most hubs never use it.
func (h *Hub) Failed() <-chan error { return h.failed }
