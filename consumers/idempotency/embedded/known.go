package embedded

import (
	"bytes"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/internal/filter"
)

// known is what is remembered of a generation's marks, so that most look-ups in it need not be made. What was there
// when the store was opened is learned piece by piece; until then look-ups are made.
type known struct {
	set      *filter.Set
	complete bool
	next     []byte // key to go on from
}

// piece is how many keys are learned with each batch.
const piece = 10_000

// may says whether an entry can have a mark in the generation.
func (k *known) may(has bool) bool { return !k.complete || has }

// remember begins what is known of the generations that are new here, and forgets those that are gone.
func (s *Store) remember() {
	kept := make(map[uint64]*known, len(s.generations))
	for _, g := range s.generations {
		k := s.known[g.n]
		if k == nil {
			k = &known{set: filter.New(), complete: g.marks == 0, next: number([]byte{spaceID}, g.n)}
		}
		kept[g.n] = k
	}
	s.known = kept
}

// learn reads a piece of a generation that is not known completely.
func (s *Store) learn() error {
	for _, g := range s.generations {
		if k := s.known[g.n]; !k.complete {
			return k.learn(s.db, g.n, s.piece)
		}
	}
	return nil
}

func (k *known) learn(db *pebble.DB, generation uint64, piece int) error {
	prefix := number([]byte{k.next[0]}, generation)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: k.next, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	n := 0
	for it.First(); it.Valid() && n < piece; it.Next() {
		k.add(k.next[0], it.Key()[len(prefix):])
		n++
	}
	switch {
	case it.Valid():
		k.next = append([]byte(nil), it.Key()...)
	case it.Error() != nil:
	case prefix[0] == spaceID:
		k.next = number([]byte{spacePlace}, generation)
	default:
		k.complete = true
	}
	return it.Close()
}

// add remembers the key of a mark.
func (k *known) add(space byte, rest []byte) {
	if space == spaceID {
		k.set.AddID(string(rest))
		return
	}
	source, rest, _ := bytes.Cut(rest, []byte{0})
	user, rest, _ := bytes.Cut(rest, []byte{0})
	k.set.AddPlace(idempotency.Place{Source: string(source), UserID: string(user), Epoch: binary.BigEndian.Uint64(rest), Seq: binary.BigEndian.Uint64(rest[8:])})
}
