package guard

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func numbered(n uint64) (k Key) {
	return KeyOf("test", "k", fmt.Sprint(n))
}

// The set against a plain map that remembers when each key was claimed: a claim is never fresh a second time within
// the time that it must be remembered, is fresh once its generation is over, and the count is exact.
func TestSetRemembersAsLongAsItMust(t *testing.T) {
	const valid = 660 * time.Second
	rapid.Check(t, func(t *rapid.T) {
		g := &Guard{span: span(valid)}
		s := &set{spread: scatter{rapid.Uint64().Draw(t, "xor"), rapid.Uint64().Draw(t, "odd") | 1}}
		model := map[uint64]time.Duration{} // key -> when it was put
		now, dropped := time.Duration(0), 0
		put := 0
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) { now += time.Duration(rapid.Int64Range(0, int64(400*time.Second)).Draw(t, "for")) },
			"claim": func(t *rapid.T) {
				n := rapid.Uint64Range(0, 40).Draw(t, "key")
				v, d := s.claim(numbered(n), g.generation(now), func(int) bool { return true })
				dropped += d
				check(t, model, n, now, v == Fresh)
				if v == Fresh {
					model[n] = now
					put++
				}
			},
			"read": func(t *rapid.T) {
				n := rapid.Uint64Range(0, 40).Draw(t, "key")
				age := time.Duration(rapid.Int64Range(0, int64(900*time.Second)).Draw(t, "age"))
				at := max(now-age, 0)
				fresh, d := s.add(numbered(n), g.generation(at), g.generation(now))
				dropped += d
				if fresh {
					if old, ok := model[n]; ok && now-old < valid {
						t.Fatalf("key %d was taken as new %s after it was put", n, now-old)
					}
					model[n] = at
					put++
				}
			},
			"": func(t *rapid.T) {
				if s.n != put-dropped {
					t.Fatalf("the set counts %d, %d were put and %d dropped", s.n, put, dropped)
				}
			},
		})
	})
}

func check(t *rapid.T, model map[uint64]time.Duration, n uint64, now time.Duration, fresh bool) {
	const valid, most = 660 * time.Second, 880 * time.Second
	old, known := model[n]
	switch {
	case fresh && known && now-old < valid:
		t.Fatalf("key %d is fresh again after %s", n, now-old)
	case !fresh && (!known || now-old > most):
		t.Fatalf("key %d is refused after %s (known: %v)", n, now-old, known)
	}
}

// Of many claims of one key at once one is fresh.
func TestOneClaimWins(t *testing.T) {
	s := &set{spread: scatter{1, 3}}
	var fresh atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for n := range uint64(200) {
				if v, _ := s.claim(numbered(n), 10, func(int) bool { return true }); v == Fresh {
					fresh.Add(1)
				}
			}
		})
	}
	all.Wait()
	if fresh.Load() != 200 {
		t.Errorf("%d claims of 200 keys were fresh", fresh.Load())
	}
}

// What is over leaves memory: under a steady stream the set stops to grow.
func TestMemoryIsBounded(t *testing.T) {
	s := &set{spread: scatter{1, 3}}
	for round := range int64(12) {
		for n := range uint64(50_000) {
			s.claim(numbered(uint64(round)<<32|n), 10+round, func(int) bool { return true })
		}
		if most := generations * 50_000; s.n > most {
			t.Fatalf("round %d: %d entries, at most %d live", round, s.n, most)
		}
	}
	room := 0
	for _, g := range s.gens {
		room += len(g.table.slots) * len(Key{})
	}
	if per := room / s.n; per > 43 { // a table is never less than three eighths full
		t.Errorf("%d bytes for each entry", per)
	}
}

func TestKeysAreTheSameEverywhere(t *testing.T) {
	if got := fmt.Sprintf("%x", KeyOf("weft-v1", "acme-1", "8f2c1d7e5b3a4960")); got != "4a788da4f50fdc411a42e7ec779b5286" {
		t.Errorf("the key is %s: relays of other versions do not know it", got)
	}
	if KeyOf("a", "b", "c") == KeyOf("a", "bc", "") || KeyOf("a", "b", "c") == KeyOf("x", "b", "c") {
		t.Error("requests that differ have one key")
	}
}
