package consumers

import (
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// item is one delivered event until it is settled.
type item struct {
	m   *Message
	msg jetstream.Msg // what to settle: the latest delivery of the event
	at  time.Time     // when the server last started its AckWait, as far as we know
}

// backlog holds what was fetched and not settled, in the order of arrival. The server bounds it: it
// has at most MaxAckPending events out. The reader adds, Run takes and settles, the keeper looks.
type backlog struct {
	more chan struct{} // holds a token when take may succeed

	mu    sync.Mutex
	queue []*item
	by    map[uint64]*item // by stream sequence: the queue, and the event that is being handled
}

func newBacklog() *backlog {
	return &backlog{more: make(chan struct{}, 1), by: make(map[uint64]*item)}
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
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// take removes the oldest event from the queue, nil when there is none. It stays known until settled.
func (b *backlog) take() *item {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return nil
	}
	it := b.queue[0]
	b.queue[0] = nil
	b.queue = b.queue[1:]
	return it
}

// putBack makes a taken event the oldest in the queue again.
func (b *backlog) putBack(it *item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = slices.Insert(b.queue, 0, it)
}

// settle forgets an event and returns the delivery to answer.
func (b *backlog) settle(it *item) jetstream.Msg {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.by, it.m.Sequence)
	return it.msg
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
