package postgres

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

// columns are entries as arrays, one for each column.
type columns struct {
	ids, sources, users, epochs, origins []string
	seqs                                 []*string
	digests                              [][]byte
	originSeqs                           []int64
	occurred, ingested                   []*time.Time
}

func (a *attempt) columns(indexes []int) *columns {
	c := &columns{}
	for _, i := range indexes {
		e := &a.b.Entries[i]
		c.ids, c.digests = append(c.ids, e.EventID), append(c.digests, e.Digest[:])
		c.sources, c.users = append(c.sources, e.Source), append(c.users, e.UserID)
		c.epochs, c.seqs = append(c.epochs, strconv.FormatUint(e.SourceEpoch, 10)), append(c.seqs, seq(e))
		c.origins, c.originSeqs = append(c.origins, e.Origin.String()), append(c.originSeqs, int64(e.OriginSeq)) //nolint:gosec // validated
		c.occurred, c.ingested = append(c.occurred, moment(e.OccurredAt)), append(c.ingested, moment(e.IngestedAt))
	}
	return c
}

func seq(e *idempotency.Entry) *string {
	if _, counts := e.Place(); !counts {
		return nil
	}
	s := strconv.FormatUint(e.SourceSeq, 10)
	return &s
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// unmarked looks entries up, writes the result of those that are marked and returns the others. LIMIT keeps the
// planner to one look into the indexes for each entry, whatever it believes of the tables' size.
func (a *attempt) unmarked(ctx context.Context, tx pgx.Tx, indexes []int) (fresh []int, err error) {
	c := a.columns(indexes)
	rows, err := tx.Query(ctx, `SELECT u.n, l.event_id, l.digest
		FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY u (id, source, usr, epoch, seq, n),
		LATERAL (
			(SELECT event_id, digest FROM `+a.s.schema+`.event_log WHERE event_id = u.id LIMIT 1)
			UNION ALL
			(SELECT event_id, digest FROM `+a.s.schema+`.event_log WHERE source = u.source AND user_id = u.usr
				AND source_epoch = u.epoch::numeric AND source_seq = u.seq::numeric LIMIT 1)
			LIMIT 1
		) l`, c.ids, c.sources, c.users, c.epochs, c.seqs)
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

// mark inserts the marks of entries that were not found. Those that another transaction inserted in the meantime
// get their result, the others are returned in their order. Rows go in by id, so that transactions with the same events
// wait for each other and not in a circle.
func (a *attempt) mark(ctx context.Context, tx pgx.Tx, indexes []int) (marked []int, err error) {
	sorted := slices.Clone(indexes)
	slices.SortFunc(sorted, func(i, j int) int {
		return strings.Compare(a.b.Entries[i].EventID, a.b.Entries[j].EventID)
	})
	c := a.columns(sorted)
	rows, err := tx.Query(ctx, `INSERT INTO `+a.s.schema+`.`+a.open.table()+` (generation, event_id, digest, source, user_id, source_epoch, source_seq,
			origin, origin_seq, occurred_at, ingested_at)
		SELECT $1::date, id, digest, source, usr, epoch::numeric, seq::numeric, origin, origin_seq, occurred, ingested
		FROM unnest($2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::timestamptz[], $11::timestamptz[])
			u (id, digest, source, usr, epoch, seq, origin, origin_seq, occurred, ingested)
		ON CONFLICT DO NOTHING RETURNING event_id`,
		a.open.Time, c.ids, c.digests, c.sources, c.users, c.epochs, c.seqs, c.origins, c.originSeqs, c.occurred, c.ingested)
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
	if gone, err := a.unmarked(ctx, tx, lost); err != nil || len(gone) > 0 {
		return nil, errors.Join(err, errVanished)
	}
	return marked, nil
}
