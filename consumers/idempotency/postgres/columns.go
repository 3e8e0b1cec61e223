package postgres

import (
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

// columns are rows of event_log as arrays, one for each column.
type columns struct {
	generations         []time.Time
	ids, sources, users []string
	epochs              []int64
	seqs                []*int64
	origins             []string
	digests             [][]byte
	originSeqs          []int64
	occurred, ingested  []*time.Time
	recorded            bool // the columns below are there as well
	topics, types       []string
	events              [][]byte
}

// columns are the rows of entries.
func (a *attempt) columns(indexes []int) *columns {
	n := len(indexes)
	c := &columns{
		generations: make([]time.Time, n), ids: make([]string, n), sources: make([]string, n), users: make([]string, n),
		epochs: make([]int64, n), seqs: make([]*int64, n), origins: make([]string, n), digests: make([][]byte, n),
		originSeqs: make([]int64, n), occurred: make([]*time.Time, n), ingested: make([]*time.Time, n), recorded: a.records != nil,
	}
	for k, i := range indexes {
		e := &a.b.Entries[i]
		c.generations[k], c.ids[k], c.digests[k], c.sources[k], c.users[k] = a.kept.open.Time, e.EventID, e.Digest[:], e.Source, e.UserID
		c.epochs[k], c.seqs[k] = int64(e.SourceEpoch), seq(e)                 //nolint:gosec // as 0001_event_log.sql says
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

// names are the columns' own, in the order of arrays and of copyReader.
func (c *columns) names() []string {
	names := []string{"generation", "event_id", "digest", "source", "user_id", "source_epoch", "source_seq", "origin", "origin_seq", "occurred_at", "ingested_at"}
	if c.recorded {
		names = append(names, "topic", "event_type", "event")
	}
	return names
}

// parameters are placeholders of the arrays, with their types.
func (c *columns) parameters() string {
	types := []string{"date", "text", "bytea", "text", "text", "bigint", "bigint", "text", "bigint", "timestamptz", "timestamptz"}
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

// seq is NULL for an event without a place.
func seq(e *idempotency.Entry) *int64 {
	if _, counts := e.Place(); !counts {
		return nil
	}
	n := int64(e.SourceSeq) //nolint:gosec // as 0001_event_log.sql says
	return &n
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
