package reorder

// lru is the ring of the keys that hold nothing, the one used last first.
type lru[T any] struct {
	ring count[T] // stands between the newest (next) and the oldest (prev)
	n    int
}

func (l *lru[T]) push(c *count[T]) {
	if l.ring.next == nil {
		l.ring.next, l.ring.prev = &l.ring, &l.ring
	}
	c.prev, c.next = &l.ring, l.ring.next
	c.prev.next, c.next.prev = c, c
	l.n++
}

// remove takes a key out, if it is in.
func (l *lru[T]) remove(c *count[T]) {
	if c.next == nil {
		return
	}
	c.prev.next, c.next.prev = c.next, c.prev
	c.prev, c.next = nil, nil
	l.n--
}

func (l *lru[T]) oldest() *count[T] { return l.ring.prev }
