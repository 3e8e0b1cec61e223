package uplink

import (
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model drives a window as uplinks do, with acknowledgements in any order, twice, late or never.
type model struct {
	w       *window
	late    atomic.Uint64
	calls   []*call
	flying  map[string]*target // by token: in flight as the model sees it
	retired []string           // tokens that must settle nothing any more
	seq     uint64
}

type target struct {
	c     *call
	index int
}

// unsettled is a result that nothing has settled.
var unsettled = Result{Code: "open"}

func (m *model) start(n int) {
	c := &call{msgs: make([]Message, n), results: make([]Result, n), wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	for i := range c.results {
		c.msgs[i].Region = "eu"
		c.results[i] = unsettled
	}
	if m.w.admit(c) {
		m.calls = append(m.calls, c)
	}
}

func (m *model) arm(c *call) {
	first, n, _ := m.w.arm(c, "p.")
	for i := range n {
		width := len(c.tokens) / n
		token := string(c.tokens[i*width+2 : (i+1)*width])
		m.flying[token] = &target{c, first + i}
	}
}

func (m *model) retire(token string) {
	delete(m.flying, token)
	m.retired = append(m.retired, token)
}

func (m *model) check(t *rapid.T) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	seen := map[uint32]int{}
	for _, id := range m.w.free {
		seen[id]++
	}
	for _, c := range m.calls {
		for _, id := range c.own {
			seen[id]++
		}
		waiting := 0
		for _, r := range c.results {
			if r == unsettled {
				waiting++
			}
		}
		if waiting != c.pending+c.unsent {
			t.Fatalf("%d results are open, %d in flight and %d unsent", waiting, c.pending, c.unsent)
		}
	}
	for id := range m.w.slots {
		if m.w.slots[id].call != nil {
			seen[uint32(id)]++
		}
	}
	for id := range m.w.slots {
		if seen[uint32(id)] != 1 {
			t.Fatalf("slot %d is in %d places", id, seen[uint32(id)])
		}
	}
}

// someone picks a token in flight, "" when there is none.
func (m *model) someone(t *rapid.T) string {
	if len(m.flying) == 0 {
		return ""
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m.flying))).Draw(t, "token")
}

func (m *model) ack(t *rapid.T) {
	token := m.someone(t)
	if token == "" {
		return
	}
	m.seq++
	at := m.flying[token]
	m.w.acked(token, "eu", &puback{stream: []byte("EVENTS"), domain: []byte("eu"), seq: m.seq})
	if got := at.c.results[at.index]; got != (Result{Status: Stored, Seq: m.seq}) {
		t.Fatalf("settled as %+v", got)
	}
	m.retire(token)
}

func (m *model) ackTooLate(t *rapid.T) {
	if len(m.retired) == 0 {
		return
	}
	before := m.late.Load()
	m.w.acked(rapid.SampledFrom(m.retired).Draw(t, "old"), "eu", &puback{stream: []byte("EVENTS"), domain: []byte("eu"), seq: 1 << 60})
	if m.late.Load() != before+1 {
		t.Fatal("an old acknowledgement was taken")
	}
}

func (m *model) giveUp(t *rapid.T) {
	if len(m.calls) == 0 {
		return
	}
	c := rapid.SampledFrom(m.calls).Draw(t, "call")
	m.w.skip(c, notSent)
	m.w.expire(c, ackTimeout)
	for token, at := range m.flying {
		if at.c == c {
			m.retire(token)
		}
	}
}

func (m *model) lose(*rapid.T) {
	m.w.breakAll()
	for token := range m.flying {
		m.retire(token)
	}
}

func (m *model) finish(*rapid.T) {
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool {
		if c.unsent+c.pending > 0 {
			return false
		}
		m.w.leave(c)
		return true
	})
}

func TestWindowNeverMixesEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{flying: map[string]*target{}}
		m.w = newWindow(rapid.IntRange(1, 12).Draw(t, "window"), &m.late)
		t.Repeat(map[string]func(*rapid.T){
			"":      m.check,
			"start": func(t *rapid.T) { m.start(rapid.IntRange(1, 20).Draw(t, "events")) },
			"send": func(*rapid.T) {
				for _, c := range m.calls {
					m.arm(c)
				}
			},
			"ack":                   m.ack,
			"ack too late or twice": m.ackTooLate,
			"give up":               m.giveUp,
			"connection lost":       m.lose,
			"finish":                m.finish,
		})
	})
}

func TestLargeBatchLeavesRoom(t *testing.T) {
	var late atomic.Uint64
	w := newWindow(400, &late)
	large := &call{msgs: make([]Message, 10000)}
	if !w.admit(large) || len(large.held) != 100 {
		t.Fatalf("a large batch holds %d of 400", len(large.held))
	}
	for range 3 {
		if !w.admit(&call{msgs: make([]Message, 90)}) {
			t.Fatal("no room beside a large batch")
		}
	}
	if w.admit(&call{msgs: make([]Message, 90)}) || w.inFlight() != 370 {
		t.Fatalf("let in with fewer than crumb free: %d in flight", w.inFlight())
	}
	if !w.admit(&call{msgs: make([]Message, 20)}) {
		t.Fatal("a small request that fits is refused")
	}
	w.close()
	if w.admit(&call{msgs: make([]Message, 1)}) {
		t.Fatal("a closed window lets in")
	}
}
