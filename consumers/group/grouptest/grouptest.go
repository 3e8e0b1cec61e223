// Package grouptest is the contract of a group.Registry as tests: every implementation passes it.
package grouptest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Harness is a registry under test, empty at first.
type Harness interface {
	Registry() group.Registry
	Pass(d time.Duration) // lets time go by for the registry
}

// TTL is what the tests beat with: long, because a harness lets it pass.
const TTL = time.Hour

// Run holds a registry to the contract.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for name, test := range map[string]func(*testing.T, rig){
		"founding": founding, "one owner": oneOwner, "release": release, "a stale owner": stale, "positions": positions,
		"regions": regions, "members": members, "at once": atOnce,
	} {
		t.Run(name, func(t *testing.T) { test(t, rig{t, open(t)}) })
	}
}

type rig struct {
	t *testing.T
	Harness
}

func (r rig) try(member, region string, held ...group.Held) (group.View, error) {
	return r.Registry().Beat(r.t.Context(), group.Beat{Group: "ledger", Width: 4, Member: member, Region: region, TTL: TTL, Held: held})
}

func (r rig) beat(member, region string, held ...group.Held) group.View {
	r.t.Helper()
	v, err := r.try(member, region, held...)
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

func (r rig) claim(durable, member, region string) (group.Lease, error) {
	return r.Registry().Claim(r.t.Context(), group.Claiming{Durable: durable, Member: member, Region: region, TTL: TTL})
}

func (r rig) claims(durable, member, region string, epoch uint64) group.Lease {
	r.t.Helper()
	l, err := r.claim(durable, member, region)
	if err != nil || l.Epoch != epoch || l.Member != member || l.Region != region {
		r.t.Fatalf("%s claims %s: %+v, %v, want epoch %d", member, durable, l, err, epoch)
	}
	return l
}

func (r rig) refused(code string, err error) {
	r.t.Helper()
	if fault.KindOf(err) != fault.Conflict || fault.CodeOf(err) != code {
		r.t.Fatalf("got %v, want %s", err, code)
	}
}

func lease(v group.View, durable string) group.Lease {
	for _, l := range v.Leases {
		if l.Durable == durable {
			return l
		}
	}
	return group.Lease{}
}

func founding(t *testing.T, r rig) {
	v := r.beat("a", "eu")
	if v.Region != "eu" || v.Turn != 1 || v.Store == "" || len(v.Members) != 1 || len(v.Leases) != 0 {
		t.Errorf("a new group: %+v", v)
	}
	if w := r.beat("b", "us"); w.Region != "eu" || w.Store != v.Store {
		t.Errorf("the second one founds it anew: %+v", w)
	}
	for _, b := range []group.Beat{{Group: "other", Width: 4}, {Group: "ledger", Width: 16}} {
		b.Member, b.Region, b.TTL = "c", "eu", TTL
		_, err := r.Registry().Beat(t.Context(), b)
		r.refused(group.CodeDisagree, err)
	}
	if v := r.beat("a", "eu"); len(v.Members) != 2 {
		t.Errorf("who was refused is a member: %+v", v.Members)
	}
}

func oneOwner(t *testing.T, r rig) {
	r.beat("a", "eu")
	if l := r.claims("d", "a", "eu", 1); l.Before != nil {
		t.Errorf("before the first owner was %+v", l.Before)
	}
	_, err := r.claim("d", "b", "eu")
	r.refused(group.CodeHeld, err)
	_, err = r.claim("d", "a", "eu") // not even who has it: that is another life of his
	r.refused(group.CodeHeld, err)
	r.claims("e", "b", "eu", 1)
	r.Pass(TTL / 2)
	v := r.beat("a", "eu", group.Held{Durable: "d", Epoch: 1})
	if l := lease(v, "d"); l.Member != "a" || l.Epoch != 1 || l.Left <= TTL/2 {
		t.Errorf("held: %+v", l)
	}
	if l := lease(v, "e"); l.Member != "b" || l.Left > TTL/2 {
		t.Errorf("another's: %+v", l)
	}
	r.Pass(TTL * 3 / 4)
	l := r.claims("e", "a", "eu", 2)
	if l.Before == nil || l.Before.Member != "b" || l.Before.Epoch != 1 || l.Before.Region != "eu" {
		t.Errorf("before was %+v", l.Before)
	}
	_, err = r.claim("d", "b", "eu")
	r.refused(group.CodeHeld, err)
	r.Pass(TTL)
	r.claims("d", "b", "eu", 2)
}

func release(t *testing.T, r rig) {
	r.beat("a", "eu")
	r.claims("d", "a", "eu", 1)
	v := r.beat("a", "eu", group.Held{Durable: "d", Epoch: 1, Release: true})
	if l := lease(v, "d"); l.Left > 0 || l.Member != "" || l.Epoch != 1 {
		t.Errorf("given back: %+v", l)
	}
	if l := r.claims("d", "b", "eu", 2); l.Before == nil || l.Before.Epoch != 1 {
		t.Errorf("before was %+v", l.Before)
	}
}

func stale(t *testing.T, r rig) {
	r.beat("a", "eu")
	r.claims("d", "a", "eu", 1)
	r.Pass(TTL)
	v := r.beat("a", "eu", group.Held{Durable: "d", Epoch: 1}) // nobody took it
	if l := lease(v, "d"); l.Member != "a" || l.Left <= 0 {
		t.Errorf("a late owner whom nobody followed: %+v", l)
	}
	r.Pass(TTL)
	r.claims("d", "b", "eu", 2)
	moved := []group.Position{{Durable: "d", Origin: subject.Origin{Region: "eu", Epoch: 1}, Scope: subject.Global, Seq: 9, EventID: "e9"}}
	for _, h := range []group.Held{{Durable: "d", Epoch: 1, Moved: moved}, {Durable: "d", Epoch: 1, Moved: moved, Release: true}, {Durable: "d", Epoch: 2, Moved: moved, Release: true}} {
		v = r.beat("a", "eu", h)
		if l := lease(v, "d"); l.Member != "b" || l.Epoch != 2 || l.Left <= 0 {
			t.Errorf("%+v by the owner before made it %+v", h, l)
		}
	}
	if ps, err := r.Registry().Reached(t.Context()); err != nil || len(ps) != 0 {
		t.Errorf("an owner who lost it moved its position: %v, %v", ps, err)
	}
}

func positions(t *testing.T, r rig) {
	r.beat("a", "eu")
	r.claims("d", "a", "eu", 1)
	r.claims("e", "a", "eu", 1)
	eu, us := subject.Origin{Region: "eu", Epoch: 1}, subject.Origin{Region: "us", Epoch: 12}
	want := map[string]group.Position{}
	move := func(ps ...group.Position) {
		t.Helper()
		held := map[string]*group.Held{"d": {Durable: "d", Epoch: 1}, "e": {Durable: "e", Epoch: 1}}
		for _, p := range ps {
			held[p.Durable].Moved = append(held[p.Durable].Moved, p)
			want[fmt.Sprint(p.Durable, p.Origin, p.Scope)] = p
		}
		r.beat("a", "eu", *held["d"], *held["e"])
		got, err := r.Registry().Reached(t.Context())
		if err != nil || len(got) != len(want) {
			t.Fatalf("positions %v, %v, want %v", got, err, want)
		}
		for _, p := range got {
			if p != want[fmt.Sprint(p.Durable, p.Origin, p.Scope)] {
				t.Errorf("position %+v, want %+v", p, want[fmt.Sprint(p.Durable, p.Origin, p.Scope)])
			}
		}
	}
	move(group.Position{Durable: "d", Origin: eu, Scope: subject.Global, Seq: 1, EventID: "a"})
	move(group.Position{Durable: "d", Origin: eu, Scope: subject.Regional, Seq: 2, EventID: "b"}, group.Position{Durable: "d", Origin: us, Scope: subject.Global, Seq: 3, EventID: "c"},
		group.Position{Durable: "e", Origin: eu, Scope: subject.Global, Seq: 4, EventID: "d"})
	move()
	move(group.Position{Durable: "d", Origin: eu, Scope: subject.Global, Seq: 0, EventID: "copied"})
}

func regions(t *testing.T, r rig) {
	r.beat("a", "eu")
	r.beat("b", "us")
	r.claims("d", "a", "eu", 1)
	_, err := r.claim("e", "b", "us")
	r.refused(group.CodeHeld, err)
	r.refused(group.CodeTurned, r.Registry().Switch(t.Context(), "us", 7))
	r.Pass(time.Minute)
	if v := r.beat("b", "us"); v.Ago < time.Minute {
		t.Errorf("set %s ago", v.Ago)
	}
	if err := r.Registry().Switch(t.Context(), "us", 1); err != nil {
		t.Fatal(err)
	}
	r.refused(group.CodeTurned, r.Registry().Switch(t.Context(), "eu", 1))
	v := r.beat("a", "eu", group.Held{Durable: "d", Epoch: 1})
	if v.Region != "us" || v.Turn != 2 || v.Ago > time.Minute {
		t.Errorf("after the switch: %+v", v)
	}
	if l := lease(v, "d"); l.Member != "a" || l.Left <= 0 {
		t.Errorf("what is held is finished first: %+v", l)
	}
	_, err = r.claim("d", "b", "us")
	r.refused(group.CodeHeld, err)
	_, err = r.claim("e", "a", "eu")
	r.refused(group.CodeHeld, err)
	r.beat("a", "eu", group.Held{Durable: "d", Epoch: 1, Release: true})
	if l := r.claims("d", "b", "us", 2); l.Before == nil || l.Before.Region != "eu" {
		t.Errorf("before was %+v", l.Before)
	}
}

func members(t *testing.T, r rig) {
	r.beat("b", "us")
	r.beat("a", "eu")
	r.Pass(TTL / 2)
	v := r.beat("b", "us")
	if len(v.Members) != 2 || v.Members[0].Member != "a" || !v.Members[0].Lives || v.Members[0].Region != "eu" || v.Members[0].Ago < TTL/2 || v.Members[1].Ago >= TTL/2 {
		t.Errorf("members %+v", v.Members)
	}
	r.Pass(TTL * 3 / 4)
	if v = r.beat("b", "us"); v.Members[0].Lives || !v.Members[1].Lives {
		t.Errorf("one is silent: %+v", v.Members)
	}
	v, err := r.Registry().Beat(t.Context(), group.Beat{Group: "ledger", Width: 4, Member: "b", Region: "us", TTL: TTL, Leave: true})
	if err != nil || v.Members[1].Lives {
		t.Errorf("one left: %+v, %v", v.Members, err)
	}
	r.Pass(25 * time.Hour)
	if v = r.beat("c", "us"); len(v.Members) != 1 {
		t.Errorf("who was not seen for a day is still known: %+v", v.Members)
	}
}

// atOnce: of many who claim the same durables at the same time each is got by one.
func atOnce(t *testing.T, r rig) {
	const members, durables, rounds = 6, 4, 3
	r.beat("m0", "eu")
	for round := range rounds {
		var wg sync.WaitGroup
		var won [durables]atomic.Int32
		for m := range members {
			wg.Go(func() {
				for d := range durables {
					d = (d + m) % durables
					l, err := r.claim(fmt.Sprint("d", d), fmt.Sprint("m", m), "eu")
					switch {
					case err == nil && l.Epoch == uint64(round+1): //nolint:gosec // small
						won[d].Add(1)
					case err == nil:
						t.Errorf("round %d: epoch %d", round, l.Epoch)
					case fault.CodeOf(err) != group.CodeHeld:
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for d := range durables {
			if n := won[d].Load(); n != 1 {
				t.Errorf("round %d: durable %d has %d owners", round, d, n)
			}
		}
		r.Pass(2 * TTL)
	}
}
