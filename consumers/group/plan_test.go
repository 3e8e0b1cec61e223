package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPartitionsOfEachWidth(t *testing.T) {
	for _, width := range Widths() {
		var all []int
		for i, d := range Durables("ledger", width) {
			if want := fmt.Sprintf("ledger-%02d", i); d != want {
				t.Errorf("durable %d of %d is %q", i, width, d)
			}
			all = append(all, Partitions(width, i)...)
		}
		if len(all) != 64 || !slices.IsSorted(all) || len(slices.Compact(all)) != 64 {
			t.Errorf("width %d covers %v", width, all)
		}
	}
}

// world is a registry of names: members come and go, and all do what share tells them.
type world struct {
	v        View
	durables []string
}

func (w *world) member(name string) {
	w.v.Members = append(w.v.Members, Peer{Member: name, Region: "eu", Lives: true})
}

func (w *world) leave(name string) {
	w.v.Members = slices.DeleteFunc(w.v.Members, func(p Peer) bool { return p.Member == name })
	for i := range w.v.Leases {
		if w.v.Leases[i].Member == name {
			w.v.Leases[i].Left = 0
		}
	}
}

func (w *world) held(name string) (held []string) {
	for _, l := range w.v.Leases {
		if l.Left > 0 && l.Member == name {
			held = append(held, l.Durable)
		}
	}
	return held
}

// step lets one member act on what it sees, and returns how many durables moved.
func (w *world) step(name string) int {
	claim, release := w.v.share(name, w.durables, w.held(name))
	for _, d := range release {
		w.v.Leases = slices.DeleteFunc(w.v.Leases, func(l Lease) bool { return l.Durable == d })
	}
	for _, d := range claim {
		w.v.Leases = slices.DeleteFunc(w.v.Leases, func(l Lease) bool { return l.Durable == d })
		w.v.Leases = append(w.v.Leases, Lease{Durable: d, Member: name, Region: "eu", Left: time.Second})
	}
	return len(claim)
}

// settle lets all act until nothing moves.
func (w *world) settle(t *rapid.T) (moved int) {
	for range 200 {
		n := 0
		for _, p := range w.v.Members {
			n += w.step(p.Member)
		}
		if moved += n; n == 0 {
			return moved
		}
	}
	t.Fatal("it never settles")
	return 0
}

// TestShareIsFairAndMovesLittle: whoever comes and goes, each durable has one owner, nobody has two more than another, and no
// more moves than what the gone one had or the new one gets.
func TestShareIsFairAndMovesLittle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{v: View{Region: "eu"}, durables: Durables("g", rapid.SampledFrom(Widths()).Draw(t, "width"))}
		n := len(w.durables)
		w.member("m00")
		w.settle(t)
		for i := range rapid.IntRange(1, 12).Draw(t, "changes") {
			most := n // that may move
			if len(w.v.Members) > 1 && rapid.Bool().Draw(t, "leaves") {
				gone := rapid.SampledFrom(w.v.living()).Draw(t, "who")
				most = len(w.held(gone))
				w.leave(gone)
			} else {
				w.member(fmt.Sprintf("m%02d", 50+(i*37)%50))
				most = (n + len(w.v.Members) - 1) / len(w.v.Members)
			}
			if moved := w.settle(t); moved > most {
				t.Fatalf("%d of %d moved, %d had to", moved, n, most)
			}
			least, greatest, sum := n, 0, 0
			for _, m := range w.v.living() {
				h := len(w.held(m))
				least, greatest, sum = min(least, h), max(greatest, h), sum+h
			}
			if sum != n || greatest-least > 1 {
				t.Fatalf("%d durables: %d owned, from %d to %d each", n, sum, least, greatest)
			}
		}
	})
}

func TestWhoStandsByHoldsNothing(t *testing.T) {
	v := View{Region: "us", Members: []Peer{{Member: "a", Region: "eu", Lives: true}, {Member: "b", Region: "us", Lives: true}}}
	ds := Durables("g", 4)
	if claim, release := v.share("a", ds, ds[:2]); len(claim) != 0 || len(release) != 2 {
		t.Errorf("the member of the other region claims %v and releases %v", claim, release)
	}
	if claim, _ := v.share("b", ds, nil); len(claim) != 4 {
		t.Errorf("the member of the active region claims %v", claim)
	}
}

func TestSilence(t *testing.T) {
	peer := func(region string, ago time.Duration) Peer {
		return Peer{Region: region, Ago: ago, Lives: ago < time.Second}
	}
	for name, c := range map[string]struct {
		ago     time.Duration
		members []Peer
		want    time.Duration
	}{
		"one lives":               {time.Hour, []Peer{peer("eu", time.Minute), peer("eu", 0)}, 0},
		"the last one seen":       {time.Hour, []Peer{peer("eu", time.Minute), peer("eu", 2*time.Minute), peer("us", 0)}, time.Minute},
		"nobody yet":              {time.Second, []Peer{peer("us", 0)}, time.Second},
		"nobody for long":         {time.Hour, []Peer{peer("us", 0)}, time.Hour},
		"turned since, none come": {2 * time.Second, []Peer{peer("eu", time.Minute)}, 2 * time.Second},
	} {
		if got := (&View{Region: "eu", Ago: c.ago, Members: c.members}).silent(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
