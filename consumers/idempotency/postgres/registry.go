package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	opBeat    = "idempotency.postgres.beat"
	opClaim   = "idempotency.postgres.claim"
	opLook    = "idempotency.postgres.look"
	opForget  = "idempotency.postgres.forget"
	opSwitch  = "idempotency.postgres.switch"
	opReached = "idempotency.postgres.reached"
)

var _ group.Registry = (*Store)(nil)

// Beat implements group.Registry in one transaction.
func (s *Store) Beat(ctx context.Context, b group.Beat) (v group.View, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if v, err = s.joinGroup(ctx, tx, &b); err != nil {
			return err
		}
		if len(b.Held) > 0 {
			if err := s.prolong(ctx, tx, &b); err != nil {
				return err
			}
		}
		return s.look(ctx, tx, &v)
	})
	return v, wrap(opBeat, err)
}

// joinGroup founds the group if there is none, and writes down that the member lives.
func (s *Store) joinGroup(ctx context.Context, tx pgx.Tx, b *group.Beat) (v group.View, err error) {
	ttl := b.TTL
	if b.Leave {
		ttl = 0
	}
	var name string
	var width int
	var turn int64
	q := &pgx.Batch{}
	q.Queue(`INSERT INTO `+s.schema+`.consumer_group (name, width, region) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, b.Group, b.Width, b.Region)
	q.Queue(`INSERT INTO `+s.schema+`.member (name, region, seen_at, until) VALUES ($1, $2, clock_timestamp(), clock_timestamp() + $3::interval)
		ON CONFLICT (name) DO UPDATE SET region = excluded.region, seen_at = excluded.seen_at, until = excluded.until`, b.Member, b.Region, ttl)
	q.Queue(`SELECT name, width, store, region, turn, clock_timestamp() - turned_at FROM ` + s.schema + `.consumer_group`).QueryRow(func(row pgx.Row) error {
		return row.Scan(&name, &width, &v.Store, &v.Region, &turn, &v.Ago)
	})
	if err := tx.SendBatch(ctx, q).Close(); err != nil {
		return v, err
	}
	v.Turn = uint64(turn) //nolint:gosec // from 1
	return v, group.Agree(name, width, b)
}

// prolong renews the leases that are still the member's, records how far they have come, and then gives back those that it
// releases. The rows of the leases are locked from the first statement on, so that a claim comes before all of it or after.
func (s *Store) prolong(ctx context.Context, tx pgx.Tx, b *group.Beat) error {
	var durables, released []string
	var epochs, freed []int64
	var at checkpoints
	for _, h := range b.Held {
		durables, epochs = append(durables, h.Durable), append(epochs, int64(h.Epoch)) //nolint:gosec // the registry's own
		if h.Release {
			released, freed = append(released, h.Durable), append(freed, int64(h.Epoch)) //nolint:gosec // the registry's own
		}
		for _, p := range h.Moved {
			at.add(h.Epoch, p)
		}
	}
	const mine = `l.durable = h.durable AND l.epoch = h.epoch AND l.member = $3`
	q := &pgx.Batch{}
	q.Queue(`UPDATE `+s.schema+`.lease l SET until = clock_timestamp() + $4::interval
		FROM unnest($1::text[], $2::bigint[]) h (durable, epoch) WHERE `+mine, durables, epochs, b.Member, b.TTL)
	if len(at.durables) > 0 {
		q.Queue(`INSERT INTO `+s.schema+`.group_position (durable, origin, scope, seq, event_id)
			SELECT h.durable, h.origin, h.scope, h.seq, h.event_id
			FROM unnest($1::text[], $2::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[]) h (durable, epoch, origin, scope, seq, event_id)
			JOIN `+s.schema+`.lease l ON `+mine+`
			ON CONFLICT (durable, origin, scope) DO UPDATE SET seq = excluded.seq, event_id = excluded.event_id`,
			at.durables, at.epochs, b.Member, at.origins, at.scopes, at.seqs, at.ids)
	}
	if len(released) > 0 {
		q.Queue(`UPDATE `+s.schema+`.lease l SET until = clock_timestamp(), member = ''
			FROM unnest($1::text[], $2::bigint[]) h (durable, epoch) WHERE `+mine, released, freed, b.Member)
	}
	return tx.SendBatch(ctx, q).Close()
}

// checkpoints are positions as arrays, one for each column.
type checkpoints struct {
	durables, origins, scopes, ids []string
	epochs, seqs                   []int64
}

func (c *checkpoints) add(epoch uint64, p group.Position) {
	c.durables, c.epochs = append(c.durables, p.Durable), append(c.epochs, int64(epoch)) //nolint:gosec // the registry's own
	c.origins, c.scopes = append(c.origins, p.Origin.String()), append(c.scopes, string(p.Scope))
	c.seqs, c.ids = append(c.seqs, int64(p.Seq)), append(c.ids, p.EventID) //nolint:gosec // a stream's sequence
}

// look reads who lives and who owns what.
func (s *Store) look(ctx context.Context, tx pgx.Tx, v *group.View) error {
	q := &pgx.Batch{}
	q.Queue(`DELETE FROM ` + s.schema + `.member WHERE seen_at < clock_timestamp() - interval '1 day'`)
	q.Queue(`SELECT name, region, clock_timestamp() - seen_at, until > clock_timestamp() FROM ` + s.schema + `.member ORDER BY name`).Query(func(rows pgx.Rows) (err error) {
		v.Members, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (p group.Peer, err error) {
			return p, r.Scan(&p.Member, &p.Region, &p.Ago, &p.Lives)
		})
		return err
	})
	q.Queue(`SELECT durable, member, region, epoch, until - clock_timestamp() FROM ` + s.schema + `.lease ORDER BY durable`).Query(func(rows pgx.Rows) (err error) {
		v.Leases, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (l group.Lease, err error) {
			return l, r.Scan(&l.Durable, &l.Member, &l.Region, &l.Epoch, &l.Left)
		})
		return err
	})
	return tx.SendBatch(ctx, q).Close()
}

// Look is what a beat would see, by somebody who is no member. It fails with kind NotFound where no member ever was.
func (s *Store) Look(ctx context.Context) (v group.View, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		var turn int64
		err := tx.QueryRow(ctx, `SELECT store, region, turn, clock_timestamp() - turned_at FROM `+s.schema+`.consumer_group`).Scan(&v.Store, &v.Region, &turn, &v.Ago)
		if errors.Is(err, pgx.ErrNoRows) {
			return fault.New(opLook, fault.NotFound, "no_group", "no member of a group was ever seen in schema %s", s.schema)
		}
		if err != nil {
			return err
		}
		v.Turn = uint64(turn) //nolint:gosec // from 1
		return s.look(ctx, tx, &v)
	})
	return v, wrap(opLook, err)
}

// Forget removes the positions of a durable in the events of an origin.
func (s *Store) Forget(ctx context.Context, durable, origin string) error {
	return wrap(opForget, s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM `+s.schema+`.group_position WHERE durable = $1 AND origin = $2`, durable, origin)
		return err
	}))
}

// claimWait is how long a claim waits for a transaction of the owner before.
const claimWait = "1s"

// Claim implements group.Registry. The fence is raised first: that waits for the transactions under the old epoch, and none of
// them can begin again before this one has ended.
func (s *Store) Claim(ctx context.Context, c group.Claiming) (l group.Lease, err error) {
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		before, err := s.claimable(ctx, tx, &c)
		if err != nil {
			return err
		}
		l = group.Lease{Durable: c.Durable, Member: c.Member, Region: c.Region, Left: c.TTL, Before: before}
		err = tx.QueryRow(ctx, `INSERT INTO `+s.schema+`.fence AS have (durable, epoch) VALUES ($1, 1)
			ON CONFLICT (durable) DO UPDATE SET epoch = have.epoch + 1 RETURNING epoch`, c.Durable).Scan(&l.Epoch)
		if err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO `+s.schema+`.lease AS have (durable, member, region, epoch, until)
			VALUES ($1, $2, $3, $4, clock_timestamp() + $5::interval)
			ON CONFLICT (durable) DO UPDATE SET member = excluded.member, region = excluded.region, epoch = excluded.epoch, until = excluded.until
			WHERE have.until <= clock_timestamp()`, c.Durable, c.Member, c.Region, l.Epoch, c.TTL)
		if err == nil && tag.RowsAffected() == 0 {
			err = group.Taken(c.Durable)
		}
		return err
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "55P03" { // lock_not_available
		err = group.Taken(c.Durable)
	}
	return l, wrap(opClaim, err)
}

// claimable refuses what is held and who stands by, and returns the last owner, nil for none.
func (s *Store) claimable(ctx context.Context, tx pgx.Tx, c *group.Claiming) (before *group.Lease, err error) {
	var active string
	q := &pgx.Batch{}
	q.Queue("SET LOCAL lock_timeout = '" + claimWait + "'")
	q.Queue(`SELECT region FROM ` + s.schema + `.consumer_group FOR SHARE`).QueryRow(func(row pgx.Row) error { return row.Scan(&active) })
	q.Queue(`SELECT durable, member, region, epoch, until - clock_timestamp() FROM `+s.schema+`.lease WHERE durable = $1`, c.Durable).QueryRow(func(row pgx.Row) error {
		var l group.Lease
		err := row.Scan(&l.Durable, &l.Member, &l.Region, &l.Epoch, &l.Left)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		before = &l
		return err
	})
	if err := tx.SendBatch(ctx, q).Close(); err != nil {
		return nil, err
	}
	switch {
	case active != c.Region:
		return nil, group.Standby(c.Region, active)
	case before != nil && before.Left > 0:
		return nil, group.Taken(c.Durable)
	}
	return before, nil
}

// Switch implements group.Registry. Claims hold the row while they are made, so that none of the old region comes after.
func (s *Store) Switch(ctx context.Context, region string, turn uint64) error {
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE `+s.schema+`.consumer_group SET region = $1, turn = turn + 1, turned_at = clock_timestamp() WHERE turn = $2`,
			region, int64(turn)) //nolint:gosec // the registry's own
		if err != nil || tag.RowsAffected() == 1 {
			return err
		}
		var active string
		if err := tx.QueryRow(ctx, `SELECT region FROM `+s.schema+`.consumer_group`).Scan(&active); err != nil {
			return err
		}
		return group.Turned(active)
	})
	return wrap(opSwitch, err)
}

// Reached implements group.Registry.
func (s *Store) Reached(ctx context.Context) ([]group.Position, error) {
	var all []group.Position
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT durable, origin, scope, seq, event_id FROM `+s.schema+`.group_position`)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (p group.Position, err error) {
			var origin, scope string
			if err = r.Scan(&p.Durable, &origin, &scope, &p.Seq, &p.EventID); err == nil {
				p.Scope = subject.Scope(scope[0])
				p.Origin, err = subject.ParseOrigin(origin)
			}
			return p, err
		})
		return err
	})
	return all, wrap(opReached, err)
}
