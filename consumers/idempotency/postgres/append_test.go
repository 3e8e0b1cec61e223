package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/streams/fault"
)

// logged are entries with the event that the log is to keep of each.
func logged(first, last int, event string) (entries []idempotency.Entry, records []postgres.Record) {
	for i := first; i <= last; i++ {
		entries = append(entries, idempotency.Entry{EventID: fmt.Sprint("e", i), Digest: [32]byte{byte(len(event))}, Source: "wallet", UserID: "alice", SourceSeq: uint64(i), HasSourceSeq: true}) //nolint:gosec // small
		records = append(records, postgres.Record{Topic: "bets", Type: "bet.placed", Event: []byte(event)})
	}
	return entries, records
}

// outcomes counts them.
func outcomes(results []idempotency.Result) map[string]int {
	n := map[string]int{}
	for _, r := range results {
		n[r.Outcome.String()]++
	}
	return n
}

// TestAppend: the log keeps each event once, with the bytes that came, whatever else is in its batch.
func TestAppend(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const event = `{ "b": 1.50, "a":"\u0000", "a": 2 }`
	appended := func(first, last int, event string) string {
		t.Helper()
		entries, records := logged(first, last, event)
		if first == 90 {
			records[3].Event = []byte(`{"half":`)
		}
		results, err := h.store.Append(t.Context(), idempotency.Batch{Entries: entries}, records)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Outcome == idempotency.Failed && (fault.CodeOf(r.Err) != "row_refused" || strings.Contains(r.Err.Error(), "half")) {
				t.Error(r.Err)
			}
		}
		return fmt.Sprint(outcomes(results))
	}
	for i, step := range []struct {
		first, last int
		event, want string
	}{
		{1, 40, event, "map[applied:40]"},
		{21, 60, event, "map[applied:20 duplicate:20]"},
		{60, 61, event, "map[applied:1 duplicate:1]"},
		{61, 80, `{}`, "map[applied:19 conflict:1]"},
		{90, 110, event, "map[applied:20 failed:1]"},
		{90, 110, event, "map[duplicate:20 failed:1]"},
	} {
		if got := appended(step.first, step.last, step.event); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
	rows, err := h.pool.Query(t.Context(), "SELECT topic || ' ' || event_type || ' ' || event::text || count(*) FROM ledger.event_log GROUP BY topic, event_type, event::text ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if want := fmt.Sprint([]string{"bets bet.placed " + event + "81", "bets bet.placed {}19"}); err != nil || fmt.Sprint(got) != want {
		t.Errorf("the log has %q, %v, want %s", got, err, want)
	}
	if _, err := h.store.Append(t.Context(), idempotency.Batch{Entries: make([]idempotency.Entry, 2)}, nil); fault.CodeOf(err) != "invalid_records" {
		t.Errorf("entries without records: %v", err)
	}
}

// TestRetention: rows outlive their marks, for as long as they are to be kept.
func TestRetention(t *testing.T) {
	t.Parallel()
	for retention, want := range map[int]int{0: 3, 4: 6, -1: 10} {
		t.Run(fmt.Sprint(retention), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			s, err := postgres.Open(t.Context(), postgres.Options{DB: h, Schema: "ledger", Retention: time.Duration(retention) * 24 * time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			s.Today(h.today)
			for i := range 8 {
				h.Turn()
				entries, records := logged(i, i, "{}")
				if results, err := s.Append(t.Context(), idempotency.Batch{Entries: entries}, records); err != nil || results[0].Outcome != idempotency.Applied {
					t.Fatal(results, err)
				}
			}
			var generations int
			if err := h.pool.QueryRow(t.Context(), "SELECT count(*) FROM ledger.generation").Scan(&generations); err != nil || generations != want {
				t.Errorf("%d generations, %v, want %d", generations, err, want)
			}
			entries, records := logged(0, 7, "{}")
			results, err := s.Append(t.Context(), idempotency.Batch{Entries: entries}, records)
			if got := fmt.Sprint(outcomes(results)); err != nil || got != "map[applied:5 duplicate:3]" {
				t.Errorf("marks beyond the horizon count, or others do not: %s, %v", got, err)
			}
		})
	}
}

// TestBlameless: a database that cannot write blames no event.
func TestBlameless(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	entries, _ := logged(1, 3, "{}")
	for _, code := range []string{"53100", "57014", "25006", "58030"} {
		_, err := h.store.Apply(t.Context(), idempotency.Batch{Entries: entries}, func(ctx context.Context, tx pgx.Tx, _ []int) error {
			_, err := tx.Exec(ctx, "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '"+code+"'; END $$")
			return err
		})
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", code, err)
		}
	}
}
