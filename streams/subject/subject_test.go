package subject_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/subject"
)

type vector struct {
	Subject   string `json:"subject"`
	Origin    string `json:"origin"`
	Scope     string `json:"scope"`
	Partition int    `json:"partition"`
	Topic     string `json:"topic"`
	Type      string `json:"type"`
}

func load[T any](tb testing.TB, file string) (v []T) {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil || len(v) == 0 {
		tb.Fatalf("%s: %d vectors, %v", file, len(v), err)
	}
	return v
}

func TestGoodSubjects(t *testing.T) {
	for _, v := range load[vector](t, "good.json") {
		e, err := subject.Parse(v.Subject)
		if err != nil {
			t.Errorf("%s: %v", v.Subject, err)
			continue
		}
		if got := (vector{e.String(), e.Origin.String(), string(e.Scope), e.Partition, e.Topic, e.Type}); got != v {
			t.Errorf("got %+v, want %+v", got, v)
		}
	}
}

func TestBadSubjects(t *testing.T) {
	for _, s := range load[string](t, "bad.json") {
		e, err := subject.Parse(s)
		if err == nil || e != (subject.Event{}) {
			t.Errorf("%q: got %+v, %v", s, e, err)
		}
		if fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: kind %v", s, fault.KindOf(err))
		}
	}
}

// Names on the wire never change: regions of different versions talk to each other.
func TestNames(t *testing.T) {
	eu := subject.Origin{Region: "eu", Epoch: 1}
	for _, c := range []struct{ got, want string }{
		{eu.String(), "eu_1"},
		{eu.Next().String(), "eu_2"},
		{subject.OfOrigin(eu), "evt.eu_1.>"},
		{subject.Replicated(eu), "evt.eu_1.g.>"},
		{subject.Marker(eu), "evt.eu_1.g.hb"},
		{subject.Events(), "evt.*.*.*.>"},
		{subject.Topic("money"), "evt.*.*.*.money.>"},
		{subject.Partition(7), "evt.*.*.7.>"},
		{subject.PartitionTopic(7, "bets"), "evt.*.*.7.bets.>"},
		{subject.Control{Origin: eu, Kind: "key", ID: "acme-1"}.String(), "ctl.eu_1.key.acme-1"},
		{subject.ControlOf(eu), "ctl.eu_1.>"},
		{subject.ControlHeartbeat(eu), "ctl.eu_1.hb.hub"},
		{subject.APIPrefix("us"), "$JS.us.API"},
		{subject.DeliverPrefix("eu", "us"), "_SRC.eu.us"},
		{subject.InboxPrefix("eu"), "_INB.eu"},
		{subject.Digest("eu"), "weft.eu.digest"},
		{subject.Credential("eu"), "weft.eu.credential"},
		{subject.RegionOfAPI("$JS.us.API"), "us"},
		{subject.RegionOfAPI("$JS.API"), ""},
		{subject.RegionOfAPI("us.API"), ""},
		{subject.EventsStream, "EVENTS"},
		{subject.ControlStream, "CONTROL"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	if subject.MaxPartition != partition.Count-1 {
		t.Error("packages subject and partition disagree about the number of partitions")
	}
}

// matches says whether a NATS filter matches a subject.
func matches(filter, s string) bool {
	f, tokens := strings.Split(filter, "."), strings.Split(s, ".")
	for i, token := range f {
		if token == ">" {
			return len(tokens) > i
		}
		if i >= len(tokens) || token != "*" && token != tokens[i] {
			return false
		}
	}
	return len(f) == len(tokens)
}

func regions() *rapid.Generator[string] { return rapid.StringMatching(`[a-z][a-z0-9-]{0,30}`) }
func topics() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-z0-9_-]{1,64}(~(0|[1-9][0-9]{0,8}))?`)
}
func plainTopics() *rapid.Generator[string] { return rapid.StringMatching(`[a-z0-9_-]{1,64}`) }

func origins() *rapid.Generator[subject.Origin] {
	return rapid.Custom(func(t *rapid.T) subject.Origin {
		return subject.Origin{Region: regions().Draw(t, "region"), Epoch: rapid.IntRange(1, 1<<30).Draw(t, "epoch")}
	})
}

func events() *rapid.Generator[subject.Event] {
	return rapid.Custom(func(t *rapid.T) subject.Event {
		return subject.Event{
			Origin:    origins().Draw(t, "origin"),
			Scope:     rapid.SampledFrom([]subject.Scope{subject.Global, subject.Regional}).Draw(t, "scope"),
			Partition: rapid.IntRange(0, subject.MaxPartition).Draw(t, "partition"),
			Topic:     topics().Draw(t, "topic"),
			Type:      rapid.StringMatching(`[a-z0-9_]{1,30}(\.[a-z0-9_]{1,30}){0,3}`).Draw(t, "type"),
		}
	})
}

func TestParseIsTheInverseOfBuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := events().Draw(t, "event")
		s := e.String()
		got, err := subject.Parse(s)
		if err != nil || got != e {
			t.Fatalf("%s: got %+v, %v; want %+v", s, got, err, e)
		}
		if appended := string(e.Append([]byte("x"))); appended != "x"+s {
			t.Fatalf("Append made %q", appended)
		}
	})
}

func TestFiltersSeeWhatTheyShould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := events().Draw(t, "event")
		s, other := e.String(), origins().Filter(func(o subject.Origin) bool { return o != e.Origin }).Draw(t, "other")
		marker := subject.Marker(e.Origin)
		if !subject.IsMarker(marker) || subject.IsMarker(s) || subject.IsMarker(s+".g.hb") {
			t.Fatalf("of %s and %s only the first is a marker", marker, s)
		}
		for _, c := range []struct {
			filter, subject string
			want            bool
		}{
			{subject.Events(), s, true},
			{subject.Events(), marker, false},
			{subject.OfOrigin(e.Origin), s, true},
			{subject.OfOrigin(e.Origin), marker, true},
			{subject.OfOrigin(other), s, false},
			{subject.Replicated(e.Origin), s, e.Scope == subject.Global},
			{subject.Replicated(e.Origin), marker, true},
			{subject.Replicated(other), s, false},
			{subject.Topic(e.Topic), s, true},
			{subject.Topic(e.Topic), marker, false},
			{subject.Topic(e.Topic + "x"), s, false},
			{subject.Partition(e.Partition), s, true},
			{subject.PartitionTopic(e.Partition, e.Topic), s, true},
			{subject.PartitionTopic((e.Partition+1)%partition.Count, e.Topic), s, false},
			{subject.Partition((e.Partition + 1) % partition.Count), s, false},
			{subject.ControlOf(e.Origin), s, false},
			{subject.ControlOf(e.Origin), subject.ControlHeartbeat(e.Origin), true},
		} {
			if matches(c.filter, c.subject) != c.want {
				t.Fatalf("%s matches %s: want %v", c.filter, c.subject, c.want)
			}
		}
	})
}

func TestControlRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := subject.Control{
			Origin: origins().Draw(t, "origin"),
			Kind:   rapid.StringMatching(`[a-z]{1,32}`).Draw(t, "kind"),
			ID:     rapid.StringMatching(`[A-Za-z0-9_:=-]{1,128}(\.[A-Za-z0-9_:=-]{1,20}){0,3}`).Draw(t, "id"),
		}
		got, err := subject.ParseControl(c.String())
		if err != nil || got != c {
			t.Fatalf("%s: got %+v, %v", c, got, err)
		}
	})
	for _, s := range []string{"", "ctl", "ctl.eu_1", "ctl.eu_1.key", "ctl.eu_1.key.", "ctl.eu_1..a", "ctl.eu_1.Key.a", "ctl.eu_1.k2.a", "evt.eu_1.key.a",
		"ctl.eu.key.a", "ctl.eu_1.key.a..b", "ctl.eu_1.key.>", "ctl.eu_1.key.*", "ctl.eu_1.key.a b", "ctl.eu_1.key." + strings.Repeat("a", 129)} {
		if c, err := subject.ParseControl(s); err == nil {
			t.Errorf("%q: got %+v", s, c)
		}
	}
}

func TestOriginRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := origins().Draw(t, "origin")
		if got, err := subject.ParseOrigin(o.String()); err != nil || got != o || !subject.ValidRegion(o.Region) {
			t.Fatalf("%s: got %+v, %v", o, got, err)
		}
	})
}

func TestTopics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := plainTopics().Draw(t, "topic")
		if !subject.ValidTopic(topic) || subject.ValidDerivedTopic(topic) || !subject.ValidDerivedTopic(topic+"~12") || subject.ValidTopic(topic+"~12") {
			t.Fatalf("%q", topic)
		}
	})
}

// What is accepted is what Append would have written, and fits a subject token by token.
func FuzzParse(f *testing.F) {
	for _, v := range load[vector](f, "good.json") {
		f.Add(v.Subject)
	}
	for _, s := range load[string](f, "bad.json") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := subject.Parse(s)
		if err != nil {
			if e != (subject.Event{}) {
				t.Errorf("%q: an error and %+v", s, e)
			}
		} else {
			if e.String() != s || !matches(subject.Events(), s) || strings.ContainsAny(s, " *>\r\n\t\x00") {
				t.Errorf("%q accepted as %q", s, e)
			}
			if e.Partition < 0 || e.Partition >= partition.Count || !subject.ValidType([]byte(e.Type)) || !subject.ValidRegion(e.Origin.Region) {
				t.Errorf("%q read as %+v", s, e)
			}
		}
		if c, err := subject.ParseControl(s); err == nil && c.String() != s {
			t.Errorf("%q accepted as %q", s, c)
		}
	})
}
