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
				h := withProbes(generate(random(seed/4), 2, 40))
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

// withProbes adds what relays said to requests with credentials that had ended and to copies, or the first of them.
func withProbes(h *History, n ...int) *History {
	h.Probes = []Probe{
		{Fault: "revoke-key", At: 5 * second, Answer: Barred, BadFrom: 1}, {Fault: "forge", At: 1, Answer: Barred},
		{Fault: "replay", At: 2, Answer: Barred, BadFrom: Forever, Copy: true}, {Fault: "revoke-key", At: 1, Answer: Accepted, BadFrom: 1},
	}
	if len(n) > 0 {
		h.Probes = h.Probes[:n[0]]
	}
	return h
}

func TestPlantIsSeeded(t *testing.T) {
	for kind := range Plants() {
		a, b := withProbes(generate(random(3), 2, 40)), withProbes(generate(random(3), 2, 40))
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
		"admit: good until later": {PlantAdmit, func() *History {
			return run(as{sent("a")}, one, one, func(h *History) { h.Probes = []Probe{{At: 5, Answer: Barred, BadFrom: 4}} })
		}},
		"replay: no copy": {PlantReplay, func() *History { return withProbes(run(as{sent("a")}, one, one), 1) }},
		"effect: none":    {PlantEffect, func() *History { return run(as{sent("a")}, one, one, ledger("eu", "g")) }},
		"no such kind":    {"burn", func() *History { return run(as{sent("a")}, one, one) }},
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
