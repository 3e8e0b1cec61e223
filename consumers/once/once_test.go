package once_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/idempotency/embedded"
	"github.com/weft-mesh/weft/consumers/once"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
)

// message is an event of alice, number n of the source "wallet".
func message(id string, n, amount int) *consumers.Message {
	return &consumers.Message{
		EventID: id, Header: nats.Header{header.Source: {"wallet"}},
		Raw: fmt.Appendf(nil, `{"event_id":%q,"event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"alice"},"source_seq":%d,"payload":{"amount":%d}}`, id, n, amount),
	}
}

var errEffect = errors.New("no such account")

// TestBatches: what is new has its effect, what was there is acknowledged, and each other event has an error of its own
// that says whether to try it again.
func TestBatches(t *testing.T) {
	store, err := embedded.Open(embedded.Options{Dir: "d", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	applied := map[string]int{}
	handle := once.Batches(store, func(_ context.Context, tx *embedded.Tx, fresh []*consumers.Message) error {
		for _, m := range fresh {
			switch m.EventID {
			case "fails":
				return errEffect
			case "never":
				return fault.New("test", fault.Invalid, "bad", "it is wrong")
			}
			if err := tx.Set([]byte(m.EventID), m.Raw); err != nil {
				return err
			}
		}
		return nil
	})
	if err := handle(t.Context(), []*consumers.Message{message("a", 1, 1), message("b", 2, 2)}); err != nil {
		t.Fatal(err)
	}
	nothing := message("nothing", 9, 9)
	nothing.Raw = []byte(`{"half":`)
	batch := []*consumers.Message{nothing, message("c", 3, 3), message("a", 1, 1), message("b", 2, 7), message("fails", 4, 4), message("never", 5, 5), message("d", 6, 6)}
	err = handle(t.Context(), batch)
	var each consumers.BatchErrors
	if !errors.As(err, &each) || len(each) != len(batch) {
		t.Fatal(err)
	}
	for i, want := range []string{"permanent", "", "", "permanent event_conflict", "failure", "permanent bad", ""} {
		got := ""
		if each[i] != nil {
			got = retry.Classify(each[i]).String()
			if code := fault.CodeOf(each[i]); i == 3 || i == 5 {
				got += " " + code
			}
		}
		if got != want {
			t.Errorf("%s: %q (%v), want %q", batch[i].EventID, got, each[i], want)
		}
	}
	if !errors.Is(each[4], errEffect) {
		t.Errorf("the effect's error is lost: %v", each[4])
	}
	if err := store.Scan(t.Context(), nil, func(key, _ []byte) error {
		applied[string(key)]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(applied) != "map[a:1 b:1 c:1 d:1]" {
		t.Errorf("applied: %v", applied)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := handle(t.Context(), batch[1:2]); retry.Classify(err) != retry.Outage {
		t.Errorf("a store that is closed: %v", err)
	}
}
