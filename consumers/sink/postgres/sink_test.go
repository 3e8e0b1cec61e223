package postgres_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/postgrestest"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/consumers/sink/postgres"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	patience  = 30 * time.Second
	childNATS = "WEFT_TEST_SINK_NATS"
	childURL  = "WEFT_TEST_SINK_POSTGRES"
)

func TestMain(m *testing.M) {
	if os.Getenv(childURL) != "" {
		child()
	}
	goleak.VerifyTestMain(m)
}

// rig is a region's stream and a database.
type rig struct {
	t    *testing.T
	s    *streamtest.JetStream
	js   jetstream.JetStream
	url  string
	pool *pgxpool.Pool

	mu     sync.Mutex
	parked map[string]string // event id → code
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, url: postgrestest.Database(t), s: streamtest.Server(t), parked: map[string]string{}}
	_, r.js = r.s.Stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
	var err error
	if r.pool, err = pgxpool.New(t.Context(), r.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.pool.Close)
	return r
}

var eu = subject.Origin{Region: "eu", Epoch: 1}

// event is number n of a user's events; content is what two of the same number may differ in.
func event(id string, n, content int) string {
	return fmt.Sprintf(`{"event_id":%q, "event_type":"bet.placed","schema_version":"1.0.0","occurred_at":"2026-01-31T12:00:00Z","key":{"user_id":"alice"},"source_seq":%d,"payload":{"amount":%d.50}}`, id, n, content)
}

func (r *rig) publish(id, raw string) {
	r.t.Helper()
	msg := nats.NewMsg(subject.Event{Origin: eu, Scope: subject.Global, Partition: 1, Topic: "bets", Type: "bet.placed"}.String())
	msg.Header = nats.Header{header.MsgID: {id}, header.Relay: {"test"}, header.Source: {"wallet"}, header.IngestedAt: {"2026-01-31T12:00:01Z"}}
	msg.Data = []byte(raw)
	if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) events(first, last int) {
	r.t.Helper()
	for i := first; i <= last; i++ {
		id := fmt.Sprint("e", i)
		r.publish(id, event(id, i, i))
	}
}

// run runs a sink until the returned function is called, which waits for its end.
func (r *rig) run(durable string, o postgres.Options) (stop func()) {
	r.t.Helper()
	if o.URL == nil {
		o.URL = keyring.Secret(r.url)
	}
	o.Schema = "bets"
	s, err := postgres.Open(r.t.Context(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	sub, err := consumers.Subscribe(r.t.Context(), s.Subscription(consumers.Options{
		URLs: []string{r.s.URL()}, Durable: durable, Park: r.park, Retry: retry.Policy{First: 10 * time.Millisecond, Most: 100 * time.Millisecond},
	}))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, sub) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Error(err)
			}
		case <-time.After(patience):
			r.t.Error("the sink does not end")
		}
		if err := s.Close(); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) park(_ context.Context, p *consumers.Parked) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parked[p.Message.EventID] = fmt.Sprint(p.Cause, " ", fault.CodeOf(p.Last), " ", p.Attempts)
	return nil
}

func (r *rig) given(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.parked[id]
}

// settled waits until everything of a durable is acknowledged.
func (r *rig) settled(durable string) {
	r.t.Helper()
	streamtest.Eventually(r.t, patience, func() (bool, string) {
		c, err := r.js.Consumer(r.t.Context(), subject.EventsStream, durable)
		if err != nil {
			return false, err.Error()
		}
		i := c.CachedInfo()
		return i.NumPending == 0 && i.NumAckPending == 0, fmt.Sprintf("%d to come, %d not acknowledged", i.NumPending, i.NumAckPending)
	})
}

func (r *rig) count(query string, args ...any) (n int) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), query, args...).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestEachEventOnce: each event is a row with its producer's bytes, once, however often it is delivered. What
// contradicts a row, and what is no event, is given up at once.
func TestEachEventOnce(t *testing.T) {
	r := newRig(t)
	r.events(1, 300)
	r.publish("again", event("again", 7, 7))
	r.publish("liar", event("liar", 8, 9))
	r.publish("nothing", `{"event_id":"nothing"}`)
	registry := prometheus.NewRegistry()
	r.run("first", postgres.Options{Batch: 50, Registerer: registry})
	r.settled("first")
	r.run("second", postgres.Options{})
	r.settled("second")

	if n := r.count("SELECT count(*) FROM bets.event_log"); n != 300 {
		t.Errorf("%d rows", n)
	}
	if n := r.count("SELECT count(*) FROM bets.event_log WHERE event_id = 'e7' AND event::text = $1 AND topic = 'bets' AND event_type = 'bet.placed' "+
		"AND source = 'wallet' AND user_id = 'alice' AND source_seq = 7 AND origin = 'eu_1' AND origin_seq = 7 AND occurred_at = '2026-01-31 12:00:00+00' AND ingested_at = '2026-01-31 12:00:01+00'",
		event("e7", 7, 7)); n != 1 {
		t.Error("the row is not as the event came")
	}
	for id, want := range map[string]string{"liar": "permanent event_conflict 1", "nothing": "permanent invalid 1", "again": ""} {
		if got := r.given(id); got != want {
			t.Errorf("%s was given up with %q, want %q", id, got, want)
		}
	}
	want := `
# HELP weft_sink_events_total Events, by what became of them for good: delivered, duplicate, conflict, refused, dropped.
# TYPE weft_sink_events_total counter
weft_sink_events_total{outcome="conflict",sink="postgres"} 1
weft_sink_events_total{outcome="delivered",sink="postgres"} 300
weft_sink_events_total{outcome="dropped",sink="postgres"} 0
weft_sink_events_total{outcome="duplicate",sink="postgres"} 1
weft_sink_events_total{outcome="refused",sink="postgres"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "weft_sink_events_total"); err != nil {
		t.Error(err)
	}
}

// TestOutage: while the database cannot be reached everything waits, nothing is given up, and then everything is there.
func TestOutage(t *testing.T) {
	r := newRig(t)
	at, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	cutter := streamtest.NewCutter(t, at.Host)
	at.Host = cutter.Addr()
	registry := prometheus.NewRegistry()
	r.run("d", postgres.Options{URL: keyring.Secret(at.String()), Registerer: registry, Timeout: time.Second})
	r.events(1, 20)
	r.settled("d")
	cutter.Cut()
	r.events(21, 60)
	streamtest.Eventually(t, patience, func() (bool, string) {
		n, err := testutil.GatherAndCount(registry, "weft_sink_failures_total")
		return n > 0 && failures(t, registry) > 2, fmt.Sprint(failures(t, registry), " failures, ", err)
	})
	if n := r.count("SELECT count(*) FROM bets.event_log"); n != 20 {
		t.Errorf("%d rows while the database is cut off", n)
	}
	cutter.Heal()
	r.settled("d")
	if n := r.count("SELECT count(*) FROM bets.event_log"); n != 60 || len(r.parked) > 0 {
		t.Errorf("%d rows, given up: %v", n, r.parked)
	}
}

// failures is how many writes failed because of an outage.
func failures(t *testing.T, registry *prometheus.Registry) float64 {
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "weft_sink_failures_total" && l.GetName() == "class" && l.GetValue() == "outage" {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

// TestNoPermission: what the database does not let us do is nobody's event's fault: everything waits until it is mended.
func TestNoPermission(t *testing.T) {
	r := newRig(t)
	registry := prometheus.NewRegistry()
	r.run("d", postgres.Options{Registerer: registry})
	table := ""
	if err := r.pool.QueryRow(t.Context(), "SELECT 'bets.event_log_' || to_char(max(generation), 'YYYYMMDD') FROM bets.generation").Scan(&table); err != nil {
		t.Fatal(err)
	}
	if _, err := r.pool.Exec(t.Context(), "ALTER TABLE "+table+" RENAME TO away"); err != nil {
		t.Fatal(err)
	}
	r.events(1, 20)
	streamtest.Eventually(t, patience, func() (bool, string) { return failures(t, registry) > 2, fmt.Sprint(failures(t, registry)) })
	if _, err := r.pool.Exec(t.Context(), "ALTER TABLE bets.away RENAME TO "+strings.TrimPrefix(table, "bets.")); err != nil {
		t.Fatal(err)
	}
	r.settled("d")
	if n := r.count("SELECT count(*) FROM bets.event_log"); n != 20 || len(r.parked) > 0 {
		t.Errorf("%d rows, given up: %v", n, r.parked)
	}
}

// TestKill kills a process that runs the sink, again and again: each event is there once.
func TestKill(t *testing.T) {
	r := newRig(t)
	const events, kills = 1200, 4
	var published sync.WaitGroup
	published.Go(func() { r.events(1, events) })
	defer published.Wait()
	for k := range kills + 1 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childURL+"="+r.url, childNATS+"="+r.s.URL())
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		enough := events * (k + 1) / (kills + 1)
		streamtest.Eventually(t, patience, func() (bool, string) {
			n := r.rows()
			return n >= enough, fmt.Sprintf("%d of %d rows", n, enough)
		})
		if k == kills {
			r.settled("d")
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	if n, ids := r.rows(), r.count("SELECT count(DISTINCT event_id) FROM bets.event_log"); n != events || ids != events {
		t.Errorf("%d rows of %d events, %d were sent", n, ids, events)
	}
}

// rows is how many events are there, none before there is a table.
func (r *rig) rows() int {
	if r.count("SELECT count(*) FROM pg_class WHERE oid = to_regclass('bets.event_log')") == 0 {
		return 0
	}
	return r.count("SELECT count(*) FROM bets.event_log")
}

// child runs the sink until it is killed.
func child() {
	ctx := context.Background()
	err := func() error {
		s, err := postgres.Open(ctx, postgres.Options{URL: keyring.Secret(os.Getenv(childURL)), Schema: "bets", Batch: 20})
		if err != nil {
			return err
		}
		sub, err := consumers.Subscribe(ctx, s.Subscription(consumers.Options{URLs: []string{os.Getenv(childNATS)}, Durable: "d", AckWait: time.Second}))
		if err != nil {
			return err
		}
		return s.Run(ctx, sub)
	}()
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestOpenRefuses(t *testing.T) {
	database := keyring.Secret(postgrestest.Database(t))
	for name, c := range map[string]struct {
		o    postgres.Options
		code string
	}{
		"no database":       {postgres.Options{Schema: "a"}, "invalid_options"},
		"no schema":         {postgres.Options{URL: database}, "invalid_options"},
		"a URL of nothing":  {postgres.Options{URL: keyring.Secret("postgres://u:hunter2@h:99999/"), Schema: "a"}, "invalid_url"},
		"a large batch":     {postgres.Options{URL: database, Schema: "a", Batch: 10_001}, "invalid_options"},
		"a long wait":       {postgres.Options{URL: database, Schema: "a", Linger: 2 * time.Hour}, "invalid_options"},
		"many workers":      {postgres.Options{URL: database, Schema: "a", Workers: 65}, "invalid_options"},
		"no time":           {postgres.Options{URL: database, Schema: "a", Timeout: time.Millisecond}, "invalid_options"},
		"a short horizon":   {postgres.Options{URL: database, Schema: "a", Horizon: time.Minute}, "invalid_options"},
		"a retention below": {postgres.Options{URL: database, Schema: "a", Retention: -1}, "invalid_options"},
		"nobody there":      {postgres.Options{URL: keyring.Secret("postgres://u:hunter2@127.0.0.1:1/d"), Schema: "a"}, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := postgres.Open(t.Context(), c.o)
			if fault.CodeOf(err) != c.code || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %s", err, c.code)
			}
			if s != nil {
				_ = s.Close()
			}
		})
	}
}
