package guard_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/relay/guard"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var eu1 = subject.Origin{Region: "eu", Epoch: 1}

// journal is a real stream, read over one connection and written over another, so that a test can hold up either.
type journal struct {
	jetstream.JetStream
	to jetstream.JetStream
}

func (j *journal) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return j.to.PublishMsg(ctx, m, opts...)
}

func newJournal(t testing.TB) (server *streamtest.JetStream, j *journal, reading *streamtest.Cutter) {
	t.Helper()
	server = streamtest.Server(t, "eu")
	_, to := server.Stream(streams.GuardConfig(streams.GuardSpec{Self: eu1}))
	reading = streamtest.NewCutter(t, strings.TrimPrefix(server.URL(), "nats://"))
	conn, err := nats.Connect("nats://"+reading.Addr(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	from, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return server, &journal{from, to}, reading
}

// start runs a guard until the test ends and waits until it lets requests in.
func start(t testing.TB, j jetstream.JetStream, id string, change ...func(*guard.Options)) *guard.Guard {
	t.Helper()
	o := guard.DefaultOptions()
	o.Relay, o.Journal, o.Tenants = id, j, func() int { return 2 }
	o.Origin = func() (subject.Origin, error) { return eu1, nil }
	o.Probe, o.Stale = 50*time.Millisecond, 500*time.Millisecond
	for _, f := range change {
		f(&o)
	}
	g, err := guard.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, v := g.Claim("acme", guard.KeyOf("s", "k", "early")); v != guard.Unavailable {
		t.Fatalf("before its start a guard says %d", v)
	}
	g.Start()
	t.Cleanup(g.Stop)
	serves(t, g)
	return g
}

func serves(t testing.TB, g *guard.Guard) {
	t.Helper()
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) { return g.Reason() == "", g.Reason() })
}

func claim(t testing.TB, g *guard.Guard, id string, want guard.Verdict) {
	t.Helper()
	group, v := g.Claim("acme", guard.KeyOf("s", "k", id))
	if v != want {
		t.Fatalf("%s: verdict %d, want %d", id, v, want)
	}
	if v == guard.Fresh && !group.Stored() {
		t.Fatalf("%s: not journaled", id)
	}
}

// What one guard has claimed all others know a moment later, and one that is started then knows it at once.
func TestClaimsAreKnownEverywhere(t *testing.T) {
	server, j, _ := newJournal(t)
	a, b := start(t, j, "a"), start(t, j, "b")
	for i := range 500 {
		claim(t, a, fmt.Sprint(i), guard.Fresh)
	}
	claim(t, a, "7", guard.Replayed)
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		return b.Stats().Entries == 500, fmt.Sprint(b.Stats())
	})
	c := start(t, j, "c")
	for i := range 500 {
		for _, g := range []*guard.Guard{b, c} {
			if v := g.Check("acme", guard.KeyOf("s", "k", fmt.Sprint(i))); v != guard.Replayed {
				t.Fatalf("request %d: verdict %d", i, v)
			}
		}
	}
	claim(t, c, "new", guard.Fresh)
	if _, v := c.Claim("globex", guard.KeyOf("s", "g", "7")); v != guard.Fresh {
		t.Errorf("of another tenant's key: verdict %d", v)
	}
	server.Restart() // what is kept is on disk
	serves(t, a)
	d := start(t, j, "d")
	claim(t, d, "7", guard.Replayed)
	claim(t, a, "after", guard.Fresh)
	if got := d.Stats().Entries; got < 502 {
		t.Errorf("a guard that was started last holds %d", got)
	}
}

// A guard whose reader is held up lets nothing in once it is too far behind, and everything again when it has
// caught up.
func TestReaderBehind(t *testing.T) {
	_, j, reading := newJournal(t)
	g := start(t, j, "a")
	other := start(t, j.to, "b")
	reading.Freeze()
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		return strings.Contains(g.Reason(), "behind"), g.Reason()
	})
	claim(t, g, "x", guard.Unavailable)
	claim(t, other, "y", guard.Fresh)
	reading.Heal()
	serves(t, g)
	claim(t, g, "y", guard.Replayed)
	claim(t, g, "x", guard.Fresh)
}

// A journal that takes nothing fails the claims that wait for it and refuses the next; what was claimed is owed, and
// reaches the other guards when it takes groups again.
func TestOwedClaims(t *testing.T) {
	_, j, _ := newJournal(t)
	a, b := start(t, j, "a"), start(t, j, "b")
	conf := streams.GuardConfig(streams.GuardSpec{Self: eu1})
	away := conf
	away.Subjects = []string{"elsewhere.>"}
	if _, err := j.to.UpdateStream(t.Context(), away); err != nil {
		t.Fatal(err)
	}
	group, v := a.Claim("acme", guard.KeyOf("s", "k", "owed"))
	if v == guard.Fresh && group.Stored() {
		t.Error("a claim is journaled without a journal")
	}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		return a.Reason() != "" && b.Reason() != "", a.Reason() + b.Reason()
	})
	claim(t, a, "next", guard.Unavailable)
	if _, err := j.to.UpdateStream(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	serves(t, a)
	serves(t, b)
	if v == guard.Fresh {
		streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
			return b.Check("acme", guard.KeyOf("s", "k", "owed")) == guard.Replayed, "the other guard does not know the claim"
		})
	}
	claim(t, a, "next", guard.Fresh)
}

// An acknowledgement of another stream is none.
func TestWrongStream(t *testing.T) {
	server, j, _ := newJournal(t)
	g := start(t, j, "a")
	if err := j.to.DeleteStream(t.Context(), subject.GuardStream); err != nil {
		t.Fatal(err)
	}
	c := streams.GuardConfig(streams.GuardSpec{Self: eu1})
	c.Name = "IMPOSTOR"
	server.Stream(c)
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		return strings.Contains(g.Reason(), "takes no groups"), g.Reason()
	})
}

// Stopped, a guard lets nothing in and leaves no request waiting.
func TestStop(t *testing.T) {
	_, j, _ := newJournal(t)
	g := start(t, j, "a")
	groups := make(chan *guard.Group, 1000)
	go func() {
		defer close(groups)
		for i := 0; ; i++ {
			group, v := g.Claim("acme", guard.KeyOf("s", "k", fmt.Sprint(i)))
			if v != guard.Fresh {
				return
			}
			groups <- group
		}
	}()
	(<-groups).Stored()
	stopped := make(chan struct{})
	go func() {
		g.Stop()
		close(stopped)
	}()
	for group := range groups {
		group.Stored() // returns
	}
	<-stopped
	claim(t, g, "late", guard.Unavailable)
}

func TestOptionsAreChecked(t *testing.T) {
	_, j, _ := newJournal(t)
	for name, spoil := range map[string]func(*guard.Options){
		"relay":   func(o *guard.Options) { o.Relay = "" },
		"journal": func(o *guard.Options) { o.Journal = nil },
		"entries": func(o *guard.Options) { o.Entries = 10 },
		"stale":   func(o *guard.Options) { o.Stale = o.Probe },
		"valid":   func(o *guard.Options) { o.Valid = 0 },
	} {
		o := guard.DefaultOptions()
		o.Relay, o.Journal, o.Tenants = "a", j, func() int { return 1 }
		o.Origin = func() (subject.Origin, error) { return eu1, nil }
		if _, err := guard.New(o); err != nil {
			t.Fatal(err)
		}
		spoil(&o)
		if _, err := guard.New(o); err == nil {
			t.Errorf("%s: no complaint", name)
		}
	}
}

// BenchmarkStageGuard is the hot path's stage that tells copies from requests: the key, the claim and its place
// in a group. One operation is one request; the journal acknowledges at once: what the server does is the server's.
func BenchmarkStageGuard(b *testing.B) {
	b.Run("request", func(b *testing.B) {
		_, j, _ := newJournal(b)
		g := start(b, &instant{JetStream: j.to}, "bench", func(o *guard.Options) {
			o.Entries, o.Probe, o.Stale = 1<<28, time.Minute, time.Hour
		})
		ids, kids := make([]string, 1<<16), make([]string, 1<<12) // made before: building ids is not the guard's cost
		for i := range ids {
			ids[i] = fmt.Sprintf("8f2c1d7e5b3a%04x", i)
		}
		for i := range kids {
			kids[i] = fmt.Sprintf("acme-%d", i)
		}
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			group, v := g.Claim("acme", guard.KeyOf("weft-v1", kids[n>>16], ids[n&0xffff]))
			if v != guard.Fresh {
				b.Fatal("verdict", v)
			}
			if n++; n%4096 == 0 { // as requests do; a group that nobody waits for grows until it is full
				group.Stored()
			}
		}
	})
}

// instant acknowledges every group but the first, which is read back.
type instant struct {
	jetstream.JetStream
	seen bool
}

func (j *instant) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if !j.seen {
		ack, err := j.JetStream.PublishMsg(ctx, m, opts...)
		j.seen = err == nil
		return ack, err
	}
	return &jetstream.PubAck{Stream: subject.GuardStream, Domain: "eu", Sequence: 1}, nil
}
