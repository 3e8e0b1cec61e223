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

// generations are those in which marks count.
type generations struct {
	open   generation   // the zero one before the first
	closed []generation // the newest one first
	today  time.Time    // the day on which the open one is to be followed
}

// scanGenerations reads what generationsQuery asks for.
func (s *Store) scanGenerations(row pgx.Row) (kept generations, err error) {
	var days []time.Time
	if err = row.Scan(&days, &kept.today); err != nil {
		return generations{}, err
	}
	kept.today = s.today(kept.today)
	for i, day := range days {
		if i == 0 {
			kept.open = generation{day}
		} else {
			kept.closed = append(kept.closed, generation{day})
		}
	}
	return kept, nil
}

// generationsQuery asks for the newest generations, as many as its parameter says, and for the database's day.
func (s *Store) generationsQuery() string {
	return "SELECT array(SELECT generation FROM " + s.schema + ".generation ORDER BY generation DESC LIMIT $1), (clock_timestamp() AT TIME ZONE 'UTC')::date"
}

// mayRoll says whether a generation should be opened now: not when a try was put off a moment ago.
func (s *Store) mayRoll() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.now().Before(s.nextTry)
}

// roll opens today's generation if it is not, and then drops those that are not to be kept. The generation that is
// open goes on where the next one cannot be opened now: it only grows. So does the log where a reader holds it.
func (s *Store) roll(ctx context.Context) error {
	var opened bool
	err := s.exclusive(ctx, "generation", func(tx pgx.Tx) error {
		kept, err := s.scanGenerations(tx.QueryRow(ctx, s.generationsQuery(), 1))
		if err != nil || !kept.open.Before(kept.today) {
			return err // the date of the database may have gone back, generations do not
		}
		opened = true
		return s.create(ctx, tx, generation{kept.today})
	})
	if err != nil {
		s.mu.Lock()
		s.nextTry = s.now().Add(rollAgain)
		s.mu.Unlock()
		return err
	}
	if !opened || s.retain < 0 {
		return nil
	}
	if err := s.expire(ctx); err != nil {
		s.log.Warn("old generations stay until the next one is opened", zap.String("schema", s.schema), zap.Error(err))
	}
	return nil
}

// exclusive runs do while nobody else does it for the same purpose; for "generation", while no transaction inserts into
// the open one.
func (s *Store) exclusive(ctx context.Context, purpose string, do func(pgx.Tx) error) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+rollWait+"'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", s.lockKey(purpose)); err != nil {
			return err
		}
		return do(tx)
	})
}

// create makes a generation's partition. It is attached when it is complete, which waits for nobody who reads the log.
// Its unique indexes are its own: those of the parent would have to hold the generation, and be unique within it only.
func (s *Store) create(ctx context.Context, tx pgx.Tx, g generation) error {
	name, date := g.table(), g.Format(time.DateOnly)
	_, err := tx.Exec(ctx, fmt.Sprintf(`CREATE TABLE %[1]s.%[2]s (LIKE %[1]s.event_log INCLUDING DEFAULTS);
		CREATE UNIQUE INDEX %[2]s_id ON %[1]s.%[2]s (event_id);
		CREATE UNIQUE INDEX %[2]s_place ON %[1]s.%[2]s (user_id, source, source_epoch, source_seq) WHERE source_seq IS NOT NULL;
		ALTER TABLE %[1]s.event_log ATTACH PARTITION %[1]s.%[2]s FOR VALUES IN ('%[3]s');
		INSERT INTO %[1]s.generation (generation) VALUES ('%[3]s')`, s.schema, name, date))
	return err
}

// expire drops the generations beyond what is kept. Whoever applies does not look into them any more.
func (s *Store) expire(ctx context.Context) error {
	return s.exclusive(ctx, "expire", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, "SELECT generation FROM "+s.schema+".generation ORDER BY generation DESC OFFSET $1", 1+s.retain)
		if err != nil {
			return err
		}
		old, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		for _, at := range old {
			g := generation{at}
			s.log.Info("generation dropped", zap.String("schema", s.schema), zap.String("generation", g.Format(time.DateOnly)))
			_, dropErr := tx.Exec(ctx, fmt.Sprintf("DROP TABLE %[1]s.%[2]s; DELETE FROM %[1]s.generation WHERE generation = '%[3]s'",
				s.schema, g.table(), g.Format(time.DateOnly)))
			err = errors.Join(err, dropErr)
		}
		return err
	})
}
