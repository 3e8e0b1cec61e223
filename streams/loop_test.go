package streams_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// full is the topology that weft builds: every region has both streams and sources from every other.
func full(regions ...string) map[string][]jetstream.StreamConfig {
	out := map[string][]jetstream.StreamConfig{}
	for _, r := range regions {
		var peers []subject.Origin
		for _, p := range regions {
			if p != r {
				peers = append(peers, o(p, 1))
			}
		}
		out[r] = []jetstream.StreamConfig{
			streams.EventsConfig(streams.EventsSpec{Self: o(r, 1), Peers: peers}),
			streams.ControlConfig(streams.ControlSpec{Self: o(r, 1), Peers: peers}),
		}
	}
	return out
}

func one(name string, sources ...*jetstream.StreamSource) jetstream.StreamConfig {
	return jetstream.StreamConfig{Name: name, Sources: sources}
}

func local(name, filter string) *jetstream.StreamSource {
	return &jetstream.StreamSource{Name: name, FilterSubject: filter}
}

func TestCheckLoops(t *testing.T) {
	rejoined := full("eu", "us")
	rejoined["eu"] = []jetstream.StreamConfig{streams.EventsConfig(streams.EventsSpec{Self: o("eu", 2), History: []subject.Origin{o("eu", 1)}, Peers: []subject.Origin{o("us", 1)}})}
	rejoined["us"] = []jetstream.StreamConfig{streams.EventsConfig(streams.EventsSpec{Self: o("us", 1), Peers: []subject.Origin{o("eu", 2)}})}
	tooEarly := map[string][]jetstream.StreamConfig{"eu": rejoined["eu"],
		"us": {streams.EventsConfig(streams.EventsSpec{Self: o("us", 1), Peers: []subject.Origin{o("eu", 1), o("eu", 2)}})}}
	transformed := src("S", "", "eu", "us")
	transformed.SubjectTransforms = []jetstream.SubjectTransformConfig{{Source: "a.>", Destination: "b.>"}}
	mirror := one("M")
	mirror.Mirror = local("S", "")
	type topology = map[string][]jetstream.StreamConfig
	tests := []struct {
		name     string
		topology topology
		code     string // "" = fine
		detail   string
	}{
		{"nothing", nil, "", ""},
		{"two regions", full("eu", "us"), "", ""},
		{"three regions", full("eu", "us", "ap"), "", ""},
		{"seven regions", full("a", "b", "c", "d", "e", "f", "g"), "", ""},
		{"a region under its next epoch", rejoined, "", ""},
		{"the others still source the old epoch", tooEarly, "loop", "evt.eu_1.g.>"},
		{"both ways without filters", topology{"eu": {one("S", src("S", "", "us", "eu"))}, "us": {one("S", src("S", "", "eu", "us"))}}, "loop", "S@eu -> S@us -> S@eu"},
		{"both ways, one filter", topology{"eu": {one("S", src("S", "evt.us_1.>", "us", "eu"))}, "us": {one("S", src("S", "", "eu", "us"))}}, "loop", "S@eu -> S@us -> S@eu"},
		{"by domain", topology{"eu": {one("S", &jetstream.StreamSource{Name: "S", Domain: "us"})}, "us": {one("S", src("S", "", "eu", "us"))}}, "loop", ""},
		{"round three with overlapping filters", topology{
			"a": {one("S", src("S", "evt.*.g.>", "c", "a"))}, "b": {one("S", src("S", "evt.x.>", "a", "b"))}, "c": {one("S", src("S", "evt.x.g.1", "b", "c"))}},
			"loop", "S@a -> S@b -> S@c -> S@a"},
		{"round three with filters that exclude each other", topology{
			"a": {one("S", src("S", "evt.*.g.>", "c", "a"))}, "b": {one("S", src("S", "evt.x.>", "a", "b"))}, "c": {one("S", src("S", "evt.x.l.>", "b", "c"))}}, "", ""},
		{"itself", topology{"eu": {one("S", local("S", "a"))}}, "loop", "S@eu -> S@eu"},
		{"two streams of one region", topology{"eu": {one("A", local("B", "")), one("B", local("A", "x.>"))}}, "loop", "x.>"},
		{"a chain and a mirror", topology{"eu": {one("S"), one("T", local("S", "")), mirror}}, "", ""},
		{"a mirror that feeds its own origin", topology{"eu": {one("S", local("M", "")), mirror}}, "loop", ""},
		{"a transform hides where messages go", topology{"eu": {one("S", src("S", "b.>", "us", "eu"))}, "us": {one("S", transformed)}}, "loop", ""},
		{"a region that is not described", topology{"eu": {one("S", src("S", "x", "us", "eu"))}}, "unknown_stream", "S@us"},
		{"a stream that is not described", topology{"eu": {one("S", local("T", "x"))}}, "unknown_stream", "T@eu"},
		{"a prefix that names no region", topology{"eu": {one("S", &jetstream.StreamSource{Name: "S", External: &jetstream.ExternalStream{APIPrefix: "imported.api"}})}}, "unknown_region", "imported.api"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := streams.CheckLoops(tt.topology)
			if tt.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.detail) {
				t.Errorf("%v, want %s with %q", err, tt.code, tt.detail)
			}
		})
	}
}

// matches is the definition: does a subject match a filter.
func matches(filter, subj string) bool {
	f, s := strings.Split(filter, "."), strings.Split(subj, ".")
	for i, token := range f {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || (token != "*" && token != s[i]):
			return false
		}
	}
	return len(f) == len(s)
}

// Over all subjects of up to four tokens of two letters, Overlap agrees with trying each of them.
func TestOverlapIsExact(t *testing.T) {
	var all []string
	level := []string{""}
	for range 4 {
		var next []string
		for _, prefix := range level {
			for _, token := range []string{"a", "b"} {
				next = append(next, strings.TrimPrefix(prefix+"."+token, "."))
			}
		}
		all = append(all, next...)
		level = next
	}
	filter := rapid.Custom(func(t *rapid.T) string {
		tokens := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*"}), 0, 3).Draw(t, "tokens")
		if len(tokens) == 0 || rapid.Bool().Draw(t, "rest") {
			tokens = append(tokens, ">")
		}
		return strings.Join(tokens, ".")
	})
	rapid.Check(t, func(t *rapid.T) {
		x, y := filter.Draw(t, "x"), filter.Draw(t, "y")
		want := false
		for _, s := range all {
			want = want || (matches(x, s) && matches(y, s))
		}
		if got := streams.Overlap(x, y); got != want || streams.Overlap(y, x) != got {
			t.Fatalf("Overlap(%s, %s) = %t, want %t", x, y, got, want)
		}
	})
}
