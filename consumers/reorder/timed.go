package reorder

import (
	"slices"
	"time"
)

// Timed puts the events of each key into the order of the times at which they occurred. Every event
// waits for the window, because nothing tells whether an earlier one is still on its way: a topic
// chooses this, it is not free.
type Timed[T any] struct {
	o    Options
	rows map[string]*row[T]
	due  deadlines // rows that hold something
	idle deadlines // rows that hold nothing, by when an event of theirs came last
	held int
}

// NewTimed returns an empty one.
func NewTimed[T any](o Options) (*Timed[T], error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Timed[T]{o: o, rows: map[string]*row[T]{}}, nil
}

// row is what is held of one key.
type row[T any] struct {
	deadline
	in       *deadlines // where it is scheduled
	key      string
	held     []timed[T] // by time, then by arrival
	last     time.Time  // of the event released last
	lastCame time.Time  // when an event of the key came last
}

type timed[T any] struct {
	occurred, came time.Time
	item           T
}

// Held is how many events are held.
func (t *Timed[T]) Held() int { return t.held }

// HeldKeys is how many keys hold events.
func (t *Timed[T]) HeldKeys() int { return t.due.Len() }

// Shed appends to out the earliest event of the key that has waited longest: the caller has no room for it. It does
// nothing when nothing is held.
func (t *Timed[T]) Shed(out []Released[T]) []Released[T] {
	if t.held == 0 {
		return out
	}
	first := t.due.keys[0].(*row[T])
	out = t.release(first, 1, true, out)
	t.schedule(first)
	return out
}

// Next is when Expire has something to release.
func (t *Timed[T]) Next() (time.Time, bool) { return t.due.next() }

// Add takes an event in. It appends to out the event itself when it is Late, and what has to go for
// want of room.
func (t *Timed[T]) Add(now time.Time, key string, occurred time.Time, item T, out []Released[T]) []Released[T] {
	r := t.rows[key]
	if r == nil {
		r = &row[T]{key: key}
		t.rows[key] = r
	}
	r.lastCame = now
	if occurred.Before(r.last) {
		t.schedule(r)
		return append(out, Released[T]{Item: item, Verdict: Late, Latest: r.last})
	}
	i, _ := slices.BinarySearchFunc(r.held, occurred, func(e timed[T], at time.Time) int {
		if e.occurred.After(at) {
			return 1
		}
		return -1
	})
	r.held = slices.Insert(r.held, i, timed[T]{occurred: occurred, came: now, item: item})
	t.held++
	if len(r.held) > t.o.MaxHeldPerKey {
		out = t.release(r, 1, true, out)
	}
	t.schedule(r)
	if t.held > t.o.MaxHeld {
		out = t.Shed(out)
	}
	return out
}

// Expire appends to out the events that have waited for the window, each after those of its key that
// occurred before it.
func (t *Timed[T]) Expire(now time.Time, out []Released[T]) []Released[T] {
	for {
		at, ok := t.due.next()
		if !ok || at.After(now) {
			return out
		}
		r := t.due.keys[0].(*row[T])
		out = t.release(r, r.first()+1, false, out)
		t.schedule(r)
	}
}

// release hands out the n earliest of a key.
func (t *Timed[T]) release(r *row[T], n int, early bool, out []Released[T]) []Released[T] {
	for _, h := range r.held[:n] {
		out = append(out, Released[T]{Item: h.item, Verdict: InOrder, Early: early})
		r.last = h.occurred
	}
	r.held = slices.Delete(r.held, 0, n)
	t.held -= n
	return out
}

// first is which of the held events arrived first.
func (r *row[T]) first() int {
	first := 0
	for i, h := range r.held {
		if h.came.Before(r.held[first].came) {
			first = i
		}
	}
	return first
}

// schedule notes when the key's first event has waited long enough. A key that holds nothing is
// remembered, for the sake of its last time, until there are too many of them.
func (t *Timed[T]) schedule(r *row[T]) {
	in, at := &t.idle, r.lastCame
	if len(r.held) > 0 {
		in, at = &t.due, r.held[r.first()].came.Add(t.o.Window)
	}
	if r.in != nil && r.in != in {
		r.in.drop(r)
	}
	r.in = in
	in.set(r, at)
	if t.idle.Len() > t.o.MaxKeys {
		oldest := t.idle.keys[0].(*row[T])
		t.idle.drop(oldest)
		delete(t.rows, oldest.key)
	}
}
