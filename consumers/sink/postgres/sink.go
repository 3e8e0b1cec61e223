package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/consumers/once"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/consumers/sink"
	"github.com/weft-mesh/weft/streams/fault"
)

// Sink writes events into a schema of a database.
type Sink struct {
	o       Options
	pool    *pgxpool.Pool
	store   *postgres.Store
	metrics *sink.Metrics
}

// Open connects to the database and makes or upgrades the schema.
func Open(ctx context.Context, o Options) (*Sink, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(string(o.URL))
	if err != nil { // its text may show parts of the URL
		return nil, fault.New(opOpen, fault.Invalid, "invalid_url", "the URL of the database cannot be read: postgres://user:password@host:port/database?sslmode=verify-full")
	}
	config.MaxConns = int32(o.Workers) + 1 //nolint:gosec // at most 64
	if _, named := config.ConnConfig.RuntimeParams["application_name"]; !named {
		config.ConnConfig.RuntimeParams["application_name"] = "weft"
	}
	s := &Sink{o: o}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fault.Wrap(opOpen, fault.Unavailable, err)
	}
	if s.store, err = postgres.Open(ctx, o.store(s.pool)); err != nil {
		s.pool.Close()
		return nil, fault.Wrap(opOpen, fault.KindOf(err), err)
	}
	if s.metrics, err = sink.NewMetrics(o.Registerer, "postgres"); err != nil {
		s.pool.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the connections. Nothing may be written meanwhile.
func (s *Sink) Close() error {
	s.metrics.Close()
	s.pool.Close()
	return nil
}

// Run writes what a subscription delivers until ctx ends.
func (s *Sink) Run(ctx context.Context, sub *consumers.Subscription) error {
	return sub.RunBatches(ctx, consumers.Batching{Most: s.o.Batch, Linger: s.o.Linger}, s.HandleBatch)
}

// HandleBatch writes events in one transaction. The events' own errors are consumers.BatchErrors; any other one is a
// fault of kind Unavailable, and may mean that they are written.
func (s *Sink) HandleBatch(ctx context.Context, ms []*consumers.Message) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	start := time.Now()
	b := once.Read(ms)
	records, size := make([]postgres.Record, len(b.Messages)), 0
	for i, m := range b.Messages {
		records[i] = postgres.Record{Topic: m.Subject.Topic, Type: m.Subject.Type, Event: m.Raw}
		size += len(m.Raw)
	}
	results, err := s.store.Append(ctx, idempotency.Batch{Entries: b.Entries}, records)
	if err != nil {
		err = &fault.Error{Op: opWrite, Kind: fault.Unavailable, Code: fault.CodeOf(err), Detail: "the batch is not known to be written", Err: err}
		s.metrics.Failed(retry.Classify(err))
		return err
	}
	s.metrics.Wrote(len(results), size, time.Since(start))
	s.count(len(ms)-len(results), results)
	return b.Errors(results)
}

// count counts the outcomes.
func (s *Sink) count(unreadable int, results []idempotency.Result) {
	var n [idempotency.Failed + 1]int
	n[idempotency.Failed] = unreadable
	for _, r := range results {
		n[r.Outcome]++
	}
	s.metrics.Count(sink.Delivered, n[idempotency.Applied])
	s.metrics.Count(sink.Duplicate, n[idempotency.Duplicate])
	s.metrics.Count(sink.Conflict, n[idempotency.Conflict])
	s.metrics.Count(sink.Refused, n[idempotency.Failed]) // nothing but its data keeps an event out
}
