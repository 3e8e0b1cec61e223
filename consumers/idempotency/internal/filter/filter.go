// Package filter remembers which marks there are, in a few bytes of memory for each, so that stores need not look for
// those of events that nobody has seen: nearly all.
//
// Both stores use it. A Set belongs to whoever holds the lock that guards it.
package filter

import (
	"hash/maphash"
	"math/bits"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

// A Set is a split block Bloom filter (Apache Parquet's specification, "Bloom Filter", with words of 64 bits): each mark
// sets one bit in each word of one block, so a look touches one line of the cache. It grows by parts, each twice as
// large as the one before.
type Set struct {
	seed  maphash.Seed
	parts []part
}

type part struct {
	blocks []block
	room   int // marks that are still to go into it
}

type block [8]uint64

const (
	firstBlocks   = 1 << 6
	marksPerBlock = 40 // of 512 bits: about one look in 200 finds what is not there
)

// New returns an empty set.
func New() *Set { return &Set{seed: maphash.MakeSeed()} }

// Add remembers an entry's id, and its place if it has one.
func (s *Set) Add(e *idempotency.Entry) {
	s.AddID(e.EventID)
	if place, counts := e.Place(); counts {
		s.AddPlace(place)
	}
}

// Has says whether an entry's id or place may have been added: false is certain.
func (s *Set) Has(e *idempotency.Entry) bool {
	if s.HasID(e.EventID) {
		return true
	}
	place, counts := e.Place()
	return counts && s.HasPlace(place)
}

// AddID remembers an id.
func (s *Set) AddID(id string) { s.add(maphash.String(s.seed, id)) }

// AddPlace remembers a place.
func (s *Set) AddPlace(p idempotency.Place) { s.add(maphash.Comparable(s.seed, p)) }

// HasID says whether an id may have been added: false is certain.
func (s *Set) HasID(id string) bool { return s.has(maphash.String(s.seed, id)) }

// HasPlace says whether a place may have been added: false is certain.
func (s *Set) HasPlace(p idempotency.Place) bool { return s.has(maphash.Comparable(s.seed, p)) }

func (s *Set) add(h uint64) {
	last := len(s.parts) - 1
	if last < 0 || s.parts[last].room == 0 {
		n := firstBlocks << len(s.parts)
		s.parts = append(s.parts, part{blocks: make([]block, n), room: n * marksPerBlock})
		last++
	}
	p := &s.parts[last]
	p.room--
	b, mask := p.at(h), bitsOf(h)
	for i := range b {
		b[i] |= mask[i]
	}
}

func (s *Set) has(h uint64) bool {
	mask := bitsOf(h)
	for i := len(s.parts) - 1; i >= 0; i-- {
		if s.parts[i].at(h).holds(&mask) {
			return true
		}
	}
	return false
}

// at is the block of a hash.
func (p *part) at(h uint64) *block {
	i, _ := bits.Mul64(h, uint64(len(p.blocks)))
	return &p.blocks[i]
}

func (b *block) holds(mask *block) bool {
	for i := range b {
		if b[i]&mask[i] == 0 {
			return false
		}
	}
	return true
}

// bitsOf chooses a bit of each word by what the choice of the block leaves of a hash.
func bitsOf(h uint64) (mask block) {
	h *= 0x9e3779b97f4a7c15 // 2^64 by the golden ratio: the lower bits reach the upper ones
	for i := range mask {
		mask[i] = 1 << (h >> (64 - 6) & 63)
		h <<= 6
	}
	return mask
}
