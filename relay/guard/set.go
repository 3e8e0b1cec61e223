package guard

import (
	"sync"
	"time"
)

// An entry lives in one of a few generations, each a table of keys without a single pointer, and goes with it. The
// present one and the ones before it cover the time in which a request may be valid.
const generations = 4

// set is the requests of one tenant.
type set struct {
	mu     sync.Mutex
	spread scatter
	gens   [generations]generation
	n      int
}

type generation struct {
	number int64
	table  table
}

// add puts k into the generation of at, unless any has it. A generation that is older than those that are kept is
// not stored. dropped is how many entries went with generations whose time was over.
func (s *set) add(k Key, at, present int64) (fresh bool, dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped = s.expire(present)
	return s.put(k, at, present), dropped
}

// claim is add at present, where at most allow entries may be.
func (s *set) claim(k Key, present int64, allow func(n int) bool) (v Verdict, dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	dropped = s.expire(present)
	switch {
	case s.has(&k, present):
		return Replayed, dropped
	case !allow(s.n):
		return Full, dropped
	}
	s.put(k, present, present)
	return Fresh, dropped
}

func (s *set) has(k *Key, present int64) bool {
	h := s.spread.of(k)
	for i := range s.gens {
		if g := &s.gens[i]; g.number > present-generations && g.table.has(k, h) {
			return true
		}
	}
	return false
}

func (s *set) put(k Key, at, present int64) bool {
	if at <= present-generations || s.has(&k, present) {
		return false
	}
	g := &s.gens[at%generations]
	g.number = max(g.number, at) // what was in its place is over and dropped, or younger and lives longer
	g.table.add(k, &s.spread)
	s.n++
	return true
}

// expire drops the generations that are over and says how many entries went with them.
func (s *set) expire(present int64) (dropped int) {
	for i := range s.gens {
		if g := &s.gens[i]; g.number <= present-generations && g.table.slots != nil {
			dropped += g.table.n
			*g = generation{number: g.number}
		}
	}
	s.n -= dropped
	return dropped
}

// table is an open-addressed hash table of keys. The zero key is an empty slot.
type table struct {
	slots []Key
	n     int
}

const firstSlots = 64

func (t *table) has(k *Key, h uint64) bool {
	if t.n == 0 {
		return false
	}
	for i := t.index(h); ; i = (i + 1) & (len(t.slots) - 1) {
		switch t.slots[i] {
		case *k:
			return true
		case Key{}:
			return false
		}
	}
}

// index takes the upper bits: those of a product depend on all the others.
func (t *table) index(h uint64) int { return int(h>>32) & (len(t.slots) - 1) }

// add puts a key in that is not there.
func (t *table) add(k Key, s *scatter) {
	if 4*(t.n+1) > 3*len(t.slots) {
		old := t.slots
		t.slots = make([]Key, max(2*len(old), firstSlots))
		for i := range old {
			if old[i] != (Key{}) {
				t.place(old[i], s.of(&old[i]))
			}
		}
	}
	t.place(k, s.of(&k))
	t.n++
}

func (t *table) place(k Key, h uint64) {
	i := t.index(h)
	for t.slots[i] != (Key{}) {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = k
}

// span is the length of a generation: all but the present one together are as long as an entry must live.
func span(valid time.Duration) time.Duration {
	return (valid + generations - 2) / (generations - 1)
}
