package uplink

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// slot is one event in flight. Its generation rises with every use, and the reply subject names both:
// an acknowledgement that comes after its slot was given up never settles a later event.
type slot struct {
	gen   uint32
	index int32 // of the message in its call
	call  *call // nil while nothing is in flight
}

// call is one Publish. The fields down to pending belong to the window's mutex, the others to Publish.
type call struct {
	msgs    []Message
	results []Result
	held    []uint32 // every slot that this call was given
	own     []uint32 // those of them that carry nothing now and are for its next messages
	unsent  int
	pending int

	broken   atomic.Bool   // the connection broke under it: nothing more of it is sent
	probe    bool          // of Probe: nothing of it is stored
	patience time.Duration // from the last message of a wave to its acknowledgement

	wake   chan struct{} // holds one token: something was settled
	timer  *time.Timer
	header nats.Header
	values map[string][]string // of header, kept for names that are not in it now
	msg    nats.Msg
	tokens []byte // the reply subjects of one wave
}

// window is the bounded set of a tenant's events in flight.
type window struct {
	mu     sync.Mutex
	slots  []slot
	free   []uint32
	closed bool
	late   *atomic.Uint64 // acknowledgements that came for a slot given up
}

// One call may hold a quarter of the window, so that a large batch does not shut everybody out, and is
// let in with fewer when at least crumb are free, so that small requests do not starve it.
const (
	share = 4
	crumb = 32
)

func newWindow(size int, late *atomic.Uint64) *window {
	w := &window{late: late, slots: make([]slot, size), free: make([]uint32, size)}
	for i := range w.free {
		w.free[i] = uint32(size - 1 - i)
	}
	return w
}

// admit gives the call its slots, or refuses: the window is full.
func (w *window) admit(c *call) bool {
	want := min(len(c.msgs), max(len(w.slots)/share, 1))
	w.mu.Lock()
	defer w.mu.Unlock()
	take := min(want, len(w.free))
	if w.closed || take < min(want, crumb) {
		return false
	}
	from := len(w.free) - take
	c.held = append(c.held[:0], w.free[from:]...)
	c.own = append(c.own[:0], c.held...)
	w.free = w.free[:from]
	c.unsent, c.pending = len(c.msgs), 0
	return true
}

// arm puts the next messages of the call into its idle slots and leaves their reply subjects in
// c.tokens, each len(prefix)+tokenLen long. It returns the index of the first, how many, and how many
// messages of the call are not settled.
func (w *window) arm(c *call, prefix string) (first, n, open int) {
	c.tokens = c.tokens[:0]
	w.mu.Lock()
	defer w.mu.Unlock()
	n = min(len(c.own), c.unsent)
	first = len(c.msgs) - c.unsent
	for i, id := range c.own[:n] {
		s := &w.slots[id]
		s.gen++
		s.call, s.index = c, int32(first+i)
		c.tokens = append(c.tokens, prefix...)
		c.tokens = appendToken(c.tokens, id, s.gen)
	}
	c.own = append(c.own[:0], c.own[n:]...)
	c.unsent -= n
	c.pending += n
	return first, n, c.unsent + c.pending
}

// settle ends the use of a slot under the mutex. When the call has more to send, it keeps the slot.
func (w *window) settle(id uint32, r Result) {
	s := &w.slots[id]
	c := s.call
	s.call = nil
	c.results[s.index] = r
	c.pending--
	if c.unsent > 0 {
		c.own = append(c.own, id)
	} else {
		w.free = append(w.free, id)
	}
	if c.pending == 0 || c.unsent > 0 && 2*len(c.own) >= len(c.held) {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// acked settles the message that a token names, unless the slot was given up since.
func (w *window) acked(token string, self string, a *puback) {
	id, gen, ok := parseToken(token)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ok || int(id) >= len(w.slots) || w.slots[id].gen != gen || w.slots[id].call == nil {
		w.late.Add(1)
		return
	}
	s := &w.slots[id]
	w.settle(id, a.judge(&s.call.msgs[s.index], self))
}

// skip settles every unsent message of the call with r.
func (w *window) skip(c *call, r Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.skip(r)
}

// skip is called under the window's mutex.
func (c *call) skip(r Result) {
	for i := len(c.msgs) - c.unsent; i < len(c.msgs); i++ {
		c.results[i] = r
	}
	c.unsent = 0
}

// expire settles every message of the call that is in flight with r.
func (w *window) expire(c *call, r Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range c.held {
		if w.slots[id].call == c {
			w.settle(id, r)
		}
	}
}

// failOne settles one message of the call, if it is still in flight.
func (w *window) failOne(c *call, token string, r Result) {
	id, gen, ok := parseToken(token)
	w.mu.Lock()
	defer w.mu.Unlock()
	if ok && w.slots[id].gen == gen && w.slots[id].call == c {
		w.settle(id, r)
	}
}

// breakAll ends every call that has something in flight, for the connection broke: what was sent may be
// stored, and what was not must not follow over the next connection, where it would overtake it.
func (w *window) breakAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.slots {
		if c := w.slots[id].call; c != nil {
			c.broken.Store(true)
			c.skip(notLinked)
			w.settle(uint32(id), ackLost)
		}
	}
}

// leave returns the slots that the call kept. Nothing of the call may be in flight.
func (w *window) leave(c *call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = append(w.free, c.own...)
	c.own = c.own[:0]
}

// inFlight is how many slots are not free.
func (w *window) inFlight() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.slots) - len(w.free)
}

// close refuses every later call.
func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
}

// tokenLen is the length of a token: four hex digits of the slot, eight of its generation.
const (
	slotDigits = 4
	genDigits  = 8
	tokenLen   = slotDigits + genDigits
	maxWindow  = 1 << (4 * slotDigits)
)

func appendToken(b []byte, id, gen uint32) []byte {
	const digits = "0123456789abcdef"
	for shift := 4 * (slotDigits - 1); shift >= 0; shift -= 4 {
		b = append(b, digits[id>>shift&0xf])
	}
	for shift := 4 * (genDigits - 1); shift >= 0; shift -= 4 {
		b = append(b, digits[gen>>shift&0xf])
	}
	return b
}

func parseToken(s string) (id, gen uint32, ok bool) {
	if len(s) != tokenLen {
		return 0, 0, false
	}
	a, err1 := strconv.ParseUint(s[:slotDigits], 16, 32)
	b, err2 := strconv.ParseUint(s[slotDigits:], 16, 32)
	return uint32(a), uint32(b), err1 == nil && err2 == nil
}
