package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/streams/fault"
)

const maxTries = 5 // of a transaction that another one made impossible

var (
	errRoll     = errors.New("the next generation is due")
	errSeen     = errors.New("a mark is there already")
	errEffect   = errors.New("an effect failed") // wraps nothing: the entry's own error is found when it runs alone
	errVanished = errors.New("a mark was there and is not: somebody else deletes rows")
)

// Apply implements idempotency.Store. Marks go in as if no event had been seen before; if one was, the transaction is
// repeated with care. Effects run together at first; if one fails the transaction is repeated with each in a savepoint
// of its own.
func (s *Store) Apply(ctx context.Context, b idempotency.Batch, effect idempotency.Effect[pgx.Tx]) ([]idempotency.Result, error) {
	return s.apply(ctx, &attempt{s: s, b: &b, effect: effect})
}

// Record is what event_log keeps of an event beside its mark.
type Record struct {
	Topic, Type string
	Event       []byte // its JSON, byte for byte
}

// Append applies a batch whose effect is event_log itself: it keeps the events, with their marks and in the same rows.
// There is one record for each entry. An event that the database cannot keep has Failed.
func (s *Store) Append(ctx context.Context, b idempotency.Batch, records []Record) ([]idempotency.Result, error) {
	if len(records) != len(b.Entries) {
		return nil, fault.New(opApply, fault.Invalid, "invalid_records", "%d records of %d entries", len(records), len(b.Entries))
	}
	return s.apply(ctx, &attempt{s: s, b: &b, records: records})
}

func (s *Store) apply(ctx context.Context, a *attempt) ([]idempotency.Result, error) {
	if err := a.b.Validate(); err != nil {
		return nil, err
	}
	a.mayRoll, a.careful = s.mayRoll(), s.expectsCopies()
	for try := 1; ; try++ {
		var passes [][]int
		a.results, passes = idempotency.Plan(a.b.Entries)
		err := s.inTx(ctx, func(tx pgx.Tx) error { return a.run(ctx, tx, passes) })
		switch {
		case err == nil:
			s.learn(ctx, a.kept.closed)
			return a.results, nil
		case errors.Is(err, errRoll):
			a.mayRoll = false
			if err := s.roll(ctx); err != nil {
				s.log.Warn("no new generation of marks, the old one goes on", zap.String("schema", s.schema), zap.Error(err))
			}
		case !a.careful && errors.Is(err, errSeen):
			a.careful = true
			s.expectCopies()
		case !a.alone && a.spoiled(err):
			a.alone = true
		case !repeatable(err) || try >= maxTries || ctx.Err() != nil:
			return nil, wrap(opApply, err)
		}
	}
}

// spoiled says whether an effect may be why a transaction failed: by itself, by what it hid, or by what is checked at
// the commit.
func (a *attempt) spoiled(err error) bool {
	_, said := errors.AsType[*pgconn.PgError](err)
	return errors.Is(err, errEffect) || errors.Is(err, pgx.ErrTxCommitRollback) || said && !a.blameless(err)
}

// blameless says whether a statement failed for a reason that lies in no event: another transaction, the state of the
// database, or, where all statements are ours, how it is set up.
func (a *attempt) blameless(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "08", "53", "57", "58", "XX": // connection, resources such as the disk, operator, system, defects
		return true
	case "22", "23", "54", "P0": // data, constraints, limits, triggers
		return false
	default:
		return a.effect == nil || repeatable(err) || pg.Code == "25006" // read_only_sql_transaction: a standby
	}
}

// repeatable says whether the database ended a transaction only because of another one.
func repeatable(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return errors.Is(err, errVanished) || ok && (pg.Code == "40001" || pg.Code == "40P01") // serialization_failure, deadlock_detected
}

// attempt is one try to apply a batch.
type attempt struct {
	s       *Store
	b       *idempotency.Batch
	effect  idempotency.Effect[pgx.Tx] // nil: the records are
	records []Record                   // nil: event_log keeps marks alone
	mayRoll bool
	careful bool // marks may be there already
	alone   bool // each effect in a savepoint
	results []idempotency.Result
	kept    generations
}

func (a *attempt) run(ctx context.Context, tx pgx.Tx, passes [][]int) error {
	if err := a.begin(ctx, tx); err != nil {
		return err
	}
	for _, pass := range passes {
		fresh, err := a.notBefore(ctx, tx, pass)
		switch {
		case err != nil || len(fresh) == 0:
		case a.alone:
			err = a.eachAlone(ctx, tx, fresh)
		default:
			err = a.together(ctx, tx, fresh)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// notBefore leaves those entries that are marked in no closed generation, in their order.
func (a *attempt) notBefore(ctx context.Context, tx pgx.Tx, pass []int) ([]int, error) {
	maybe, fresh := a.s.mayBeIn(a.kept.closed, a.b.Entries, pass)
	if len(maybe) == 0 {
		return fresh, nil
	}
	absent, err := a.unmarked(ctx, tx, a.kept.closed, maybe)
	fresh = append(fresh, absent...)
	slices.Sort(fresh)
	return fresh, err
}

// begin holds the open generation open, and checks the fence.
func (a *attempt) begin(ctx context.Context, tx pgx.Tx) (err error) {
	var epoch uint64
	q := &pgx.Batch{}
	q.Queue("SELECT pg_advisory_xact_lock_shared($1)", a.s.lockKey("generation"))
	q.Queue(a.s.generationsQuery(), 1+a.s.keep).QueryRow(func(row pgx.Row) (err error) {
		a.kept, err = a.s.scanGenerations(row)
		return err
	})
	f := a.b.Fence
	if f.Durable != "" {
		a.s.queueFence(q, f.Durable, &epoch)
	}
	if err := tx.SendBatch(ctx, q).Close(); err != nil {
		return err
	}
	if epoch < f.Epoch {
		if epoch, err = a.s.raiseFence(ctx, tx, f); err != nil {
			return err
		}
	}
	if epoch > f.Epoch {
		return idempotency.Stale(f, epoch)
	}
	switch {
	case a.mayRoll && a.kept.open.Before(a.kept.today):
		return errRoll
	case a.kept.open.IsZero():
		return fault.New(opApply, fault.Unavailable, "no_generation", "the first generation of marks could not be made")
	}
	return nil
}

// together marks the entries and runs their effects at once.
func (a *attempt) together(ctx context.Context, tx pgx.Tx, fresh []int) error {
	marked := fresh
	var err error
	if a.careful || len(fresh) < a.s.fewest {
		marked, err = a.mark(ctx, tx, fresh)
	} else {
		err = a.copyMarks(ctx, tx, fresh)
	}
	if err != nil || len(marked) == 0 || a.effect == nil {
		return err
	}
	if err := a.effect(ctx, tx, marked); err != nil {
		if ctx.Err() != nil || tx.Conn().IsClosed() || a.blameless(err) {
			return err
		}
		return errEffect
	}
	return nil
}

// eachAlone gives each entry a savepoint: one that fails takes back its mark and what its effect wrote, no more.
func (a *attempt) eachAlone(ctx context.Context, tx pgx.Tx, fresh []int) error {
	if _, err := tx.Exec(ctx, "SET CONSTRAINTS ALL IMMEDIATE"); err != nil { // within the savepoint, not at the commit
		return err
	}
	for _, i := range fresh {
		err := a.oneAlone(ctx, tx, i)
		if err == nil {
			continue
		}
		if ctx.Err() != nil || tx.Conn().IsClosed() || a.blameless(err) {
			return err
		}
		if _, undo := tx.Exec(ctx, "ROLLBACK TO SAVEPOINT weft_entry"); undo != nil {
			return fmt.Errorf("%w, after: %w", undo, err)
		}
		a.results[i] = idempotency.Result{Outcome: idempotency.Failed, Err: a.refusal(err)}
	}
	return nil
}

// refusal is what is told of an event that failed alone: what its effect returned, or else that the log does not take
// it. What the database says of that may quote the event.
func (a *attempt) refusal(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if a.effect != nil || !ok {
		return err
	}
	return fault.New(opApply, fault.Invalid, "row_refused", "the database does not take the event: SQLSTATE %s, constraint %q", pg.Code, pg.ConstraintName)
}

func (a *attempt) oneAlone(ctx context.Context, tx pgx.Tx, i int) error {
	if _, err := tx.Exec(ctx, "SAVEPOINT weft_entry"); err != nil {
		return err
	}
	marked, err := a.mark(ctx, tx, []int{i})
	if err == nil && len(marked) > 0 && a.effect != nil {
		err = a.effect(ctx, tx, marked)
	}
	if err == nil {
		_, err = tx.Exec(ctx, "RELEASE SAVEPOINT weft_entry") // fails where the effect hid that it did
	}
	return err
}
