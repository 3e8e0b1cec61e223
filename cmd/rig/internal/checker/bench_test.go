package checker

import (
	"math/rand/v2"
	"testing"
)

func random(seed uint64) func(int) int { return rand.New(rand.NewPCG(seed, 1)).IntN }

// 200,000 attempts in two regions.
func BenchmarkCheck(b *testing.B) {
	draw := random(1)
	first := true
	h := generate(func(n int) int {
		if first { // two regions
			first = false
			return 0
		}
		return draw(n)
	}, 4, 50_000)
	b.ReportAllocs()
	for b.Loop() {
		if !Check(h).OK() {
			b.Fatal("a correct history")
		}
	}
}
