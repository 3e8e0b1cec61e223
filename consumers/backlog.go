package consumers

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers/reorder"
)

// item is one delivered event until it is settled. Its failures belong to the worker that has it.
type item struct {
	id     uint64 // among all that is here
	m      *Message
	place  *place        // in its source's count; nil where there is none, or nothing is reordered
	msg    jetstream.Msg // what to settle: the latest delivery of the event
	at     time.Time     // when the server last started its AckWait, as far as we know
	lane   *lane         // where its key's order is kept; nil while nothing else of the key can be here
	failed *failed       // nil while no call failed
}

// lane is one key of which an event is being handled or rests. Only its first event may be with a handler.
type lane struct {
	key     string
	waiting []*item // in order, without the one that is being handled
	until   time.Time
}

// backlog holds what was fetched and not settled, in the order of arrival and each key by itself. The server
// bounds it: it has at most MaxAckPending events out. The reader adds, workers take and settle, the keeper looks.
type backlog struct {
	more  chan struct{} // holds a token when take may succeed, or when the time at which it will has changed
	keyOf func(*Message) string
	keyed bool   // events of one key can be here while another of it is being handled
	order *order // nil: events are taken as they come

	mu      sync.Mutex
	queue   []*item
	by      map[uint64]*item // by id: everything that is not settled
	lanes   map[string]*lane
	resting lanes
	last    jetstream.Msg // settled last, of EVENTS; nil before the first
	lastOf  jetstream.Msg // the same of what was requeued
}

// requeued marks the ids of what comes from DLQ, whose sequences are others.
const requeued = 1 << 63

func newBacklog(keyed bool, keyOf func(*Message) string, order *order) *backlog {
	return &backlog{
		more: make(chan struct{}, 1), keyOf: keyOf, keyed: keyed, order: order,
		by: make(map[uint64]*item), lanes: make(map[string]*lane),
	}
}

// signal wakes one worker. Whoever finds more than it takes passes the token on.
func (b *backlog) signal() {
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// add appends a delivered event. One that is here already (its AckWait ran out while the link was cut)
// keeps its place and is settled by its newer delivery: nobody handles it twice.
func (b *backlog) add(m *Message, msg jetstream.Msg, at *place, now time.Time) {
	id := m.Sequence
	if m.Requeued != nil {
		id |= requeued
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if it := b.by[id]; it != nil {
		it.msg, it.at = msg, now
		return
	}
	it := &item{id: id, m: m, msg: msg, place: at, at: now}
	b.by[id] = it
	if b.order == nil {
		b.queue = append(b.queue, it)
	} else {
		b.queue = b.order.add(now, it, b.queue)
	}
	b.signal()
}

// knows says whether the order of an event's count needs no asking.
func (b *backlog) knows(p *place) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.order.counted.Knows(p.key)
}

// learn tells what was handled last of a count.
func (b *backlog) learn(p *place, last reorder.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.order.counted.Learn(p.key, last)
}

// take returns an event that may be handled now: the next one of a key that has rested, or else the oldest of the
// queue whose key is free. When there is none it tells when there will be one, if nothing else happens. What was
// taken is settled or put to rest. A probe is rather an event that has not failed yet: one that always does must not
// be what a breaker's state depends on.
func (b *backlog) take(now time.Time, probe bool) (it *item, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	if probe {
		it = b.free()
	}
	if it == nil {
		it = b.first(now)
	}
	return it, b.passOn(it != nil)
}

// takeUpTo is take for as many as may be handled now, at most n; no two of them have the same key if the backlog is
// keyed. They are appended to its.
func (b *backlog) takeUpTo(n int, now time.Time, its []*item) ([]*item, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire(now)
	before := len(its)
	for len(its) < before+n {
		it := b.first(now)
		if it == nil {
			break
		}
		its = append(its, it)
	}
	return its, b.passOn(len(its) > before)
}

// expire queues what was held for long enough.
func (b *backlog) expire(now time.Time) {
	if b.order != nil {
		b.queue = b.order.expire(now, b.queue)
	}
}

func (b *backlog) first(now time.Time) *item {
	if it := b.rested(now); it != nil {
		return it
	}
	return b.free()
}

// passOn wakes the next worker if there may be something left for it, and says when there will be at the latest.
func (b *backlog) passOn(took bool) (next time.Time) {
	if b.order != nil {
		next, _ = b.order.next()
	}
	if len(b.resting) > 0 && (next.IsZero() || b.resting[0].until.Before(next)) {
		next = b.resting[0].until
	}
	if b.keyed && took && (len(b.queue) > 0 || len(b.resting) > 0) {
		b.signal()
	}
	return next
}

func (b *backlog) rested(now time.Time) *item {
	if len(b.resting) == 0 || b.resting[0].until.After(now) {
		return nil
	}
	l := heap.Pop(&b.resting).(*lane)
	it := l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	return it
}

func (b *backlog) free() *item {
	for len(b.queue) > 0 {
		it := b.queue[0]
		b.queue[0] = nil
		b.queue = b.queue[1:]
		if !b.keyed && len(b.lanes) == 0 {
			return it // the usual case costs no look at the key
		}
		key := b.keyOf(it.m)
		l := b.lanes[key]
		if l == nil {
			b.open(it, key)
			return it
		}
		it.lane = l
		l.waiting = append(l.waiting, it)
	}
	return nil
}

// open makes the lane of a key whose event a worker has.
func (b *backlog) open(it *item, key string) {
	it.lane = &lane{key: key}
	b.lanes[key] = it.lane
}

// rest puts a taken event back to the head of its key, which waits with it.
func (b *backlog) rest(it *item, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if it.lane == nil {
		b.open(it, b.keyOf(it.m))
	}
	it.lane.waiting = slices.Insert(it.lane.waiting, 0, it)
	it.lane.until = until
	heap.Push(&b.resting, it.lane)
	b.signal()
}

// settle forgets a taken event and returns the delivery to answer. Its key stays busy until release.
func (b *backlog) settle(it *item) jetstream.Msg {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.by, it.id)
	if it.m.Requeued != nil {
		b.lastOf = it.msg
	} else {
		b.last = it.msg
	}
	return it.msg
}

// release lets the next event of a settled one's key go.
func (b *backlog) release(it *item) {
	l := it.lane
	if l == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.waiting) == 0 {
		delete(b.lanes, l.key)
		return
	}
	l.until = time.Time{}
	heap.Push(&b.resting, l)
	b.signal()
}

// count fills in how much is here.
func (b *backlog) count(st *State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	st.Unsettled, st.WaitingKeys = len(b.by), len(b.resting)
	if b.order != nil {
		st.Held, st.HeldKeys = b.order.held(), b.order.heldKeys()
	}
}

// idle says whether nothing is here that could be handled, now or after a rest.
func (b *backlog) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) == 0 && len(b.lanes) == 0
}

// delivered is how much of EVENTS is not settled, and one message of it, or else the one settled last.
func (b *backlog) delivered() (n int, some jetstream.Msg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	some = b.last
	for id, it := range b.by {
		if id&requeued == 0 {
			n, some = n+1, it.msg
		}
	}
	return n, some
}

// unsettled takes everything out, in the order of the stream, and apart from it what was requeued. No worker may be
// left.
func (b *backlog) unsettled() (left, again []*item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, it := range b.by {
		if it.m.Requeued != nil {
			again = append(again, it)
		} else {
			left = append(left, it)
		}
	}
	slices.SortFunc(left, bySequence)
	clear(b.by)
	clear(b.lanes)
	b.queue, b.resting = nil, nil
	return left, again
}

func bySequence(x, y *item) int { return cmp.Compare(x.m.Sequence, y.m.Sequence) }

// due returns the deliveries whose AckWait has been running for age or longer, and restarts their clock.
func (b *backlog) due(now time.Time, age time.Duration) []jetstream.Msg {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ms []jetstream.Msg
	for _, it := range b.by {
		if now.Sub(it.at) >= age {
			it.at = now
			ms = append(ms, it.msg)
		}
	}
	return ms
}

// lanes is a heap: the key whose rest ends first, and of equal ones the one that has the oldest event.
type lanes []*lane

func (h lanes) Len() int { return len(h) }
func (h lanes) Less(i, j int) bool {
	return cmp.Or(h[i].until.Compare(h[j].until), cmp.Compare(h[i].waiting[0].m.Sequence, h[j].waiting[0].m.Sequence)) < 0
}

func (h lanes) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *lanes) Push(x any) { *h = append(*h, x.(*lane)) }

func (h *lanes) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
