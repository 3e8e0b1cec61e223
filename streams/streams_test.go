package streams_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/subject"
)

func o(region string, epoch int) subject.Origin { return subject.Origin{Region: region, Epoch: epoch} }

func src(stream, filter, from, to string) *jetstream.StreamSource {
	return &jetstream.StreamSource{Name: stream, FilterSubject: filter, OptStartSeq: 1,
		External: &jetstream.ExternalStream{APIPrefix: "$JS." + from + ".API", DeliverPrefix: "_SRC." + to + "." + from}}
}

func TestEventsConfig(t *testing.T) {
	got := streams.EventsConfig(streams.EventsSpec{
		Self: o("eu", 2), History: []subject.Origin{o("eu", 1)}, Peers: []subject.Origin{o("us", 1), o("ap", 3)},
		Replicas: 3, MaxBytes: 1 << 30, MaxAge: 168 * time.Hour,
	})
	want := jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{"evt.eu_2.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		Compression: jetstream.NoCompression, Replicas: 3, Duplicates: 2 * time.Minute, DenyDelete: true, AllowMsgTTL: true, AllowDirect: true,
		Discard: jetstream.DiscardNew, MaxBytes: 1 << 30, MaxAge: 168 * time.Hour,
		MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
		Sources: []*jetstream.StreamSource{
			src("EVENTS", "evt.eu_1.g.>", "us", "eu"), // its own past, from the first peer
			src("EVENTS", "evt.us_1.g.>", "us", "eu"),
			src("EVENTS", "evt.ap_3.g.>", "ap", "eu"),
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestEventsConfigDefaults(t *testing.T) {
	c := streams.EventsConfig(streams.EventsSpec{Self: o("eu", 1), History: []subject.Origin{o("eu", 0)}, MaxAge: time.Minute})
	if c.Replicas != 1 || c.Compression != jetstream.S2Compression || c.MaxBytes != -1 || len(c.Sources) != 0 {
		t.Errorf("%+v", c)
	}
	if c.Duplicates != time.Minute {
		t.Errorf("a window of %s, longer than the messages live", c.Duplicates)
	}
}

func TestControlConfig(t *testing.T) {
	c := streams.ControlConfig(streams.ControlSpec{Self: o("eu", 1), Peers: []subject.Origin{o("us", 1)}})
	if c.Name != "CONTROL" || !reflect.DeepEqual(c.Subjects, []string{"ctl.eu_1.>"}) || c.MaxMsgsPerSubject != 8 ||
		c.Duplicates != 2*time.Minute || c.Storage != jetstream.FileStorage || c.MaxAge != 0 {
		t.Errorf("%+v", c)
	}
	if want := src("CONTROL", "ctl.us_1.>", "us", "eu"); !reflect.DeepEqual(c.Sources, []*jetstream.StreamSource{want}) {
		t.Errorf("sources %+v", c.Sources[0])
	}
}

func TestDeadLettersConfig(t *testing.T) {
	c := streams.DeadLettersConfig(streams.DeadLettersSpec{Region: "eu", Replicas: 3})
	if c.Name != "DLQ" || !reflect.DeepEqual(c.Subjects, []string{"dlq.eu.>"}) || c.Discard != jetstream.DiscardNew || c.Replicas != 3 ||
		c.MaxBytes != 256<<20 || c.MaxAge != 0 || c.MaxMsgs > 0 || c.DenyDelete || len(c.Sources) != 0 {
		t.Errorf("%+v", c)
	}
	if c := streams.DeadLettersConfig(streams.DeadLettersSpec{Region: "eu", MaxBytes: 1 << 20}); c.MaxBytes != 1<<20 {
		t.Errorf("%+v", c)
	}
}

func TestRejectsConfig(t *testing.T) {
	c := streams.RejectsConfig(streams.RejectsSpec{Region: "eu", Replicas: 3})
	if c.Name != "REJECTS" || !reflect.DeepEqual(c.Subjects, []string{"rej.eu.>"}) || c.Discard != jetstream.DiscardOld || c.Replicas != 3 ||
		c.MaxBytes != 64<<20 || c.MaxAge != 7*24*time.Hour || c.MaxMsgsPerSubject < 1 || c.MaxMsgSize < 1 || len(c.Sources) != 0 {
		t.Errorf("%+v", c)
	}
	if c := streams.RejectsConfig(streams.RejectsSpec{Region: "eu", MaxBytes: 1 << 20, MaxAge: time.Minute}); c.MaxBytes != 1<<20 || c.MaxAge != time.Minute || c.Duplicates != time.Minute {
		t.Errorf("%+v", c)
	}
}
