package reorder

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func timedOf(t interface{ Fatal(...any) }, o Options) *Timed[string] {
	c, err := NewTimed[string](o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTimed(t *testing.T) {
	s := time.Second
	type step struct {
		after, occurred time.Duration // since the step before; since the start
		item, want      string
	}
	for name, tc := range map[string]struct {
		o     Options
		steps []step
	}{
		"by the time of the event": {steps: []step{{0, 5 * s, "b", ""}, {s, 2 * s, "a", ""}, {s, 9 * s, "c", ""}, {58 * s, 0, "", "a b"}, {2 * s, 0, "", "c"}}},
		"later than the window":    {steps: []step{{0, 5 * s, "b", ""}, {60 * s, 0, "", "b"}, {s, 4 * s, "a", "a:late"}, {s, 5 * s, "c", ""}, {60 * s, 0, "", "c"}}},
		"equal times as they came": {steps: []step{{0, s, "a", ""}, {0, s, "b", ""}, {60 * s, 0, "", "a b"}}},
		"no room for a key":        {o: Options{MaxHeldPerKey: 1}, steps: []step{{0, 5 * s, "b", ""}, {0, 2 * s, "a", "a:early"}}},
		"no room":                  {o: Options{MaxHeld: 1}, steps: []step{{0, 5 * s, "b", ""}, {0, 2 * s, "a", "a:early"}}},
	} {
		t.Run(name, func(t *testing.T) {
			c, now := timedOf(t, tc.o), start
			for i, st := range tc.steps {
				now = now.Add(st.after)
				got := c.Expire(now, nil)
				if st.item != "" {
					got = c.Add(now, "alice", start.Add(st.occurred), st.item, got)
				}
				if show(got) != st.want {
					t.Fatalf("step %d: released %q, want %q", i, show(got), st.want)
				}
			}
		})
	}
}

// TestTimedOrder: whatever the order of arrival, each event is released once, not before the window unless there is no
// room, not after it, and in the order of the times but for the late ones.
func TestTimedOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := rapid.IntRange(1, 60).Draw(t, "room")
		c := timedOf(t, Options{MaxHeld: room, MaxHeldPerKey: rapid.IntRange(1, 60).Draw(t, "room of a key")})
		n := rapid.IntRange(1, 60).Draw(t, "events")
		occurred := make([]time.Time, n)
		came := make([]time.Time, n)
		seen := map[string]bool{}
		last := map[string]time.Time{}
		now := start
		take := func(rs []Released[string]) {
			for _, r := range rs {
				var i, user int
				if _, err := fmt.Sscanf(r.Item, "%d/%d", &i, &user); err != nil || seen[r.Item] {
					t.Fatalf("%s released twice, or nothing of ours: %v", r.Item, err)
				}
				seen[r.Item] = true
				key := fmt.Sprint(user)
				if late := occurred[i].Before(last[key]); late != (r.Verdict == Late) {
					t.Errorf("%s is %s after %s", r.Item, r.Verdict, last[key])
				}
				if r.Verdict == InOrder {
					last[key] = occurred[i]
					if now.Sub(came[i]) > time.Minute {
						t.Errorf("%s waited for %s", r.Item, now.Sub(came[i]))
					}
				}
			}
		}
		until := func(end time.Time) {
			for at, ok := c.Next(); ok && !at.After(end); at, ok = c.Next() {
				now = at
				take(c.Expire(at, nil))
			}
			now = end
		}
		for i := range n {
			until(now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "pause")) * time.Second))
			came[i], occurred[i] = now, now.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "age"))*time.Second)
			user := fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "user"))
			take(c.Add(now, user, occurred[i], fmt.Sprintf("%d/%s", i, user), nil))
			if c.Held() > room {
				t.Errorf("%d held, room for %d", c.Held(), room)
			}
		}
		until(now.Add(time.Hour))
		if len(seen) != n || c.Held() != 0 {
			t.Errorf("%d released of %d, %d held", len(seen), n, c.Held())
		}
	})
}

func TestTimedKeysAreForgotten(t *testing.T) {
	c := timedOf(t, Options{MaxKeys: 2})
	for i := range 100 {
		now := start.Add(time.Duration(i) * time.Hour)
		if got := c.Expire(now, nil); len(got) != min(i, 1) {
			t.Fatalf("released %s", show(got))
		}
		c.Add(now, fmt.Sprint(i), now, "x", nil)
	}
	if len(c.rows) != 3 { // two, and the one that holds an event
		t.Errorf("%d keys remembered", len(c.rows))
	}
}

func TestDeadlinesAreOrdered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d deadlines
		rows := make([]*row[int], 8)
		for i := range rows {
			rows[i] = new(row[int])
		}
		want := map[*row[int]]time.Time{}
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			r := rows[rapid.IntRange(0, len(rows)-1).Draw(t, "row")]
			if rapid.Bool().Draw(t, "drop") {
				d.drop(r)
				delete(want, r)
			} else {
				want[r] = start.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "at")))
				d.set(r, want[r])
			}
			var all []time.Time
			for _, at := range want {
				all = append(all, at)
			}
			at, ok := d.next()
			if ok != (len(all) > 0) || ok && !at.Equal(slices.MinFunc(all, time.Time.Compare)) || d.Len() != len(all) {
				t.Fatalf("next %v %v, have %v", at, ok, all)
			}
		}
	})
}
