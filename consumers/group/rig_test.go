package group_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

const patience = 30 * time.Second

var (
	eu = subject.Origin{Region: "eu", Epoch: 1}
	us = subject.Origin{Region: "us", Epoch: 1}
)

// world is two regions, as two streams of one server that source each other, and a registry that the members share.
type world struct {
	t        *testing.T
	s        *streamtest.JetStream
	nc       *nats.Conn
	js       jetstream.JetStream
	registry *group.Memory
	down     atomic.Bool // the registry does not answer

	mu      sync.Mutex
	handled []string // event ids, in order
	by      map[string]string
}

// shared is a store whose registry the members of this process share.
type shared struct {
	*group.Memory
	w *world
}

func (shared) Shared() bool { return true }

func (s shared) Beat(ctx context.Context, b group.Beat) (group.View, error) {
	if s.w.down.Load() {
		return group.View{}, errors.New("the registry is down")
	}
	return s.Memory.Beat(ctx, b)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, s: streamtest.Server(t), registry: group.NewMemory(nil), by: make(map[string]string)}
	w.nc, w.js = w.s.Stream(w.config(eu))
	w.create(w.config(us, eu))
	w.update(w.config(eu, us))
	return w
}

// config is the stream of a region, under a name that is the region's: both are in one account here.
func (w *world) config(self subject.Origin, peers ...subject.Origin) jetstream.StreamConfig {
	c := streams.EventsConfig(streams.EventsSpec{Self: self})
	c.Name = self.Region
	for _, p := range peers {
		c.Sources = append(c.Sources, &jetstream.StreamSource{Name: p.Region, FilterSubject: subject.Replicated(p), OptStartSeq: 1})
	}
	return c
}

func (w *world) create(c jetstream.StreamConfig) {
	w.t.Helper()
	if _, err := w.js.CreateStream(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update(c jetstream.StreamConfig) {
	w.t.Helper()
	if _, err := w.js.UpdateStream(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

// publish stores events in a region; their ids are the prefix and the numbers first … last, their users the numbers modulo 100.
func (w *world) publish(o subject.Origin, scope subject.Scope, prefix string, first, last int) []string {
	w.t.Helper()
	var ids []string
	for i := first; i <= last; i++ {
		id, user := fmt.Sprint(prefix, i), fmt.Sprint("u", i%100)
		ev := subject.Event{Origin: o, Scope: scope, Partition: partition.Of(user), Topic: "bets", Type: "bet.placed"}
		msg := nats.NewMsg(ev.String())
		msg.Header.Set(header.MsgID, id)
		msg.Header.Set(header.Relay, "test")
		msg.Header.Set(header.IngestedAt, time.Now().UTC().Format(time.RFC3339Nano))
		msg.Data = fmt.Appendf(nil, `{"event_id":%q,"event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2026-01-01T00:00:00Z","key":{"user_id":%q},"payload":{}}`, id, user)
		if _, err := w.js.PublishMsg(w.t.Context(), msg); err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// options are those of a member in a region.
func (w *world) options(name string, region subject.Origin, width int) group.Options {
	return group.Options{
		Group: "ledger", Width: width, Member: name, Store: shared{w.registry, w}, TTL: 2 * time.Second,
		Subscription: consumers.Options{URLs: []string{w.s.URL()}, Stream: region.Region, Batch: 64},
	}
}

// running is a member in its Run.
type running struct {
	w    *world
	name string
	stop context.CancelFunc
	done chan error

	mu    sync.Mutex
	ended int // claims
}

// join starts a member that notes what it handles.
func (w *world) join(o group.Options) *running {
	w.t.Helper()
	m, err := group.Join(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{w: w, name: m.Name(), stop: stop, done: make(chan error, 1)}
	go func() { r.done <- m.RunEach(ctx, r.handle) }()
	w.t.Cleanup(func() { r.end() })
	return r
}

func (r *running) handle(ctx context.Context, c *group.Claim, sub *consumers.Subscription) error {
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended++
	}()
	return sub.Run(ctx, func(_ context.Context, m *consumers.Message) error {
		if !slices.Contains(c.Partitions(), m.Subject.Partition) {
			r.w.t.Errorf("%s was given partition %d, it has %v", c.Durable(), m.Subject.Partition, c.Partitions())
		}
		r.w.mu.Lock()
		defer r.w.mu.Unlock()
		r.w.handled = append(r.w.handled, m.EventID)
		r.w.by[m.EventID] = r.name
		return nil
	})
}

// end lets the member leave, and returns what Run returned.
func (r *running) end() error {
	r.w.t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		r.done <- err // end may be called again
		return err
	case <-time.After(patience):
		r.w.t.Error("Run does not end")
		return nil
	}
}

// count is how often each event was handled.
func (w *world) count() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := make(map[string]int)
	for _, id := range w.handled {
		n[id]++
	}
	return n
}

// wants waits until all these events were handled.
func (w *world) wants(ids ...string) {
	w.t.Helper()
	streamtest.Eventually(w.t, patience, func() (bool, string) {
		n := w.count()
		var missing []string
		for _, id := range ids {
			if n[id] == 0 {
				missing = append(missing, id)
			}
		}
		return len(missing) == 0, fmt.Sprintf("%d of %d are missing: %v", len(missing), len(ids), missing[:min(5, len(missing))])
	})
}

// owners waits until the durables are divided among the members as the counts say.
func (w *world) owners(counts map[*running]int) {
	w.t.Helper()
	streamtest.Eventually(w.t, patience, func() (bool, string) {
		have := make(map[string]int)
		for _, l := range w.registry.Look().Leases {
			if l.Left > 0 {
				have[l.Member]++
			}
		}
		ok := true
		for r, n := range counts {
			ok = ok && have[r.name] == n
		}
		return ok, fmt.Sprint(have)
	})
}

// everywhere waits until both regions that are there store that many events.
func (w *world) everywhere(n uint64) {
	w.t.Helper()
	streamtest.Eventually(w.t, patience, func() (bool, string) {
		for _, name := range []string{"eu", "us"} {
			st, err := w.js.Stream(w.t.Context(), name)
			if err != nil {
				return false, err.Error()
			}
			if have := st.CachedInfo().State.Msgs; have < n {
				return false, fmt.Sprintf("%s has %d of %d", name, have, n)
			}
		}
		return true, ""
	})
}

// begun waits until a durable is owned: its group has found where it starts.
func (w *world) begun(stream, durable string) {
	w.t.Helper()
	streamtest.Eventually(w.t, patience, func() (bool, string) {
		cons, err := w.js.Consumer(w.t.Context(), stream, durable)
		if err != nil {
			return false, err.Error()
		}
		epoch, _ := consumers.OwnerEpoch(&cons.CachedInfo().Config)
		return epoch > 0, "nobody owns it"
	})
}

// history is the source by which a region takes its old events back from a peer.
func (w *world) history(peer, old subject.Origin) *jetstream.StreamSource {
	return &jetstream.StreamSource{Name: peer.Region, FilterSubject: subject.Replicated(old), OptStartSeq: 1}
}

// ordered fails if the events of one user were not handled in the order of their numbers.
func (w *world) ordered(prefix string, users int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	last := make(map[int]int)
	for _, id := range w.handled {
		n, err := strconv.Atoi(strings.TrimPrefix(id, prefix))
		if err != nil {
			w.t.Fatal(err)
		}
		if n < last[n%users] {
			w.t.Errorf("%s was handled after %d of the same user", id, last[n%users])
		}
		last[n%users] = n
	}
}

// pinned is a reader of a durable that the server pins to one client, which has fetched something if it is the first one.
func (w *world) pinned() (it jetstream.MessagesContext, dies func()) {
	w.t.Helper()
	nc := w.s.Connect()
	js, err := jetstream.New(nc)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := js.CreateOrUpdateConsumer(w.t.Context(), "eu", jetstream.ConsumerConfig{
		Durable: "pinned", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Second,
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{"g"}, PinnedTTL: time.Second,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if it, err = c.Messages(jetstream.PullPriorityGroup("g"), jetstream.PullExpiry(time.Second)); err != nil {
		w.t.Fatal(err)
	}
	if c.CachedInfo().Delivered.Consumer == 0 {
		if _, err := it.Next(jetstream.NextMaxWait(patience)); err != nil {
			w.t.Fatal(err)
		}
	}
	return it, func() { nc.Close(); it.Stop() }
}
