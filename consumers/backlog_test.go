package consumers

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/deadletter"
)

// Whatever order things happen in: of a key one event is out at a time, in order, a key that rests is not taken before
// its time, a key that is free is never kept back, and everything comes out in the end.
func TestBacklogKeepsEachKeysOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		b := newBacklog(workers > 1, func(m *Message) string { return m.EventID }, nil)
		m := &model{t: t, b: b, now: time.Unix(1e9, 0), workers: workers, last: map[string]uint64{}, rests: map[string]time.Time{}, waiting: map[string]int{}}
		t.Repeat(map[string]func(*rapid.T){
			"add":     func(t *rapid.T) { m.add(rapid.IntRange(0, 3).Draw(t, "key")) },
			"take":    func(*rapid.T) { m.take() },
			"settle":  func(t *rapid.T) { m.finish(t, true) },
			"rest":    func(t *rapid.T) { m.finish(t, false) },
			"advance": func(t *rapid.T) { m.now = m.now.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "s")) * time.Second) },
		})
		m.t = t
		for range 10_000 {
			if len(b.by) == 0 {
				break
			}
			m.now = m.now.Add(time.Minute)
			m.take()
			for len(m.out) > 0 {
				m.settle(0)
			}
		}
		if len(b.by) > 0 || len(b.lanes) > 0 || len(b.queue) > 0 || len(b.resting) > 0 {
			t.Fatalf("left: %d events, %d lanes, %d queued, %d resting", len(b.by), len(b.lanes), len(b.queue), len(b.resting))
		}
	})
}

type model struct {
	t       *rapid.T
	b       *backlog
	now     time.Time
	workers int
	seq     uint64
	out     []*item
	last    map[string]uint64    // settled
	rests   map[string]time.Time // keys that may not be taken before
	waiting map[string]int
}

func (m *model) add(key int) {
	m.seq++
	k := fmt.Sprint(key)
	m.waiting[k]++
	m.b.add(&Message{EventID: k, Sequence: m.seq}, nil, nil, m.now)
}

func (m *model) take() {
	if len(m.out) == m.workers {
		return
	}
	it, next := m.b.take(m.now, len(m.out)%2 == 1) // whether it is a probe or not
	busy := map[string]bool{}
	for _, o := range m.out {
		busy[o.m.EventID] = true
	}
	if it == nil {
		for k, n := range m.waiting {
			if n > 0 && !busy[k] && !m.rests[k].After(m.now) {
				m.t.Fatalf("key %s is kept back", k)
			}
			if n > 0 && m.rests[k].After(m.now) && (next.IsZero() || next.After(m.rests[k])) {
				m.t.Fatalf("key %s is due at %s, told is %s", k, m.rests[k], next)
			}
		}
		return
	}
	k := it.m.EventID
	if busy[k] || m.rests[k].After(m.now) || it.m.Sequence <= m.last[k] {
		m.t.Fatalf("%d of key %s is taken: busy %v, rests until %s, at %d", it.m.Sequence, k, busy[k], m.rests[k], m.last[k])
	}
	m.waiting[k]--
	m.out = append(m.out, it)
}

func (m *model) finish(t *rapid.T, handled bool) {
	if len(m.out) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.out)-1).Draw(t, "which")
	if handled {
		m.settle(i)
		return
	}
	it := m.out[i]
	m.out = append(m.out[:i], m.out[i+1:]...)
	until := m.now.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "rest")) * time.Second)
	m.rests[it.m.EventID] = until
	m.waiting[it.m.EventID]++
	m.b.rest(it, until)
}

func (m *model) settle(i int) {
	it := m.out[i]
	m.out = append(m.out[:i], m.out[i+1:]...)
	m.last[it.m.EventID] = it.m.Sequence
	m.b.settle(it)
	m.b.release(it)
}

// What comes from DLQ has sequences of its own: none is taken for an event of the stream.
func TestBacklogTellsRequeuedEventsApart(t *testing.T) {
	b := newBacklog(true, func(m *Message) string { return m.EventID }, nil)
	b.add(&Message{EventID: "a", Sequence: 1}, nil, nil, time.Now())
	b.add(&Message{EventID: "b", Sequence: 1, Requeued: &deadletter.Requeue{}}, nil, nil, time.Now())
	its, _ := b.takeUpTo(3, time.Now(), nil)
	if len(its) != 2 || its[0].m.EventID != "a" || its[1].m.EventID != "b" {
		t.Errorf("%d are here", len(its))
	}
	if left, again := b.unsettled(); len(left) != 1 || len(again) != 1 {
		t.Errorf("left: %d and %d", len(left), len(again))
	}
}

func TestKeyOfAnEvent(t *testing.T) {
	event := `{"event_id":"e-1","event_type":"a.b","schema_version":"1.0.0","occurred_at":"2026-01-01T00:00:00Z","key":{"user_id":"u-7"},"payload":{}}`
	m := &Message{Raw: []byte(event)}
	m.Subject.Partition = 9
	o := DefaultOptions()
	if got := o.keyOf(m); got != "u-7" {
		t.Errorf("key %q", got)
	}
	for name, key := range map[string]func(*Message) string{
		"none":  func(*Message) string { return "" },
		"panic": func(*Message) string { panic("boom") },
	} {
		o.Key = key
		if got := o.keyOf(m); got != "\x009" {
			t.Errorf("%s: key %q, want the partition's", name, got)
		}
	}
}
