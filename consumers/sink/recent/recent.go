// Package recent remembers which events a target holds already, so that a sink does not write them again.
//
// The target itself is the record: a sink fills a Set from the end of what it wrote when it starts, and adds what it
// writes from then on. Nothing here is kept on disk. A Set is not safe for concurrent use.
package recent

import (
	"crypto/sha256"
	"hash/maphash"

	"github.com/weft-mesh/weft/streams/subject"
)

// Position is where an event was accepted: the same in all regions, and another one for every message.
type Position struct {
	Origin subject.Origin
	Seq    uint64
}

// Match says how an event stands to what the target holds.
type Match uint8

// The matches.
const (
	New   Match = iota // nothing of that id is remembered
	Again              // the same stored event, delivered once more
	Other              // another stored event of the same id: a copy, or a conflict. Its content tells
)

// Set remembers events by their ids. Ids are kept as 128 bits of their SHA-256, so memory does not depend on how long
// they are, and nobody can make two meet.
type Set struct {
	atLeast    int
	seed       maphash.Seed
	young, old map[key]mark
}

type key [16]byte

// mark is what is kept of an event: a hash of its position, and where the target has it.
type mark struct{ position, where uint64 }

// Bytes is about what one event costs: an entry of a map at the usual load.
const Bytes = 56

// NewSet returns a Set that remembers the last atLeast events that were added, and at most twice as many.
func NewSet(atLeast int) *Set {
	return &Set{atLeast: atLeast, seed: maphash.MakeSeed(), young: make(map[key]mark)}
}

// Add remembers an event; where is the caller's name for the place that has it.
func (s *Set) Add(id string, p Position, where uint64) {
	if len(s.young) >= s.atLeast {
		s.old, s.young = s.young, make(map[key]mark, s.atLeast)
	}
	s.young[keyOf(id)] = mark{position: maphash.Comparable(s.seed, p), where: where}
}

// Find says how an event stands to what is remembered; where is the place of the remembered one.
func (s *Set) Find(id string, p Position) (m Match, where uint64) {
	k := keyOf(id)
	found, ok := s.young[k]
	if !ok {
		found, ok = s.old[k]
	}
	switch {
	case !ok:
		return New, 0
	case found.position == maphash.Comparable(s.seed, p):
		return Again, found.where
	default:
		return Other, found.where
	}
}

// Len is how many events are remembered; one that was added twice may count twice.
func (s *Set) Len() int { return len(s.young) + len(s.old) }

func keyOf(id string) key {
	sum := sha256.Sum256([]byte(id))
	return key(sum[:16])
}
