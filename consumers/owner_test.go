package consumers_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func owned(o consumers.Options, epoch uint64) consumers.Options {
	o.Owner = &consumers.Owner{Epoch: epoch, Labels: map[string]string{"weft-owner": fmt.Sprint("member-", epoch)}}
	o.PullExpiry = time.Second
	return o
}

// TestAnOwnerTakesOver: who comes with a higher epoch gets at once, and in order, what a dead owner had fetched and not
// acknowledged; one with a lower epoch is refused.
func TestAnOwnerTakesOver(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 10)
	r.subscribe(owned(r.options("d"), 1))
	dead, err := r.js.Consumer(t.Context(), subject.EventsStream, "d")
	if err != nil {
		t.Fatal(err)
	}
	fetched, err := dead.Fetch(8, jetstream.FetchPriorityGroup("e1"), jetstream.FetchMaxWait(time.Second/2))
	if err != nil {
		t.Fatal(err)
	}
	for m := range fetched.Messages() {
		if meta, err := m.Metadata(); err == nil && meta.Sequence.Stream <= 2 {
			if err := m.DoubleAck(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := fetched.Error(); err != nil {
		t.Fatal(err)
	}
	second := run(t, r.subscribe(owned(r.options("d"), 2)), nil)
	second.wants(ids("bets", 3, 10)...)
	if _, err := consumers.Subscribe(t.Context(), owned(r.options("d"), 1)); fault.CodeOf(err) != consumers.CodeTakenOver {
		t.Errorf("a lower epoch: %v", err)
	}
	if label := r.info("d").Config.Metadata["weft-owner"]; label != "member-2" {
		t.Errorf("the durable's label says %q", label)
	}
	if err := second.end(); err != nil {
		t.Error(err)
	}
}

// TestAnOwnerIsRefused: its Run ends when another one has taken over.
func TestAnOwnerIsRefused(t *testing.T) {
	r := newRegion(t)
	first := run(t, r.subscribe(owned(r.options("d"), 1)), nil)
	r.publish("bets", 1, 2)
	first.wants(ids("bets", 1, 2)...)
	second := run(t, r.subscribe(owned(r.options("d"), 2)), nil)
	err := <-first.done
	first.done <- nil
	if fault.CodeOf(err) != consumers.CodeTakenOver || fault.KindOf(err) != fault.Conflict {
		t.Errorf("the owner before ends with %v", err)
	}
	r.publish("bets", 3, 4)
	second.count(2)
	if err := second.end(); err != nil {
		t.Error(err)
	}
}

// TestAnOwnerWhoComesLateGivesWay: an owner who was slow to subscribe and overwrote a newer one's epoch does not keep it.
func TestAnOwnerWhoComesLateGivesWay(t *testing.T) {
	r := newRegion(t)
	second := run(t, r.subscribe(owned(r.options("d"), 2)), nil)
	r.publish("bets", 1, 1)
	second.wants("bets-1")
	stale := r.info("d").Config
	stale.PriorityGroups = []string{"e1"}
	if _, err := r.js.UpdateConsumer(t.Context(), subject.EventsStream, stale); err != nil {
		t.Fatal(err)
	}
	r.publish("bets", 2, 3)
	second.wants(ids("bets", 1, 3)...)
	streamtest.Eventually(t, patience, func() (bool, string) {
		epoch, owned := consumers.OwnerEpoch(&r.info("d").Config)
		return owned && epoch == 2, fmt.Sprintf("epoch %d, owned %v", epoch, owned)
	})
}

// TestAnOwnerResumes: where the owner says, forwards and backwards, whatever was acknowledged.
func TestAnOwnerResumes(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 10)
	for epoch, from := range []int{4, 8, 2} {
		o := owned(r.options("d"), uint64(epoch+1)) //nolint:gosec // small
		o.Owner.Resume = uint64(from)               //nolint:gosec // small
		run := run(t, r.subscribe(o), nil)
		run.wants(ids("bets", from, 10)...)
		if err := run.end(); err != nil {
			t.Error(err)
		}
	}
}

// TestOwnedAndFreeDurablesAreKeptApart: neither kind is taken for the other.
func TestOwnedAndFreeDurablesAreKeptApart(t *testing.T) {
	r := newRegion(t)
	r.subscribe(r.options("free"))
	r.subscribe(owned(r.options("owned"), 1))
	for name, o := range map[string]consumers.Options{"durable_owned": r.options("owned"), "durable_kind": owned(r.options("free"), 9)} {
		if _, err := consumers.Subscribe(t.Context(), o); fault.CodeOf(err) != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

func TestPartitions(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	o.Partitions = []int{3, 5}
	some := run(t, r.subscribe(o), nil)
	o = r.options("e", "bets", "kyc")
	o.Partitions = []int{3}
	one := run(t, r.subscribe(o), nil)
	for _, topic := range []string{"bets", "kyc", "chat"} {
		r.publish(topic, 1, 6)
	}
	some.wants("bets-3", "bets-5", "kyc-3", "kyc-5", "chat-3", "chat-5")
	one.wants("bets-3", "kyc-3")
	for _, bad := range [][]int{{64}, {-1}, {1, 1}} {
		o := r.options("f")
		o.Partitions = bad
		if _, err := consumers.Subscribe(t.Context(), o); fault.CodeOf(err) != "invalid_options" {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// recorder keeps what it is told.
type recorder struct{ arrived, settled []string }

func (r *recorder) Arrived(m *consumers.Message) bool {
	r.arrived = append(r.arrived, m.EventID)
	return m.EventID != "bets-2"
}

func (r *recorder) Settled(m *consumers.Message) { r.settled = append(r.settled, m.EventID) }

func TestTrack(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 5)
	o := r.options("d")
	o.Track = &recorder{}
	run := run(t, r.subscribe(o), nil)
	handled := append(ids("bets", 1, 1), ids("bets", 3, 5)...)
	run.wants(handled...)
	if err := run.end(); err != nil {
		t.Fatal(err)
	}
	if rec := o.Track.(*recorder); !slices.Equal(rec.arrived, ids("bets", 1, 5)) || !slices.Equal(rec.settled, handled) {
		t.Errorf("told %v and %v", rec.arrived, rec.settled)
	}
	if floor := r.info("d").AckFloor.Stream; floor != 5 {
		t.Errorf("acknowledged up to %d", floor)
	}
}
