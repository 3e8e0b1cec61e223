package consumers_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// guarded is a server with an owner, and a reader that may use the durable "mine" but create none.
func guarded(t *testing.T) (url string) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{
			{Username: "owner", Password: "o"},
			{Username: "reader", Password: "r", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: []string{
					"$JS.API.CONSUMER.INFO.EVENTS.*", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.mine", "$JS.ACK.EVENTS.mine.>", "$JS.ACK.*.*.EVENTS.mine.>",
				}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("server not ready")
	}
	return srv.ClientURL()
}

func TestCredentialsThatMayNotCreate(t *testing.T) {
	url := guarded(t)
	as := func(user string) []string { return []string{strings.Replace(url, "nats://", "nats://"+user+"@", 1)} }
	nc, err := nats.Connect(as("owner:o")[0])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), streams.EventsConfig(streams.EventsSpec{Self: eu})); err != nil {
		t.Fatal(err)
	}
	r := &region{t: t, nc: nc, js: js}
	r.publish("bets", 1, 2)

	t.Run("refused", func(t *testing.T) {
		o := consumers.Options{URLs: as("reader:r"), Durable: "other", APITimeout: time.Second}
		_, err := consumers.Subscribe(t.Context(), o)
		if fault.KindOf(err) != fault.Denied || fault.CodeOf(err) != "not_permitted" || !strings.Contains(err.Error(), "CONSUMER.CREATE") {
			t.Errorf("got %v (%s)", err, fault.CodeOf(err))
		}
	})
	t.Run("made for them", func(t *testing.T) {
		cfg := jetstream.ConsumerConfig{Durable: "mine", FilterSubject: subject.Topic("bets"), AckPolicy: jetstream.AckExplicitPolicy}
		if _, err := js.CreateConsumer(t.Context(), subject.EventsStream, cfg); err != nil {
			t.Fatal(err)
		}
		run := run(t, (&region{t: t}).subscribe(consumers.Options{URLs: as("reader:r"), Durable: "mine", Topics: []string{"bets"}}), nil)
		run.wants(ids("bets", 1, 2)...)
		if err := run.end(); err != nil {
			t.Error(err)
		}
		if info := r.info("mine"); info.AckFloor.Stream != 2 {
			t.Errorf("acknowledged up to %d", info.AckFloor.Stream)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		_, err := consumers.Subscribe(t.Context(), consumers.Options{URLs: as("reader:x"), Durable: "mine"})
		if fault.KindOf(err) != fault.Unauthenticated || fault.CodeOf(err) != "credentials_refused" {
			t.Errorf("got %v (%s)", err, fault.CodeOf(err))
		}
		if strings.Contains(err.Error(), ":x@") {
			t.Errorf("the password is shown: %v", err)
		}
	})
}
