package digest_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/digest"
)

// The sum of a set does not depend on its order, nor on how it is cut into parts, and differs from that of any other
// set of a few events, copies counted.
func TestSumIsOfTheMultisetAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 0, 20).Draw(t, "ids")
		shuffled := rapid.Permutation(ids).Draw(t, "shuffled")
		cut := rapid.IntRange(0, len(ids)).Draw(t, "cut")
		left := sumOf(shuffled[:cut])
		left.Merge(sumOf(shuffled[cut:]))
		if left != sumOf(ids) {
			t.Fatalf("%v has two sums", ids)
		}
		other := rapid.SliceOfN(rapid.StringMatching(`[a-z]{1,3}`), 0, 20).Draw(t, "other")
		slices.Sort(ids)
		slices.Sort(other)
		if same := sumOf(other) == sumOf(ids); same != slices.Equal(ids, other) {
			t.Fatalf("%v and %v: the same sum is %v", ids, other, same)
		}
	})
}

func sumOf(ids []string) (s digest.Sum) {
	for _, id := range ids {
		s.Add(digest.Of(id))
	}
	return s
}

func TestSumCarries(t *testing.T) {
	s := digest.Sum{Lo: ^uint64(0), Count: 1}
	s.Merge(digest.Sum{Lo: 1, Count: 1})
	if s != (digest.Sum{Hi: 1, Count: 2}) {
		t.Errorf("got %+v", s)
	}
}

func TestComparable(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 30, 0, time.UTC)
	w := digest.Window{Now: now, After: 3 * time.Minute, MaxAge: 24 * time.Hour, Width: time.Minute}
	for _, tc := range []struct {
		name string
		ttl  time.Duration
		age  time.Duration // of the slot's begin, before 12:00
		edit func(*digest.Window)
		want bool
	}{
		{"ended too lately", 0, 3 * time.Minute, nil, false},
		{"just ended long enough ago", 0, 4 * time.Minute, nil, true},
		{"of the future", 0, -time.Hour, nil, false},
		{"about to reach the stream's age", 0, 24*time.Hour - 3*time.Minute, nil, false},
		{"not yet about to", 0, 24*time.Hour - 4*time.Minute, nil, true},
		{"expired", 0, 25 * time.Hour, nil, false},
		{"kept for ever", 0, 30 * 24 * time.Hour, func(w *digest.Window) { w.MaxAge = 0 }, true},
		{"too many slots back", 0, (digest.MaxSlots + 1) * time.Minute, func(w *digest.Window) { w.MaxAge = 0 }, false},
		{"a ttl that is nearly over", 10 * time.Minute, 7 * time.Minute, nil, false},
		{"a ttl that is not", 10 * time.Minute, 6 * time.Minute, nil, true},
		{"a ttl too short to compare at all", 6 * time.Minute, 4 * time.Minute, nil, false},
		{"a ttl longer than the stream's age", 48 * time.Hour, 25 * time.Hour, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := w
			if tc.edit != nil {
				tc.edit(&w)
			}
			k := digest.KeyOf(tc.ttl, now.Truncate(time.Minute).Add(-tc.age), w.Width)
			if got := w.Comparable(k); got != tc.want {
				t.Errorf("%+v comparable: %v", k, got)
			}
		})
	}
}

// Two indexes that were filled in different orders fold alike, over any span, and lack nothing of each other; an
// event that one of them has not is found under its own bucket, and in its group.
func TestIndexFindsWhatIsLacking(t *testing.T) {
	base := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	w := digest.Window{Now: base.Add(24 * time.Hour), After: time.Minute, Width: time.Minute}
	rapid.Check(t, func(t *rapid.T) {
		minutes := rapid.SliceOfN(rapid.IntRange(0, 300), 1, 50).Draw(t, "minutes")
		order := make([]int, len(minutes))
		for i := range order {
			order[i] = i
		}
		lost := rapid.IntRange(-1, len(minutes)-1).Draw(t, "lost")
		own, peer := digest.NewIndex(w.Width), digest.NewIndex(w.Width)
		key := func(i int) digest.Key {
			return digest.KeyOf(0, base.Add(time.Duration(minutes[i])*time.Minute), w.Width)
		}
		for i := range minutes {
			peer.Add(key(i), digest.Of(fmt.Sprint(i)), uint64(i+1))
		}
		for at, i := range rapid.Permutation(order).Draw(t, "order") {
			if i != lost {
				own.Add(key(i), digest.Of(fmt.Sprint(i)), uint64(at+1))
			}
		}
		groups := digest.Lacking(own.Fold(w, 64, nil, 1), peer.Fold(w, 64, nil, 1))
		equal := digest.Total(own.Fold(w, 64, nil, 1)) == digest.Total(peer.Fold(w, 1, nil, 1))
		if lost < 0 {
			if len(groups) != 0 || !equal {
				t.Fatalf("lacking %v of nothing, totals equal: %v", groups, equal)
			}
			return
		}
		if len(groups) != 1 || groups[0] != key(lost).Spanned(64) || equal {
			t.Fatalf("lacking groups %v, want that of %v; totals equal: %v", groups, key(lost), equal)
		}
		buckets := digest.Lacking(own.Fold(w, 1, groups, 64), peer.Fold(w, 1, groups, 64))
		if !slices.Equal(buckets, []digest.Key{key(lost)}) {
			t.Fatalf("lacking buckets %v, want %v", buckets, key(lost))
		}
		first, last, ok := peer.Range(buckets)
		if seq := uint64(lost + 1); !ok || first > seq || last < seq || peer.Bucket(key(lost)).Count == 0 {
			t.Fatalf("event %d is looked for in %d to %d", seq, first, last)
		}
	})
}

func TestPruneForgetsWhatIsOver(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	x := digest.NewIndex(time.Minute)
	for _, age := range []time.Duration{0, time.Hour, 25 * time.Hour} {
		x.Add(digest.KeyOf(0, now.Add(-age), x.Width()), digest.Of(age.String()), 1)
	}
	x.Prune(digest.Window{Now: now, After: time.Minute, MaxAge: 24 * time.Hour, Width: time.Minute})
	if x.Len() != 2 {
		t.Errorf("%d buckets are left, want 2", x.Len())
	}
	if _, _, ok := x.Range([]digest.Key{digest.KeyOf(0, now.Add(-25*time.Hour), time.Minute)}); ok {
		t.Error("a bucket that is over still has a range")
	}
}

func TestKeysOfTimesBefore1970(t *testing.T) {
	k := digest.KeyOf(0, time.Unix(-30, 0), time.Minute)
	if k.Slot != -1 || k.Spanned(64).Slot != -64 {
		t.Errorf("got slot %d in span %d", k.Slot, k.Spanned(64).Slot)
	}
}

// BenchmarkBuckets shows what a bucket costs: B/op divided by the 10,080 minutes of a week.
func BenchmarkBuckets(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		x := digest.NewIndex(time.Minute)
		for i := range int64(10080) {
			x.Add(digest.Key{Slot: i}, digest.Hash{}, uint64(i))
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	x := digest.NewIndex(time.Minute)
	b.ReportAllocs()
	for b.Loop() {
		x.Add(digest.Key{Slot: 1}, digest.Of("0197a2c4-7d1e-7c3a-9a52-3f1f6e0b8d11"), 1)
	}
}
