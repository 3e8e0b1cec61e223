package partition_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/partition"
)

func load(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The vectors were made by an independent implementation of FNV-1a.
func TestPartitionVectors(t *testing.T) {
	var vectors []struct {
		Key       string `json:"key"`
		Hash      string `json:"fnv1a32"`
		Partition int    `json:"partition"`
	}
	load(t, "partitions.json", &vectors)
	if len(vectors) < 100 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		h := fnv.New32a()
		_, _ = h.Write([]byte(v.Key))
		if got := fmt.Sprintf("%08x", h.Sum32()); got != v.Hash {
			t.Errorf("%q: the vector's hash is %s, FNV-1a-32 is %s", v.Key, v.Hash, got)
		}
		if got := partition.Of(v.Key); got != v.Partition {
			t.Errorf("%q: partition %d, want %d", v.Key, got, v.Partition)
		}
	}
}

// The vectors were made by an independent implementation of the whole of Home.
func TestHomeVectors(t *testing.T) {
	var vectors []struct {
		Regions []partition.Region `json:"regions"`
		Homes   map[string]string  `json:"homes"`
	}
	load(t, "homes.json", &vectors)
	for _, v := range vectors {
		if len(v.Homes) == 0 {
			t.Fatal("no keys")
		}
		for key, want := range v.Homes {
			if got := partition.Home(key, v.Regions); got != want {
				t.Errorf("%v: home of %q is %q, want %q", v.Regions, key, got, want)
			}
		}
	}
}

// A consumer that maps subjects with the server's own function must find events where weft put them.
func TestEqualsServerMapping(t *testing.T) {
	transform, err := server.NewSubjectTransform("*", fmt.Sprintf("{{partition(%d,1)}}", partition.Count))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.OneOf(rapid.StringMatching(`[!-)+\-/-=?-~]{1,64}`), rapid.StringMatching(`[a-zа-я0-9ü_-]{1,40}`)).Draw(t, "key")
		mapped, err := transform.Match(key)
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if got := strconv.Itoa(partition.Of(key)); got != mapped {
			t.Fatalf("%q: partition %s, the server says %s", key, got, mapped)
		}
	})
}

func TestPartitionIsAFunctionIntoRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.String().Draw(t, "key")
		p := partition.Of(key)
		if again := partition.Of(string([]byte(key))); p != again || p < 0 || p >= partition.Count {
			t.Fatalf("%q: %d, then %d", key, p, again)
		}
	})
}

func TestPartitionsAreEven(t *testing.T) {
	const keys = 64_000
	var counts [partition.Count]int
	for i := range keys {
		counts[partition.Of(fmt.Sprintf("user-%d", i))]++
	}
	for p, n := range counts {
		if n < 800 || n > 1200 {
			t.Errorf("partition %d has %d of %d keys", p, n, keys)
		}
	}
}

// regions are distinct, with weights from a tenth to ten.
func regions() *rapid.Generator[[]partition.Region] {
	return rapid.Custom(func(t *rapid.T) []partition.Region {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,6}`), 1, 8, rapid.ID[string]).Draw(t, "names")
		out := make([]partition.Region, len(names))
		for i, name := range names {
			out[i] = partition.Region{Name: name, Weight: rapid.Float64Range(0.1, 10).Draw(t, "weight")}
		}
		return out
	})
}

func TestAddingARegionMovesOnlyTheKeysItTakes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, key := regions().Draw(t, "regions"), rapid.String().Draw(t, "key")
		before, after := partition.Home(key, all[1:]), partition.Home(key, all)
		if after != before && after != all[0].Name {
			t.Fatalf("adding %v moved %q from %s to %s", all[0], key, before, after)
		}
	})
}

func TestRaisingAWeightMovesKeysOnlyThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, key := regions().Draw(t, "regions"), rapid.String().Draw(t, "key")
		before := partition.Home(key, all)
		all[0].Weight *= rapid.Float64Range(1, 100).Draw(t, "factor")
		if after := partition.Home(key, all); after != before && after != all[0].Name {
			t.Fatalf("raising %v moved %q from %s to %s", all[0], key, before, after)
		}
	})
}

func TestOrderOfRegionsIsIrrelevant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, key := regions().Draw(t, "regions"), rapid.String().Draw(t, "key")
		want := partition.Home(key, all)
		shuffled := rapid.Permutation(all).Draw(t, "shuffled")
		if got := partition.Home(key, shuffled); got != want || !slices.ContainsFunc(all, func(r partition.Region) bool { return r.Name == got }) {
			t.Fatalf("%q: %q and %q", key, got, want)
		}
	})
}

func TestWeightsAreShares(t *testing.T) {
	const keys = 100_000
	for _, weights := range [][]float64{{1, 1}, {1, 1, 1}, {3, 1}, {0.5, 0.3, 0.2}, {10, 5, 1}, {1, 0, 1}} {
		all, sum := make([]partition.Region, len(weights)), 0.0
		for i, w := range weights {
			all[i] = partition.Region{Name: string(rune('a' + i)), Weight: w}
			sum += w
		}
		counts := map[string]int{}
		for i := range keys {
			counts[partition.Home(fmt.Sprintf("user-%d", i), all)]++
		}
		for _, r := range all {
			got, want := float64(counts[r.Name])/keys, r.Weight/sum
			if math.Abs(got-want) > 0.01 {
				t.Errorf("%v: region %s has a share of %.3f, want %.3f", weights, r.Name, got, want)
			}
		}
	}
}

func TestRegionsThatAreNoHome(t *testing.T) {
	for name, all := range map[string][]partition.Region{
		"none": nil, "zero": {{Name: "eu"}}, "negative": {{Name: "eu", Weight: -1}}, "not a number": {{Name: "eu", Weight: math.NaN()}},
	} {
		if got := partition.Home("u-1", all); got != "" {
			t.Errorf("%s: home is %q", name, got)
		}
	}
	if got := partition.Home("u-1", []partition.Region{{Name: "eu", Weight: math.NaN()}, {Name: "us", Weight: 1}}); got != "us" {
		t.Errorf("home is %q", got)
	}
}

func BenchmarkOf(b *testing.B) {
	for b.Loop() {
		partition.Of("u-104233")
	}
}

func BenchmarkHome(b *testing.B) {
	all := []partition.Region{{Name: "eu", Weight: 1}, {Name: "us", Weight: 1}, {Name: "ap", Weight: 1}}
	b.ReportAllocs()
	for b.Loop() {
		partition.Home("u-104233", all)
	}
}
