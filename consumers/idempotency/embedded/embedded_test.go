package embedded_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/embedded"
	"github.com/weft-mesh/weft/consumers/idempotency/storetest"
	"github.com/weft-mesh/weft/streams/fault"
)

const childDir = "WEFT_TEST_EMBEDDED_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if state, ok := storetest.Doomed(); ok {
			doomed(state, dir)
		}
		child(dir)
	}
	goleak.VerifyTestMain(m)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness[*embedded.Tx] {
		h := &harness{t: t, fs: vfs.NewCrashableMem()}
		h.now.Store(time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC).UnixNano())
		h.store = open(t, embedded.Options{Dir: "/data/ledger", FS: h.fs, Now: h.time})
		t.Cleanup(func() { closeStore(t, h.store) })
		return h
	})
}

func open(t *testing.T, o embedded.Options) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t *testing.T, s *embedded.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// harness is a store on a disk that forgets at a crash what was not synced.
type harness struct {
	t     *testing.T
	fs    *vfs.MemFS
	store *embedded.Store
	now   atomic.Int64
}

func (h *harness) time() time.Time { return time.Unix(0, h.now.Load()) }

func (h *harness) Store() idempotency.Store[*embedded.Tx] { return h.store }

func (h *harness) Add(_ context.Context, tx *embedded.Tx, account string) error {
	return add(tx, account)
}

// add adds one to an account.
func add(tx *embedded.Tx, account string) error {
	old, _, err := tx.Get([]byte(account))
	if err != nil {
		return err
	}
	return tx.Set([]byte(account), binary.BigEndian.AppendUint64(nil, sum(old)+1))
}

func sum(value []byte) uint64 {
	if len(value) == 0 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

func (h *harness) Sum(account string) int {
	h.t.Helper()
	v, _, err := h.store.Get(h.t.Context(), []byte(account))
	if err != nil {
		h.t.Fatal(err)
	}
	return int(sum(v)) //nolint:gosec // small
}

func (h *harness) Break(when storetest.When) {
	h.store.BreakCommit(when == storetest.After, errors.New("the commit broke"))
}

// Restart loses the power: what was not synced is gone.
func (h *harness) Restart() {
	h.t.Helper()
	after := h.fs.CrashClone(vfs.CrashCloneCfg{})
	closeStore(h.t, h.store)
	h.fs = after
	h.store = open(h.t, embedded.Options{Dir: "/data/ledger", FS: h.fs, Now: h.time})
	h.store.Piece(3)
}

func (h *harness) Turn()       { h.now.Add(int64(8 * time.Hour)) }
func (h *harness) Idle()       { h.now.Add(int64(365 * 24 * time.Hour)) }
func (h *harness) Keep() int   { return 4 }
func (h *harness) Forget() int { return 5 }

// TestPowerLoss loses the power at any time, with some of what was not synced on the disk or none: whatever was
// returned is there, and each effect is there exactly with its mark.
func TestPowerLoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's
	fs := vfs.NewCrashableMem()
	returned := map[string]bool{}
	for round := range 12 {
		s := open(t, embedded.Options{Dir: "/ledger", FS: fs})
		var after *vfs.MemFS
		for batch := range 4 {
			var entries []idempotency.Entry
			for range 8 {
				entries = append(entries, idempotency.Entry{EventID: strconv.Itoa(rng.IntN(400))})
			}
			crash := batch == 3
			results, err := s.Apply(t.Context(), idempotency.Batch{Entries: entries}, idempotency.Each(func(_ context.Context, tx *embedded.Tx, i int) error {
				if crash && i >= 4 && after == nil {
					after = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * (round % 3), RNG: rng})
				}
				return add(tx, entries[i].EventID)
			}))
			if err != nil {
				t.Fatal(err)
			}
			for i := range results {
				if !crash {
					returned[entries[i].EventID] = true
				}
			}
		}
		if after == nil {
			after = fs.CrashClone(vfs.CrashCloneCfg{})
			for i := range 400 {
				if v, _, err := s.Get(t.Context(), []byte(strconv.Itoa(i))); err == nil && sum(v) == 1 {
					returned[strconv.Itoa(i)] = true
				}
			}
		}
		closeStore(t, s)
		fs = after
	}
	s := open(t, embedded.Options{Dir: "/ledger", FS: fs})
	defer closeStore(t, s)
	judge(t, s, returned)
}

// judge applies everything once more and counts.
func judge(t *testing.T, s *embedded.Store, returned map[string]bool) {
	t.Helper()
	for id := range returned {
		results, err := s.Apply(t.Context(), idempotency.Batch{Entries: []idempotency.Entry{{EventID: id}}},
			func(_ context.Context, tx *embedded.Tx, _ []int) error { return add(tx, id) })
		if err != nil || results[0].Outcome != idempotency.Duplicate {
			t.Fatalf("%s was applied and is %v, %v", id, results, err)
		}
	}
	n := 0
	if err := s.Scan(t.Context(), nil, func(key, value []byte) error {
		if n++; sum(value) != 1 {
			t.Errorf("the effect of %s is there %d times", key, sum(value))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n < len(returned) || n == 0 {
		t.Errorf("%d effects, %d events were applied", n, len(returned))
	}
}

// TestKill kills a process that applies, again and again, on a real disk.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	returned := map[string]bool{}
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			returned[lines.Text()] = true
			if n == 20+30*round {
				if err := cmd.Process.Kill(); err != nil { // what it wrote to the pipe before is still read
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the process ended by itself")
		}
	}
	s := open(t, embedded.Options{Dir: dir})
	defer closeStore(t, s)
	judge(t, s, returned)
}

// TestKillEverywhere kills a process in each state of a batch, on a real disk.
func TestKillEverywhere(t *testing.T) {
	dir := t.TempDir()
	storetest.KillEverywhere(t, []string{childDir + "=" + dir}, func(t *testing.T) storetest.Harness[*embedded.Tx] {
		h := &harness{t: t, store: open(t, embedded.Options{Dir: dir})}
		t.Cleanup(func() { closeStore(t, h.store) })
		return h
	})
}

// doomed applies a batch and dies.
func doomed(state storetest.State, dir string) {
	s, err := embedded.Open(embedded.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.AroundCommit(func(commit func() error) error {
		if state == storetest.BeforeCommit {
			storetest.Die()
		}
		err := commit()
		if state == storetest.AfterCommit {
			storetest.Die()
		}
		return err
	})
	storetest.ApplyDoomed(state, s, func(_ context.Context, tx *embedded.Tx, account string) error { return add(tx, account) })
}

// child applies events, many of them twice, and prints what Apply returned, until it is killed.
func child(dir string) {
	s, err := embedded.Open(embedded.Options{Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		var entries []idempotency.Entry
		for range 4 {
			entries = append(entries, idempotency.Entry{EventID: strconv.Itoa(rand.IntN(1000))}) //nolint:gosec // any will do
		}
		if _, err := s.Apply(context.Background(), idempotency.Batch{Entries: entries},
			idempotency.Each(func(_ context.Context, tx *embedded.Tx, i int) error { return add(tx, entries[i].EventID) })); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		for _, e := range entries {
			fmt.Println(e.EventID)
		}
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	s := open(t, embedded.Options{Dir: dir})
	if _, err := embedded.Open(embedded.Options{Dir: dir}); fault.CodeOf(err) != "store_in_use" {
		t.Errorf("opened twice: %v", err)
	}
	if s.Shared() {
		t.Error("says that others see its marks")
	}
	closeStore(t, s)
	closeStore(t, s)
	if _, err := s.Apply(t.Context(), idempotency.Batch{}, nil); fault.CodeOf(err) != "store_closed" {
		t.Errorf("applied when closed: %v", err)
	}
}

// TestName: a store has the same name for as long as it exists, and no other store has it.
func TestName(t *testing.T) {
	fs := vfs.NewMem()
	name := func(dir string) string {
		s := open(t, embedded.Options{Dir: dir, FS: fs})
		defer closeStore(t, s)
		return s.Name()
	}
	if a := name("a"); a == "" || a != name("a") || a == name("b") {
		t.Errorf("names %q, %q, %q", a, name("a"), name("b"))
	}
}

// TestFull: a store that is full answers what it knows, refuses what is new and takes it when marks have expired.
func TestFull(t *testing.T) {
	now := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	s := open(t, embedded.Options{Dir: "d", FS: vfs.NewMem(), MaxMarks: 3, Now: func() time.Time { return now }})
	defer closeStore(t, s)
	apply := func(ids ...string) string {
		var entries []idempotency.Entry
		for _, id := range ids {
			entries = append(entries, idempotency.Entry{EventID: id})
		}
		results, err := s.Apply(t.Context(), idempotency.Batch{Entries: entries}, idempotency.Each(func(_ context.Context, tx *embedded.Tx, i int) error { return add(tx, ids[i]) }))
		if err != nil || len(results) == 0 {
			return fault.CodeOf(err)
		}
		return fmt.Sprint(results[len(results)-1].Outcome)
	}
	for i, step := range []struct {
		want string
		ids  []string
	}{{"applied", []string{"a", "b"}}, {"store_full", []string{"c", "d"}}, {"applied", []string{"c"}}, {"duplicate", []string{"a"}}, {"store_full", []string{"d"}}} {
		if got := apply(step.ids...); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
	for range 5 {
		now = now.Add(8 * time.Hour)
		apply()
	}
	if got := apply("d"); got != "applied" {
		t.Errorf("after expiry: %s", got)
	}
}
