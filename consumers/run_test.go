package consumers_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestRunKeepsOrder(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 300)
	o := r.options("d")
	o.Batch = 50
	run := run(t, r.subscribe(o), nil)
	r.publish("bets", 301, 600)
	run.wants(ids("bets", 1, 600)...)
	if err := run.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	// What Run flushed the server has read, which is a moment before it counts.
	streamtest.Eventually(t, patience, func() (bool, string) {
		n := r.info("d").NumAckPending
		return n == 0, fmt.Sprintf("%d events not acknowledged", n)
	})
}

func TestRunGoesOnWhereItStopped(t *testing.T) {
	for _, confirm := range []bool{false, true} {
		t.Run(fmt.Sprint("confirm=", confirm), func(t *testing.T) {
			r := newRegion(t)
			r.publish("bets", 1, 200)
			o := r.options("d")
			o.ConfirmAck = confirm
			// The handler stops its own Run in the middle of a fetched batch.
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var first []string
			err := r.subscribe(o).Run(ctx, func(_ context.Context, m *consumers.Message) error {
				if first = append(first, m.EventID); len(first) == 77 {
					stop()
				}
				return nil
			})
			if err != nil || !slices.Equal(first, ids("bets", 1, 77)) {
				t.Fatalf("got %d events, %v", len(first), err)
			}
			if info := r.info("d"); info.AckFloor.Stream != 77 {
				t.Errorf("acknowledged up to %d, want 77", info.AckFloor.Stream)
			}
			// What had been fetched comes again at once and in order, not after AckWait.
			second := run(t, r.subscribe(o), nil)
			second.wants(ids("bets", 78, 200)...)
		})
	}
}

func TestRunWaitsForTheHandler(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 2)
	entered := make(chan struct{})
	run := run(t, r.subscribe(r.options("d")), func(ctx context.Context, _ *consumers.Message) error {
		close(entered)
		<-ctx.Done()
		return nil // handled all the same
	})
	<-entered
	if err := run.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if info := r.info("d"); info.AckFloor.Stream != 1 {
		t.Errorf("acknowledged up to %d, want 1: %+v", info.AckFloor.Stream, info)
	}
}

func TestRunGivesBackWhatAHandlerLeftAtItsEnd(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 3)
	first := run(t, r.subscribe(r.options("d")), func(ctx context.Context, _ *consumers.Message) error {
		<-ctx.Done()
		return ctx.Err()
	})
	first.count(1)
	if err := first.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	second := run(t, r.subscribe(r.options("d")), nil)
	second.wants(ids("bets", 1, 3)...)
}

func TestRunDeliversTheTopicsAskedFor(t *testing.T) {
	r := newRegion(t)
	one := run(t, r.subscribe(r.options("one", "bets")), nil)
	two := run(t, r.subscribe(r.options("two", "bets", "wallet")), nil)
	all := run(t, r.subscribe(r.options("all")), nil)
	for _, topic := range []string{"bets", "kyc", "wallet"} {
		r.publish(topic, 1, 2)
		r.store(subject.Marker(eu), topic) // a marker is no event
	}
	r.publish("bets", 3, 3)
	one.wants("bets-1", "bets-2", "bets-3")
	two.wants("bets-1", "bets-2", "wallet-1", "wallet-2", "bets-3")
	all.wants("bets-1", "bets-2", "kyc-1", "kyc-2", "wallet-1", "wallet-2", "bets-3")
}

func TestRunDescribesEvents(t *testing.T) {
	r := newRegion(t)
	us := subject.Origin{Region: "us", Epoch: 2}
	source := jetstream.StreamConfig{Name: "ELSEWHERE", Subjects: []string{subject.OfOrigin(us)}}
	if _, err := r.js.CreateStream(t.Context(), source); err != nil {
		t.Fatal(err)
	}
	r.store(subject.Marker(us), "marker") // takes sequence 1 over there and is not sourced here
	subj := subject.Event{Origin: us, Scope: subject.Global, Partition: 9, Topic: "kyc", Type: "kyc.level.changed"}
	r.store(subj.String(), "there")
	r.publish("bets", 1, 1)

	cfg := r.eventsConfig()
	cfg.Sources = []*jetstream.StreamSource{{Name: source.Name, FilterSubject: "evt.us_2.g.9.>", OptStartSeq: 1}}
	if _, err := r.js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	run := run(t, r.subscribe(r.options("d")), nil)
	run.wants("bets-1", "there")

	own, sourced := run.got[0], run.got[1]
	if own.Origin != eu || own.OriginSeq != 1 || own.Sequence != 1 || own.Redelivered || own.Deliveries != 1 {
		t.Errorf("own event: %+v", own)
	}
	if sourced.Origin != us || sourced.OriginSeq != 2 || sourced.Sequence != 2 || sourced.Subject != subj {
		t.Errorf("sourced event: %+v", sourced)
	}
	if string(sourced.Raw) != `{"event_id":"there"}` || !sourced.IngestedAt.Equal(ingestedAt) || sourced.StoredAt.IsZero() {
		t.Errorf("sourced event: %+v", sourced)
	}
}

func (r *region) eventsConfig() jetstream.StreamConfig {
	r.t.Helper()
	st, err := r.js.Stream(r.t.Context(), subject.EventsStream)
	if err != nil {
		r.t.Fatal(err)
	}
	return st.CachedInfo().Config
}

// A handler that is slower than AckWait gets neither its own event nor those that wait behind it twice.
func TestRunKeepsSlowHandlersEventsAlive(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 4)
	o := r.options("d")
	o.AckWait = 3 * time.Second
	progress, err := r.nc.SubscribeSync("$JS.ACK.>")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	run := run(t, r.subscribe(o), func(context.Context, *consumers.Message) error {
		<-release
		return nil
	})
	for range 4 * 5 { // each event five times, a third of AckWait apart or more
		msg, err := progress.NextMsg(patience)
		if err != nil || string(msg.Data) != "+WPI" {
			t.Fatalf("no sign of progress: %v, %v", msg, err)
		}
	}
	if n := r.info("d").NumRedelivered; n != 0 {
		t.Errorf("%d events delivered again", n)
	}
	close(release)
	run.wants(ids("bets", 1, 4)...)
	for _, m := range run.got {
		if m.Redelivered {
			t.Errorf("%s was redelivered", m.EventID)
		}
	}
}

func TestRunOutlivesARestartOfTheServer(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 50)
	o := r.options("d")
	o.AckWait = 2 * time.Second
	run := run(t, r.subscribe(o), nil)
	run.count(50)
	lives := r.nc.Stats().Reconnects
	r.s.Restart()
	// A connection that has not noticed its end yet would take the next event with it.
	streamtest.Eventually(t, patience, func() (bool, string) { return r.nc.Stats().Reconnects > lives, "publisher not connected" })
	r.publish("bets", 51, 100)
	streamtest.Eventually(t, patience, func() (bool, string) {
		got := run.ids()
		return slices.Contains(got, "bets-100"), fmt.Sprint(tail(got))
	})
	if got := slices.Compact(run.ids()); !slices.Equal(got, ids("bets", 1, 100)) {
		t.Errorf("not every event in order: %v", got)
	}
	if err := run.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// What was on its way when the link was cut comes again after AckWait, and so behind events that were stored
// later: nothing is lost, and order is what the reorder stage is for.
func TestRunOutlivesACutLink(t *testing.T) {
	r := newRegion(t)
	link := streamtest.NewCutter(t, r.s.URL()[len("nats://"):])
	o := r.options("d")
	o.URLs = []string{"nats://" + link.Addr()}
	o.AckWait = 2 * time.Second
	run := run(t, r.subscribe(o), nil)
	r.publish("bets", 1, 20)
	run.count(20)
	link.Cut()
	r.publish("bets", 21, 40)
	link.Heal()
	want := ids("bets", 1, 40)
	slices.Sort(want)
	streamtest.Eventually(t, patience, func() (bool, string) {
		got := run.ids()
		slices.Sort(got)
		got = slices.Compact(got)
		return slices.Equal(got, want), fmt.Sprintf("%d of 40 events: %v", len(got), got)
	})
}

func TestRunEndsWhenItCannotGoOn(t *testing.T) {
	t.Run("connection closed", func(t *testing.T) {
		r := newRegion(t)
		nc := r.s.Connect()
		run := run(t, r.subscribe(consumers.Options{Conn: nc, Durable: "d"}), nil)
		r.publish("bets", 1, 1)
		run.count(1)
		nc.Close()
		run.endsWith(fault.Unavailable, "connection_closed")
	})
	t.Run("durable deleted", func(t *testing.T) {
		r := newRegion(t)
		sub := r.subscribe(r.options("d"))
		sub.BelieveGoneAfter(300 * time.Millisecond)
		run := run(t, sub, nil)
		r.publish("bets", 1, 1)
		run.count(1)
		if err := r.js.DeleteConsumer(t.Context(), subject.EventsStream, "d"); err != nil {
			t.Fatal(err)
		}
		run.endsWith(fault.NotFound, "durable_not_found")
	})
	t.Run("durable replaced", func(t *testing.T) {
		r := newRegion(t)
		run := run(t, r.subscribe(r.options("d", "bets")), nil)
		r.publish("bets", 1, 1)
		run.count(1)
		if err := r.js.DeleteConsumer(t.Context(), subject.EventsStream, "d"); err != nil {
			t.Fatal(err)
		}
		other := jetstream.ConsumerConfig{Durable: "d", FilterSubject: subject.Topic("kyc"), AckPolicy: jetstream.AckExplicitPolicy}
		if _, err := r.js.CreateConsumer(t.Context(), subject.EventsStream, other); err != nil {
			t.Fatal(err)
		}
		run.endsWith(fault.Conflict, "durable_filter")
	})
	t.Run("twice", func(t *testing.T) {
		r := newRegion(t)
		sub := r.subscribe(r.options("d"))
		if err := run(t, sub, nil).end(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := sub.Run(t.Context(), func(context.Context, *consumers.Message) error { return nil }); fault.CodeOf(err) != "already_run" {
			t.Errorf("second Run: %v", err)
		}
	})
	t.Run("no handler", func(t *testing.T) {
		r := newRegion(t)
		if err := r.subscribe(r.options("d")).Run(t.Context(), nil); fault.CodeOf(err) != "no_handler" {
			t.Errorf("Run: %v", err)
		}
	})
}

// endsWith waits for Run to end by itself.
func (r *running) endsWith(kind fault.Kind, code string) {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		if fault.KindOf(err) != kind || fault.CodeOf(err) != code {
			r.t.Errorf("Run: %v (%s), want %s", err, fault.CodeOf(err), code)
		}
	case <-time.After(patience):
		r.t.Error("Run goes on")
	}
}

// Whatever reached the stream without being an event does not stop the durable, and is logged.
func TestRunSkipsWhatIsNoEvent(t *testing.T) {
	r := newRegion(t)
	logs, seen := observer.New(zap.ErrorLevel)
	r.store("evt.eu_1.g.99.bets.x", "stray")
	r.publish("bets", 1, 1)
	o := r.options("d")
	o.Logger = zap.New(logs)
	run := run(t, r.subscribe(o), nil)
	run.wants("bets-1")
	if seen.FilterField(zap.String("subject", "evt.eu_1.g.99.bets.x")).Len() != 1 {
		t.Errorf("logged: %v", seen.All())
	}
	if err := run.end(); err != nil {
		t.Error(err)
	}
	if info := r.info("d"); info.NumAckPending != 0 || info.AckFloor.Stream != 2 {
		t.Errorf("still pending: %+v", info)
	}
}

// Two processes on one durable share its events: each is handled by one of them.
func TestRunShares(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	o.Batch = 4
	a, b := run(t, r.subscribe(o), nil), run(t, r.subscribe(o), nil)
	r.publish("bets", 1, 100)
	streamtest.Eventually(t, patience, func() (bool, string) {
		got := append(a.ids(), b.ids()...)
		slices.Sort(got)
		want := ids("bets", 1, 100)
		slices.Sort(want)
		return slices.Equal(got, want), fmt.Sprintf("%d and %d", len(a.ids()), len(b.ids()))
	})
}
