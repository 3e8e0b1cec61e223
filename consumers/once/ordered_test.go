package once_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency/embedded"
	"github.com/weft-mesh/weft/consumers/once"
	"github.com/weft-mesh/weft/consumers/reorder"
)

// A handler of single events has each effect once too, tells the effect's own error, and leaves its place in the count.
func TestHandlerAndLast(t *testing.T) {
	store, err := embedded.Open(embedded.Options{Dir: "d", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	calls := 0
	handle := once.Handler(store, func(_ context.Context, _ *embedded.Tx, fresh []*consumers.Message) error {
		if fresh[0].EventID == "fails" {
			return errEffect
		}
		calls++
		return nil
	})
	last := once.Last(store)
	if _, known, err := last(t.Context(), "wallet", "alice"); known || err != nil {
		t.Errorf("before: %v, %v", known, err)
	}
	for range 2 {
		if err := handle(t.Context(), message("a", 7, 1)); err != nil {
			t.Fatal(err)
		}
	}
	var each consumers.BatchErrors
	if err := handle(t.Context(), message("fails", 9, 1)); !errors.Is(err, errEffect) || errors.As(err, &each) {
		t.Errorf("told %v", err)
	}
	if calls != 1 {
		t.Errorf("%d effects", calls)
	}
	if got, known, err := last(t.Context(), "wallet", "alice"); !known || err != nil || got != (reorder.Position{Seq: 7}) {
		t.Errorf("after: %v, %v, %v", got, known, err)
	}
}

// A ledger whose events are applied in the order of each user's count, once, also when one comes too late for its order:
// then the correction has its effect once.
func ExampleHandler() {
	var store *embedded.Store // embedded.Open or postgres.Open
	book := func(context.Context, *embedded.Tx, []*consumers.Message) error { return nil }
	rebook := func(context.Context, *embedded.Tx, []*consumers.Message) error { return nil }
	opts := consumers.Options{Durable: "ledger", Reorder: &consumers.Reorder{Correct: once.Handler(store, rebook), Last: once.Last(store)}}
	sub, err := consumers.Subscribe(context.Background(), opts)
	if err != nil {
		return
	}
	_ = sub.RunBatches(context.Background(), consumers.Batching{Most: 100}, once.Batches(store, book))
}
