package streams_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

func wanted() jetstream.StreamConfig {
	return streams.EventsConfig(streams.EventsSpec{Self: o("eu", 1), Peers: []subject.Origin{o("us", 1)}, MaxAge: 24 * time.Hour, MaxBytes: 1 << 30})
}

func lines(changes []streams.Change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return out
}

func TestDiff(t *testing.T) {
	const us = "EVENTS evt.us_1.g.> from $JS.us.API to _SRC.eu.us start 1"
	tests := []struct {
		name string
		have func(*jetstream.StreamConfig) // turns what is wanted into what is there
		want []string
	}{
		{"the same", func(*jetstream.StreamConfig) {}, nil},
		{"what the server fills in", func(c *jetstream.StreamConfig) {
			c.Metadata = map[string]string{"_nats.ver": "2.15.2"}
			c.Placement = &jetstream.Placement{Cluster: "eu"}
			c.MaxMsgs, c.MaxMsgSize, c.MaxConsumers = 0, 0, 0
		}, nil},
		{"age raised", func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, []string{"~ EVENTS MaxAge: 1h0m0s -> 24h0m0s"}},
		{"age lowered", func(c *jetstream.StreamConfig) { c.MaxAge = 0 }, []string{"~ EVENTS MaxAge: 0s -> 24h0m0s  (removes stored messages)"}},
		{"size lowered", func(c *jetstream.StreamConfig) { c.MaxBytes = 2 << 30 }, []string{"~ EVENTS MaxBytes: 2147483648 -> 1073741824  (removes stored messages)"}},
		{"subjects in another order", func(c *jetstream.StreamConfig) { c.Subjects = []string{"evt.eu_1.>"} }, nil},
		{"other subjects", func(c *jetstream.StreamConfig) { c.Subjects = []string{"evt.>"} }, []string{"~ EVENTS Subjects: evt.> -> evt.eu_1.>"}},
		{"source missing", func(c *jetstream.StreamConfig) { c.Sources = nil }, []string{"+ EVENTS source: " + us}},
		{"source too many", func(c *jetstream.StreamConfig) {
			c.Sources = append(c.Sources, src("EVENTS", "evt.ap_1.g.>", "ap", "eu"))
		},
			[]string{"- EVENTS source: EVENTS evt.ap_1.g.> from $JS.ap.API to _SRC.eu.ap start 1"}},
		{"filter edited", func(c *jetstream.StreamConfig) {
			c.Sources = []*jetstream.StreamSource{src("EVENTS", "evt.us_1.>", "us", "eu")}
		},
			[]string{"- EVENTS source: EVENTS evt.us_1.> from $JS.us.API to _SRC.eu.us start 1", "+ EVENTS source: " + us}},
		{"start missing", func(c *jetstream.StreamConfig) {
			s := src("EVENTS", "evt.us_1.g.>", "us", "eu")
			s.OptStartSeq = 0
			c.Sources = []*jetstream.StreamSource{s}
		}, []string{"- EVENTS source: EVENTS evt.us_1.g.> from $JS.us.API to _SRC.eu.us", "+ EVENTS source: " + us}},
		{"order of a mix", func(c *jetstream.StreamConfig) {
			c.Sources = []*jetstream.StreamSource{src("EVENTS", "x", "us", "eu")}
			c.Duplicates = time.Second
		}, []string{"- EVENTS source: EVENTS x from $JS.us.API to _SRC.eu.us start 1", "~ EVENTS Duplicates: 1s -> 2m0s", "+ EVENTS source: " + us}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, have := wanted(), wanted()
			tt.have(&have)
			got, err := streams.Diff(&want, &have)
			if err != nil || !slices.Equal(lines(got), tt.want) {
				t.Errorf("%v\ngot  %q\nwant %q", err, lines(got), tt.want)
			}
		})
	}
}

func TestDiffOfNothing(t *testing.T) {
	want := wanted()
	got, err := streams.Diff(&want, nil)
	if err != nil || len(got) != 1 || got[0].String() != "+ EVENTS: evt.eu_1.>, 1 replicas, 1 sources, at most 24h0m0s, at most 1.0 GiB" {
		t.Errorf("%v %q", err, lines(got))
	}
}

func TestDiffRefuses(t *testing.T) {
	tests := []struct {
		name, code string
		edit       func(want, have *jetstream.StreamConfig)
	}{
		{"storage", "immutable", func(_, have *jetstream.StreamConfig) { have.Storage = jetstream.MemoryStorage }},
		{"retention", "immutable", func(_, have *jetstream.StreamConfig) { have.Retention = jetstream.WorkQueuePolicy }},
		{"mirror", "immutable", func(_, have *jetstream.StreamConfig) { have.Mirror = src("M", "", "us", "eu") }},
		{"taking deletion protection off", "immutable", func(want, _ *jetstream.StreamConfig) { want.DenyDelete = false }},
		{"another stream", "other_stream", func(_, have *jetstream.StreamConfig) { have.Name = "OTHER" }},
		{"transforms", "transform", func(want, _ *jetstream.StreamConfig) {
			want.Sources[0].SubjectTransforms = []jetstream.SubjectTransformConfig{{Source: "a", Destination: "b"}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, have := wanted(), wanted()
			tt.edit(&want, &have)
			if _, err := streams.Diff(&want, &have); fault.CodeOf(err) != tt.code {
				t.Errorf("%v, want %s", err, tt.code)
			}
		})
	}
}

func TestPlanText(t *testing.T) {
	if got := (streams.Plan{}).String(); got != "no changes\n" {
		t.Errorf("%q", got)
	}
	p := streams.Plan{Changes: []streams.Change{{Action: streams.Update, Stream: "S", Field: "MaxAge", Want: "1h", Have: "2h", Destructive: true}}}
	if !p.Destructive() || p.Empty() || strings.Count(p.String(), "\n") != 1 {
		t.Errorf("%q", p.String())
	}
}
