package reorder

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/fault"
)

var start = time.Unix(1_700_000_000, 0)

var alice = Key{Source: "wallet", User: "alice"}

// show writes what was released in short: the item, and what is not plain about it.
func show(rs []Released[string]) string {
	var out []string
	for _, r := range rs {
		s := r.Item
		if r.Verdict != InOrder {
			s += ":" + r.Verdict.String()
		}
		if r.Missing > 0 {
			s += fmt.Sprintf(":%d", r.Missing)
		}
		if r.Early {
			s += ":early"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func counted(t *testing.T, o Options) *Counted[string] {
	t.Helper()
	c, err := NewCounted[string](o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCounted(t *testing.T) {
	type step struct {
		after time.Duration // since the step before
		epoch uint64
		seq   uint64 // 0 with no item: only time passes
		item  string
		want  string
	}
	w := time.Minute
	cases := map[string]struct {
		o     Options
		learn *Position
		steps []step
	}{
		"in order, without delay":                          {steps: []step{{0, 0, 1, "a", "a"}, {0, 0, 2, "b", "b"}, {0, 0, 3, "c", "c"}}},
		"counts from 0":                                    {steps: []step{{0, 0, 0, "a", "a"}, {0, 0, 1, "b", "b"}}},
		"reading begins in the middle":                     {steps: []step{{0, 0, 500, "a", "a"}, {0, 0, 501, "b", "b"}}},
		"a gap is filled":                                  {steps: []step{{0, 0, 1, "a", "a"}, {0, 0, 3, "c", ""}, {0, 0, 4, "d", ""}, {time.Second, 0, 2, "b", "b c d"}, {2 * w, 0, 0, "", ""}}},
		"a gap is given up":                                {steps: []step{{0, 0, 1, "a", "a"}, {0, 0, 4, "d", ""}, {time.Second, 0, 5, "e", ""}, {w - time.Second - 1, 0, 0, "", ""}, {1, 0, 0, "", "d:gap:2 e"}, {0, 0, 2, "b", "b:late"}, {0, 0, 6, "f", "f"}}},
		"each gap has its own time":                        {steps: []step{{0, 0, 1, "a", "a"}, {0, 0, 3, "c", ""}, {w / 2, 0, 5, "e", ""}, {w / 2, 0, 0, "", "c:gap:1"}, {w/2 - 1, 0, 0, "", ""}, {1, 0, 0, "", "e:gap:1"}}},
		"a gap before a gap is known as long as the first": {steps: []step{{0, 0, 1, "a", "a"}, {0, 0, 5, "e", ""}, {w / 2, 0, 3, "c", ""}, {w / 2, 0, 0, "", "c:gap:1 e:gap:1"}}},
		"a new user's second event came first":             {steps: []step{{0, 0, 2, "b", ""}, {time.Second, 0, 1, "a", "a b"}}},
		"the first of a new user never comes":              {steps: []step{{0, 0, 3, "c", ""}, {w, 0, 0, "", "c:gap:2"}}},
		"a remembered place":                               {learn: &Position{0, 6}, steps: []step{{0, 0, 8, "h", ""}, {0, 0, 6, "f", "f:late"}, {0, 0, 7, "g", "g h"}}},
		"the same number twice":                            {steps: []step{{0, 0, 1, "a", "a"}, {0, 0, 1, "A", "A:late"}, {0, 0, 3, "c", ""}, {0, 0, 3, "C", ""}, {0, 0, 2, "b", "b c C:late"}}},
		"a new epoch begins at once":                       {steps: []step{{0, 0, 7, "a", ""}, {w, 0, 0, "", "a:gap:6"}, {0, 1, 1, "b", "b"}, {0, 0, 8, "x", "x:late"}, {0, 1, 2, "c", "c"}}},
		"a new epoch waits for the gap of the old one":     {steps: []step{{0, 1, 1, "a", "a"}, {0, 1, 3, "c", ""}, {0, 2, 1, "A", ""}, {0, 2, 2, "B", ""}, {time.Second, 1, 2, "b", "b c A B"}}},
		"a new epoch goes with the gap of the old one":     {steps: []step{{0, 1, 1, "a", "a"}, {0, 1, 3, "c", ""}, {time.Second, 2, 1, "A", ""}, {w, 0, 0, "", "c:gap:1 A"}}},
		"no room for a key":                                {o: Options{MaxHeldPerKey: 2}, steps: []step{{0, 0, 1, "a", "a"}, {0, 0, 3, "c", ""}, {0, 0, 4, "d", ""}, {0, 0, 6, "f", "c:gap:1:early d"}}},
		"no room at all":                                   {o: Options{MaxHeld: 1}, steps: []step{{0, 0, 1, "a", "a"}, {0, 0, 4, "d", ""}, {0, 0, 3, "c", "c:gap:1:early d"}}},
		"the greatest numbers":                             {steps: []step{{0, 0, 1<<64 - 2, "a", "a"}, {0, 0, 1<<64 - 1, "b", "b"}, {0, 0, 0, "z", "z:late"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, now := counted(t, tc.o), start
			if tc.learn != nil {
				c.Learn(alice, *tc.learn)
			}
			for i, s := range tc.steps {
				now = now.Add(s.after)
				got := c.Expire(now, nil)
				if s.item != "" {
					got = c.Add(now, alice, Position{s.epoch, s.seq}, s.item, got)
				}
				if show(got) != s.want {
					t.Fatalf("step %d (%s): released %q, want %q", i, s.item, show(got), s.want)
				}
			}
		})
	}
}

// TestOneKeyDoesNotHoldAnother: another user of the source, and another source of the user, go on.
func TestOneKeyDoesNotHoldAnother(t *testing.T) {
	c := counted(t, Options{})
	c.Add(start, alice, Position{0, 1}, "a", nil)
	if got := c.Add(start, alice, Position{0, 3}, "c", nil); len(got) > 0 {
		t.Fatalf("released %s behind a gap", show(got))
	}
	for _, k := range []Key{{"wallet", "bob"}, {"kyc", "alice"}} {
		if got := show(c.Add(start, k, Position{0, 1}, "x", nil)); got != "x" {
			t.Errorf("%v: released %q", k, got)
		}
	}
	if at, ok := c.Next(); !ok || !at.Equal(start.Add(time.Minute)) {
		t.Errorf("next deadline %v, %v", at, ok)
	}
}

func TestLateSaysWhatWasReleased(t *testing.T) {
	c := counted(t, Options{})
	c.Add(start, alice, Position{2, 100}, "a", nil)
	got := c.Add(start, alice, Position{2, 99}, "b", nil)
	if len(got) != 1 || got[0].Verdict != Late || got[0].After != (Position{2, 100}) {
		t.Errorf("%+v", got)
	}
	first := c.Add(start, Key{"wallet", "bob"}, Position{0, 1}, "c", nil)
	if len(first) != 1 || !first[0].First {
		t.Errorf("%+v", first)
	}
}

func TestKeysAreForgotten(t *testing.T) {
	c := counted(t, Options{MaxKeys: 3})
	gapped := Key{"s", "gapped"}
	c.Learn(gapped, Position{0, 1})
	c.Add(start, gapped, Position{0, 3}, "x", nil)
	for i := range 1000 {
		c.Add(start, Key{"s", fmt.Sprint(i)}, Position{0, 1}, "y", nil)
	}
	if len(c.counts) != 4 {
		t.Errorf("%d keys remembered, want 3 and the one that holds something", len(c.counts))
	}
	if c.Knows(Key{"s", "5"}) || !c.Knows(Key{"s", "999"}) || !c.Knows(gapped) {
		t.Error("the wrong keys were forgotten")
	}
	if got := show(c.Add(start, gapped, Position{0, 2}, "w", nil)); got != "w x" {
		t.Errorf("released %q", got)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"window": {Window: -1}, "long": {Window: time.Hour}, "held": {MaxHeld: -1}, "per key": {MaxHeldPerKey: -1}, "keys": {MaxKeys: -1},
	} {
		if _, err := NewCounted[int](o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := NewTimed[int](o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// arrival is one event on its way: when it arrives, and what it is.
type arrival struct {
	at   time.Duration
	key  Key
	pos  Position
	name string
}

// shuffled draws events of a few users and how long each is on its way, at most limit.
func shuffled(t *rapid.T, limit time.Duration) []arrival {
	var out []arrival
	for u := range rapid.IntRange(1, 4).Draw(t, "users") {
		first := rapid.SampledFrom([]uint64{0, 1, 1, 900}).Draw(t, "first")
		for i := range rapid.IntRange(1, 25).Draw(t, "events") {
			sent := time.Duration(i) * time.Second
			late := time.Duration(rapid.Int64Range(0, int64(limit)).Draw(t, "late"))
			if i == 0 && first != 1 {
				late = 0 // only of a count from 1 is it known that something is missing before its second
			}
			out = append(out, arrival{sent + late, Key{"s", fmt.Sprint(u)}, Position{0, first + uint64(i)}, fmt.Sprintf("%d/%d", u, i)})
		}
	}
	slices.SortStableFunc(out, func(a, b arrival) int { return int(a.at - b.at) })
	return out
}

// TestAnyOrderWithinTheWindow: whatever the order of arrival, as long as no event is later than the window, the
// events of each key are released in their order, each once, and none is a gap or late.
func TestAnyOrderWithinTheWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arrivals := shuffled(t, 30*time.Second)
		c, err := NewCounted[arrival](Options{})
		if err != nil {
			t.Fatal(err)
		}
		var got []Released[arrival]
		for _, a := range arrivals {
			now := start.Add(a.at)
			got = c.Expire(now, got)
			got = c.Add(now, a.key, a.pos, a, got)
		}
		check(t, arrivals, got, true)
		if c.Held() != 0 {
			t.Errorf("%d are still held", c.Held())
		}
	})
}

// TestNothingIsLost: with events missing, late beyond the window, twice, and little room, each is released exactly
// once and within the window of its arrival, and in order but for the late ones.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Window: time.Minute, MaxHeld: rapid.IntRange(1, 40).Draw(t, "room"), MaxHeldPerKey: rapid.IntRange(1, 20).Draw(t, "room of a key")}
		c, err := NewCounted[arrival](o)
		if err != nil {
			t.Fatal(err)
		}
		arrivals := slices.DeleteFunc(shuffled(t, 3*time.Minute), func(arrival) bool { return rapid.IntRange(0, 9).Draw(t, "drop") == 0 })
		for _, a := range arrivals {
			if rapid.IntRange(0, 9).Draw(t, "twice") == 0 {
				a.name += "'"
				arrivals = append(arrivals, a)
			}
		}
		slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(a.at - b.at) })
		var got []Released[arrival]
		for _, a := range arrivals {
			now := start.Add(a.at)
			for { // time passes from deadline to deadline
				at, ok := c.Next()
				if !ok || at.After(now) {
					break
				}
				before := len(got)
				if got = c.Expire(at, got); len(got) == before {
					t.Fatal("nothing was released at a deadline")
				}
				for _, r := range got[before:] {
					if wait := at.Sub(start.Add(r.Item.at)); wait > o.Window {
						t.Errorf("%s was held for %s", r.Item.name, wait)
					}
				}
			}
			got = c.Add(now, a.key, a.pos, a, got)
			if c.Held() > o.MaxHeld {
				t.Errorf("%d held, room for %d", c.Held(), o.MaxHeld)
			}
		}
		check(t, arrivals, c.Expire(start.Add(time.Hour), got), false)
	})
}

func check(t *rapid.T, arrivals []arrival, got []Released[arrival], plain bool) {
	seen := map[string]bool{}
	last := map[Key]Position{}
	for _, r := range got {
		a := r.Item
		if seen[a.name] {
			t.Errorf("%s was released twice", a.name)
		}
		seen[a.name] = true
		if plain && r.Verdict != InOrder {
			t.Errorf("%s is %s", a.name, r.Verdict)
		}
		have, known := last[a.key]
		if known == r.First && r.Verdict != Late {
			t.Errorf("%s: First is %v", a.name, r.First)
		}
		switch {
		case r.Verdict == Late:
			if !known || a.pos.Compare(have) > 0 {
				t.Errorf("%s is called late after %v", a.name, have)
			}
			continue
		case known && a.pos.Compare(have) <= 0:
			t.Errorf("%s was released after %v", a.name, have)
		case known && r.Verdict == InOrder && a.pos.Seq != have.Seq+1:
			t.Errorf("%s is called in order after %v", a.name, have)
		case known && r.Verdict == Gap && a.pos.Seq-have.Seq-1 != r.Missing:
			t.Errorf("%s after %v: %d missing", a.name, have, r.Missing)
		}
		last[a.key] = a.pos
	}
	if len(seen) != len(arrivals) {
		t.Errorf("%d released of %d", len(seen), len(arrivals))
	}
}

// TestRestart: what was released and not handled, and what was held, comes again to a new Counted that learns what was
// handled. Nothing is lost, and no event is handled before one that was there in time.
func TestRestart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arrivals := shuffled(t, 20*time.Second)
		cut := rapid.IntRange(0, len(arrivals)).Draw(t, "restart after")
		handled := map[string]bool{}
		last := map[Key]Position{}
		var order []Released[arrival]
		handle := func(rs []Released[arrival], n int) {
			for _, r := range rs[:n] {
				handled[r.Item.name] = true
				last[r.Item.key] = r.Item.pos
				order = append(order, Released[arrival]{Item: r.Item})
			}
		}
		run := func(c *Counted[arrival], as []arrival, at func(arrival) time.Time) (out []Released[arrival]) {
			for _, a := range as {
				if p, ok := last[a.key]; ok {
					c.Learn(a.key, p)
				}
				out = c.Add(at(a), a.key, a.pos, a, c.Expire(at(a), out))
			}
			return out
		}
		first, err := NewCounted[arrival](Options{})
		if err != nil {
			t.Fatal(err)
		}
		released := run(first, arrivals[:cut], func(a arrival) time.Time { return start.Add(a.at) })
		handle(released, rapid.IntRange(0, len(released)).Draw(t, "handled"))

		second, err := NewCounted[arrival](Options{})
		if err != nil {
			t.Fatal(err)
		}
		var again []arrival // the stream's order, without what was acknowledged
		for _, a := range arrivals {
			if !handled[a.name] {
				again = append(again, a)
			}
		}
		released = run(second, again, func(a arrival) time.Time { return start.Add(time.Minute + a.at) })
		handle(released, len(released))
		check(t, arrivals, firsts(order), false)
	})
}

// firsts marks the first of each key, for check, and calls the rest what their numbers say.
func firsts(rs []Released[arrival]) []Released[arrival] {
	seen := map[Key]Position{}
	for i := range rs {
		a := rs[i].Item
		have, ok := seen[a.key]
		rs[i].First = !ok
		if ok && a.pos.Seq != have.Seq+1 {
			rs[i].Verdict, rs[i].Missing = Gap, ^uint64(0) // a gap that nothing justifies: check names it
		}
		seen[a.key] = a.pos
	}
	return rs
}

func BenchmarkCountedInOrder(b *testing.B) {
	c, err := NewCounted[int](Options{})
	if err != nil {
		b.Fatal(err)
	}
	keys := make([]Key, 10_000)
	for i := range keys {
		keys[i] = Key{"wallet", fmt.Sprint("user-", i)}
	}
	var out []Released[int]
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		out = c.Add(start, keys[i%len(keys)], Position{0, uint64(i/len(keys)) + 1}, i, out[:0])
		if len(out) != 1 {
			b.Fatal("held")
		}
	}
}
