package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
)

const (
	rollWait  = "2s"        // how long others may hold the tables before opening a generation is put off
	rollAgain = time.Minute // how long it is put off
)

// generation is the day on which a part of the log was opened. The zero one means that there is none.
type generation struct{ time.Time }

// table is its partition of event_log.
func (g generation) table() string { return "event_log_" + g.Format("20060102") }

// scanGenerations reads the newest generation and the day on which it is to be followed.
func (s *Store) scanGenerations(row pgx.Row) (open generation, today time.Time, err error) {
	var newest *time.Time
	if err = row.Scan(&newest, &today); err != nil {
		return generation{}, time.Time{}, err
	}
	if newest != nil {
		open = generation{*newest}
	}
	return open, s.today(today), nil
}

func (s *Store) generationsQuery() string {
	return "SELECT max(generation), (clock_timestamp() AT TIME ZONE 'UTC')::date FROM " + s.schema + ".generation"
}

// mayRoll says whether a generation should be opened now: not when a try was put off a moment ago.
func (s *Store) mayRoll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.now().Before(s.nextTry)
}

// roll opens today's generation if it is not, and then drops those beyond the horizon. The generation that is
// open goes on where the next one cannot be opened now, because a reader holds the tables: it only grows.
func (s *Store) roll(ctx context.Context) error {
	var opened bool
	err := s.exclusive(ctx, func(tx pgx.Tx) error {
		open, today, err := s.scanGenerations(tx.QueryRow(ctx, s.generationsQuery()))
		if err != nil || !open.Before(today) {
			return err // the date of the database may have gone back, generations do not
		}
		opened = true
		return s.create(ctx, tx, generation{today})
	})
	if err == nil && opened {
		err = s.expire(ctx)
	}
	if err != nil {
		s.mu.Lock()
		s.nextTry = s.now().Add(rollAgain)
		s.mu.Unlock()
	}
	return err
}

// exclusive runs do while no transaction inserts into the open generation.
func (s *Store) exclusive(ctx context.Context, do func(pgx.Tx) error) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+rollWait+"'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", s.lockKey("generation")); err != nil {
			return err
		}
		return do(tx)
	})
}

// create makes a generation's partition. Its indexes are its own: those of the parent would have to hold the
// generation, and be unique within it only.
func (s *Store) create(ctx context.Context, tx pgx.Tx, g generation) error {
	name, date := g.table(), g.Format(time.DateOnly)
	_, err := tx.Exec(ctx, fmt.Sprintf(`CREATE TABLE %[1]s.%[2]s PARTITION OF %[1]s.event_log FOR VALUES IN ('%[3]s');
		CREATE UNIQUE INDEX %[2]s_id ON %[1]s.%[2]s (event_id);
		CREATE UNIQUE INDEX %[2]s_place ON %[1]s.%[2]s (source, user_id, source_epoch, source_seq) WHERE source_seq IS NOT NULL;
		INSERT INTO %[1]s.generation (generation) VALUES ('%[3]s')`, s.schema, name, date))
	return err
}

// expire drops the generations beyond the horizon.
func (s *Store) expire(ctx context.Context) error {
	return s.exclusive(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT generation FROM "+s.schema+".generation ORDER BY generation DESC OFFSET $1", 1+s.keep)
		if err != nil {
			return err
		}
		old, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		for _, at := range old {
			g := generation{at}
			s.log.Info("marks expired", zap.String("schema", s.schema), zap.String("generation", g.Format(time.DateOnly)))
			_, dropErr := tx.Exec(ctx, fmt.Sprintf("DROP TABLE %[1]s.%[2]s; DELETE FROM %[1]s.generation WHERE generation = '%[3]s'",
				s.schema, g.table(), g.Format(time.DateOnly)))
			err = errors.Join(err, dropErr)
		}
		return err
	})
}
