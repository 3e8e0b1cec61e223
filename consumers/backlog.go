package consumers

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// item is one delivered event until it is settled. Its failures belong to the worker that has it.
type item struct {
	m      *Message
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
	keyed bool // events of one key can be here while another of it is being handled

	mu      sync.Mutex
	queue   []*item
	by      map[uint64]*item // by stream sequence: everything that is not settled
	lanes   map[string]*lane
	resting lanes
	last    jetstream.Msg // settled last; nil before the first
}

func newBacklog(keyed bool, keyOf func(*Message) string) *backlog {
	return &backlog{
		more: make(chan struct{}, 1), keyOf: keyOf, keyed: keyed,
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
func (b *backlog) add(m *Message, msg jetstream.Msg, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if it := b.by[m.Sequence]; it != nil {
		it.msg, it.at = msg, now
		return
	}
	it := &item{m: m, msg: msg, at: now}
	b.by[m.Sequence] = it
	b.queue = append(b.queue, it)
	b.signal()
}

// take returns an event that may be handled now: the next one of a key that has rested, or else the oldest of the
// queue whose key is free. When there is none it tells when there will be one, if nothing else happens. What was
// taken is settled or put to rest.
func (b *backlog) take(now time.Time) (it *item, next time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it = b.first(now)
	return it, b.passOn(it != nil)
}

// takeUpTo is take for as many as may be handled now, at most n; no two of them have the same key if the backlog is
// keyed. They are appended to its.
func (b *backlog) takeUpTo(n int, now time.Time, its []*item) ([]*item, time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
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

func (b *backlog) first(now time.Time) *item {
	if it := b.rested(now); it != nil {
		return it
	}
	return b.free()
}

// passOn wakes the next worker if there may be something left for it, and says when there will be at the latest.
func (b *backlog) passOn(took bool) (next time.Time) {
	if len(b.resting) > 0 {
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
	delete(b.by, it.m.Sequence)
	b.last = it.msg
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

// waitingKeys is how many keys rest.
func (b *backlog) waitingKeys() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.resting)
}

// unsettled takes everything out, in the order of the stream. No worker may be left.
func (b *backlog) unsettled() []*item {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := make([]*item, 0, len(b.by))
	for _, it := range b.by {
		left = append(left, it)
	}
	slices.SortFunc(left, func(x, y *item) int { return cmp.Compare(x.m.Sequence, y.m.Sequence) })
	clear(b.by)
	clear(b.lanes)
	b.queue, b.resting = nil, nil
	return left
}

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
