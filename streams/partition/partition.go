// Package partition maps routing keys to partitions and to home regions.
//
// Relays, consumers and tests use it. Every function is pure and stable for ever: golden vectors in testdata
// freeze the maps, because a key that changed its partition would lose its order.
package partition

import (
	"hash/fnv"
	"math"
)

// Count is the number of partitions.
const Count = 64

// Of is the partition of a routing key: FNV-1a-32 modulo Count, which is what the server's own partition()
// subject mapping computes.
func Of(key string) int {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return int(h % Count)
}

// Region takes part in the choice of homes with its share.
type Region struct {
	Name   string
	Weight float64 // relative; zero or less means the region is no home
}

// Home is the region where a key has its home, by weighted rendezvous hashing (Thaler and Ravishankar,
// 1998; weights as in Schindelhauer and Schomaker, 2005): adding a region moves only the keys that it takes. "" when
// there is no region. The order of regions is irrelevant.
func Home(key string, regions []Region) string {
	best, name := math.Inf(-1), ""
	for _, r := range regions {
		if r.Weight <= 0 {
			continue
		}
		score := -r.Weight / math.Log(unit(r.Name, key))
		if score > best || score == best && r.Name < name {
			best, name = score, r.Name
		}
	}
	return name
}

// unit hashes region and key to the open interval (0,1).
func unit(region, key string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(region))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	return (float64(mix(h.Sum64())>>11) + 0.5) / (1 << 53)
}

// mix is the finaliser of SplitMix64: FNV alone leaves the high bits of short keys alike.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
