package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/streams/fault"
)

const maxTries = 5 // of a transaction that another one made impossible

var (
	errRoll     = errors.New("the next generation is due")
	errEffect   = errors.New("an effect failed") // wraps nothing: the entry's own error is found when it runs alone
	errVanished = errors.New("a mark was there and is not: somebody else deletes rows")
)

// Apply implements idempotency.Store. Effects run together at first; if one fails the transaction is repeated
// with each in a savepoint of its own.
func (s *Store) Apply(ctx context.Context, b idempotency.Batch, effect idempotency.Effect[pgx.Tx]) ([]idempotency.Result, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	a := attempt{s: s, b: &b, effect: effect, mayRoll: s.mayRoll()}
	for try := 1; ; try++ {
		var passes [][]int
		a.results, passes = idempotency.Plan(b.Entries)
		err := s.inTx(ctx, func(tx pgx.Tx) error { return a.run(ctx, tx, passes) })
		switch {
		case err == nil:
			return a.results, nil
		case errors.Is(err, errRoll):
			a.mayRoll = false
			if err := s.roll(ctx); err != nil {
				s.log.Warn("no new generation of marks, the old one goes on", zap.String("schema", s.schema), zap.Error(err))
			}
		case !a.alone && spoiled(err):
			a.alone = true
		case !repeatable(err) || try >= maxTries || ctx.Err() != nil:
			return nil, wrap(opApply, err)
		}
	}
}

// spoiled says whether an effect may be why a transaction failed: by itself, by what it hid, or by what is checked at
// the commit.
func spoiled(err error) bool {
	_, said := errors.AsType[*pgconn.PgError](err)
	return errors.Is(err, errEffect) || errors.Is(err, pgx.ErrTxCommitRollback) || said && !repeatable(err)
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
	effect  idempotency.Effect[pgx.Tx]
	mayRoll bool
	alone   bool // each effect in a savepoint
	results []idempotency.Result
	open    generation
}

func (a *attempt) run(ctx context.Context, tx pgx.Tx, passes [][]int) error {
	if err := a.begin(ctx, tx); err != nil {
		return err
	}
	for _, pass := range passes {
		fresh, err := a.unmarked(ctx, tx, pass)
		if err != nil {
			return err
		}
		if len(fresh) == 0 {
			continue
		}
		if a.alone {
			err = a.eachAlone(ctx, tx, fresh)
		} else {
			err = a.together(ctx, tx, fresh)
		}
		if err != nil {
			return err
		}
	}
	if idempotency.Settled(a.results) {
		return a.position(ctx, tx)
	}
	return nil
}

// begin holds the open generation open, and checks the fence. The row of the fence stays locked: an owner that
// takes over waits for this transaction, or this one sees its epoch.
func (a *attempt) begin(ctx context.Context, tx pgx.Tx) error {
	var today time.Time
	var epoch uint64
	q := &pgx.Batch{}
	q.Queue("SELECT pg_advisory_xact_lock_shared($1)", a.s.lockKey("generation"))
	q.Queue(a.s.generationsQuery()).QueryRow(func(row pgx.Row) (err error) {
		a.open, today, err = a.s.scanGenerations(row)
		return err
	})
	if f := a.b.Fence; f.Durable != "" {
		q.Queue(`INSERT INTO `+a.s.schema+`.fence AS have (durable, epoch) VALUES ($1, $2)
			ON CONFLICT (durable) DO UPDATE SET epoch = excluded.epoch WHERE have.epoch < excluded.epoch`, f.Durable, f.Epoch)
		q.Queue(`SELECT epoch FROM `+a.s.schema+`.fence WHERE durable = $1`, f.Durable).QueryRow(func(row pgx.Row) error {
			return row.Scan(&epoch)
		})
	}
	if err := tx.SendBatch(ctx, q).Close(); err != nil {
		return err
	}
	if epoch > a.b.Fence.Epoch {
		return idempotency.Stale(a.b.Fence, epoch)
	}
	switch {
	case a.mayRoll && a.open.Before(today):
		return errRoll
	case a.open.IsZero():
		return fault.New(opApply, fault.Unavailable, "no_generation", "the first generation of marks could not be made")
	}
	return nil
}

// together marks the entries and runs their effects at once.
func (a *attempt) together(ctx context.Context, tx pgx.Tx, fresh []int) error {
	marked, err := a.mark(ctx, tx, fresh)
	if err != nil || len(marked) == 0 {
		return err
	}
	if err := a.effect(ctx, tx, marked); err != nil {
		if ctx.Err() != nil || tx.Conn().IsClosed() || repeatable(err) {
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
		if ctx.Err() != nil || tx.Conn().IsClosed() || repeatable(err) {
			return err
		}
		if _, undo := tx.Exec(ctx, "ROLLBACK TO SAVEPOINT weft_entry"); undo != nil {
			return fmt.Errorf("%w, after: %w", undo, err)
		}
		a.results[i] = idempotency.Result{Outcome: idempotency.Failed, Err: err}
	}
	return nil
}

func (a *attempt) oneAlone(ctx context.Context, tx pgx.Tx, i int) error {
	if _, err := tx.Exec(ctx, "SAVEPOINT weft_entry"); err != nil {
		return err
	}
	marked, err := a.mark(ctx, tx, []int{i})
	if err == nil && len(marked) > 0 {
		err = a.effect(ctx, tx, marked)
	}
	if err == nil {
		_, err = tx.Exec(ctx, "RELEASE SAVEPOINT weft_entry") // fails where the effect hid that it did
	}
	return err
}

// position records how far the durables have come.
func (a *attempt) position(ctx context.Context, tx pgx.Tx) error {
	if len(a.b.Positions) == 0 {
		return nil
	}
	q := &pgx.Batch{}
	for _, p := range a.b.Positions {
		q.Queue(`INSERT INTO `+a.s.schema+`.position AS have (durable, origin, seq) VALUES ($1, $2, $3)
			ON CONFLICT (durable, origin) DO UPDATE SET seq = excluded.seq WHERE have.seq < excluded.seq`, p.Durable, p.Origin.String(), p.Seq)
	}
	return tx.SendBatch(ctx, q).Close()
}
