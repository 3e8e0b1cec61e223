package consumers

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/consumers/reorder"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/subject"
)

// Whatever comes, with and without a count, by time and requeued, in whatever order and room: each event is handed on
// once, in the order of its count unless it says otherwise, none later than the window, and what is held stays within bounds.
func TestOrderLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := Reorder{
			Window: 10 * time.Second, MaxHeld: rapid.IntRange(1, 8).Draw(t, "held"), MaxHeldBytes: rapid.IntRange(20, 200).Draw(t, "bytes"), ByTime: []string{"timed"},
		}.withDefaults()
		o, err := newOrder(&opts, newMetrics("d"))
		if err != nil {
			t.Fatal(err)
		}
		m := &ordering{t: t, o: o, now: time.Unix(1e9, 0), last: map[reorder.Key]reorder.Position{}, since: map[*item]time.Time{}}
		t.Repeat(map[string]func(*rapid.T){
			"add":     m.add,
			"advance": func(t *rapid.T) { m.advance(time.Duration(rapid.IntRange(0, 12).Draw(t, "s")) * time.Second) },
			"":        func(*rapid.T) { m.check() },
		})
		m.t = t
		m.advance(20 * time.Second)
		if len(m.since) != 0 || o.held() != 0 || o.bytes != 0 {
			t.Fatalf("left: %d events, %d held, %d bytes", len(m.since), o.held(), o.bytes)
		}
	})
}

type ordering struct {
	t     *rapid.T
	o     *order
	now   time.Time
	last  map[reorder.Key]reorder.Position
	since map[*item]time.Time // what is in it
}

func (m *ordering) add(t *rapid.T) {
	it := &item{m: &Message{Raw: make([]byte, rapid.IntRange(1, 50).Draw(t, "size")), envelope: &event.Event{UserID: fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "user"))}}}
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		it.m.Subject = subject.Event{Topic: "timed"}
		it.m.envelope.OccurredAt = m.now.Add(-time.Duration(rapid.IntRange(0, 10).Draw(t, "age")) * time.Second)
	case 1:
		it.m.Requeued = &deadletter.Requeue{}
		fallthrough
	default:
		it.place = &place{reorder.Key{Source: "shop", User: it.m.envelope.UserID}, reorder.Position{Seq: uint64(rapid.IntRange(0, 30).Draw(t, "seq"))}} //nolint:gosec // small
	}
	m.since[it] = m.now
	m.take(m.o.add(m.now, it, nil))
}

func (m *ordering) advance(by time.Duration) {
	m.now = m.now.Add(by)
	m.take(m.o.expire(m.now, nil))
}

func (m *ordering) take(out []*item) {
	for _, it := range out {
		if _, in := m.since[it]; !in {
			m.t.Fatal("handed on twice")
		}
		delete(m.since, it)
		late := it.m.Order != nil && it.m.Order.Verdict == reorder.Late
		if it.place == nil || late {
			if late && it.place != nil {
				m.ahead(it)
			}
			continue
		}
		if last, known := m.last[it.place.key]; known && it.place.at.Compare(last) <= 0 {
			m.t.Fatalf("%v after %v, and not told to be late", it.place.at, last)
		}
		m.last[it.place.key] = it.place.at
	}
}

// ahead checks what a late event is told.
func (m *ordering) ahead(it *item) {
	for _, a := range it.m.Order.Ahead {
		if a.Position.Compare(it.place.at) <= 0 {
			m.t.Fatalf("%v is told to be ahead of %v", a.Position, it.place.at)
		}
	}
}

func (m *ordering) check() {
	bytes := 0
	for it, since := range m.since {
		bytes += len(it.m.Raw)
		if m.now.Sub(since) > 2*m.o.opts.Window { // a second gap behind the first has a window of its own
			m.t.Fatalf("held for %s", m.now.Sub(since))
		}
	}
	if bytes != m.o.bytes || bytes > m.o.opts.MaxHeldBytes || m.o.held() != len(m.since) || m.o.held() > m.o.opts.room() {
		m.t.Fatalf("%d events and %d bytes, counted as %d and %d", len(m.since), bytes, m.o.held(), m.o.bytes)
	}
	if next, ok := m.o.next(); ok != (m.o.held() > 0) || ok && next.Before(m.now) {
		m.t.Fatalf("due at %s, %v", next, ok)
	}
}
