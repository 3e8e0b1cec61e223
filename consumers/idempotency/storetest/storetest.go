// Package storetest is what every idempotency.Store is held to, its failures before and after the commit included.
//
// The tests of each store call Run. Subtests run one after the other.
package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// When says at which side of a commit it breaks.
type When int

// The sides.
const (
	Before When = iota // nothing was persisted
	After              // everything was, the answer is lost
)

// Harness is a store with what the tests need of its surroundings.
type Harness[T any] interface {
	Store() idempotency.Store[T]

	// Add adds one to an account, in the transaction of an effect.
	Add(ctx context.Context, tx T, account string) error

	// Sum is what was committed of an account.
	Sum(account string) int

	// Break makes the next commit fail.
	Break(When)

	// Restart ends the store as a crash does and opens it again.
	Restart()

	// Turn opens the next generation of marks, Idle lets a year pass without use.
	Turn()
	Idle()

	// Keep is how many turns a mark survives at least, and Forget after how many it is gone.
	Keep() int
	Forget() int
}

var eu = subject.Origin{Region: "eu", Epoch: 1}

// Run holds a store to its contract. New makes an empty one.
func Run[T any](t *testing.T, fresh func(t *testing.T) Harness[T]) {
	for name, check := range map[string]func(*testing.T, rig[T]){
		"outcomes":        outcomes[T],
		"large counts":    largeCounts[T],
		"copies":          copies[T],
		"poison":          poison[T],
		"broken commit":   brokenCommit[T],
		"fence":           fence[T],
		"last":            last[T],
		"at once":         atOnce[T],
		"expiry":          expiry[T],
		"closed":          closed[T],
		"invalid":         invalid[T],
		"canceled effect": canceled[T],
	} {
		t.Run(name, func(t *testing.T) { check(t, rig[T]{t: t, Harness: fresh(t)}) })
	}
}

type rig[T any] struct {
	t *testing.T
	Harness[T]
}

// entry is one with content of its own: "id" or "id=content", of no counting source.
func entry(s string) idempotency.Entry {
	id, content, other := strings.Cut(s, "=")
	if !other {
		content = id
	}
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	return idempotency.Entry{
		EventID: id, Digest: sha256.Sum256([]byte(content)), UserID: "alice", Origin: eu, OriginSeq: 7, OccurredAt: at, IngestedAt: at,
	}
}

// counted is an entry with a place in alice's count of the source "wallet".
func counted(s string, epoch, seq uint64) idempotency.Entry {
	e := entry(s)
	e.Source, e.SourceEpoch, e.SourceSeq, e.HasSourceSeq = "wallet", epoch, seq, true
	return e
}

// count is the effect that adds one to the account of each event, except that poison fails after it did.
func (r rig[T]) count(entries []idempotency.Entry) idempotency.Effect[T] {
	return idempotency.Each(func(ctx context.Context, tx T, i int) error {
		if err := r.Add(ctx, tx, entries[i].EventID); err != nil {
			return err
		}
		if strings.HasPrefix(entries[i].EventID, "poison") {
			return errPoison
		}
		return nil
	})
}

var errPoison = errors.New("poison")

func (r rig[T]) try(b idempotency.Batch) (string, error) {
	results, err := r.Store().Apply(r.t.Context(), b, r.count(b.Entries))
	if err == nil && len(results) != len(b.Entries) {
		r.t.Fatalf("%d results of %d entries", len(results), len(b.Entries))
	}
	var out []string
	for _, res := range results {
		s := res.Outcome.String()
		if res.Prior != "" {
			s += ":" + res.Prior
		}
		if (res.Outcome == idempotency.Failed) != (res.Err != nil) {
			r.t.Errorf("%s with error %v", s, res.Err)
		}
		out = append(out, s)
	}
	return strings.Join(out, " "), err
}

// apply applies entries and checks what became of each.
func (r rig[T]) apply(want string, entries ...idempotency.Entry) {
	r.t.Helper()
	got, err := r.try(idempotency.Batch{Entries: entries})
	if err != nil || got != want {
		r.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// sums checks how often each account was added to: "id=2", "id" for once.
func (r rig[T]) sums(want ...string) {
	r.t.Helper()
	for _, w := range want {
		account, n, ok := strings.Cut(w, "=")
		if !ok {
			n = "1"
		}
		if got := fmt.Sprint(r.Sum(account)); got != n {
			r.t.Errorf("the effect of %s was committed %s times, want %s", account, got, n)
		}
	}
}

func outcomes[T any](t *testing.T, r rig[T]) {
	r.apply("applied applied", entry("a"), counted("b", 1, 1))
	r.apply("duplicate:a duplicate:b applied", entry("a"), counted("b", 1, 1), entry("c"))
	r.apply("conflict:a", entry("a=other"))
	r.apply("conflict:b", counted("x", 1, 1))    // another id at b's place, with other content
	r.apply("duplicate:b", counted("x=b", 1, 1)) // the same said again under a new id
	r.apply("applied applied", counted("d", 1, 2), counted("e", 2, 1))
	other := counted("f", 1, 1)
	other.UserID = "bob"
	r.apply("applied", other)
	elsewhere := counted("g", 1, 1)
	elsewhere.Source = "kyc"
	r.apply("applied", elsewhere)
	moved := entry("a")
	moved.OccurredAt, moved.IngestedAt = moved.OccurredAt.AddDate(1, 0, 0), time.Time{}
	moved.Origin, moved.OriginSeq = subject.Origin{Region: "us", Epoch: 3}, 99
	r.apply("duplicate:a", moved)
	r.Restart()
	r.apply("duplicate:a conflict:a duplicate:d", entry("a"), entry("a=other"), counted("d", 1, 2))
	r.apply("")
	r.sums("a", "b", "c", "d", "e", "f", "g", "x=0")
}

func largeCounts[T any](t *testing.T, r rig[T]) {
	const top = 1<<64 - 1
	r.apply("applied applied applied", counted("a", 0, 0), counted("b", top, top), counted("c", 1<<63, 1<<63))
	r.apply("conflict:a conflict:b conflict:c", counted("x", 0, 0), counted("y", top, top), counted("z", 1<<63, 1<<63))
	p, ok, err := r.Store().Last(t.Context(), "wallet", "alice")
	if err != nil || !ok || p.Epoch != top || p.Seq != top {
		t.Errorf("last is %+v %v %v", p, ok, err)
	}
}

func copies[T any](t *testing.T, r rig[T]) {
	r.apply("applied duplicate:a conflict:a applied", entry("a"), entry("a"), entry("a=other"), entry("b"))
	r.apply("applied conflict:c duplicate:c", counted("c", 1, 1), counted("d", 1, 1), counted("e=c", 1, 1))
	r.apply("failed failed applied", entry("poison"), entry("poison"), entry("f"))
	r.sums("a", "b", "c", "d=0", "e=0", "f", "poison=0")
}

func poison[T any](t *testing.T, r rig[T]) {
	r.apply("applied failed applied failed applied", entry("a"), entry("poison-1"), entry("b"), counted("poison-2", 1, 1), counted("c", 1, 2))
	r.sums("a", "b", "c", "poison-1=0", "poison-2=0")
	results, err := r.Store().Apply(t.Context(), idempotency.Batch{Entries: []idempotency.Entry{entry("poison-1")}}, r.count([]idempotency.Entry{entry("poison-1")}))
	if err != nil || !errors.Is(results[0].Err, errPoison) {
		t.Errorf("the effect's error is not told: %v, %v", results, err)
	}
	r.apply("applied", counted("healed", 1, 1)) // a place that failed is free
	heals := []idempotency.Entry{entry("poison-1")}
	results, err = r.Store().Apply(t.Context(), idempotency.Batch{Entries: heals}, func(ctx context.Context, tx T, fresh []int) error {
		return r.Add(ctx, tx, "poison-1")
	})
	if err != nil || results[0].Outcome != idempotency.Applied {
		t.Errorf("an event whose effect failed cannot be applied later: %v, %v", results, err)
	}
	r.sums("a", "b", "c", "poison-1", "poison-2=0", "healed")
}

func brokenCommit[T any](t *testing.T, r rig[T]) {
	for _, when := range []When{Before, After} {
		for _, restart := range []bool{false, true} {
			id := fmt.Sprintf("%d-%v", when, restart)
			b := idempotency.Batch{Entries: []idempotency.Entry{entry(id), entry("other-" + id)}}
			r.Break(when)
			if got, err := r.try(b); err == nil {
				t.Fatalf("%s: a broken commit says %q and no error", id, got)
			}
			if restart {
				r.Restart()
			}
			want, sum := "applied applied", 0
			if when == After {
				want, sum = "duplicate:"+id+" duplicate:other-"+id, 1
			}
			r.sums(fmt.Sprintf("%s=%d", id, sum), fmt.Sprintf("other-%s=%d", id, sum))
			if got, err := r.try(b); err != nil || got != want {
				t.Errorf("%s: repeated: %q, %v, want %q", id, got, err, want)
			}
			r.sums(id, "other-"+id)
		}
	}
}

func fence[T any](t *testing.T, r rig[T]) {
	batch := func(id string, epoch uint64) idempotency.Batch {
		b := idempotency.Batch{Fence: idempotency.Fence{Durable: "d", Epoch: epoch}}
		if id != "" {
			b.Entries = []idempotency.Entry{entry(id)}
		}
		return b
	}
	for i, step := range []struct {
		b     idempotency.Batch
		stale bool
	}{
		{batch("a", 2), false}, {batch("b", 1), true}, {batch("c", 2), false}, {batch("", 4), false}, {batch("e", 2), true}, {batch("", 3), true}, {batch("f", 4), false},
	} {
		if i == 4 {
			r.Restart()
		}
		_, err := r.try(step.b)
		if stale := fault.CodeOf(err) == idempotency.CodeStale && fault.KindOf(err) == fault.Conflict; stale != step.stale || !stale && err != nil {
			t.Fatalf("step %d: %v, want stale %v", i, err, step.stale)
		}
	}
	r.sums("a", "b=0", "c", "e=0", "f")
	other := batch("g", 1)
	other.Fence.Durable = "another"
	if _, err := r.try(other); err != nil {
		t.Errorf("another durable: %v", err)
	}
}

func last[T any](t *testing.T, r rig[T]) {
	check := func(source, user string, want idempotency.Place) {
		t.Helper()
		got, ok, err := r.Store().Last(t.Context(), source, user)
		if err != nil || got != want || ok != (want != idempotency.Place{}) {
			t.Errorf("last of %s %s is %+v %v %v, want %+v", source, user, got, ok, err, want)
		}
	}
	check("wallet", "alice", idempotency.Place{})
	r.apply("applied applied applied failed applied", counted("a", 1, 9), counted("b", 1, 10), counted("c", 1, 300), counted("poison", 1, 301), entry("d"))
	check("wallet", "alice", idempotency.Place{Source: "wallet", UserID: "alice", Epoch: 1, Seq: 300})
	r.Turn()
	r.apply("applied applied", counted("late", 1, 5), counted("e", 2, 1))
	check("wallet", "alice", idempotency.Place{Source: "wallet", UserID: "alice", Epoch: 2, Seq: 1})
	r.Turn()
	r.apply("applied", counted("later", 1, 6))
	r.Restart()
	check("wallet", "alice", idempotency.Place{Source: "wallet", UserID: "alice", Epoch: 2, Seq: 1})
	check("wallet", "alic", idempotency.Place{})
	check("wallet", "alicea", idempotency.Place{})
	check("walle", "talice", idempotency.Place{})
}

// atOnce: many apply the same events at the same time, in other orders, and generations turn meanwhile.
func atOnce[T any](t *testing.T, r rig[T]) {
	const members, events = 6, 40
	var mu sync.Mutex
	applied := map[string]int{}
	var wg sync.WaitGroup
	for m := range members {
		wg.Go(func() {
			var entries []idempotency.Entry
			for i := range events {
				entries = append(entries, counted(fmt.Sprint("e", (i*(2*m+1))%events), 1, uint64((i*(2*m+1))%events)))
			}
			for part := range slices.Chunk(entries, 10) {
				results, err := r.Store().Apply(t.Context(), idempotency.Batch{Entries: part}, r.count(part))
				if err != nil {
					t.Error(err)
				}
				for i, res := range results {
					if res.Outcome == idempotency.Applied {
						mu.Lock()
						applied[part[i].EventID]++
						mu.Unlock()
					}
				}
			}
		})
	}
	r.Turn()
	wg.Wait()
	for i := range events {
		id := fmt.Sprint("e", i)
		r.sums(id)
		if applied[id] != 1 {
			t.Errorf("%s was told %d times to be applied", id, applied[id])
		}
	}
}

func expiry[T any](t *testing.T, r rig[T]) {
	r.apply("applied applied", entry("a"), counted("b", 1, 1))
	for i := range r.Keep() {
		r.Turn()
		r.Restart()
		r.apply("duplicate:a conflict:b applied", entry("a"), counted("x", 1, 1), entry(fmt.Sprint("turn", i)))
	}
	r.sums("a", "b")
	r.Idle()
	r.apply("duplicate:"+fmt.Sprint("turn", r.Keep()-1), entry(fmt.Sprint("turn", r.Keep()-1))) // what was done right before is known for as long as ever
	for i := range r.Forget() {
		r.Turn()
		r.apply("applied", entry(fmt.Sprint("later", i)))
	}
	r.apply("applied applied", entry("a"), counted("x", 1, 1))
	if _, ok, err := r.Store().Last(t.Context(), "wallet", "alice"); err != nil || !ok {
		t.Error(ok, err)
	}
}

// closed: marks of closed generations count, also when the store has learned which there are, before and after a
// restart.
func closed[T any](t *testing.T, r rig[T]) {
	var old []idempotency.Entry
	for i := range uint64(5) {
		old = append(old, counted(fmt.Sprint("old", i), 1, i), entry(fmt.Sprint("free", i)))
	}
	if _, err := r.try(idempotency.Batch{Entries: old}); err != nil {
		t.Fatal(err)
	}
	for turn := range r.Keep() {
		r.Turn()
		if turn == 1 {
			r.Restart()
		}
		for i := range 8 {
			r.apply("applied", entry(fmt.Sprint("new", turn, "-", i)))
		}
		for i, e := range old {
			r.apply("duplicate:"+e.EventID, e)
			if e.HasSourceSeq {
				r.apply("conflict:"+e.EventID, counted(fmt.Sprint("x", i), 1, e.SourceSeq))
			}
		}
		r.sums("old3", "free3")
	}
}

func invalid[T any](t *testing.T, r rig[T]) {
	derived, nul, broken := entry("a~dlq"), entry("b"), entry("c")
	nul.UserID, broken.Source = "al\x00ice", "wal\xfflet"
	r.apply("failed failed failed applied failed", derived, nul, broken, entry("d"), entry(""))
	r.sums("d")
	for name, b := range map[string]idempotency.Batch{
		"fence without a durable": {Fence: idempotency.Fence{Epoch: 1}},
		"fence without an epoch":  {Fence: idempotency.Fence{Durable: "d"}},
	} {
		if _, err := r.try(b); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// canceled: who stops in the middle of an effect has done nothing, and is not told that an event is to blame.
func canceled[T any](t *testing.T, r rig[T]) {
	ctx, cancel := context.WithCancel(t.Context())
	entries := []idempotency.Entry{entry("a"), entry("b")}
	results, err := r.Store().Apply(ctx, idempotency.Batch{Entries: entries}, idempotency.Each(func(_ context.Context, tx T, i int) error {
		if err := r.Add(t.Context(), tx, entries[i].EventID); err != nil {
			return err
		}
		cancel()
		return ctx.Err()
	}))
	if err == nil {
		t.Fatalf("results %v", results)
	}
	r.sums("a=0", "b=0")
	r.apply("applied applied", entries...)
}
