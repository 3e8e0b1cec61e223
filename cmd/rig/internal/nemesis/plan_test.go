package nemesis

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/cmd/rig/internal/fleet"
)

var everything = Settings{Length: 12 * time.Second, Rate: 1000, Lazy: true}

func TestTheSeedDecides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		a, b := New(seed, everything), New(seed, everything)
		if a.Describe() != b.Describe() {
			t.Fatalf("two plans of seed %d:\n%s\n%s", seed, a.Describe(), b.Describe())
		}
	})
}

func TestPlansCanBeCarriedOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := New(rapid.Uint64().Draw(t, "seed"), everything)
		heavy := 0
		for i, f := range p.Faults {
			d := kinds[f.Kind]
			region := slices.IndexFunc(p.Regions, func(r fleet.Region) bool { return r.Name == f.Region })
			switch {
			case region < 0 || f.Server < 0 || f.Server >= p.Regions[region].Servers:
				t.Errorf("%s strikes nothing", f)
			case d.link && (f.Peer == "" || f.Peer == f.Region):
				t.Errorf("%s has no other end", f)
			case f.For < d.least-5*time.Millisecond || f.For > d.most+5*time.Millisecond:
				t.Errorf("%s lasts %s, not %s to %s", f, f.For, d.least, d.most)
			case i > 0 && f.At < p.Faults[i-1].At:
				t.Errorf("%s is out of turn", f)
			case slices.Contains(needThree, f.Kind) && p.Regions[region].Servers != 3:
				t.Errorf("%s needs three servers", f)
			case slices.Contains(needLazy, f.Kind) && p.Lazy != f.Region:
				t.Errorf("%s needs the disk of %s, not of %q", f, f.Region, p.Lazy)
			case f.Kind == PowerCut && p.Regions[region].Sync != "always":
				t.Errorf("%s promises nothing: sync is %s", f, p.Regions[region].Sync)
			}
			if Heavy(f.Kind) {
				heavy++
			}
		}
		if heavy > 1 || len(p.Faults) == 0 {
			t.Errorf("%d heavy faults of %d", heavy, len(p.Faults))
		}
	})
}

func TestEveryKindIsPlanned(t *testing.T) {
	seen := map[Kind]int{}
	for seed := range uint64(2000) {
		for _, f := range New(seed, everything).Faults {
			seen[f.Kind]++
		}
	}
	for _, k := range Kinds() {
		if seen[k] == 0 {
			t.Errorf("no plan of 2000 holds %s", k)
		}
	}
}

func TestOnlyWhatWasAskedFor(t *testing.T) {
	for _, only := range Kinds() {
		s := everything
		s.Only = []Kind{only}
		found := 0
		for seed := range uint64(300) {
			for _, f := range New(seed, s).Faults {
				if f.Kind != only {
					t.Fatalf("a plan for %s holds %s", only, f.Kind)
				}
				found++
			}
		}
		if found == 0 {
			t.Errorf("no plan for %s holds it", only)
		}
	}
}

func TestNoDiskFaultsWithoutTheDisk(t *testing.T) {
	s := everything
	s.Lazy = false
	for seed := range uint64(500) {
		if p := New(seed, s); p.Lazy != "" {
			t.Fatalf("seed %d wants a disk that cannot be mounted", seed)
		}
	}
}
