package group_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// TestMembersComeAndGo: the durables are divided among those that are there, every event is handled once, and each user's in order.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := w.publish(eu, subject.Global, "a", 1, 50)
	a := w.join(w.options("a", eu, 4))
	w.wants(all...)
	w.owners(map[*running]int{a: 4})
	b := w.join(w.options("b", eu, 4))
	w.owners(map[*running]int{a: 2, b: 2})
	c := w.join(w.options("c", eu, 4))
	all = append(all, w.publish(eu, subject.Global, "a", 51, 150)...)
	w.wants(all...)
	if err := a.end(); err != nil {
		t.Error(err)
	}
	all = append(all, w.publish(eu, subject.Global, "a", 151, 250)...)
	w.wants(all...)
	w.owners(map[*running]int{a: 0, b: 2, c: 2})
	if err := b.end(); err != nil {
		t.Error(err)
	}
	w.owners(map[*running]int{c: 4})
	all = append(all, w.publish(eu, subject.Global, "a", 251, 300)...)
	w.wants(all...)
	w.once()
	w.ordered("a", 100)
}

// once fails if an event was handled twice: nobody died, so nothing had to be.
func (w *world) once() {
	w.t.Helper()
	for id, n := range w.count() {
		if n != 1 {
			w.t.Errorf("%s was handled %d times", id, n)
		}
	}
}

// TestALeaverHandsOverAtOnce: not after the TTL, which is ten minutes here.
func TestALeaverHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("a", eu, 1)
	o.TTL = 10 * time.Minute
	a := w.join(o)
	w.owners(map[*running]int{a: 1})
	o.Member = "b"
	b := w.join(o)
	if err := a.end(); err != nil {
		t.Error(err)
	}
	w.owners(map[*running]int{b: 1})
	w.wants(w.publish(eu, subject.Global, "a", 1, 5)...)
}

// TestARegionTakesOver: by command. Nothing is left out, nothing that replicates is handled twice, and what stays in a region is
// handled while the group is there.
func TestARegionTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in, out := w.join(w.options("in", eu, 4)), w.join(w.options("out", us, 4))
	w.owners(map[*running]int{in: 4, out: 0})
	all := slices.Concat(w.publish(eu, subject.Global, "eu-", 1, 40), w.publish(us, subject.Global, "us-", 1, 40), w.publish(eu, subject.Regional, "eul-", 1, 20))
	usl := w.publish(us, subject.Regional, "usl-", 1, 20)
	w.wants(all...)
	if n := w.count(); n["usl-1"] != 0 {
		t.Error("what stays in us was handled in eu")
	}
	w.turn("us", 1)
	w.owners(map[*running]int{in: 0, out: 4})
	w.wants(usl...)
	w.wants(slices.Concat(w.publish(eu, subject.Global, "eu-", 41, 60), w.publish(us, subject.Global, "us-", 41, 60))...)
	eul := w.publish(eu, subject.Regional, "eul-", 21, 30)
	w.turn("eu", 2)
	w.owners(map[*running]int{in: 4, out: 0})
	w.wants(eul...)
	w.wants(slices.Concat(w.publish(eu, subject.Global, "eu-", 61, 70), w.publish(us, subject.Global, "us-", 61, 70))...)
	w.once()
}

func (w *world) turn(region string, seen uint64) {
	w.t.Helper()
	if err := w.registry.Switch(w.t.Context(), region, seen); err != nil {
		w.t.Fatal(err)
	}
}

// TestARegionIsLost: its stream is gone. The group goes on in the other one by itself, from where it had come to.
func TestARegionIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options("in", eu, 4)
	in := w.join(o)
	w.owners(map[*running]int{in: 4})
	o = w.options("out", us, 4)
	o.Failover = 3 * o.TTL
	out := w.join(o)
	w.wants(slices.Concat(w.publish(eu, subject.Global, "eu-", 1, 60), w.publish(us, subject.Global, "us-", 1, 60))...)
	w.everywhere(120)
	if err := in.end(); err != nil {
		t.Error(err)
	}
	if err := w.js.DeleteStream(t.Context(), "eu"); err != nil {
		t.Fatal(err)
	}
	later := w.publish(us, subject.Global, "us-", 61, 80)
	w.owners(map[*running]int{out: 4})
	w.wants(later...)
	w.once()
}

// TestARegionComesBack: a region that lost its data rejoins under its next epoch and takes its old events back with other
// sequences. The group that moves back there handles none of them again, and none of the others.
func TestARegionComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.join(w.options("in", eu, 1))
	w.owners(map[*running]int{in: 1})
	w.wants(slices.Concat(w.publish(eu, subject.Global, "eu-", 1, 30), w.publish(us, subject.Global, "us-", 1, 30))...)
	w.everywhere(60)
	if err := in.end(); err != nil {
		t.Error(err)
	}
	if err := w.js.DeleteStream(t.Context(), "eu"); err != nil {
		t.Fatal(err)
	}
	w.turn("us", 1)
	out := w.join(w.options("out", us, 1))
	w.owners(map[*running]int{out: 1})
	w.wants(w.publish(us, subject.Global, "us-", 31, 40)...)

	eu2 := eu.Next()
	back := w.config(eu2, us)
	back.Sources = append(back.Sources, w.history(us, eu))
	w.create(back)
	w.update(w.config(us, eu2))
	w.wants(w.publish(eu2, subject.Global, "eu2-", 1, 10)...)
	w.everywhere(80)
	w.turn("eu", 2)
	again := w.join(w.options("again", eu2, 1))
	w.owners(map[*running]int{again: 1, out: 0})
	w.wants(slices.Concat(w.publish(eu2, subject.Global, "eu2-", 11, 20), w.publish(us, subject.Global, "us-", 41, 50))...)
	w.once()
}

// TestAGroupStartsAtTheEnd: where From says, and there in every region.
func TestAGroupStartsAtTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(eu, subject.Global, "old-eu-", 1, 10)
	w.publish(us, subject.Global, "old-us-", 1, 10)
	w.everywhere(20)
	o := w.options("in", eu, 1)
	o.Subscription.From = consumers.FromNew()
	in := w.join(o)
	w.owners(map[*running]int{in: 1})
	w.begun("eu", "ledger-00")
	out := w.join(w.options("out", us, 1))
	w.wants(w.publish(eu, subject.Global, "eu-", 1, 3)...)
	w.turn("us", 1)
	w.owners(map[*running]int{out: 1})
	w.wants(w.publish(us, subject.Global, "us-", 1, 3)...)
	if n := w.count(); len(n) != 6 {
		t.Errorf("handled %v", n)
	}
}

// TestWhoHearsNothingStops: at half the TTL without word from the registry a member stops handling, before anybody else may begin;
// when the registry is back it goes on.
func TestWhoHearsNothingStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.join(w.options("a", eu, 1))
	all := w.publish(eu, subject.Global, "a", 1, 5)
	w.wants(all...)
	w.down.Store(true)
	streamtest.Eventually(t, patience, func() (bool, string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.ended > 0, "it goes on"
	})
	more := w.publish(eu, subject.Global, "a", 6, 10)
	w.down.Store(false)
	w.wants(append(all, more...)...)
	w.once()
	w.ordered("a", 1)
}

// alone is a store of one process.
type alone struct{ name string }

func (alone) Shared() bool   { return false }
func (a alone) Name() string { return a.name }

// TestWhatAGroupRefuses: what could not be kept once.
func TestWhatAGroupRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(*group.Options)
		code   string
	}{
		"a store of one process":        {func(o *group.Options) { o.Store = alone{} }, "store_not_shared"},
		"a solo group that moves":       {func(o *group.Options) { o.Store, o.Solo, o.Failover = alone{}, true, time.Minute }, "invalid_options"},
		"no store":                      {func(o *group.Options) { o.Store = nil }, "invalid_options"},
		"a width in between":            {func(o *group.Options) { o.Width = 5 }, "invalid_options"},
		"a name that is none":           {func(o *group.Options) { o.Group = "a.b" }, "invalid_options"},
		"a failover within a hiccup":    {func(o *group.Options) { o.Failover = o.TTL }, "invalid_options"},
		"a stream that stores no event": {func(o *group.Options) { o.Subscription.Stream = "nothing" }, "unavailable"},
	} {
		o := w.options("a", eu, 4)
		c.change(&o)
		if _, err := group.Join(t.Context(), o); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v (%s)", name, err, fault.CodeOf(err))
		}
	}
	a := w.join(w.options("a", eu, 4))
	w.owners(map[*running]int{a: 4})
	other, err := group.Join(t.Context(), w.options("b", eu, 16))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.RunEach(t.Context(), a.handle); fault.CodeOf(err) != group.CodeDisagree {
		t.Errorf("another width: %v", err)
	}
}

// TestASoloGroup: one process, with a store of its own, on several durables; started again it goes on.
func TestASoloGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 2 {
		o := w.options("a", eu, 4)
		o.Store, o.Solo = alone{"mine"}, true
		r := w.join(o)
		w.wants(w.publish(eu, subject.Global, "a", i*100+1, i*100+100)...)
		if err := r.end(); err != nil {
			t.Error(err)
		}
	}
	w.once()
	o := w.options("b", eu, 4) // with another directory
	o.Store, o.Solo = alone{"another"}, true
	logs, seen := observer.New(zap.WarnLevel)
	o.Subscription.Logger = zap.New(logs)
	w.join(o)
	streamtest.Eventually(t, patience, func() (bool, string) {
		n := seen.FilterMessage("durable not owned, it is tried again").Len()
		return n >= 4, fmt.Sprintf("%d refusals", n)
	})
	w.publish(eu, subject.Global, "b", 1, 5)
	if n := w.count(); n["b1"] != 0 {
		t.Error("a second solo group with another store handles events")
	}
}

// TestMembersWithAnotherStore are refused: they would do everything a second time.
func TestMembersWithAnotherStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.join(w.options("a", eu, 1))
	w.owners(map[*running]int{a: 1})
	w.begun("eu", "ledger-00")
	w.registry = group.NewMemory(nil)
	w.join(w.options("b", eu, 1))
	w.wants(w.publish(eu, subject.Global, "a", 1, 20)...)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, by := range w.by {
		if by != a.name {
			t.Errorf("%s was handled by %s", id, by)
		}
	}
}

// TestPinnedClientsBreakTheOrder: why a group does not lean on the server's pinned clients. What a dead reader had fetched comes to
// the next one only after AckWait, behind later events.
func TestPinnedClientsBreakTheOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(eu, subject.Global, "a", 1, 4)
	_, dies := w.pinned()
	next, ends := w.pinned()
	defer ends()
	dies()
	w.publish(eu, subject.Global, "a", 5, 5)
	var got []string
	for range 5 {
		m, err := next.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Headers().Get(header.MsgID))
	}
	if got[0] != "a5" {
		t.Errorf("came as %v: if the server keeps the order now, look at ADR 20 again", got)
	}
}
