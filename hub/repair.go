package hub

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/digest"
	"github.com/weft-mesh/weft/streams/subject"
)

// Regions compare what they hold and take from each other what they lost. Each one repairs itself alone: it
// asks every peer for sums over buckets of time (streams/digest), lists the events of the buckets that
// differ, and stores copies of those that it can neither find in its own stream nor still expect from a source.
// A copy has scope l and the header Weft-Repaired, so that it replicates nowhere and can double nothing
// elsewhere.

const (
	indexPerRound  = 200_000 // messages of a tenant that one round indexes, so that no tenant holds the others up
	listPerRound   = 200_000 // events that one round lists of a peer; one bucket at least
	maxCandidates  = 50_000  // events that one round looks for in the own stream
	groupSlots     = 64      // slots of a group: regions compare groups first
	groupsPerRound = 64
)

// repairs is what the comparison with the peers keeps. The loop of repairs changes it; the service for peers
// and Status read it, all under mu.
type repairs struct {
	rounds atomic.Uint64 // ended

	mu      sync.Mutex
	tracked map[string]*tracked                // by tenant; empty while this server does not lead
	status  map[string]map[string]RepairStatus // by tenant and peer
}

func newRepairs() *repairs {
	return &repairs{tracked: map[string]*tracked{}, status: map[string]map[string]RepairStatus{}}
}

// tracked is one tenant's stream as far as it is indexed.
type tracked struct {
	index   *digest.Index
	width   time.Duration // of the index's buckets
	created time.Time     // tells one stream of the name from the next
	first   uint64        // of the stream when it was last looked at
	firstAt time.Time     // when that message was stored
	front   uint64        // messages that vanished from the front of the stream before they were old enough to
	next    uint64        // sequence from which on nothing is indexed
	seen    uint64        // last sequence of the stream up to which there is nothing left to index
	whole   bool          // it was indexed to its end once
	gaps    uint64        // sequences inside of the stream without a message, when the index was begun
	expired uint64        // indexed events that may have expired by themselves by now and left a gap

	expiring map[int64]uint64 // those that will, by the minute from which they may

	settled map[settledKey][2]digest.Sum // own and peer's sums that differ although nothing is missing
	cursor  map[string]digest.Key        // by peer: where the last round stopped, when it was too much for one
}

// settledKey is a span of slots in the comparison with one peer.
type settledKey struct {
	peer  string
	slots int64
	key   digest.Key
}

func newTracked(width time.Duration, info *jetstream.StreamInfo) *tracked {
	return &tracked{
		index: digest.NewIndex(width), width: width, created: info.Created, first: info.State.FirstSeq, firstAt: info.State.FirstTime, next: max(1, info.State.FirstSeq),
		gaps: gapsIn(info.State), expiring: map[int64]uint64{}, settled: map[settledKey][2]digest.Sum{}, cursor: map[string]digest.Key{},
	}
}

// gapsIn is how many sequences between the first and the last have no message.
func gapsIn(s jetstream.StreamState) uint64 {
	if s.Msgs == 0 || s.LastSeq+1 < s.FirstSeq+s.Msgs {
		return 0
	}
	return s.LastSeq - s.FirstSeq + 1 - s.Msgs
}

// vanished is how many messages the front of the stream has lost since the index was begun, of which the stream's age
// limit cannot be the reason.
func (t *tracked) vanished(info *jetstream.StreamInfo, now time.Time) uint64 {
	s := info.State
	if s.FirstSeq <= t.first || info.Config.MaxAge > 0 && !t.firstAt.After(now.Add(-info.Config.MaxAge)) {
		return t.front
	}
	return t.front + s.FirstSeq - t.first
}

// stale says that the index no longer describes the stream: it is another one, it went back, or messages
// vanished from inside of it whose time had not come.
func (t *tracked) stale(info *jetstream.StreamInfo, now time.Time) bool {
	s := info.State
	return !t.created.Equal(info.Created) || s.LastSeq < t.seen || s.LastSeq+1 < t.next || s.FirstSeq < t.first || gapsIn(s)+t.vanished(info, now) > t.gaps+t.expiredBy(now)
}

func (t *tracked) add(m *stored, e entry) {
	t.index.Add(e.key, e.hash, m.seq)
	if e.key.TTL > 0 {
		at := time.Unix(0, 0).Add(time.Duration(e.key.Slot) * t.width).Add(time.Duration(e.key.TTL)*time.Second - expirySlack)
		t.expiring[minute(at)]++
	}
}

// expirySlack is how much earlier than by its own time an event may go: the clock of the relay that accepted it may be
// ahead of the server's, whose clock decides.
const expirySlack = time.Minute

// expiredBy is how many of the indexed events may have expired until now. Only these explain a gap: one that lives for
// hours more must not hide that another was lost.
func (t *tracked) expiredBy(now time.Time) uint64 {
	for at, n := range t.expiring {
		if at <= minute(now) {
			t.expired += n
			delete(t.expiring, at)
		}
	}
	return t.expired
}

func minute(t time.Time) int64 { return t.Unix() / 60 }

// indexShare: one of so many cores may be busy with indexing.
const indexShare = 4

// repairLoop compares and repairs until ctx ends, and answers the peers meanwhile.
func (h *Hub) repairLoop(ctx context.Context) {
	if h.opts.RepairEvery <= 0 {
		return
	}
	var service sync.WaitGroup
	service.Go(func() { h.serveRepairs(ctx) })
	defer service.Wait()
	var compared time.Time
	for {
		began := time.Now()
		due := began.Sub(compared) >= h.opts.RepairEvery
		behind, tenants := h.repairRound(ctx, due)
		if due {
			h.repairs.rounds.Add(1)
			if !behind {
				compared = began
			}
		}
		wait := min(h.opts.RepairEvery, max(indexEvery, time.Duration(tenants)*indexPause))
		if behind {
			wait = min(wait, time.Since(began)) // half of the time is left to others
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// Events are indexed soon after they were stored, between the comparisons: all at once they would take the cores from
// everybody else for seconds, and by then be compressed on disk instead of in the broker's cache.
const (
	indexEvery = 2 * time.Second
	indexPause = 10 * time.Millisecond // for each tenant, who costs a request even if there is nothing new
)

// repairRound indexes what is new of every tenant, and compares each with its peers when that is due. behind says that
// a tenant has more to index than one round takes.
func (h *Hub) repairRound(ctx context.Context, due bool) (behind bool, tenants int) {
	if !h.leads() {
		h.forgetRepairs()
		return false, 0
	}
	shared := h.sharedTenants()
	h.keepRepairs(shared)
	states := h.trackAll(ctx, shared)
	down := map[string]error{} // peers that did not answer in this round
	for i, t := range shared {
		if ctx.Err() != nil || !h.leads() {
			return false, len(shared)
		}
		switch st := states[i]; {
		case st.err != nil:
			h.log.Debug("events not indexed", zap.String("tenant", t.name), zap.Error(st.err))
		case !st.caught:
			behind = true
		case due:
			h.compareTenant(ctx, t, st.tracked, down)
		}
	}
	return behind, len(shared)
}

// indexed is what track said of one tenant.
type indexed struct {
	tracked *tracked
	caught  bool
	err     error
}

// trackAll indexes the tenants, some at a time: reading a stream takes about a core of the hub and its broker.
func (h *Hub) trackAll(ctx context.Context, shared []sharedTenant) []indexed {
	states := make([]indexed, len(shared))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(max(1, runtime.GOMAXPROCS(0)/indexShare), len(shared)) {
		workers.Go(func() {
			for i := range next {
				st := &states[i]
				st.tracked, st.caught, st.err = h.track(ctx, shared[i])
			}
		})
	}
	for i := range shared {
		if ctx.Err() != nil || !h.leads() {
			break // the states of the others say: not caught
		}
		next <- i
	}
	close(next)
	workers.Wait()
	return states
}

// sharedTenant is a tenant that another region has too.
type sharedTenant struct {
	name    string
	session *session
	peers   []string
}

// sharedTenants are the tenants that can be compared, by name.
func (h *Hub) sharedTenants() []sharedTenant {
	var out []sharedTenant
	for _, t := range h.State().ActiveTenants() {
		ten := h.tenancyOf(t.Name)
		if ten == nil || ten.openSession() == nil || !t.In(h.opts.Identity.Region) {
			continue
		}
		s := sharedTenant{name: t.Name, session: ten.openSession()}
		for _, p := range h.opts.Peers {
			if t.In(p.Name) {
				s.peers = append(s.peers, p.Name)
			}
		}
		if len(s.peers) > 0 { // a server that has just come to lead may not know yet that the stream is there
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b sharedTenant) int { return strings.Compare(a.name, b.name) })
	return out
}

// forgetRepairs drops everything: another server of the region leads and its index is the one that counts.
func (h *Hub) forgetRepairs() {
	h.repairs.mu.Lock()
	defer h.repairs.mu.Unlock()
	if len(h.repairs.tracked)+len(h.repairs.status) == 0 {
		return
	}
	clear(h.repairs.tracked)
	clear(h.repairs.status)
	h.metrics.drift.Reset()
	h.metrics.repairSuccess.Reset()
}

// keepRepairs drops what belongs to tenants that are no longer compared.
func (h *Hub) keepRepairs(shared []sharedTenant) {
	h.repairs.mu.Lock()
	defer h.repairs.mu.Unlock()
	gone := func(name string) bool {
		return !slices.ContainsFunc(shared, func(t sharedTenant) bool { return t.name == name })
	}
	for name := range h.repairs.tracked {
		if gone(name) {
			delete(h.repairs.tracked, name)
		}
	}
	for name := range h.repairs.status {
		if gone(name) {
			delete(h.repairs.status, name)
			h.metrics.forgetTenant(name)
		}
	}
}

// track indexes what a tenant's stream has got since the last round, up to the limit of a round. caught says
// that nothing is left.
func (h *Hub) track(ctx context.Context, t sharedTenant) (tr *tracked, caught bool, err error) {
	info, err := eventsInfo(ctx, t.session)
	if err != nil {
		return nil, false, err
	}
	r := h.repairs
	r.mu.Lock()
	tr = r.tracked[t.name]
	if tr == nil || tr.stale(info, h.opts.Now()) {
		tr = newTracked(h.opts.RepairBucket, info)
		r.tracked[t.name] = tr
	}
	tr.front = tr.vanished(info, h.opts.Now())
	tr.first, tr.firstAt = info.State.FirstSeq, info.State.FirstTime
	tr.gaps = min(tr.gaps, gapsIn(info.State))
	from, seen := tr.next, tr.seen
	r.mu.Unlock()
	last := info.State.LastSeq
	if seen == last || info.State.Msgs == 0 {
		r.mu.Lock()
		tr.whole = true
		r.mu.Unlock()
		return tr, true, nil
	}
	// What was stored since the last round can wait; a backlog, such as all of it after a start, cannot.
	part := span{from: from, to: last, limit: indexPerRound, gently: last-from < indexPerRound/2}
	_, drained, err := scanHeaders(ctx, t.session, part, func(m *stored) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if e, ok := entryOf(m, h.opts.RepairBucket); ok {
			tr.add(m, e)
		}
		tr.next = m.seq + 1
	})
	if err != nil || !drained {
		return tr, false, err
	}
	r.mu.Lock()
	tr.seen, tr.whole = last, true
	r.mu.Unlock()
	return tr, true, nil
}

// eventsInfo is what the leader of a tenant's stream says of it now.
func eventsInfo(ctx context.Context, s *session) (*jetstream.StreamInfo, error) {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	st, err := s.js.Stream(call, subject.EventsStream)
	if err != nil {
		return nil, err
	}
	return st.CachedInfo(), nil
}
