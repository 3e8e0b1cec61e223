package consumers_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestSubscribeRefusesOptions(t *testing.T) {
	good := func() consumers.Options { return consumers.Options{URLs: []string{"nats://127.0.0.1:1"}, Durable: "d"} }
	cases := map[string]struct {
		change func(*consumers.Options)
		want   string
	}{
		"no server":       {func(o *consumers.Options) { o.URLs = nil }, "neither"},
		"no durable":      {func(o *consumers.Options) { o.Durable = "" }, "durable"},
		"durable's name":  {func(o *consumers.Options) { o.Durable = "a.b" }, `"a.b"`},
		"long durable":    {func(o *consumers.Options) { o.Durable = strings.Repeat("d", 65) }, "durable"},
		"stream's name":   {func(o *consumers.Options) { o.Stream = "E>" }, `"E>"`},
		"topic":           {func(o *consumers.Options) { o.Topics = []string{"bets", "a.>"} }, `"a.>"`},
		"topic twice":     {func(o *consumers.Options) { o.Topics = []string{"bets", "bets"} }, "twice"},
		"too many topics": {func(o *consumers.Options) { o.Topics = make([]string, 257) }, "257"},
		"batch":           {func(o *consumers.Options) { o.Batch = -1 }, "batch"},
		"ack wait":        {func(o *consumers.Options) { o.AckWait = time.Millisecond }, "ack wait"},
		"api timeout":     {func(o *consumers.Options) { o.APITimeout = -1 }, "timeout"},
		"no time":         {func(o *consumers.Options) { o.From = consumers.FromTime(time.Time{}) }, "time"},
		"sequence 0":      {func(o *consumers.Options) { o.From = consumers.FromSequence(0) }, "sequence"},
		"reorder window":  {func(o *consumers.Options) { o.Reorder, o.AckWait = &consumers.Reorder{}, time.Minute }, "not above the reorder window"},
		"reorder room":    {func(o *consumers.Options) { o.Reorder = &consumers.Reorder{MaxHeld: 5001} }, "5001"},
		"reorder topic":   {func(o *consumers.Options) { o.Reorder = &consumers.Reorder{ByTime: []string{"a.>"}} }, `"a.>"`},
		"breaker pauses":  {func(o *consumers.Options) { o.Breaker = consumers.Breaker{First: time.Hour, Most: time.Second} }, "breaker"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			o := good()
			c.change(&o)
			_, err := consumers.Subscribe(t.Context(), o)
			if fault.KindOf(err) != fault.Invalid || fault.CodeOf(err) != "invalid_options" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v (%s), want invalid_options with %q", err, fault.CodeOf(err), c.want)
			}
		})
	}
	t.Run("connection and credentials", func(t *testing.T) {
		o := consumers.Options{Conn: streamtest.Server(t).Connect(), CredsFile: "x", Durable: "d"}
		if _, err := consumers.Subscribe(t.Context(), o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("got %v", err)
		}
	})
}

func TestSubscribeSaysWhyItCannot(t *testing.T) {
	closed := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return "nats://" + l.Addr().String()
	}
	check := func(t *testing.T, o consumers.Options, kind fault.Kind, code string) {
		t.Helper()
		o.Durable = "d"
		_, err := consumers.Subscribe(t.Context(), o)
		if fault.KindOf(err) != kind || fault.CodeOf(err) != code {
			t.Errorf("got %v (%s, %s), want %s, %s", err, fault.KindOf(err), fault.CodeOf(err), kind, code)
		}
	}
	t.Run("no server", func(t *testing.T) {
		check(t, consumers.Options{URLs: []string{closed(t)}}, fault.Unavailable, "connect_failed")
	})
	t.Run("no credentials file", func(t *testing.T) {
		o := consumers.Options{URLs: []string{streamtest.Server(t).URL()}, CredsFile: filepath.Join(t.TempDir(), "none.creds")}
		check(t, o, fault.Invalid, "credentials_file")
	})
	t.Run("damaged credentials file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "x.creds")
		if err := os.WriteFile(file, []byte("not credentials"), 0o600); err != nil {
			t.Fatal(err)
		}
		check(t, consumers.Options{URLs: []string{streamtest.Server(t).URL()}, CredsFile: file}, fault.Invalid, "credentials_file")
	})
	t.Run("no stream", func(t *testing.T) {
		check(t, consumers.Options{URLs: []string{streamtest.Server(t).URL()}}, fault.NotFound, "stream_not_found")
	})
	t.Run("context over", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := consumers.Subscribe(ctx, consumers.Options{URLs: []string{closed(t)}, Durable: "d"})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSubscribeRefusesAnotherDurable(t *testing.T) {
	r := newRegion(t)
	cases := map[string]struct {
		have jetstream.ConsumerConfig
		want string // part of the message
		code string
	}{
		"other topic": {jetstream.ConsumerConfig{FilterSubject: subject.Topic("wallet"), AckPolicy: jetstream.AckExplicitPolicy},
			"evt.*.*.*.wallet.>, asked for was evt.*.*.*.bets.>", "durable_filter"},
		"more topics": {jetstream.ConsumerConfig{FilterSubjects: []string{subject.Topic("bets"), subject.Topic("wallet")}, AckPolicy: jetstream.AckExplicitPolicy},
			"choose another name", "durable_filter"},
		"no filter":     {jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy}, "none (all topics)", "durable_filter"},
		"no acks":       {jetstream.ConsumerConfig{FilterSubject: subject.Topic("bets"), AckPolicy: jetstream.AckNonePolicy}, "ack policy", "durable_kind"},
		"unbounded":     {jetstream.ConsumerConfig{FilterSubject: subject.Topic("bets"), AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: -1}, "max ack pending -1", "durable_kind"},
		"pushed":        {jetstream.ConsumerConfig{FilterSubject: subject.Topic("bets"), AckPolicy: jetstream.AckExplicitPolicy, DeliverSubject: "push.here"}, "push consumer", "durable_kind"},
		"shared in pin": {jetstream.ConsumerConfig{FilterSubject: subject.Topic("bets"), AckPolicy: jetstream.AckExplicitPolicy, PriorityGroups: []string{"g"}, PriorityPolicy: jetstream.PriorityPolicyPinned}, "priority groups", "durable_kind"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			c.have.Durable = strings.ReplaceAll(name, " ", "-")

			if c.have.DeliverSubject != "" {
				if _, err := r.js.CreatePushConsumer(t.Context(), subject.EventsStream, c.have); err != nil {
					t.Fatal(err)
				}
			} else if _, err := r.js.CreateConsumer(t.Context(), subject.EventsStream, c.have); err != nil {
				t.Fatal(err)
			}
			_, err := consumers.Subscribe(t.Context(), r.options(c.have.Durable, "bets"))
			if fault.KindOf(err) != fault.Conflict || fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v (%s), want %s with %q", err, fault.CodeOf(err), c.code, c.want)
			}
		})
	}
	t.Run("a filter for all events is as good as none", func(t *testing.T) {
		have := jetstream.ConsumerConfig{Durable: "all", FilterSubject: subject.Events(), AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 100}
		if _, err := r.js.CreateConsumer(t.Context(), subject.EventsStream, have); err != nil {
			t.Fatal(err)
		}
		r.subscribe(r.options("all"))
	})
	t.Run("the same topics in another order are the same", func(t *testing.T) {
		r.subscribe(r.options("two", "bets", "wallet"))
		r.subscribe(r.options("two", "wallet", "bets"))
	})
	t.Run("other settings are not a conflict", func(t *testing.T) {
		r.subscribe(r.options("kept", "bets"))
		o := r.options("kept", "bets")
		o.AckWait, o.Batch, o.From = time.Minute, 7, consumers.FromNew()
		r.subscribe(o)
		if c := r.info("kept").Config; c.AckWait != 30*time.Second || c.MaxAckPending != 256 {
			t.Errorf("the durable was changed: %+v", c)
		}
	})
}

func TestSubscribeLeavesACallersConnectionOpen(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 3)
	sub := r.subscribe(consumers.Options{Conn: r.nc, Durable: "d"})
	run := run(t, sub, nil)
	run.wants(ids("bets", 1, 3)...)
	if err := run.end(); err != nil {
		t.Errorf("Run: %v", err)
	}
	sub.Close()
	if r.nc.IsClosed() {
		t.Error("the caller's connection was closed")
	}
}

func TestFrom(t *testing.T) {
	r := newRegion(t)
	r.publish("bets", 1, 5)
	third, err := r.stored(3)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		from  consumers.From
		first int
		shown string
	}{
		"all":      {consumers.FromAll(), 1, "all"},
		"zero":     {consumers.From{}, 1, "all"},
		"new":      {consumers.FromNew(), 6, "new"},
		"time":     {consumers.FromTime(third), 3, third.UTC().Format(time.RFC3339Nano)},
		"sequence": {consumers.FromSequence(4), 4, "4"},
	}
	runs := make(map[string]*running)
	for name, c := range cases {
		o := r.options(name)
		o.From = c.from
		runs[name] = run(t, r.subscribe(o), nil)
		if got := c.from.String(); got != c.shown {
			t.Errorf("%s is shown as %q, want %q", name, got, c.shown)
		}
	}
	r.publish("bets", 6, 7)
	for name, c := range cases {
		runs[name].wants(ids("bets", c.first, 7)...)
	}
}

// stored is when the event at a sequence was stored.
func (r *region) stored(seq uint64) (time.Time, error) {
	st, err := r.js.Stream(r.t.Context(), subject.EventsStream)
	if err != nil {
		return time.Time{}, err
	}
	msg, err := st.GetMsg(r.t.Context(), seq)
	if err != nil {
		return time.Time{}, err
	}
	return msg.Time, nil
}
