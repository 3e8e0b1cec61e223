package consumers

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestGather: a batch is handled when it is full or old enough, and holds no key twice.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBacklog(true, func(m *Message) string { return m.EventID }, nil)
		var seq atomic.Uint64
		add := func(keys string) {
			for _, k := range keys {
				b.add(&Message{EventID: string(k), Sequence: seq.Add(1)}, nil, nil, time.Now())
			}
		}
		start := time.Now()
		expect := func(how Batching, want string, at time.Duration) []*item {
			t.Helper()
			its := gather(t.Context(), b, how)
			got := ""
			for _, it := range its {
				got += it.m.EventID
			}
			if got != want || time.Since(start) != at {
				t.Errorf("got %q after %s, want %q after %s", got, time.Since(start), want, at)
			}
			return its
		}
		settle := func(its []*item) {
			for _, it := range its {
				b.settle(it)
				b.release(it)
			}
		}
		time.AfterFunc(time.Second, func() { add("ab") })
		time.AfterFunc(3*time.Second, func() { add("cdef") })
		settle(expect(Batching{Most: 4, Linger: time.Minute}, "abcd", 3*time.Second))
		settle(expect(Batching{Most: 4}, "ef", 3*time.Second))
		add("xxy")
		first := expect(Batching{Most: 4, Linger: 2 * time.Second}, "xy", 5*time.Second)
		time.AfterFunc(time.Second, func() { settle(first) })
		settle(expect(Batching{Most: 4}, "x", 6*time.Second))

		add("r")
		rests := gather(t.Context(), b, Batching{Most: 1})
		b.rest(rests[0], time.Now().Add(10*time.Second))
		add("s")
		settle(expect(Batching{Most: 4, Linger: 9 * time.Second}, "s", 15*time.Second))
		settle(expect(Batching{Most: 4, Linger: 9 * time.Second}, "r", 25*time.Second))

		ctx, stop := context.WithCancel(t.Context())
		add("z")
		time.AfterFunc(time.Second, stop)
		gather(ctx, b, Batching{Most: 2, Linger: time.Hour})
		if left, _ := b.unsettled(); time.Since(start) != 26*time.Second || len(left) != 1 {
			t.Errorf("after %s %d are given back", time.Since(start), len(left))
		}
	})
}

func TestBatchErrorsCount(t *testing.T) {
	if got := (BatchErrors{nil, fmt.Errorf("a"), fmt.Errorf("b")}).Error(); got != "2 of 3 events failed, the first one: a" {
		t.Error(got)
	}
}
