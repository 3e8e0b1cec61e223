//go:build unix

package group_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/consumers/once"
	"github.com/weft-mesh/weft/consumers/postgrestest"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// childEnv holds what a member in a process of its own is told.
const childEnv = "WEFT_GROUP_MEMBER"

// child is such a member. For the event StopAt it says so within the effect's transaction, and then waits for the database a
// little, so that it can be stopped there.
type child struct {
	Name, NATS, Database, StopAt string
	Width                        int
	TTL                          time.Duration
}

func TestMain(m *testing.M) {
	told := os.Getenv(childEnv)
	if told == "" {
		// A server that is shut down leaves who waits for the answer of a source that is gone.
		goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"))
		return
	}
	if err := runChild(told); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// runChild is a member until it is told to end, or whoever started it is gone: then its standard input ends.
func runChild(told string) error {
	var c child
	if err := json.Unmarshal([]byte(told), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	pool, err := pgxpool.New(ctx, c.Database)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := postgres.Open(ctx, postgres.Options{DB: pool, Schema: "ledger", Silence: time.Second})
	if err != nil {
		return err
	}
	m, err := group.Join(ctx, group.Options{
		Group: "ledger", Width: c.Width, Member: c.Name, Store: store, TTL: c.TTL,
		Subscription: consumers.Options{URLs: []string{c.NATS}, Stream: "eu"},
	})
	if err != nil {
		return err
	}
	return m.RunEach(ctx, func(ctx context.Context, claim *group.Claim, sub *consumers.Subscription) error {
		fmt.Println("owns", claim.Durable(), claim.Epoch())
		pay := func(ctx context.Context, tx pgx.Tx, fresh []*consumers.Message) error {
			return c.pay(ctx, tx, claim, fresh)
		}
		return sub.RunBatches(ctx, consumers.Batching{Most: 5}, once.Batches(group.Fenced(store, claim), pay))
	})
}

// pay is an effect that shows how often it was committed, by whom.
func (c *child) pay(ctx context.Context, tx pgx.Tx, claim *group.Claim, fresh []*consumers.Message) error {
	for _, m := range fresh {
		if _, err := tx.Exec(ctx, "INSERT INTO payment VALUES ($1, $2, $3)", m.EventID, c.Name, claim.Epoch()); err != nil {
			return err
		}
		if m.EventID != c.StopAt {
			continue
		}
		fmt.Println("within", m.EventID)
		if _, err := tx.Exec(ctx, "SELECT pg_sleep(0.5)"); err != nil {
			return err
		}
	}
	return nil
}

// process is a child that runs.
type process struct {
	t   *testing.T
	cmd *exec.Cmd

	mu    sync.Mutex
	lines []string
	ended chan struct{}
}

// start runs this test's own program as a member.
func start(t *testing.T, c child) *process {
	t.Helper()
	told, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(told))
	p.cmd.Stderr = os.Stderr
	if _, err := p.cmd.StdinPipe(); err != nil { // it ends with this process
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.mu.Unlock()
		}
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.ended
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !strings.Contains(err.Error(), "already finished") {
		p.t.Error(err)
	}
}

// says waits until the process has said a line that begins so, that many times.
func (p *process) says(begin string, times int) {
	p.t.Helper()
	streamtest.Eventually(p.t, patience, func() (bool, string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := 0
		for _, l := range p.lines {
			if strings.HasPrefix(l, begin) {
				n++
			}
		}
		return n >= times, fmt.Sprintf("it said %q", p.lines)
	})
}

// payments are a world with a database.
type payments struct {
	*world
	url  string
	pool *pgxpool.Pool
}

func newPayments(t *testing.T) *payments {
	t.Helper()
	url := postgrestest.Database(t)
	p := &payments{world: newWorld(t), url: url}
	var err error
	if p.pool, err = pgxpool.New(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.pool.Close)
	if _, err := p.pool.Exec(t.Context(), "CREATE TABLE payment (event_id text, member text, epoch bigint)"); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *payments) child(name string, width int) child {
	return child{Name: name, NATS: p.s.URL(), Database: p.url, Width: width, TTL: 2 * time.Second}
}

// paid waits until all these events have their effect, and returns by how many members.
func (p *payments) paid(ids []string) (members int) {
	p.t.Helper()
	streamtest.Eventually(p.t, patience, func() (bool, string) {
		var n int
		err := p.pool.QueryRow(p.t.Context(), "SELECT count(DISTINCT event_id), count(DISTINCT member) FROM payment WHERE event_id = ANY($1)", ids).Scan(&n, &members)
		return err == nil && n == len(ids), fmt.Sprintf("%d of %d are paid, %v", n, len(ids), err)
	})
	return members
}

// once fails if something was paid twice.
func (p *payments) once() {
	p.t.Helper()
	rows, err := p.pool.Query(p.t.Context(), "SELECT event_id FROM payment GROUP BY event_id HAVING count(*) > 1")
	if err != nil {
		p.t.Fatal(err)
	}
	twice, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(twice) > 0 {
		p.t.Errorf("paid twice: %v, %v", twice, err)
	}
}

// TestAKilledOwnerIsReplaced: with the default TTL another member owns what it had within six seconds, and handles what it had
// fetched, once.
func TestAKilledOwnerIsReplaced(t *testing.T) {
	t.Parallel()
	p := newPayments(t)
	c, d := p.child("a", 1), p.child("b", 1)
	c.TTL, d.TTL = 0, 0
	a := start(t, c)
	a.says("owns", 1)
	ids := p.publish(eu, subject.Global, "a", 1, 20)
	p.paid(ids[:1])
	b := start(t, d)
	p.member("b")
	ids = append(ids, p.publish(eu, subject.Global, "a", 21, 120)...)
	a.signal(syscall.SIGKILL)
	killed := time.Now()
	b.says("owns", 1)
	took := time.Since(killed)
	ids = append(ids, p.publish(eu, subject.Global, "a", 121, 130)...)
	if members := p.paid(ids); members != 2 {
		t.Errorf("%d members paid", members)
	}
	t.Logf("owned by the other one after %s, all paid after %s", took, time.Since(killed))
	if took > 6*time.Second {
		t.Errorf("it took %s", took)
	}
	p.once()
}

// member waits until a member is known.
func (p *payments) member(name string) {
	p.t.Helper()
	streamtest.Eventually(p.t, patience, func() (bool, string) {
		var n int
		err := p.pool.QueryRow(p.t.Context(), "SELECT count(*) FROM ledger.member WHERE name LIKE $1", name+".%").Scan(&n)
		return n == 1, fmt.Sprintf("not a member, %v", err)
	})
}

// TestAStoppedOwnerPaysNothingTwice: it is stopped in the middle of a transaction, another one takes over and pays, and when it
// wakes it commits nothing, hands nothing to its handler and joins the others again.
func TestAStoppedOwnerPaysNothingTwice(t *testing.T) {
	t.Parallel()
	p := newPayments(t)
	c := p.child("a", 1)
	c.StopAt = "a10"
	a := start(t, c)
	a.says("owns", 1)
	ids := p.publish(eu, subject.Global, "a", 1, 9)
	p.paid(ids)
	b := start(t, p.child("b", 1))
	p.member("b")
	ids = append(ids, p.publish(eu, subject.Global, "a", 10, 60)...)
	a.says("within a10", 1)
	a.signal(syscall.SIGSTOP)
	p.paid(ids)
	a.signal(syscall.SIGCONT)
	ids = append(ids, p.publish(eu, subject.Global, "a", 61, 100)...)
	p.paid(ids)
	var by string
	if err := p.pool.QueryRow(t.Context(), "SELECT member FROM payment WHERE event_id = 'a10'").Scan(&by); err != nil || by != "b" {
		t.Errorf("a10 was paid by %q, %v", by, err)
	}
	b.signal(syscall.SIGTERM) // the one that woke is still a member, and takes over in its turn
	a.says("owns", 2)
	ids = append(ids, p.publish(eu, subject.Global, "a", 101, 110)...)
	p.paid(ids)
	p.once()
}
