package postgres_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/consumers/postgrestest"
)

const benchBatch, benchBatches = 1000, 10

// BenchmarkAgainstInserts alternates what the store costs with plain batched inserts of the same rows into a table with
// a primary key and nothing else, in transactions of 1,000 events of 500 bytes. The ratios are of rates: append/insert
// for the log that keeps the events, apply/insert for marks alone against rows of the same columns; "copy" is COPY into
// the plain table. closed is how many closed generations are looked into, each as large as what a round writes.
func BenchmarkAgainstInserts(b *testing.B) {
	for _, closed := range []int{0, 2} {
		b.Run(fmt.Sprint("closed=", closed), func(b *testing.B) {
			pool, err := pgxpool.New(b.Context(), postgrestest.Database(b))
			if err != nil {
				b.Fatal(err)
			}
			defer pool.Close()
			s := newSubjects(b, pool)
			for range closed {
				s.run("append")
				s.turn()
			}
			took := map[string]time.Duration{}
			for range b.N {
				for _, what := range []string{"insert", "append", "copy", "insert-marks", "apply"} {
					took[what] += s.run(what)
				}
			}
			rate := func(what string) float64 { return float64(b.N*benchBatch*benchBatches) / took[what].Seconds() }
			b.ReportMetric(rate("append")/rate("insert"), "append/insert")
			b.ReportMetric(rate("append")/rate("copy"), "append/copy")
			b.ReportMetric(rate("apply")/rate("insert-marks"), "apply/insert")
			b.ReportMetric(rate("append"), "append-events/s")
			b.ReportMetric(rate("insert"), "insert-events/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// subjects are the tables that are compared.
type subjects struct {
	b    *testing.B
	pool *pgxpool.Pool
	log  *postgres.Store // keeps events
	mark *postgres.Store // keeps marks alone
	day  time.Time
	n    int
}

func newSubjects(b *testing.B, pool *pgxpool.Pool) *subjects {
	s := &subjects{b: b, pool: pool, day: time.Now().UTC().Truncate(24 * time.Hour)} // on which Open opens the first generation
	for schema, store := range map[string]**postgres.Store{"log": &s.log, "mark": &s.mark} {
		var err error
		if *store, err = postgres.Open(b.Context(), postgres.Options{DB: pool, Schema: schema}); err != nil {
			b.Fatal(err)
		}
		(*store).Today(func() time.Time { return s.day })
	}
	const columns = `event_id text PRIMARY KEY, digest bytea NOT NULL, source text NOT NULL, user_id text NOT NULL, source_epoch bigint NOT NULL,
		source_seq bigint, origin text NOT NULL, origin_seq bigint NOT NULL, occurred_at timestamptz, ingested_at timestamptz`
	if _, err := pool.Exec(b.Context(), `CREATE TABLE plain (`+columns+`, topic text, event_type text, event json); CREATE TABLE plain_mark (`+columns+`)`); err != nil {
		b.Fatal(err)
	}
	return s
}

func (s *subjects) turn() { s.day = s.day.AddDate(0, 0, 1) }

// run writes new events in one of the ways and tells how long it took.
func (s *subjects) run(what string) time.Duration {
	var batches [][]idempotency.Entry
	var records [][]postgres.Record
	for range benchBatches {
		e, r := s.events()
		batches, records = append(batches, e), append(records, r)
	}
	write := map[string]func([]idempotency.Entry, []postgres.Record) error{
		"append": s.append, "apply": s.apply, "copy": s.copy,
		"insert":       func(e []idempotency.Entry, r []postgres.Record) error { return s.insert("plain", e, r) },
		"insert-marks": func(e []idempotency.Entry, _ []postgres.Record) error { return s.insert("plain_mark", e, nil) },
	}[what]
	start := time.Now()
	for i := range batches {
		if err := write(batches[i], records[i]); err != nil {
			s.b.Fatal(what, err)
		}
	}
	return time.Since(start)
}

// events are new ones, with ids of no order.
func (s *subjects) events() ([]idempotency.Entry, []postgres.Record) {
	entries, records := make([]idempotency.Entry, benchBatch), make([]postgres.Record, benchBatch)
	for i := range entries {
		s.n++
		at := time.Date(2026, 1, 31, 12, 0, 0, s.n*1000, time.UTC)
		e := idempotency.Entry{EventID: rand.Text(), Source: "wallet", UserID: fmt.Sprint("user-", s.n%5000), SourceSeq: uint64(s.n), HasSourceSeq: true, //nolint:gosec // small
			OriginSeq: uint64(s.n), OccurredAt: at, IngestedAt: at} //nolint:gosec // small
		e.Origin.Region, e.Origin.Epoch = "eu", 1
		_, _ = rand.Read(e.Digest[:])
		entries[i] = e
		records[i] = postgres.Record{Topic: "bets", Type: "bet.placed", Event: fmt.Appendf(nil, `{"event_id":%q,"event_type":"bet.placed","payload":{"amount":%d,"note":"%0400d"}}`, e.EventID, s.n, s.n)}
	}
	return entries, records
}

func (s *subjects) append(entries []idempotency.Entry, records []postgres.Record) error {
	return applied(s.log.Append(s.b.Context(), idempotency.Batch{Entries: entries}, records))
}

func (s *subjects) apply(entries []idempotency.Entry, _ []postgres.Record) error {
	return applied(s.mark.Apply(s.b.Context(), idempotency.Batch{Entries: entries}, func(context.Context, pgx.Tx, []int) error { return nil }))
}

func applied(results []idempotency.Result, err error) error {
	if err == nil && outcomes(results)["applied"] != len(results) {
		err = fmt.Errorf("not all are applied: %v", outcomes(results))
	}
	return err
}

func (s *subjects) columns(entries []idempotency.Entry, records []postgres.Record) (names []string, arrays []any) {
	n := len(entries)
	ids, digests, sources, users, epochs, seqs := make([]string, n), make([][]byte, n), make([]string, n), make([]string, n), make([]int64, n), make([]int64, n)
	origins, originSeqs, occurred, ingested := make([]string, n), make([]int64, n), make([]time.Time, n), make([]time.Time, n)
	topics, types, events := make([]string, n), make([]string, n), make([][]byte, n)
	for i := range entries {
		e := &entries[i]
		ids[i], digests[i], sources[i], users[i], epochs[i], seqs[i] = e.EventID, e.Digest[:], e.Source, e.UserID, int64(e.SourceEpoch), int64(e.SourceSeq) //nolint:gosec // small
		origins[i], originSeqs[i], occurred[i], ingested[i] = e.Origin.String(), int64(e.OriginSeq), e.OccurredAt, e.IngestedAt                             //nolint:gosec // small
		if records != nil {
			topics[i], types[i], events[i] = records[i].Topic, records[i].Type, records[i].Event
		}
	}
	names = []string{"event_id", "digest", "source", "user_id", "source_epoch", "source_seq", "origin", "origin_seq", "occurred_at", "ingested_at"}
	arrays = []any{ids, digests, sources, users, epochs, seqs, origins, originSeqs, occurred, ingested}
	if records != nil {
		names, arrays = append(names, "topic", "event_type", "event"), append(arrays, topics, types, events)
	}
	return names, arrays
}

// insert is what one writes by hand: a batch as arrays, one statement, one transaction.
func (s *subjects) insert(table string, entries []idempotency.Entry, records []postgres.Record) error {
	_, arrays := s.columns(entries, records)
	parameters := "$1::text[], $2::bytea[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::timestamptz[], $10::timestamptz[]"
	if records != nil {
		parameters += ", $11::text[], $12::text[], $13::json[]"
	}
	return pgx.BeginFunc(s.b.Context(), s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(s.b.Context(), "INSERT INTO "+table+" SELECT * FROM unnest("+parameters+")", arrays...)
		return err
	})
}

func (s *subjects) copy(entries []idempotency.Entry, records []postgres.Record) error {
	names, _ := s.columns(nil, records[:0])
	return pgx.BeginFunc(s.b.Context(), s.pool, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(s.b.Context(), pgx.Identifier{"plain"}, names, pgx.CopyFromSlice(len(entries), func(i int) ([]any, error) {
			e, r := &entries[i], &records[i]
			return []any{e.EventID, e.Digest[:], e.Source, e.UserID, int64(e.SourceEpoch), int64(e.SourceSeq), e.Origin.String(), int64(e.OriginSeq), //nolint:gosec // small
				e.OccurredAt, e.IngestedAt, r.Topic, r.Type, r.Event}, nil
		}))
		return err
	})
}
