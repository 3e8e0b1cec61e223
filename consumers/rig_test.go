package consumers_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	eu         = subject.Origin{Region: "eu", Epoch: 1}
	ingestedAt = time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)
)

// region is a server with an EVENTS stream, and a publisher that writes to it as a relay does.
type region struct {
	t  *testing.T
	s  *streamtest.JetStream
	nc *nats.Conn
	js jetstream.JetStream
}

func newRegion(t *testing.T) *region {
	t.Helper()
	r := &region{t: t, s: streamtest.Server(t)}
	r.nc, r.js = r.s.Stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
	return r
}

// publish stores events of one topic; the ids are the topic and the numbers first … last.
func (r *region) publish(topic string, first, last int) {
	r.t.Helper()
	for i := first; i <= last; i++ {
		r.store(subject.Event{Origin: eu, Scope: subject.Global, Partition: i % 64, Topic: topic, Type: "bet.placed"}.String(), fmt.Sprint(topic, "-", i))
	}
}

func (r *region) store(subj, id string) {
	r.t.Helper()
	msg := nats.NewMsg(subj)
	msg.Header.Set(header.MsgID, id)
	msg.Header.Set(header.Relay, "test")
	msg.Header.Set(header.IngestedAt, ingestedAt.Format(time.RFC3339Nano))
	msg.Data = []byte(`{"event_id":"` + id + `"}`)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := r.js.PublishMsg(ctx, msg); err != nil {
		r.t.Fatalf("publish %s: %v", subj, err)
	}
}

// options are those of a subscription with a connection of its own.
func (r *region) options(durable string, topics ...string) consumers.Options {
	return consumers.Options{URLs: []string{r.s.URL()}, Durable: durable, Topics: topics}
}

func (r *region) subscribe(o consumers.Options) *consumers.Subscription {
	r.t.Helper()
	sub, err := consumers.Subscribe(r.t.Context(), o)
	if err != nil {
		r.t.Fatalf("subscribe: %v", err)
	}
	r.t.Cleanup(sub.Close)
	return sub
}

// info is what the server knows of a durable.
func (r *region) info(durable string) *jetstream.ConsumerInfo {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := r.js.Consumer(ctx, subject.EventsStream, durable)
	if err != nil {
		r.t.Fatalf("consumer %s: %v", durable, err)
	}
	return c.CachedInfo()
}

// running is a subscription in its Run.
type running struct {
	t    *testing.T
	stop context.CancelFunc
	done chan error

	mu  sync.Mutex
	got []consumers.Message
}

// run starts Run with a handler that keeps what it gets and then asks answer, nil for always nil.
func run(t *testing.T, sub *consumers.Subscription, answer func(context.Context, *consumers.Message) error) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, stop: stop, done: make(chan error, 1)}
	go func() {
		r.done <- sub.Run(ctx, func(ctx context.Context, m *consumers.Message) error {
			r.mu.Lock()
			r.got = append(r.got, *m)
			r.mu.Unlock()
			if answer == nil {
				return nil
			}
			return answer(ctx, m)
		})
	}()
	t.Cleanup(func() { r.end() })
	return r
}

// end stops Run and returns what it returned.
func (r *running) end() error {
	r.t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		r.done <- err // end may be called again
		return err
	case <-time.After(patience):
		r.t.Error("Run does not end")
		return nil
	}
}

func (r *running) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]string, len(r.got))
	for i, m := range r.got {
		ids[i] = m.EventID
	}
	return ids
}

// wants waits until the handler was called with exactly these ids in this order.
func (r *running) wants(ids ...string) {
	r.t.Helper()
	streamtest.Eventually(r.t, patience, func() (bool, string) {
		got := r.ids()
		return slices.Equal(got, ids), fmt.Sprintf("got %d: %v", len(got), tail(got))
	})
}

// count waits until the handler was called n times or more.
func (r *running) count(n int) {
	r.t.Helper()
	streamtest.Eventually(r.t, patience, func() (bool, string) {
		got := r.ids()
		return len(got) >= n, fmt.Sprintf("%d of %d calls", len(got), n)
	})
}

func tail(s []string) []string { return s[max(0, len(s)-20):] }

func ids(topic string, first, last int) []string {
	var s []string
	for i := first; i <= last; i++ {
		s = append(s, fmt.Sprint(topic, "-", i))
	}
	return s
}
