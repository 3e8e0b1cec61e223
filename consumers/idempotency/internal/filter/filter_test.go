package filter_test

import (
	"fmt"
	"testing"

	"github.com/weft-mesh/weft/consumers/idempotency"
	"github.com/weft-mesh/weft/consumers/idempotency/internal/filter"
)

func entry(i int) *idempotency.Entry {
	return &idempotency.Entry{EventID: fmt.Sprint("e", i), Source: "wallet", UserID: fmt.Sprint("u", i%7), SourceSeq: uint64(i), HasSourceSeq: i%3 > 0} //nolint:gosec // small
}

// TestSet: what was added is there, at every size; few of the others seem to be.
func TestSet(t *testing.T) {
	s := filter.New()
	if s.Has(entry(0)) {
		t.Error("an empty set has something")
	}
	const n = 20_000
	falsely := 0
	for i := range n {
		if s.Has(entry(n + i)) {
			falsely++
		}
		s.Add(entry(i))
		if i%1000 == 0 || i == n-1 {
			for j := 0; j <= i; j += 1 + i/1000 {
				e := entry(j)
				place, counts := e.Place()
				if !s.HasID(e.EventID) || counts && !s.HasPlace(place) {
					t.Fatalf("entry %d of %d is gone", j, i)
				}
			}
		}
	}
	if falsely > n/20 {
		t.Errorf("%d of %d that were not added seem to be there", falsely, n)
	}
	other := *entry(1)
	other.EventID, other.SourceEpoch = "other", 1
	if s.Has(&other) {
		t.Error("a place of another epoch seems to be there")
	}
}
