package idempotency_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/streams/event"
)

const raw = `{"event_id":"e1","event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2026-01-31T12:00:00Z",` +
	`"key":{"user_id":"alice"},"source_seq":0,"source_epoch":3,"payload":{"amount":5}}`

func TestRead(t *testing.T) {
	for delivered, want := range map[string]string{"": "e1", "e1": "e1", "e1~enriched": "e1", "e1~enriched~dlq": "e1"} {
		e := idempotency.Entry{EventID: delivered, Source: "wallet"}
		if err := e.Read([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		digest, err := event.Digest([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		place, counts := e.Place()
		if e.EventID != want || e.Digest != digest || !counts || place != (idempotency.Place{Source: "wallet", UserID: "alice", Epoch: 3}) ||
			!e.OccurredAt.Equal(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)) {
			t.Errorf("%q: read %+v", delivered, e)
		}
	}
	var e idempotency.Entry
	if err := e.Read([]byte(`{"event_id":"e1"`)); err == nil {
		t.Error("half an event was read")
	}
}

// TestPlan: each valid entry is in one pass, no pass holds an id or a place twice, and copies stay in order.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) idempotency.Entry {
			e := idempotency.Entry{EventID: rapid.SampledFrom([]string{"a", "b", "c", "d", ""}).Draw(t, "id")}
			if rapid.Bool().Draw(t, "counts") {
				e.Source, e.HasSourceSeq, e.SourceSeq = "s", true, rapid.Uint64Range(0, 3).Draw(t, "seq")
			}
			return e
		}), 0, 20).Draw(t, "entries")
		results, passes := idempotency.Plan(entries)
		seen := map[int]int{}
		for n, pass := range passes {
			ids, places := map[string]bool{}, map[idempotency.Place]bool{}
			for _, i := range pass {
				place, counts := entries[i].Place()
				if ids[entries[i].EventID] || counts && places[place] {
					t.Fatalf("pass %v holds a copy: %+v", pass, entries)
				}
				ids[entries[i].EventID], places[place], seen[i] = true, counts, n
			}
			if !slices.IsSorted(pass) {
				t.Fatalf("pass %v is out of order", pass)
			}
		}
		for i := range entries {
			n, planned := seen[i]
			if invalid := entries[i].EventID == ""; planned == invalid || invalid != (results[i].Err != nil) {
				t.Fatalf("entry %d: planned %v, %+v", i, planned, results[i])
			}
			for j := range i {
				if planned && entries[j].EventID == entries[i].EventID && seen[j] >= n {
					t.Fatalf("entry %d goes before its copy %d", i, j)
				}
			}
		}
	})
}
