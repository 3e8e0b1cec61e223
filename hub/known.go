package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	// confirmWait bounds the wait for every region to confirm a key.
	confirmWait = 6 * time.Second
	// askKnown is how long one question waits at the region that is asked.
	askKnown = 2 * time.Second
	// answerTime is how long an answer may take on its way.
	answerTime = 250 * time.Millisecond
	// relayGone is the silence after which a relay is taken for ended: it can store nothing without its hub.
	relayGone = 3 * accounts.ReportEvery
)

// relays is what the relays of the own region reported.
type relays struct {
	mu      sync.Mutex
	heard   map[string]heardRelay
	changed chan struct{} // closed and replaced at each report
}

type heardRelay struct {
	accounts.RelayReport
	at time.Time
}

func newRelays() *relays {
	return &relays{heard: map[string]heardRelay{}, changed: make(chan struct{})}
}

// note takes a report in.
func (r *relays) note(rep accounts.RelayReport, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard[rep.ID] = heardRelay{rep, now}
	maps.DeleteFunc(r.heard, func(_ string, one heardRelay) bool { return now.Sub(one.at) > relayGone })
	close(r.changed)
	r.changed = make(chan struct{})
}

// lacking lists the living relays for which ok is false, by id.
func (r *relays) lacking(now time.Time, ok func(accounts.RelayReport) bool) (ids []string, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, one := range r.heard {
		if now.Sub(one.at) <= relayGone && !ok(one.RelayReport) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, r.changed
}

// lives says whether a relay was heard of a moment ago.
func (r *relays) lives(id string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, heard := r.heard[id]
	return heard && now.Sub(one.at) <= relayGone
}

// count is how many relays are heard of.
func (r *relays) count(now time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, one := range r.heard {
		if now.Sub(one.at) <= relayGone {
			n++
		}
	}
	return n
}

// knownRequest asks whether a region and its relays know a key in a state, or further.
type knownRequest struct {
	Kid   string        `json:"kid,omitempty"`
	State keyring.State `json:"state,omitempty"`
	// Masters asks instead whether all that need them hold the master keys, one of each ring.
	Masters map[identity.Ring]string `json:"masters,omitempty"`
	Wait    int64                    `json:"wait_ms"`
}

type knownAnswer struct {
	Why string `json:"why,omitempty"` // not known, and what is missing
}

// serveKnown hears the reports of relays and answers the hubs of other regions.
func (h *Hub) serveKnown() error {
	region := h.opts.Identity.Region
	_, err1 := h.control.conn.Subscribe(subject.Relays(region), func(m *nats.Msg) { // no queue: each server of the region hears all
		var rep accounts.RelayReport
		if json.Unmarshal(m.Data, &rep) == nil && grant.ValidID(rep.ID) {
			h.hear(rep)
		}
	})
	_, err2 := h.control.conn.QueueSubscribe(subject.Known(region), queue, func(m *nats.Msg) {
		var q knownRequest
		if err := json.Unmarshal(m.Data, &q); err != nil {
			return // no hub sends this
		}
		h.remotes.run(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, min(time.Duration(q.Wait)*time.Millisecond, askKnown))
			defer cancel()
			h.respond(m, knownAnswer{Why: h.missing(ctx, q)})
		})
	})
	return errors.Join(err1, err2)
}

// hear takes in what a relay of the region tells.
func (h *Hub) hear(rep accounts.RelayReport) {
	h.trials.note(&rep, h.State())
	rep.Versions = nil
	h.relays.note(rep, time.Now())
}

// missing waits until the own region knows a key in a state and its relays go by that; or it says what is missing.
func (h *Hub) missing(ctx context.Context, q knownRequest) string {
	if q.Masters != nil {
		return h.missingMasters(ctx, q.Masters)
	}
	for {
		changed := h.state.Changed()
		if k, ok := h.State().Keys[q.Kid]; ok && k.State.Rank() >= q.State.Rank() {
			break
		}
		select {
		case <-ctx.Done():
			return "the change has not come there"
		case <-changed:
		}
	}
	recorded := h.state.Recorded()
	for {
		left, changed := h.relays.lacking(time.Now(), func(r accounts.RelayReport) bool { return r.Recorded >= recorded })
		if len(left) == 0 {
			return ""
		}
		select {
		case <-ctx.Done():
			return "relays that are behind: " + strings.Join(left, ", ")
		case <-changed:
		}
	}
}

// confirmed waits until every region of the tenant knows the key as it is, and returns those that do not, with
// what they said.
func (h *Hub) confirmed(ctx context.Context, t *accounts.Tenant, k *keyring.Key, without []string) map[string]string {
	return h.knownTo(ctx, t, knownRequest{Kid: k.Kid, State: k.State}, without)
}

// knownTo asks every region of a tenant, side by side.
func (h *Hub) knownTo(ctx context.Context, t *accounts.Tenant, q knownRequest, without []string) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, confirmWait)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	waiting := map[string]string{}
	for _, r := range h.opts.Identity.Mesh.Regions {
		if !t.In(r.Name) || slices.Contains(without, r.Name) {
			continue
		}
		all.Go(func() {
			if why := h.knownIn(ctx, r.Name, q); why != "" {
				mu.Lock()
				defer mu.Unlock()
				waiting[r.Name] = why
			}
		})
	}
	all.Wait()
	return waiting
}

// knownIn asks one region until it knows or ctx ends.
func (h *Hub) knownIn(ctx context.Context, region string, q knownRequest) string {
	if region == h.opts.Identity.Region {
		return h.missing(ctx, q)
	}
	why := "no answer"
	for ctx.Err() == nil {
		if end, ok := ctx.Deadline(); ok { // the answer, whatever it is, has to come before that
			q.Wait = min(askKnown, max(0, time.Until(end)-answerTime)).Milliseconds()
		}
		raw, err := json.Marshal(q)
		if err != nil {
			return err.Error()
		}
		call, cancel := context.WithTimeout(ctx, askKnown+apiTimeout)
		m, err := h.control.conn.RequestWithContext(call, subject.Known(region), raw)
		cancel()
		var a knownAnswer
		switch {
		case err == nil && json.Unmarshal(m.Data, &a) == nil && a.Why == "":
			return ""
		case err == nil:
			why = a.Why
		case !errors.Is(err, context.DeadlineExceeded):
			why = fmt.Sprint(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return why
}
