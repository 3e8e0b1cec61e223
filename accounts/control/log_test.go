package control_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// us is another region, whose records reach the stream of eu as a source would bring them: in these tests
// the stream takes the subjects of both.
var (
	eu = subject.Origin{Region: "eu", Epoch: 1}
	us = subject.Origin{Region: "us", Epoch: 1}
)

func controlStream(t *testing.T) (*streamtest.JetStream, jetstream.JetStream) {
	t.Helper()
	server := streamtest.Server(t)
	cfg := streams.ControlConfig(streams.ControlSpec{Self: eu, Replicas: 1})
	cfg.Subjects = []string{"ctl.>"}
	_, js := server.Stream(cfg)
	return server, js
}

func open(t *testing.T, js jetstream.JetStream, self subject.Origin) *control.Log {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := control.Open(ctx, control.Options{JS: js, Self: self})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func put(t *testing.T, l *control.Log, kind control.Kind, id string, body any) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return l.Put(ctx, kind, id, body, "test")
}

func TestWritesAreFoldedByEverybodyAndSurvive(t *testing.T) {
	_, js := controlStream(t)
	writer, reader := open(t, js, eu), open(t, js, us)
	if err := put(t, writer, control.KindTenant, "acme", accounts.Tenant{Name: "acme", State: accounts.Active}); err != nil {
		t.Fatal(err)
	}
	if _, ok := writer.State().Tenant("acme"); !ok {
		t.Fatal("Put returned before the write could be read")
	}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		_, ok := reader.State().Tenant("acme")
		return ok, "the other reader does not see it"
	})
	if _, ok := open(t, js, eu).State().Tenant("acme"); !ok {
		t.Error("a log that is opened later does not see it")
	}
}

func TestALostWriteIsReported(t *testing.T) {
	_, js := controlStream(t)
	l := open(t, js, eu)
	dead := keyring.Key{Kid: "k-1", Tenant: "acme", State: keyring.Revoked}
	if err := put(t, l, control.KindKey, "k-1", dead); err != nil {
		t.Fatal(err)
	}
	alive := dead
	alive.State = keyring.Active
	if err := put(t, l, control.KindKey, "k-1", alive); fault.CodeOf(err) != "write_lost" {
		t.Errorf("a write that revived a revoked key: %v", err)
	}
	if l.State().Keys["k-1"].State != keyring.Revoked {
		t.Error("a revoked key came back to life")
	}
}

// What cannot be trusted is skipped, and the reader goes on behind it.
func TestBadRecordsDoNotStopTheReader(t *testing.T) {
	_, js := controlStream(t)
	l := open(t, js, eu)
	tenant := func(name string, clock int64, origin string) []byte {
		body, err := json.Marshal(accounts.Tenant{Name: name, State: accounts.Active})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(control.Record{Kind: control.KindTenant, ID: name, Origin: origin, Clock: control.Clock{Wall: clock}, Body: body})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	now := time.Now()
	for to, data := range map[string][]byte{
		"ctl.us_1.tenant.broken": []byte(`{"kind":`),
		"ctl.us_1.tenant.ahead":  tenant("ahead", now.Add(2*time.Minute).UnixMilli(), "us_1"),
		"ctl.us_1.tenant.forged": tenant("forged", now.UnixMilli(), "eu_1"), // us cannot write in the name of eu
		"ctl.us_1.tenant.other":  tenant("acme", now.UnixMilli(), "us_1"),
		"ctl.us_1.spell.x":       tenant("x", now.UnixMilli(), "us_1"),
	} {
		if _, err := js.Publish(t.Context(), to, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(t, l, control.KindTenant, "good", accounts.Tenant{Name: "good", State: accounts.Active}); err != nil {
		t.Fatal(err)
	}
	if n := len(l.State().Tenants); n != 1 {
		t.Errorf("%d tenants were believed, one is true: %v", n, l.State().Tenants)
	}
}

// A clock that runs behind cannot make a write lose against what its writer has read.
func TestAWriterBehindWinsOverWhatItHasSeen(t *testing.T) {
	_, js := controlStream(t)
	first := open(t, js, us)
	if err := put(t, first, control.KindRoutes, "acme", accounts.Routes{Tenant: "acme", Default: "a"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	slow, err := control.Open(ctx, control.Options{JS: js, Self: eu, Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if err := put(t, slow, control.KindRoutes, "acme", accounts.Routes{Tenant: "acme", Default: "b"}); err != nil {
		t.Errorf("a write after a read lost: %v", err)
	}
}

func TestHeartbeats(t *testing.T) {
	_, js := controlStream(t)
	l := open(t, js, eu)
	if l.HeartbeatAge() < time.Hour {
		t.Fatalf("a heartbeat of %s ago was seen, none was written", l.HeartbeatAge())
	}
	other := open(t, js, us)
	if err := other.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	changed := l.Changed()
	if err := l.Beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return l.HeartbeatAge() < 10*time.Second, "the own region's heartbeat is not seen"
	})
	select {
	case <-changed:
		t.Error("a heartbeat was called a change")
	default:
	}
}

func TestTheReaderOutlivesTheServer(t *testing.T) {
	server, js := controlStream(t)
	l := open(t, js, eu)
	server.Restart()
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := l.Put(ctx, control.KindRoutes, "acme", accounts.Routes{Tenant: "acme", Default: "a"}, "test")
		if err != nil {
			return false, err.Error()
		}
		return true, ""
	})
}
