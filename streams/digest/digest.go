// Package digest describes sets of events so compactly that two regions can compare what they hold: one sum for
// each bucket of time, the same whatever the order in which the events arrived.
//
// The hub of each region keeps one Index for each tenant that another region has too, and the hubs compare
// them. An Index takes about 150 B of memory for each bucket, that is 1.5 MB for seven days of minutes in
// which there was traffic, times the number of ttls in use; it does not grow with the number of events.
//
// # Concurrency
//
// An Index has one user at a time. Everything else is pure.
package digest

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"time"
)

// Hash stands for an event id: the first 128 bits of its SHA-256. Regions send hashes instead of ids because
// they are short and of one length.
type Hash [16]byte

// Of hashes an event id.
func Of(id string) Hash {
	full := sha256.Sum256([]byte(id))
	return Hash(full[:16])
}

// Sum is the sum of the hashes of a multiset, modulo 2^128, and how many they are. It does not depend on the
// order, and unlike an exclusive or it tells two copies of an event from none. Whoever may choose ids
// could make two different sets with one sum, and would hide from repair events of his own only.
type Sum struct {
	Hi    uint64 `json:"hi"`
	Lo    uint64 `json:"lo"`
	Count uint64 `json:"n"`
}

// Add counts one event in.
func (s *Sum) Add(h Hash) {
	s.Merge(Sum{Hi: binary.BigEndian.Uint64(h[:8]), Lo: binary.BigEndian.Uint64(h[8:]), Count: 1})
}

// Merge counts in everything that another sum counted.
func (s *Sum) Merge(o Sum) {
	var carry uint64
	s.Lo, carry = bits.Add64(s.Lo, o.Lo, 0)
	s.Hi, _ = bits.Add64(s.Hi, o.Hi, carry)
	s.Count += o.Count
}

// Key names a bucket: events that relays accepted in one slot of time and that live equally long.
// Over a span of several slots it names all of them by the first.
type Key struct {
	TTL  int64 `json:"ttl,omitempty"` // seconds; 0: as long as the stream keeps events
	Slot int64 `json:"slot"`          // time since 1970 divided by the bucket's width
}

// Spanned is the key of the span of slots in which k lies.
func (k Key) Spanned(slots int64) Key {
	n := k.Slot / slots
	if k.Slot%slots < 0 {
		n--
	}
	return Key{TTL: k.TTL, Slot: n * slots}
}

// Compare orders keys by time, oldest first.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Slot, o.Slot), cmp.Compare(k.TTL, o.TTL))
}

// KeyOf is the bucket of an event.
func KeyOf(ttl time.Duration, accepted time.Time, width time.Duration) Key {
	k := Key{TTL: int64(ttl / time.Second), Slot: accepted.UnixNano() / int64(width)}
	if accepted.UnixNano()%int64(width) < 0 {
		k.Slot--
	}
	return k
}

// MaxSlots is how many slots back buckets are kept and compared: ten weeks of minutes.
const MaxSlots = 100_000

// Window says which buckets two regions may compare. The one that asks makes it, and both use it.
type Window struct {
	Now    time.Time     `json:"now"`
	After  time.Duration `json:"after"`             // age from which events are compared, and the distance kept to their end
	MaxAge time.Duration `json:"max_age,omitempty"` // of the stream of the region that asks; 0: events are kept for ever
	Width  time.Duration `json:"width"`             // of a slot
}

// Settled says that a bucket ended long enough ago for its events to have arrived.
func (w Window) Settled(k Key) bool {
	return !w.start(k).Add(w.Width + w.After).After(w.Now)
}

// Kept says that no event of a bucket is about to expire on any side.
func (w Window) Kept(k Key) bool {
	life := time.Duration(k.TTL) * time.Second
	if w.MaxAge > 0 && (life == 0 || life > w.MaxAge) {
		life = w.MaxAge
	}
	if k.Slot < w.oldest() {
		return false
	}
	return life == 0 || w.start(k).Add(life-w.After).After(w.Now)
}

// Comparable says that what one region has in a bucket the other should have too.
func (w Window) Comparable(k Key) bool { return w.Settled(k) && w.Kept(k) }

// Span is the time that a bucket covers.
func (w Window) Span(k Key) (from, to time.Time) { return w.start(k), w.start(k).Add(w.Width) }

func (w Window) start(k Key) time.Time { return time.Unix(0, k.Slot*int64(w.Width)).UTC() }

func (w Window) oldest() int64 { return w.Now.UnixNano()/int64(w.Width) - MaxSlots }
