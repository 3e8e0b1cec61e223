package postgres

import (
	"context"
	"errors"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

// queueFence reads the fence of a durable, zero where it has none. The row stays locked against owners that take over, who
// wait for this transaction, but not against the others of the same owner. A process that is stopped in the middle would hold it
// for ever, so the database ends a transaction of which it hears nothing.
func (s *Store) queueFence(q *pgx.Batch, durable string, epoch *uint64) {
	q.Queue("SET LOCAL idle_in_transaction_session_timeout = " + strconv.FormatInt(s.silence.Milliseconds(), 10))
	q.Queue("SELECT epoch FROM "+s.schema+".fence WHERE durable = $1 FOR SHARE", durable).QueryRow(func(row pgx.Row) error {
		err := row.Scan(epoch)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
}

// raiseFence sets the fence of a durable to an epoch, unless it is higher, and returns what it is then.
func (s *Store) raiseFence(ctx context.Context, tx pgx.Tx, f idempotency.Fence) (epoch uint64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO `+s.schema+`.fence AS have (durable, epoch) VALUES ($1, $2)
		ON CONFLICT (durable) DO UPDATE SET epoch = greatest(have.epoch, excluded.epoch) RETURNING epoch`, f.Durable, f.Epoch).Scan(&epoch)
	return epoch, err
}
