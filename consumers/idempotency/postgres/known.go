package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/internal/filter"
)

// known is what is remembered of a closed generation's marks, so that nearly no event has to be looked up in it. It is
// learned piece by piece, and used when it is complete.
type known struct {
	set      *filter.Set
	complete bool
	after    string // the last id that was learned
	n        int
}

const (
	piece    = 5000       // marks that are learned after a batch
	mostKept = 20_000_000 // marks that are remembered of a generation, in 60 MB; a larger one is looked into
)

// mayBeIn divides entries into those that may have a mark in one of the generations and those that have none.
func (s *Store) mayBeIn(closed []generation, entries []idempotency.Entry, indexes []int) (maybe, fresh []int) {
	if len(closed) == 0 {
		return nil, indexes
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maybe, fresh = make([]int, 0, len(indexes)), make([]int, 0, len(indexes))
	for _, i := range indexes {
		in := false
		for _, g := range closed {
			k := s.known[g.Unix()]
			if in = k == nil || !k.complete || k.set.Has(&entries[i]); in {
				break
			}
		}
		if in {
			maybe = append(maybe, i)
		} else {
			fresh = append(fresh, i)
		}
	}
	return maybe, fresh
}

// learn reads a piece of a closed generation that is not known completely, and forgets those that are no more. One
// caller at a time does it. A failure costs no more than the look-ups that it would have saved.
func (s *Store) learn(ctx context.Context, closed []generation) {
	if !s.learning.TryLock() {
		return
	}
	defer s.learning.Unlock()
	g, k := s.unknown(closed)
	if k == nil {
		return
	}
	ids, places, err := s.marks(ctx, g, k.after)
	if err != nil {
		s.log.Debug("a generation is not learned", zap.String("schema", s.schema), zap.Error(err))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		k.set.AddID(id)
	}
	for _, p := range places {
		k.set.AddPlace(p)
	}
	if k.n += len(ids); len(ids) > 0 {
		k.after = ids[len(ids)-1]
	}
	k.complete = len(ids) < s.piece
}

// unknown is the first generation of which more is to be learned.
func (s *Store) unknown(closed []generation) (generation, *known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := make(map[int64]*known, len(closed))
	var next generation
	var first *known
	for _, g := range closed {
		k := s.known[g.Unix()]
		if k == nil {
			k = &known{set: filter.New()}
		}
		if kept[g.Unix()] = k; first == nil && !k.complete && k.n < mostKept {
			next, first = g, k
		}
	}
	s.known = kept
	return next, first
}

// marks reads the ids that follow one, and the places of their events.
func (s *Store) marks(ctx context.Context, g generation, after string) (ids []string, places []idempotency.Place, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT event_id, source, user_id, source_epoch, source_seq FROM "+s.schema+"."+g.table()+
			" WHERE event_id > $1 ORDER BY event_id LIMIT $2", after, s.piece)
		if err != nil {
			return err
		}
		var id, source, user string
		var epoch int64
		var seq *int64
		_, err = pgx.ForEachRow(rows, []any{&id, &source, &user, &epoch, &seq}, func() error {
			ids = append(ids, id)
			if seq != nil {
				places = append(places, idempotency.Place{Source: source, UserID: user, Epoch: uint64(epoch), Seq: uint64(*seq)}) //nolint:gosec // as they were written
			}
			return nil
		})
		return err
	})
	return ids, places, err
}
