package postgres

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	opOpen  = "sink.postgres.open"
	opWrite = "sink.postgres.write"
)

// Options of a Sink; URL and Schema are required.
type Options struct {
	URL    keyring.Secret // postgres://user:password@host/database?sslmode=verify-full
	Schema string         // one for each tenant and purpose, [a-z_][a-z0-9_]{0,39}; made when it is not there

	Horizon   time.Duration // how long copies of an event are recognised at least, 1 h to 400 days; default 24 h
	Retention time.Duration // how long rows are kept at least, in whole days and not below the horizon; 0: for ever

	Batch   int           // rows of a transaction at most, 1 to 10,000; default 1000
	Linger  time.Duration // how long a batch waits to be full, 0 to 1 h; 0: not at all
	Workers int           // transactions at a time, 1 to 64; default 2
	Timeout time.Duration // of a transaction; default 30 s

	Logger     *zap.Logger           // default: none
	Registerer prometheus.Registerer // of the metrics weft_sink_*; nil: none
}

const (
	maxBatch   = 10_000
	maxWorkers = 64
)

// DefaultOptions returns the options with every default filled in.
func DefaultOptions() Options { return Options{}.withDefaults() }

func (o Options) withDefaults() Options {
	or := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	or(&o.Horizon, 24*time.Hour)
	or(&o.Timeout, 30*time.Second)
	if o.Batch == 0 {
		o.Batch = 1000
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o
}

// validate leaves schema and horizon to the store.
func (o Options) validate() error {
	problem := ""
	switch {
	case len(o.URL) == 0:
		problem = "the database's URL is needed"
	case o.Batch < 1 || o.Batch > maxBatch:
		problem = "a batch has 1 to 10,000 events"
	case o.Linger < 0 || o.Linger > time.Hour:
		problem = "a batch waits up to an hour"
	case o.Workers < 1 || o.Workers > maxWorkers:
		problem = "the transactions at a time are 1 to 64"
	case o.Timeout < time.Second:
		problem = "the timeout is at least 1 second"
	case o.Retention < 0:
		problem = "the retention is negative"
	default:
		return nil
	}
	return fault.New(opOpen, fault.Invalid, "invalid_options", "%s", problem)
}

// store are the options of the store whose event_log is written.
func (o Options) store(db postgres.DB) postgres.Options {
	s := postgres.Options{DB: db, Schema: o.Schema, Horizon: o.Horizon, Retention: o.Retention, Logger: o.Logger}
	if o.Retention == 0 {
		s.Retention = -1
	}
	return s
}

// Subscription fills in what the sink needs of its subscription where o leaves it open: rows have no order, so any
// events may be in a batch.
func (s *Sink) Subscription(o consumers.Options) consumers.Options {
	if o.Key == nil {
		o.Key = func(m *consumers.Message) string { return m.EventID }
	}
	if o.Workers == 0 {
		o.Workers = s.o.Workers
	}
	if o.Batch == 0 {
		o.Batch = min(2*s.o.Workers*s.o.Batch, maxBatch)
	}
	return o
}
