package bench

// bitset marks numbers from 0 up; it grows as it must.
type bitset []uint64

func (s *bitset) add(n uint64) {
	for int(n>>6) >= len(*s) {
		*s = append(*s, make([]uint64, max(len(*s), 64))...)
	}
	(*s)[n>>6] |= 1 << (n & 63)
}

func (s bitset) has(n uint64) bool { return int(n>>6) < len(s) && s[n>>6]&(1<<(n&63)) != 0 }
