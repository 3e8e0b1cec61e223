package checker

import (
	"reflect"
	"testing"
)

// Both halves of some kinds: from one region or all, an id or a body.
func TestPlantIsFound(t *testing.T) {
	for kind, finding := range Plants() {
		t.Run(kind, func(t *testing.T) {
			seen := map[[2]int]bool{} // whether other kinds show too
			for seed := range uint64(60) {
				h := generate(random(seed/4), 2, 40)
				if err := Plant(h, kind, seed); err != nil {
					t.Fatal(err)
				}
				v := Check(h)
				if *v.count(finding) != 1 {
					t.Fatalf("seed %d: %d %s, want 1: %+v", seed, *v.count(finding), finding, v)
				}
				seen[[2]int{v.Unexpected, v.Diverged}] = true
			}
			if want := map[string]int{PlantLose: 2, PlantDiverge: 2}[kind]; len(seen) < want {
				t.Errorf("only one way: %v", seen)
			}
		})
	}
}

func TestPlantIsSeeded(t *testing.T) {
	for kind := range Plants() {
		a, b := generate(random(3), 2, 40), generate(random(3), 2, 40)
		if err := Plant(a, kind, 5); err != nil {
			t.Fatal(err)
		}
		if err := Plant(b, kind, 5); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: the same seed, another damage", kind)
		}
	}
}

func TestPlantNeedsSomethingToDamage(t *testing.T) {
	one := es{at("a", 1)}
	cases := map[string]struct {
		kind string
		h    func() *History
	}{
		"lose: nothing acknowledged": {PlantLose, func() *History { return run(as{sent("a", unknown)}, one, one) }},
		"lose: excused":              {PlantLose, func() *History { return run(as{sent("a")}, one, one, lossOf("eu", 10, 30)) }},
		"lose: lost already":         {PlantLose, func() *History { return run(as{sent("a")}, one, nil) }},
		"dup: nothing stored":        {PlantDup, func() *History { return run(as{sent("a")}, nil, nil) }},
		"dup: allowed": {PlantDup, func() *History {
			return run(as{sent("a", sends(Send{10, "eu"}, Send{200, "eu"}))}, one, one)
		}},
		"reorder: one event": {PlantReorder, func() *History { return run(as{sent("a")}, one, one) }},
		"reorder: two keys":  {PlantReorder, func() *History { return run(as{sent("a"), sent("b", key("l"))}, es{at("a", 1), at("b", 2)}, nil) }},
		"diverge: regional":  {PlantDiverge, func() *History { return run(as{sent("a", regional)}, es{at("a", 1, local)}, nil) }},
		"diverge: one region": {PlantDiverge, func() *History {
			return run(as{sent("a")}, one, nil, func(h *History) { h.Regions["t"] = []string{"eu"} })
		}},
		"effect: none": {PlantEffect, func() *History { return run(as{sent("a")}, one, one, ledger("eu", "g")) }},
		"no such kind": {"burn", func() *History { return run(as{sent("a")}, one, one) }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				h := c.h()
				if err := Plant(h, c.kind, seed); err == nil {
					t.Error("no error")
				}
				if !reflect.DeepEqual(h, c.h()) {
					t.Error("changed all the same")
				}
			}
		})
	}
}
