package postgres

import (
	"context"
	"errors"
	"hash/fnv"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/streams/fault"
)

const (
	opOpen  = "idempotency.postgres.open"
	opApply = "idempotency.postgres.apply"
	opRead  = "idempotency.postgres.read"
)

// DB is where transactions begin: a *pgxpool.Pool.
type DB interface {
	BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
}

// Options of a Store; DB and Schema are required.
type Options struct {
	DB       DB
	Schema   string        // the group's own, [a-z_][a-z0-9_]{0,39}; made when it is not there
	Existing bool          // the schema is there already: where it is not, Open fails with kind NotFound
	Horizon  time.Duration // how long marks are kept at least, 1 h to 400 days; default 24 h
	// Retention is how long rows of event_log stay at least, whether their marks count or not; default and least the
	// horizon, negative: for ever.
	Retention time.Duration
	// Silence is how long a fenced transaction may be open without a word to the database, 100 ms to 1 h; default 5 s.
	Silence time.Duration
	Logger  *zap.Logger // default: none
}

var validSchema = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,39}$`)

func (o Options) validate() error {
	problem := ""
	switch {
	case o.DB == nil:
		problem = "a database is needed"
	case !validSchema.MatchString(o.Schema):
		problem = "the schema's name has 1 to 40 of a-z, 0-9 and _, and begins with none of 0-9"
	case o.Horizon < time.Hour || o.Horizon > 400*day:
		problem = "the horizon is 1 hour to 400 days"
	case o.Silence < 100*time.Millisecond || o.Silence > time.Hour:
		problem = "the silence is 100 ms to 1 hour"
	default:
		return nil
	}
	return fault.New(opOpen, fault.Invalid, "invalid_options", "%s", problem)
}

// Store is an idempotency.Store in a schema of a database.
type Store struct {
	db     DB
	schema string
	log    *zap.Logger
	keep   int // closed generations in which marks count
	retain int // closed generations that are there, negative: all

	fewest int // marks that are worth a COPY
	piece  int // marks that are learned after a batch

	silence time.Duration // how long a fenced transaction may keep the database waiting

	today func(database time.Time) time.Time // the day by which generations are opened
	now   func() time.Time

	learning sync.Mutex // held while a piece of a generation is learned

	mu      sync.Mutex
	nextTry time.Time        // when opening a generation may be tried again
	copies  int              // batches that are still to be marked with care
	known   map[int64]*known // closed generations, by when they were opened
}

var _ idempotency.Store[pgx.Tx] = (*Store)(nil)

const day = 24 * time.Hour

// days are whole ones, rounded up.
func days(d time.Duration) int { return int((d + day - 1) / day) }

// Open makes or upgrades the schema and returns a Store on it. It refuses a database that confirms what it has not
// written: then nothing committed would survive a power loss.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Horizon == 0 {
		o.Horizon = day
	}
	if o.Silence == 0 {
		o.Silence = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		db: o.DB, schema: o.Schema, log: o.Logger, keep: days(o.Horizon) + 1, fewest: worthCopy, piece: piece, silence: o.Silence,
		today: func(database time.Time) time.Time { return database }, now: time.Now,
	}
	if s.retain = max(s.keep, days(o.Retention)+1); o.Retention < 0 {
		s.retain = -1
	}
	if o.Existing {
		if err := s.checkExists(ctx); err != nil {
			return nil, wrap(opOpen, err)
		}
	}
	if err := s.checkDurable(ctx); err != nil {
		return nil, wrap(opOpen, err)
	}
	if err := s.migrate(ctx); err != nil {
		return nil, wrap(opOpen, err)
	}
	return s, wrap(opOpen, s.first(ctx))
}

// first opens the first generation; later ones are opened by Apply, which can do without.
func (s *Store) first(ctx context.Context) error {
	var kept generations
	err := s.inTx(ctx, func(tx pgx.Tx) (err error) {
		kept, err = s.scanGenerations(tx.QueryRow(ctx, s.generationsQuery(), 1))
		return err
	})
	if err != nil || !kept.open.IsZero() {
		return err
	}
	return s.roll(ctx)
}

func (s *Store) checkExists(ctx context.Context) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var exists bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", s.schema+".schema_version").Scan(&exists); err != nil || exists {
			return err
		}
		return fault.New(opOpen, fault.NotFound, "no_schema", "the database has no schema %s with marks in it", s.schema)
	})
}

func (s *Store) checkDurable(ctx context.Context) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var commit, sync string
		if err := tx.QueryRow(ctx, "SELECT current_setting('synchronous_commit'), current_setting('fsync')").Scan(&commit, &sync); err != nil {
			return err
		}
		if commit == "off" || sync == "off" {
			return fault.New(opOpen, fault.Invalid, "not_durable",
				"the database has synchronous_commit %s and fsync %s: what it confirms would not survive a power loss", commit, sync)
		}
		return nil
	})
}

// Shared is true: whoever reaches the database sees the same marks.
func (s *Store) Shared() bool { return true }

// inTx runs do in a transaction. Statements see what was committed when they begin: a lock that was waited for
// shows what its holder did.
func (s *Store) inTx(ctx context.Context, do func(pgx.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after a commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// lockKey is the advisory lock of the schema for a purpose.
func (s *Store) lockKey(purpose string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("weft idempotency " + s.schema + " " + purpose)) // a hash takes everything
	return int64(h.Sum64())                                                //nolint:gosec // any bits will do
}

// wrap gives an error a kind. What the database does not say about the input or itself may pass.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	kind := fault.Unavailable
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code[:min(2, len(pg.Code))] {
		case "28", "42": // who we are, what we may and what there is
			kind = fault.Denied
		case "22", "23": // data and constraints
			kind = fault.Invalid
		}
	}
	return fault.Wrap(op, kind, err)
}

// Last implements idempotency.Store. Of the columns' numbers the negative ones are the largest.
func (s *Store) Last(ctx context.Context, source, userID string) (idempotency.Place, bool, error) {
	highest := func(column, where string) string {
		from := "(SELECT max(" + column + ") FROM " + s.schema + ".event_log WHERE source = $1 AND user_id = $2 AND source_seq IS NOT NULL AND " + where + column
		return "coalesce(" + from + " < 0), " + from + " >= 0))"
	}
	var epoch, seq int64
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT e.n, "+highest("source_seq", "source_epoch = e.n AND ")+" FROM (SELECT "+highest("source_epoch", "")+" AS n) e WHERE e.n IS NOT NULL",
			source, userID).Scan(&epoch, &seq)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return idempotency.Place{}, false, nil
	}
	return idempotency.Place{Source: source, UserID: userID, Epoch: uint64(epoch), Seq: uint64(seq)}, err == nil, wrap(opRead, err) //nolint:gosec // as they were written
}
