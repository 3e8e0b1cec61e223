package control

import (
	"cmp"
	"sync"
	"time"
)

// Clock is a hybrid logical clock reading: wall time in milliseconds and a counter that orders events
// of one millisecond (Kulkarni et al., "Logical Physical Clocks", 2014).
type Clock struct {
	Wall    int64  `json:"wall"`
	Counter uint32 `json:"n"`
}

// Compare is negative, zero or positive as c is before, equal to or after o.
func (c Clock) Compare(o Clock) int {
	if d := cmp.Compare(c.Wall, o.Wall); d != 0 {
		return d
	}
	return cmp.Compare(c.Counter, o.Counter)
}

// Time is the wall part.
func (c Clock) Time() time.Time { return time.UnixMilli(c.Wall) }

// ticker hands out readings later than everything that this process has written or seen.
type ticker struct {
	now  func() time.Time
	mu   sync.Mutex
	last Clock
}

func (t *ticker) tick() Clock {
	t.mu.Lock()
	defer t.mu.Unlock()
	if wall := t.now().UnixMilli(); wall > t.last.Wall {
		t.last = Clock{Wall: wall}
	} else {
		t.last.Counter++
	}
	return t.last
}

func (t *ticker) see(c Clock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Compare(t.last) > 0 {
		t.last = c
	}
}
