package streams_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// TestMain looks for goroutines left over. The server's own waits for an answer from a region that does not
// exist go on for 30 s after it has been shut down.
func TestMain(m *testing.M) {
	const stream = "github.com/nats-io/nats-server/v2/server.(*stream)."
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction(stream+"trySetupSourceConsumer.func3"),
		goleak.IgnoreTopFunction(stream+"tryDeleteSourcingConsumer.func1"))
}

func client(t *testing.T) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(streamtest.Server(t, "eu").Connect())
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func mesh() []jetstream.StreamConfig {
	peers := []subject.Origin{o("us", 1)}
	return []jetstream.StreamConfig{wanted(), streams.ControlConfig(streams.ControlSpec{Self: o("eu", 1), Peers: peers})}
}

func plan(t *testing.T, js jetstream.JetStream, want []jetstream.StreamConfig) []string {
	t.Helper()
	p, err := streams.MakePlan(t.Context(), js, want)
	if err != nil {
		t.Fatal(err)
	}
	return lines(p.Changes)
}

func apply(t *testing.T, js jetstream.JetStream, want []jetstream.StreamConfig) []string {
	t.Helper()
	p, err := streams.Apply(t.Context(), js, want)
	if err != nil {
		t.Fatal(err)
	}
	return lines(p.Changes)
}

func TestApplyTwiceChangesNothing(t *testing.T) {
	js := client(t)
	if got := plan(t, js, mesh()); len(got) != 2 {
		t.Fatalf("plan of nothing: %q", got)
	}
	if _, err := js.Stream(t.Context(), "EVENTS"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatalf("a plan made a stream: %v", err)
	}
	apply(t, js, mesh())
	if got := apply(t, js, mesh()); len(got) != 0 {
		t.Errorf("the second time: %q", got)
	}
}

// edit changes a stream by hand, as an operator with another tool would.
func edit(t *testing.T, js jetstream.JetStream, stream string, change func(*jetstream.StreamConfig)) {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	c := s.CachedInfo().Config
	change(&c)
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func TestApplyMendsWhatWasEdited(t *testing.T) {
	const us = "EVENTS evt.us_1.g.> from $JS.us.API to _SRC.eu.us start 1"
	js := client(t)
	apply(t, js, mesh())
	tests := []struct {
		name string
		edit func(*jetstream.StreamConfig)
		want []string
	}{
		{"age", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, []string{"~ EVENTS MaxAge: 1h0m0s -> 24h0m0s"}},
		{"filter", func(c *jetstream.StreamConfig) { c.Sources[0].FilterSubject = "evt.us_1.>" },
			[]string{"- EVENTS source: EVENTS evt.us_1.> from $JS.us.API to _SRC.eu.us start 1", "+ EVENTS source: " + us}},
		{"source", func(c *jetstream.StreamConfig) { c.Sources = nil }, []string{"+ EVENTS source: " + us}},
		{"several", func(c *jetstream.StreamConfig) { c.Sources, c.MaxBytes, c.AllowDirect = nil, 1<<29, false },
			[]string{"~ EVENTS MaxBytes: 536870912 -> 1073741824", "~ EVENTS AllowDirect: false -> true", "+ EVENTS source: " + us}},
		{"what is not ours", func(c *jetstream.StreamConfig) { c.Description = "kept"; c.Metadata["team"] = "core" }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edit(t, js, "EVENTS", tt.edit)
			if got := plan(t, js, mesh()); !slices.Equal(got, tt.want) {
				t.Errorf("plan %q\nwant %q", got, tt.want)
			}
			if got := apply(t, js, mesh()); !slices.Equal(got, tt.want) {
				t.Errorf("apply %q\nwant %q", got, tt.want)
			}
			if got := plan(t, js, mesh()); len(got) != 0 {
				t.Errorf("afterwards: %q", got)
			}
		})
	}
	edit(t, js, "EVENTS", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour })
	apply(t, js, mesh())
	s, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	if c := s.CachedInfo().Config; c.Description != "kept" || c.Metadata["team"] != "core" {
		t.Errorf("description %q and metadata %v were not left alone", c.Description, c.Metadata)
	}
}

func TestSources(t *testing.T) {
	js := client(t)
	want := []jetstream.StreamConfig{streams.EventsConfig(streams.EventsSpec{Self: o("eu", 1)})}
	apply(t, js, want)
	us, old := src("EVENTS", "evt.us_1.g.>", "us", "eu"), src("EVENTS", "evt.eu_0.g.>", "us", "eu")
	steps := []struct {
		name string
		do   func(context.Context, jetstream.JetStream, string, *jetstream.StreamSource) error
		src  *jetstream.StreamSource
		want int
	}{
		{"add", streams.AddSourceTo, us, 1},
		{"add again", streams.AddSourceTo, us, 1},
		{"another filter of the same peer", streams.AddSourceTo, old, 2},
		{"kick", streams.Kick, us, 2},
		{"drop", streams.DropSourceOf, old, 1},
		{"drop again", streams.DropSourceOf, old, 1},
		{"kick what is missing", streams.Kick, old, 2},
	}
	for _, step := range steps {
		if err := step.do(t.Context(), js, "EVENTS", step.src); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		s, err := js.Stream(t.Context(), "EVENTS")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.CachedInfo().Config.Sources); n != step.want {
			t.Errorf("%s: %d sources, want %d", step.name, n, step.want)
		}
	}
	other := src("EVENTS", us.FilterSubject, "us", "eu")
	other.OptStartSeq = 5
	if err := streams.AddSourceTo(t.Context(), js, "EVENTS", other); fault.CodeOf(err) != "source_differs" {
		t.Errorf("the same source with another start: %v", err)
	}
	if err := streams.Kick(t.Context(), js, "EVENTS", other); fault.CodeOf(err) != "unsafe_start" {
		t.Errorf("a kick that could lose events: %v", err)
	}
	if err := streams.AddSourceTo(t.Context(), js, "NONE", us); fault.CodeOf(err) != "no_stream" || fault.KindOf(err) != fault.NotFound {
		t.Errorf("a stream that is not there: %v", err)
	}
}

func TestApplyFailsInKind(t *testing.T) {
	js := client(t)
	large := streams.EventsConfig(streams.EventsSpec{Self: o("eu", 1), MaxBytes: 1 << 60})
	if _, err := streams.Apply(t.Context(), js, []jetstream.StreamConfig{large}); fault.KindOf(err) != fault.Limited {
		t.Errorf("more than the store has: %v is %s", err, fault.KindOf(err))
	}
	many := streams.EventsConfig(streams.EventsSpec{Self: o("eu", 1), Replicas: 2})
	if _, err := streams.Apply(t.Context(), js, []jetstream.StreamConfig{many}); err == nil || fault.KindOf(err).Retryable() {
		t.Errorf("replicas without a cluster: %v is %s", err, fault.KindOf(err))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := streams.MakePlan(ended, js, mesh()); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
