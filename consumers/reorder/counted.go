package reorder

import (
	"cmp"
	"slices"
	"time"
)

// Key is whose count it is: a source counts the events of each of its users.
type Key struct{ Source, User string }

// Position is a place in a count. A source that starts its count anew does so under a higher epoch.
type Position struct{ Epoch, Seq uint64 }

// Compare is negative when p comes before q, 0 when they are the same place.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.Seq, q.Seq))
}

// Verdict says how an event stands to those of its key that were released before it.
type Verdict uint8

// The verdicts.
const (
	InOrder Verdict = iota // it is the next one
	Gap                    // it is later than the next one, and what is missing did not arrive in time
	Late                   // one that comes after it was released already, or it is there twice
)

var verdictNames = [...]string{"in_order", "gap", "late"}

// String is the verdict's name, as metrics and headers show it.
func (v Verdict) String() string { return verdictNames[v] }

// Released is an event that is to be handled now.
type Released[T any] struct {
	Item    T
	Verdict Verdict
	Missing uint64   // how many numbers are missing right before a Gap
	Early   bool     // a Gap that had to go before its window had ended, for want of room
	After   Position // of the event of its key that was released before it; of a Late one the highest
	First   bool     // no event of its key was released before it, as far as is known: After says nothing
	// Latest is, of a Late event that Timed released, when the event of its key occurred that was released last.
	Latest time.Time
}

// Counted restores the order of each source's count.
type Counted[T any] struct {
	o      Options
	counts map[Key]*count[T]
	due    deadlines
	idle   lru[T]
	held   int
}

// NewCounted returns an empty one.
func NewCounted[T any](o Options) (*Counted[T], error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	return &Counted[T]{o: o, counts: map[Key]*count[T]{}}, nil
}

// count is what is known of one key.
type count[T any] struct {
	deadline
	key        Key
	known      bool
	last       Position  // released last, when known
	held       []held[T] // by position, then by arrival
	since      time.Time // when the first of held arrived
	prev, next *count[T] // among the idle ones; nil when it is not there
}

type held[T any] struct {
	at   Position
	came time.Time
	item T
}

// Knows says whether a place of the key is known, so that Learn would change nothing.
func (c *Counted[T]) Knows(k Key) bool {
	n := c.counts[k]
	return n != nil && (n.known || len(n.held) > 0)
}

// Learn tells what was handled last of a key that is not known, as a store remembers it from before a
// restart. It is called before the first Add of the key.
func (c *Counted[T]) Learn(k Key, last Position) {
	if c.Knows(k) {
		return
	}
	n := c.take(k)
	n.known, n.last = true, last
	c.give(n)
}

// Held is how many events are held.
func (c *Counted[T]) Held() int { return c.held }

// HeldKeys is how many keys hold events.
func (c *Counted[T]) HeldKeys() int { return c.due.Len() }

// Shed appends to out what the key that has waited longest holds behind its first gap: the caller has no room for
// it. It does nothing when nothing is held.
func (c *Counted[T]) Shed(out []Released[T]) []Released[T] {
	if c.held == 0 {
		return out
	}
	return c.skipFirst(true, out)
}

// Next is when Expire has something to release.
func (c *Counted[T]) Next() (time.Time, bool) { return c.due.next() }

// Add takes an event in and appends to out what may be handled now: often itself, sometimes nothing,
// and when it closes a gap itself and what waited for it.
func (c *Counted[T]) Add(now time.Time, k Key, at Position, item T, out []Released[T]) []Released[T] {
	n := c.take(k)
	switch {
	case n.known && at.Compare(n.last) <= 0:
		out = append(out, Released[T]{Item: item, Verdict: Late, After: n.last})
	case c.follows(n, at) && (len(n.held) == 0 || at.Compare(n.held[0].at) < 0):
		out = c.release(n, held[T]{at: at, item: item}, Released[T]{Verdict: InOrder}, out)
	default:
		c.hold(n, held[T]{at: at, came: now, item: item})
	}
	if len(n.held) > c.o.MaxHeldPerKey {
		out = c.skip(n, true, out)
	}
	c.give(n)
	if c.held > c.o.MaxHeld {
		out = c.skipFirst(true, out)
	}
	return out
}

// Expire appends to out what has been held for the window.
func (c *Counted[T]) Expire(now time.Time, out []Released[T]) []Released[T] {
	for {
		at, ok := c.due.next()
		if !ok || at.After(now) {
			return out
		}
		out = c.skipFirst(false, out)
	}
}

// follows says whether nothing is missing before at, as far as can be known.
func (c *Counted[T]) follows(n *count[T], at Position) bool {
	if n.known && at.Epoch == n.last.Epoch {
		return at.Seq == n.last.Seq+1
	}
	return at.Seq <= 1 || at.Seq > c.o.StartWithin
}

// hold puts an event to its place behind the gap. Of two at one place the first to come goes first.
func (c *Counted[T]) hold(n *count[T], h held[T]) {
	i, _ := slices.BinarySearchFunc(n.held, h.at, func(e held[T], at Position) int {
		if e.at.Compare(at) <= 0 {
			return -1
		}
		return 1
	})
	n.held = slices.Insert(n.held, i, h)
	c.held++
	if len(n.held) == 1 {
		n.since = h.came
	}
}

// release hands one event out, and then those that waited for nothing else.
func (c *Counted[T]) release(n *count[T], h held[T], r Released[T], out []Released[T]) []Released[T] {
	for {
		r.Item, r.After, r.First = h.item, n.last, !n.known
		out = append(out, r)
		if r.Verdict != Late {
			n.last, n.known = h.at, true
		}
		if len(n.held) == 0 {
			return out
		}
		switch next := n.held[0].at; {
		case next.Compare(n.last) <= 0: // there twice
			r = Released[T]{Verdict: Late}
		case c.follows(n, next):
			r = Released[T]{Verdict: InOrder}
		default:
			n.since = n.oldest()
			return out
		}
		h = c.pop(n)
	}
}

// skip gives the first gap of a key up: what waits behind it goes.
func (c *Counted[T]) skip(n *count[T], early bool, out []Released[T]) []Released[T] {
	h := c.pop(n)
	missing := h.at.Seq - 1 // at least one: what is held is none that begins a count
	if n.known && h.at.Epoch == n.last.Epoch {
		missing = h.at.Seq - n.last.Seq - 1
	}
	return c.release(n, h, Released[T]{Verdict: Gap, Missing: missing, Early: early}, out)
}

// skipFirst does it to the key that has waited longest.
func (c *Counted[T]) skipFirst(early bool, out []Released[T]) []Released[T] {
	n := c.due.keys[0].(*count[T])
	out = c.skip(n, early, out)
	c.give(n)
	return out
}

func (c *Counted[T]) pop(n *count[T]) held[T] {
	h := n.held[0]
	n.held[0] = held[T]{}
	if n.held = n.held[1:]; len(n.held) == 0 {
		n.held = nil
	}
	c.held--
	return h
}

// oldest is when the first of what is held arrived: a gap is known since then.
func (n *count[T]) oldest() time.Time {
	since := n.held[0].came
	for _, h := range n.held[1:] {
		if h.came.Before(since) {
			since = h.came
		}
	}
	return since
}

// take finds a key, or begins it, and keeps it from being forgotten until give.
func (c *Counted[T]) take(k Key) *count[T] {
	n := c.counts[k]
	if n == nil {
		n = &count[T]{key: k}
		c.counts[k] = n
		return n
	}
	c.idle.remove(n)
	return n
}

// give notes when the key must be looked at again; one that holds nothing may be forgotten.
func (c *Counted[T]) give(n *count[T]) {
	if len(n.held) > 0 {
		c.due.set(n, n.since.Add(c.o.Window))
		return
	}
	c.due.drop(n)
	c.idle.push(n)
	if c.idle.n > c.o.MaxKeys {
		oldest := c.idle.oldest()
		c.idle.remove(oldest)
		delete(c.counts, oldest.key)
	}
}
