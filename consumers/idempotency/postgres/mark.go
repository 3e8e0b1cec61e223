package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

const (
	worthCopy = 8  // marks that are worth a COPY
	careful   = 16 // batches that are marked with care after one of which an event had been seen
)

// expectsCopies says whether the next batch should be marked with care, which costs more than marking it and less than
// marking it twice: copies come in crowds, after a restart.
func (s *Store) expectsCopies() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.copies == 0 {
		return false
	}
	s.copies--
	return true
}

func (s *Store) expectCopies() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copies = careful
}

// unmarked looks entries up in generations, writes the result of those that are marked and returns the others. LIMIT
// keeps the planner to one look into the indexes for each entry, whatever it believes of the tables' size.
func (a *attempt) unmarked(ctx context.Context, tx pgx.Tx, in []generation, indexes []int) (fresh []int, err error) {
	var byID, byPlace []string
	for _, g := range in {
		from := "(SELECT event_id, digest FROM " + a.s.schema + "." + g.table() + " WHERE "
		byID = append(byID, from+"event_id = u.id LIMIT 1)")
		byPlace = append(byPlace, from+"source = u.source AND user_id = u.usr AND source_epoch = u.epoch AND source_seq = u.seq LIMIT 1)")
	}
	c := a.columns(indexes)
	rows, err := tx.Query(ctx, `SELECT u.n, l.event_id, l.digest
		FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) WITH ORDINALITY u (id, source, usr, epoch, seq, n),
		LATERAL (`+strings.Join(append(byID, byPlace...), " UNION ALL ")+` LIMIT 1) l`, c.ids, c.sources, c.users, c.epochs, c.seqs)
	if err != nil {
		return nil, err
	}
	known := make([]bool, len(indexes))
	var n int
	var m idempotency.Mark
	var digest []byte
	_, err = pgx.ForEachRow(rows, []any{&n, &m.EventID, &digest}, func() error {
		copy(m.Digest[:], digest)
		i := indexes[n-1]
		known[n-1], a.results[i] = true, m.Against(&a.b.Entries[i])
		return nil
	})
	for k, i := range indexes {
		if !known[k] {
			fresh = append(fresh, i)
		}
	}
	return fresh, err
}

// sorted are indexes by event id: transactions with the same events then wait for each other and not in a circle.
func (a *attempt) sorted(indexes []int) []int {
	sorted := slices.Clone(indexes)
	slices.SortFunc(sorted, func(i, j int) int {
		return strings.Compare(a.b.Entries[i].EventID, a.b.Entries[j].EventID)
	})
	return sorted
}

// copyMarks inserts the marks of entries that nobody has seen before. One that somebody has, or is just marking, fails
// all of them with errSeen.
func (a *attempt) copyMarks(ctx context.Context, tx pgx.Tx, indexes []int) error {
	c := a.columns(a.sorted(indexes))
	_, err := tx.Conn().PgConn().CopyFrom(ctx, &copyReader{c: c}, fmt.Sprintf("COPY %s.%s (%s) FROM STDIN BINARY",
		a.s.schema, a.kept.open.table(), strings.Join(c.names(), ", ")))
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "23505" { // unique_violation
		return errSeen
	}
	return err
}

// mark inserts the marks of entries of which some may be seen already. Those get their result, the others are returned
// in their order.
func (a *attempt) mark(ctx context.Context, tx pgx.Tx, indexes []int) (marked []int, err error) {
	c := a.columns(a.sorted(indexes))
	rows, err := tx.Query(ctx, fmt.Sprintf("INSERT INTO %s.%s (%s) SELECT * FROM unnest(%s) ON CONFLICT DO NOTHING RETURNING event_id",
		a.s.schema, a.kept.open.table(), strings.Join(c.names(), ", "), c.parameters()), c.arrays()...)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(ids) == len(indexes) {
		return indexes, err
	}
	inserted := make(map[string]bool, len(ids))
	for _, id := range ids {
		inserted[id] = true
	}
	var lost []int
	for _, i := range indexes {
		if inserted[a.b.Entries[i].EventID] {
			marked = append(marked, i)
		} else {
			lost = append(lost, i)
		}
	}
	if gone, err := a.unmarked(ctx, tx, []generation{a.kept.open}, lost); err != nil || len(gone) > 0 {
		return nil, errors.Join(err, errVanished)
	}
	return marked, nil
}
