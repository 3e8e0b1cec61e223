package postgres

import (
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

// columns are rows of event_log as arrays, one for each column.
type columns struct {
	generations         []time.Time
	ids, sources, users []string
	epochs, seqs        []pgtype.Numeric
	origins             []string
	digests             [][]byte
	originSeqs          []int64
	occurred, ingested  []*time.Time
	recorded            bool // the columns below are there as well
	topics, types       []string
	events              [][]byte
	scratch             []any
}

// columns are the rows of entries.
func (a *attempt) columns(indexes []int) *columns {
	n := len(indexes)
	c := &columns{
		generations: make([]time.Time, n), ids: make([]string, n), sources: make([]string, n), users: make([]string, n),
		epochs: make([]pgtype.Numeric, n), seqs: make([]pgtype.Numeric, n), origins: make([]string, n), digests: make([][]byte, n),
		originSeqs: make([]int64, n), occurred: make([]*time.Time, n), ingested: make([]*time.Time, n), recorded: a.records != nil,
	}
	for k, i := range indexes {
		e := &a.b.Entries[i]
		c.generations[k], c.ids[k], c.digests[k], c.sources[k], c.users[k] = a.kept.open.Time, e.EventID, e.Digest[:], e.Source, e.UserID
		c.epochs[k], c.seqs[k] = numeric(e.SourceEpoch), seq(e)
		c.origins[k], c.originSeqs[k] = e.Origin.String(), int64(e.OriginSeq) //nolint:gosec // validated
		c.occurred[k], c.ingested[k] = moment(e.OccurredAt), moment(e.IngestedAt)
	}
	if c.recorded {
		c.topics, c.types, c.events = make([]string, n), make([]string, n), make([][]byte, n)
		for k, i := range indexes {
			r := &a.records[i]
			c.topics[k], c.types[k], c.events[k] = r.Topic, r.Type, r.Event
		}
	}
	return c
}

// names are the columns' own, in the order of arrays and row.
func (c *columns) names() []string {
	names := []string{"generation", "event_id", "digest", "source", "user_id", "source_epoch", "source_seq", "origin", "origin_seq", "occurred_at", "ingested_at"}
	if c.recorded {
		names = append(names, "topic", "event_type", "event")
	}
	return names
}

// parameters are placeholders of the arrays, with their types.
func (c *columns) parameters() string {
	types := []string{"date", "text", "bytea", "text", "text", "numeric", "numeric", "text", "bigint", "timestamptz", "timestamptz"}
	if c.recorded {
		types = append(types, "text", "text", "json")
	}
	for i, t := range types {
		types[i] = fmt.Sprintf("$%d::%s[]", i+1, t)
	}
	return strings.Join(types, ", ")
}

func (c *columns) arrays() []any {
	all := []any{c.generations, c.ids, c.digests, c.sources, c.users, c.epochs, c.seqs, c.origins, c.originSeqs, c.occurred, c.ingested}
	if c.recorded {
		all = append(all, c.topics, c.types, c.events)
	}
	return all
}

// row is one row; it is valid until the next one is asked for.
func (c *columns) row(k int) ([]any, error) {
	c.scratch = append(c.scratch[:0], c.generations[k], c.ids[k], c.digests[k], c.sources[k], c.users[k], c.epochs[k], c.seqs[k],
		c.origins[k], c.originSeqs[k], c.occurred[k], c.ingested[k])
	if c.recorded {
		c.scratch = append(c.scratch, c.topics[k], c.types[k], c.events[k])
	}
	return c.scratch, nil
}

func numeric(n uint64) pgtype.Numeric {
	return pgtype.Numeric{Int: new(big.Int).SetUint64(n), Valid: true}
}

// seq is NULL for an event without a place.
func seq(e *idempotency.Entry) pgtype.Numeric {
	if _, counts := e.Place(); !counts {
		return pgtype.Numeric{}
	}
	return numeric(e.SourceSeq)
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
