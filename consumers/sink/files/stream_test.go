package files

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
)

const patience = 20 * time.Second

// From a region's stream into a table, by two processes one after the other.
func TestFromTheStream(t *testing.T) {
	srv := streamtest.Server(t)
	_, js := srv.Stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
	publish(t, js, 0, 149)
	o := Options{Dir: t.TempDir(), Batch: 50, Linger: 10 * time.Millisecond}
	runUntil(t, srv.URL(), o, 150)
	publish(t, js, 150, 199)
	runUntil(t, srv.URL(), o, 50)
	st, err := openDir(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	wantOnce(t, st, 199)
}

func publish(t *testing.T, js jetstream.JetStream, first, last int) {
	t.Helper()
	for _, m := range messages(first, last) {
		msg := client.NewMsg(m.Subject.String())
		msg.Header, msg.Data = m.Header, m.Raw
		msg.Header.Set(header.IngestedAt, m.IngestedAt.Format(time.RFC3339Nano))
		if _, err := js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
}

// runUntil runs a sink until it has written so many events.
func runUntil(t *testing.T, url string, o Options, events int) {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	before := s.seen.Len()
	sub, err := consumers.Subscribe(t.Context(), s.Subscription(consumers.Options{URLs: []string{url}, Durable: "warehouse"}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sub) }()
	streamtest.Eventually(t, patience, func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.seen.Len()-before >= events, fmt.Sprintf("%d of %d", s.seen.Len()-before, events)
	})
	stop()
	if err := errors.Join(<-done, s.Close()); err != nil {
		t.Fatal(err)
	}
}
