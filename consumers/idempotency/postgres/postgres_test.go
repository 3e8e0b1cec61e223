package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/consumers/idempotency/storetest"
	"github.com/weft-mesh/weft/consumers/postgrestest"
	"github.com/weft-mesh/weft/streams/fault"
)

const childURL = "WEFT_TEST_POSTGRES_CHILD"

func TestMain(m *testing.M) {
	if state, ok := storetest.Doomed(); ok {
		doomed(state)
	}
	goleak.VerifyTestMain(m)
}

// TestStore holds the store to the contract twice: with marks that go in by COPY, and as small batches do it.
func TestStore(t *testing.T) {
	t.Parallel()
	for name, fewest := range map[string]int{"copy": 1, "insert": 1000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, n := postgrestest.Database(t), 0
			storetest.Run(t, func(t *testing.T) storetest.Harness[pgx.Tx] {
				n++
				return newHarnessIn(t, url, fmt.Sprint("ledger_", n), fewest)
			})
		})
	}
}

// TestKillEverywhere kills a process in each state of a batch.
func TestKillEverywhere(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	storetest.KillEverywhere(t, []string{childURL + "=" + h.url}, func(*testing.T) storetest.Harness[pgx.Tx] { return h })
}

// doomed applies a batch and dies.
func doomed(state storetest.State) {
	ctx := context.Background()
	pool, err := connect(ctx, os.Getenv(childURL), "ledger")
	if err == nil {
		var s *postgres.Store
		if s, err = postgres.Open(ctx, postgres.Options{DB: deadly{pool, state}, Schema: "ledger"}); err == nil {
			storetest.ApplyDoomed(state, s, addOne)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// deadly is a pool whose commits of fenced batches end the process.
type deadly struct {
	*pgxpool.Pool
	state storetest.State
}

func (d deadly) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	tx, err := d.Pool.BeginTx(ctx, o)
	return &deadlyTx{tx, d.state}, err
}

type deadlyTx struct {
	pgx.Tx
	state storetest.State
}

func (d *deadlyTx) Commit(ctx context.Context) error {
	var fenced bool
	if err := d.QueryRow(ctx, "SELECT to_regclass('ledger.fence') IS NOT NULL").Scan(&fenced); err != nil {
		return err
	}
	if fenced { // the schema is there: is it the batch's transaction?
		if err := d.QueryRow(ctx, "SELECT EXISTS (SELECT FROM ledger.fence WHERE durable = $1)", string(d.state)).Scan(&fenced); err != nil {
			return err
		}
	}
	if fenced && d.state == storetest.BeforeCommit {
		storetest.Die()
	}
	err := d.Tx.Commit(ctx)
	if fenced && d.state == storetest.AfterCommit {
		storetest.Die()
	}
	return err
}

// harness is a store in a schema of its own, over connections whose commits can be broken.
type harness struct {
	t      *testing.T
	url    string
	schema string
	fewest int // marks that are worth a COPY; 0: as it is
	pool   *pgxpool.Pool

	mu     sync.Mutex
	store  *postgres.Store
	breaks *storetest.When
	day    time.Time
}

func newHarness(t *testing.T) *harness { return newHarnessIn(t, postgrestest.Database(t), "ledger", 0) }

func newHarnessIn(t *testing.T, url, schema string, fewest int) *harness {
	day := time.Date(2100, 1, 31, 0, 0, 0, 0, time.UTC) // after the one on which Open opens the first generation
	h := &harness{t: t, url: url, schema: schema, fewest: fewest, day: day}
	h.open()
	t.Cleanup(func() { h.pool.Close() })
	if _, err := h.pool.Exec(t.Context(), "CREATE TABLE account (name text PRIMARY KEY, sum int NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *harness) open() {
	h.t.Helper()
	var err error
	if h.pool, err = connect(h.t.Context(), h.url, h.schema); err != nil {
		h.t.Fatal(err)
	}
	s, err := postgres.Open(h.t.Context(), postgres.Options{DB: h, Schema: h.schema})
	if err != nil {
		h.t.Fatal(err)
	}
	s.Today(h.today)
	s.Piece(7)
	if h.fewest > 0 {
		s.Fewest(h.fewest)
	}
	if _, err := s.Apply(h.t.Context(), idempotency.Batch{}, nil); err != nil { // opens the day's generation
		h.t.Fatal(err)
	}
	h.store = s
}

// connect opens a pool for which the effects' table is in a schema.
func connect(ctx context.Context, url, schema string) (*pgxpool.Pool, error) {
	o, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	o.ConnConfig.RuntimeParams["search_path"] = schema
	return pgxpool.NewWithConfig(ctx, o)
}

func (h *harness) today() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.day
}

func (h *harness) Store() idempotency.Store[pgx.Tx] { return h.store }

func (h *harness) Add(ctx context.Context, tx pgx.Tx, account string) error {
	return addOne(ctx, tx, account)
}

// addOne adds one to an account.
func addOne(ctx context.Context, tx pgx.Tx, account string) error {
	_, err := tx.Exec(ctx, "INSERT INTO account AS a VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET sum = a.sum + 1", account)
	return err
}

func (h *harness) Sum(account string) int {
	h.t.Helper()
	var n int
	if err := h.pool.QueryRow(h.t.Context(), "SELECT coalesce(sum(sum), 0) FROM account WHERE name = $1", account).Scan(&n); err != nil {
		h.t.Fatal(err)
	}
	return n
}

func (h *harness) Break(when storetest.When) { h.breaks = &when }

// Restart closes the connections under the store: what it holds is lost.
func (h *harness) Restart() {
	h.t.Helper()
	h.pool.Close()
	h.open()
}

func (h *harness) Turn() { h.pass(1) }
func (h *harness) Idle() { h.pass(365) }

func (h *harness) pass(days int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.day = h.day.AddDate(0, 0, days)
}

func (h *harness) Keep() int   { return 2 }
func (h *harness) Forget() int { return 3 }

// BeginTx is the pool's, with a transaction that breaks.
func (h *harness) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	tx, err := h.pool.BeginTx(ctx, o)
	return &breakable{Tx: tx, h: h}, err
}

type breakable struct {
	pgx.Tx
	h *harness
}

var errBroken = errors.New("the connection broke")

func (b *breakable) Commit(ctx context.Context) error {
	when := b.h.breaks
	if when == nil {
		return b.Tx.Commit(ctx)
	}
	b.h.breaks = nil
	if *when == storetest.After {
		if err := b.Tx.Commit(ctx); err != nil {
			return err
		}
	} else if err := b.Rollback(ctx); err != nil {
		return err
	}
	return errBroken
}

// TestOpenAtOnce: the members of a group start together on an empty database.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), postgrestest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), postgres.Options{DB: pool, Schema: "ledger"})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := s.Apply(t.Context(), idempotency.Batch{Fence: idempotency.Fence{Durable: "d", Epoch: 1}}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	for name, c := range map[string]struct {
		setting string
		o       postgres.Options
		code    string
	}{
		"no schema":             {"", postgres.Options{}, "invalid_options"},
		"a schema that is more": {"", postgres.Options{Schema: "a; DROP"}, "invalid_options"},
		"a horizon of nothing":  {"", postgres.Options{Schema: "a", Horizon: time.Minute}, "invalid_options"},
		"no durable commits":    {"?synchronous_commit=off", postgres.Options{Schema: "a"}, "not_durable"},
		"a newer schema":        {"", postgres.Options{Schema: "newer"}, "newer_schema"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := pgxpool.ParseConfig(url)
			if err != nil {
				t.Fatal(err)
			}
			if c.setting != "" {
				o.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
			}
			pool, err := pgxpool.NewWithConfig(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			c.o.DB = pool
			if c.o.Schema == "newer" {
				if _, err := pool.Exec(t.Context(), "CREATE SCHEMA newer; CREATE TABLE newer.schema_version (version int, applied_at timestamptz); INSERT INTO newer.schema_version VALUES (99)"); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := postgres.Open(t.Context(), c.o); fault.CodeOf(err) != c.code {
				t.Errorf("got %v, want %s", err, c.code)
			}
		})
	}
}

// TestFailureAtTheCommit: a constraint that is checked at the commit, and an effect that hides its failure, are one
// event's fault and not the batch's.
func TestFailureAtTheCommit(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	if _, err := h.pool.Exec(t.Context(), "CREATE TABLE payment (account text REFERENCES account DEFERRABLE INITIALLY DEFERRED)"); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"deferred": "INSERT INTO payment VALUES ('nobody')", "hidden": "SELECT 1/0"} {
		entries := []idempotency.Entry{{EventID: name + "-good"}, {EventID: name + "-bad"}}
		results, err := h.store.Apply(t.Context(), idempotency.Batch{Entries: entries}, idempotency.Each(func(ctx context.Context, tx pgx.Tx, i int) error {
			if i == 1 {
				_, _ = tx.Exec(ctx, bad)
				if name == "deferred" {
					return nil
				}
			}
			return h.add(ctx, tx, entries[i].EventID, i)
		}))
		if err != nil || results[0].Outcome != idempotency.Applied || results[1].Outcome != idempotency.Failed {
			t.Errorf("%s: %v, %v", name, results, err)
		}
		if h.Sum(name+"-good") != 1 || h.Sum(name+"-bad") != 0 {
			t.Errorf("%s: the effects are %d and %d", name, h.Sum(name+"-good"), h.Sum(name+"-bad"))
		}
	}
}

// add is Add, which is not reached by what fails.
func (h *harness) add(ctx context.Context, tx pgx.Tx, account string, i int) error {
	if i == 1 {
		return nil
	}
	return h.Add(ctx, tx, account)
}

// TestAReaderOfTheLogDelaysNobody: who reads event_log for long keeps no generation from being opened; old ones are
// dropped when nobody reads.
func TestAReaderOfTheLogDelaysNobody(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	reader, err := h.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := reader.Exec(t.Context(), "SELECT * FROM ledger.event_log"); err != nil {
		t.Fatal(err)
	}
	apply := func(id string) {
		t.Helper()
		results, err := h.store.Apply(t.Context(), idempotency.Batch{Entries: []idempotency.Entry{{EventID: id}}},
			idempotency.Each(func(ctx context.Context, tx pgx.Tx, _ int) error { return h.Add(ctx, tx, id) }))
		if err != nil || results[0].Outcome != idempotency.Applied {
			t.Fatalf("%s: %v, %v", id, results, err)
		}
	}
	for i := range 2 {
		apply(fmt.Sprint(i))
		h.Turn()
	}
	apply("last")
	var generations int
	if err := h.pool.QueryRow(t.Context(), "SELECT count(*) FROM ledger.generation").Scan(&generations); err != nil || generations != 4 { // with the one of Open
		t.Fatal(generations, err)
	}
}
