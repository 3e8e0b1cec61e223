package storetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/consumers/idempotency"
)

// State is where a process is killed.
type State string

// The states of a process that applies a batch.
const (
	InEffect     State = "in the effect"
	BeforeCommit State = "before the commit"
	AfterCommit  State = "after the commit"
)

// states has for each of them whether its batch is applied.
var states = map[State]bool{InEffect: false, BeforeCommit: false, AfterCommit: true}

// stateVariable tells a process to die, and where.
const stateVariable = "WEFT_TEST_KILLED"

// Doomed says whether this process was started by KillEverywhere, and where it is to die. TestMain asks.
func Doomed() (State, bool) {
	s, ok := os.LookupEnv(stateVariable)
	return State(s), ok
}

// Die ends this process at once, as kill -9 does.
func Die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// killed is what a doomed process applies.
func killed(state State) idempotency.Batch {
	b := idempotency.Batch{Fence: idempotency.Fence{Durable: string(state), Epoch: 1}}
	for i := range uint64(20) {
		e := counted(fmt.Sprintf("%s-%d", state, i), 1, i)
		e.UserID = string(state)
		b.Entries = append(b.Entries, e)
	}
	return b
}

// ApplyDoomed applies the batch of a doomed process. It dies in the effect if it is to; the store's commit is to let it
// die otherwise. It does not return.
func ApplyDoomed[T any](state State, store idempotency.Store[T], add func(ctx context.Context, tx T, account string) error) {
	b, n := killed(state), 0
	results, err := store.Apply(context.Background(), b, idempotency.Each(func(ctx context.Context, tx T, i int) error {
		if n++; state == InEffect && n > 10 {
			Die()
		}
		return add(ctx, tx, b.Entries[i].EventID)
	}))
	fmt.Fprintln(os.Stderr, "not killed:", results, err)
	os.Exit(1)
}

// KillEverywhere kills a process in each state: this test program, whose TestMain calls ApplyDoomed on the store that open opens
// afterwards. Then each effect must be there with its mark, or neither, and the next owner completes it.
func KillEverywhere[T any](t *testing.T, environment []string, open func(t *testing.T) Harness[T]) {
	for state := range states {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(append(os.Environ(), stateVariable+"="+string(state)), environment...)
		out, err := cmd.CombinedOutput()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("%s: the process was not killed: %v\n%s", state, err, out)
		}
	}
	r := rig[T]{t: t, Harness: open(t)}
	for state, applied := range states {
		want, sum := "applied", 0
		if applied {
			want, sum = "duplicate", 1
		}
		b := killed(state)
		for _, e := range b.Entries {
			r.sums(fmt.Sprintf("%s=%d", e.EventID, sum))
		}
		b.Fence.Epoch = 2
		got, err := r.try(b)
		if err != nil || strings.Count(got, want) != len(b.Entries) {
			t.Errorf("%s: applied again: %s, %v, want all %s", state, got, err, want)
		}
		for _, e := range b.Entries {
			r.sums(e.EventID)
		}
	}
}
