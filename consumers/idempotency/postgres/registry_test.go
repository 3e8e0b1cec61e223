package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/consumers/group/grouptest"
	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/consumers/postgrestest"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// registry is a store whose times can be moved into the past.
type registry struct {
	t      *testing.T
	pool   *pgxpool.Pool
	schema string
	store  *postgres.Store
}

func newPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), postgrestest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func newRegistry(t *testing.T) *registry { return newRegistryIn(t, newPool(t), "ledger") }

func newRegistryIn(t *testing.T, pool *pgxpool.Pool, schema string) *registry {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Options{DB: pool, Schema: schema, Silence: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return &registry{t, pool, schema, s}
}

func (r *registry) Registry() group.Registry { return r.store }

func (r *registry) Pass(d time.Duration) {
	r.t.Helper()
	for _, statement := range []string{
		"UPDATE " + r.schema + ".lease SET until = until - $1::interval",
		"UPDATE " + r.schema + ".member SET until = until - $1::interval, seen_at = seen_at - $1::interval",
		"UPDATE " + r.schema + ".consumer_group SET turned_at = turned_at - $1::interval",
	} {
		if _, err := r.pool.Exec(r.t.Context(), statement, d); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestRegistry(t *testing.T) {
	pool, schemas := newPool(t), 0
	grouptest.Run(t, func(t *testing.T) grouptest.Harness {
		schemas++
		return newRegistryIn(t, pool, fmt.Sprint("ledger", schemas))
	})
}

func (r *registry) founded() {
	r.t.Helper()
	if _, err := r.store.Beat(r.t.Context(), group.Beat{Group: "ledger", Width: 1, Member: "a", Region: "eu", TTL: time.Hour}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *registry) claim(ctx context.Context, member string) (group.Lease, error) {
	return r.store.Claim(ctx, group.Claiming{Durable: "d", Member: member, Region: "eu", TTL: time.Hour})
}

func (r *registry) apply(id string, epoch uint64, effect func(context.Context, pgx.Tx) error) error {
	_, err := r.store.Apply(context.WithoutCancel(r.t.Context()), idempotency.Batch{Entries: []idempotency.Entry{{EventID: id}}, Fence: idempotency.Fence{Durable: "d", Epoch: epoch}},
		func(ctx context.Context, tx pgx.Tx, _ []int) error { return effect(ctx, tx) })
	return err
}

func nothing(context.Context, pgx.Tx) error { return nil }

func (r *registry) marked(id string) bool {
	r.t.Helper()
	var n int
	if err := r.pool.QueryRow(r.t.Context(), "SELECT count(*) FROM ledger.event_log WHERE event_id = $1", id).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n > 0
}

// TestAClaimFences: after a claim has returned nothing of the owner before is committed, and it does not return before what
// that one had begun is over.
func TestAClaimFences(t *testing.T) {
	r := newRegistry(t)
	r.founded()
	l, err := r.claim(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.apply("first", l.Epoch, nothing); err != nil {
		t.Fatal(err)
	}
	r.Pass(2 * time.Hour)
	claimed := make(chan error)
	err = r.apply("under way", l.Epoch, func(ctx context.Context, tx pgx.Tx) error {
		go func() {
			_, err := r.claim(context.WithoutCancel(t.Context()), "b")
			claimed <- err
		}()
		// Until the claim waits for this transaction.
		for waits := false; !waits; {
			if err := tx.QueryRow(ctx, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted").Scan(&waits); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-claimed; err != nil {
		t.Fatal(err)
	}
	if !r.marked("under way") {
		t.Error("what was under way is lost")
	}
	if err := r.apply("late", l.Epoch, nothing); fault.CodeOf(err) != idempotency.CodeStale || r.marked("late") {
		t.Errorf("a stale owner: %v, marked %v", err, r.marked("late"))
	}
	if err := r.apply("next", l.Epoch+1, nothing); err != nil || !r.marked("next") {
		t.Errorf("the new owner: %v", err)
	}
}

// TestAStoppedOwnerHoldsNobodyUp: the transaction of a process that is stopped in the middle is ended by the database, so
// another owner can claim, and the stopped one commits nothing when it wakes.
func TestAStoppedOwnerHoldsNobodyUp(t *testing.T) {
	r := newRegistry(t)
	r.founded()
	l, err := r.claim(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	r.Pass(2 * time.Hour)
	err = r.apply("stopped", l.Epoch, func(context.Context, pgx.Tx) error {
		var err error
		for try := 0; try < 20; try++ { // each waits for a second at most
			if _, err = r.claim(context.WithoutCancel(t.Context()), "b"); fault.CodeOf(err) != group.CodeHeld {
				break
			}
		}
		if err != nil {
			t.Error(err)
		}
		return nil
	})
	if err == nil || r.marked("stopped") {
		t.Errorf("it woke and committed: %v", err)
	}
	if err := r.apply("stopped", l.Epoch+1, nothing); err != nil || !r.marked("stopped") {
		t.Errorf("the new owner: %v", err)
	}
}

// TestOwnersTransactionsDoNotWaitForEachOther: those of one epoch share the fence.
func TestOwnersTransactionsDoNotWaitForEachOther(t *testing.T) {
	r := newRegistry(t)
	r.founded()
	l, err := r.claim(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	err = r.apply("outer", l.Epoch, func(context.Context, pgx.Tx) error { return r.apply("inner", l.Epoch, nothing) })
	if err != nil || !r.marked("outer") || !r.marked("inner") {
		t.Error(err)
	}
}

func TestLookAndForget(t *testing.T) {
	r := newRegistry(t)
	if _, err := r.store.Look(t.Context()); fault.CodeOf(err) != "no_group" {
		t.Errorf("before anybody joined: %v", err)
	}
	r.founded()
	if v, err := r.store.Look(t.Context()); err != nil || v.Region != "eu" || v.Turn != 1 || len(v.Members) != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{DB: r.pool, Schema: "nobodys", Existing: true}); fault.CodeOf(err) != "no_schema" {
		t.Errorf("a schema that is not there: %v", err)
	}
	if _, err := postgres.Open(t.Context(), postgres.Options{DB: r.pool, Schema: "ledger", Existing: true}); err != nil {
		t.Error(err)
	}
	l, err := r.claim(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	moved := []group.Position{{Durable: "d", Origin: eu, Scope: 'g', Seq: 1}, {Durable: "d", Origin: eu.Next(), Scope: 'g', Seq: 2}}
	if _, err := r.store.Beat(t.Context(), group.Beat{Group: "ledger", Width: 1, Member: "a", Region: "eu", TTL: time.Hour, Held: []group.Held{{Durable: "d", Epoch: l.Epoch, Moved: moved}}}); err != nil {
		t.Fatal(err)
	}
	if err := r.store.Forget(t.Context(), "d", eu.String()); err != nil {
		t.Fatal(err)
	}
	if ps, err := r.store.Reached(t.Context()); err != nil || len(ps) != 1 || ps[0].Origin != eu.Next() {
		t.Errorf("left: %v, %v", ps, err)
	}
}

var eu = subject.Origin{Region: "eu", Epoch: 1}
