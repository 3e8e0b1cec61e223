package guard

import (
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
)

// entry is one request on its way into the journal.
type entry struct {
	tenant string
	key    Key
}

// Group is the requests that are journaled with one message. Many requests hold the same one.
type Group struct {
	entries []entry
	done    chan struct{}
	stored  bool // set before done is closed
}

// Settled is a group whose fate is known, for whoever plays a Guard.
func Settled(stored bool) *Group {
	g := &Group{done: make(chan struct{})}
	g.settle(stored)
	return g
}

// Stored waits until the journal has acknowledged the group, or has not in time, and says which.
func (g *Group) Stored() bool {
	<-g.done
	return g.stored
}

func (g *Group) settle(stored bool) {
	g.stored = stored
	close(g.done)
}

// A message of the journal:
//
//	1 byte    version
//	8 bytes   the process that wrote it
//	16 bytes  when, in nanoseconds by two clocks of that process; they mean nothing to others
//	sections  of one tenant each: length and name, number of keys, keys; lengths are uvarints
const (
	version    = 1
	headLength = 25
)

// head is how a relay knows its own groups.
type head struct {
	process uint64
	sent    moment
}

// appendMessage appends the message of some entries, which it sorts.
func appendMessage(b []byte, h head, entries []entry) []byte {
	b = append(b, version)
	b = binary.LittleEndian.AppendUint64(b, h.process)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.sent.since))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.sent.wall))
	slices.SortStableFunc(entries, func(x, y entry) int { return strings.Compare(x.tenant, y.tenant) })
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].tenant == entries[0].tenant {
			n++
		}
		b = binary.AppendUvarint(b, uint64(len(entries[0].tenant)))
		b = append(b, entries[0].tenant...)
		b = binary.AppendUvarint(b, uint64(n))
		for i := range n {
			b = append(b, entries[i].key[:]...)
		}
		entries = entries[n:]
	}
	return b
}

// readMessage hands every section of a message to take: a tenant and its keys, one after the other. What is before
// a flaw has been taken when it returns an error.
func readMessage(b []byte, take func(tenant string, keys []byte)) (head, error) {
	bad := func(what string) (head, error) {
		return head{}, fault.New("guard.read", fault.Invalid, "group_malformed", "a group of request ids %s", what)
	}
	if len(b) < headLength {
		return bad("is too short")
	}
	if b[0] != version {
		return bad("is of a version that this program does not know")
	}
	h := head{process: binary.LittleEndian.Uint64(b[1:]), sent: moment{
		since: time.Duration(binary.LittleEndian.Uint64(b[9:])), wall: time.Duration(binary.LittleEndian.Uint64(b[17:])),
	}}
	for b = b[headLength:]; len(b) > 0; {
		length, w := binary.Uvarint(b)
		if w <= 0 || length > accounts.MaxName || uint64(len(b)-w) < length {
			return bad("names no tenant")
		}
		tenant := string(b[w : w+int(length)])
		b = b[w+int(length):]
		n, w := binary.Uvarint(b)
		if !accounts.ValidName(tenant) || w <= 0 || n == 0 || n > uint64(len(b)-w)/uint64(len(Key{})) {
			return bad("ends early")
		}
		size := int(n) * len(Key{})
		take(tenant, b[w:w+size])
		b = b[w+size:]
	}
	return h, nil
}

// queue is the entries that wait for the next group.
type queue struct {
	mu     sync.Mutex
	open   *Group  // nil while none waits
	spare  []entry // of a group that was sent
	closed bool
}

// maxGroup is the most entries of a message: 256 KiB of keys.
const maxGroup = 16 << 10

// push adds an entry; nil says that there is no place.
func (q *queue) push(e entry) (g *Group, first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.open != nil && len(q.open.entries) >= maxGroup {
		return nil, false
	}
	if q.open == nil {
		q.open, first = &Group{entries: q.spare, done: make(chan struct{})}, true
		q.spare = nil
	}
	q.open.entries = append(q.open.entries, e)
	return q.open, first
}

// take empties the queue; nil when nothing waits.
func (q *queue) take() *Group {
	q.mu.Lock()
	defer q.mu.Unlock()
	g := q.open
	q.open = nil
	return g
}

// reuse takes the room of entries that nobody needs any more.
func (q *queue) reuse(entries []entry) {
	q.mu.Lock()
	q.spare = entries[:0]
	q.mu.Unlock()
}

// close refuses what comes later and returns what waits.
func (q *queue) close() *Group {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	return q.take()
}
