package consumers_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// guarded is a server with an owner, and a reader whose permissions are those of credentials bound to the
// durable "mine" and the topic bets.
type guarded struct {
	t      *testing.T
	dir    string
	srv    *server.Server
	before bool // the reader's permissions are those from before events were requeued
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, dir: t.TempDir()}
	srv, err := server.NewServer(g.options(server.RANDOM_PORT, "r"))
	if err != nil {
		t.Fatal(err)
	}
	g.srv = srv
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(patience) {
		t.Fatal("server not ready")
	}
	return g
}

func (g *guarded) options(port int, password string) *server.Options {
	reader := grant.Consumer([]string{"mine"}, []string{"bets"})
	if g.before {
		reader.Publish = slices.DeleteFunc(reader.Publish, func(s string) bool { return strings.Contains(s, ".DLQ.") })
	}
	return &server.Options{
		Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, JetStream: true, StoreDir: g.dir,
		Users: []*server.User{
			{Username: "owner", Password: "o"},
			{Username: "reader", Password: password, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: reader.Publish},
				Subscribe: &server.SubjectPermission{Allow: reader.Subscribe},
			}},
		},
	}
}

// change gives the reader another password, which ends its connection.
func (g *guarded) change(password string) {
	g.t.Helper()
	port := int(netip.MustParseAddrPort(g.srv.Addr().String()).Port())
	if err := g.srv.ReloadOptions(g.options(port, password)); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guarded) as(user string) []string {
	return []string{strings.Replace(g.srv.ClientURL(), "nats://", "nats://"+user+"@", 1)}
}

// region connects as the owner and makes the stream.
func (g *guarded) region() *region {
	g.t.Helper()
	nc, err := nats.Connect(g.as("owner:o")[0], nats.MaxReconnects(-1))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := js.CreateStream(g.t.Context(), streams.EventsConfig(streams.EventsSpec{Self: eu})); err != nil {
		g.t.Fatal(err)
	}
	return &region{t: g.t, nc: nc, js: js}
}

func TestCredentialsBoundToADurable(t *testing.T) {
	g := newGuarded(t)
	r := g.region()
	r.publish("bets", 1, 2)

	for name, o := range map[string]consumers.Options{
		"another durable": {Durable: "other", Topics: []string{"bets"}},
		"another topic":   {Durable: "mine", Topics: []string{"kyc"}},
		"every topic":     {Durable: "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			o.URLs, o.APITimeout = g.as("reader:r"), time.Second
			_, err := consumers.Subscribe(t.Context(), o)
			if fault.KindOf(err) != fault.Denied || fault.CodeOf(err) != "not_permitted" || !strings.Contains(err.Error(), "$JS.API.CONSUMER.") {
				t.Errorf("got %v (%s)", err, fault.CodeOf(err))
			}
		})
	}
	t.Run("their own", func(t *testing.T) {
		o := consumers.Options{URLs: g.as("reader:r"), Durable: "mine", Topics: []string{"bets"}}
		run := run(t, (&region{t: t}).subscribe(o), nil)
		run.wants(ids("bets", 1, 2)...)
		if err := run.end(); err != nil {
			t.Error(err)
		}
		if info := r.info("mine"); info.AckFloor.Stream != 2 {
			t.Errorf("acknowledged up to %d", info.AckFloor.Stream)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		_, err := consumers.Subscribe(t.Context(), consumers.Options{URLs: g.as("reader:x"), Durable: "mine"})
		if fault.KindOf(err) != fault.Unauthenticated || fault.CodeOf(err) != "credentials_refused" {
			t.Errorf("got %v (%s)", err, fault.CodeOf(err))
		}
		if strings.Contains(err.Error(), ":x@") {
			t.Errorf("the password is shown: %v", err)
		}
	})
}

// Credentials that the server refuses for a while, as expired ones, do not end a subscription: it goes on
// when they are good again.
func TestRunOutlivesRefusedCredentials(t *testing.T) {
	g := newGuarded(t)
	r := g.region()
	logs, seen := observer.New(zap.WarnLevel)
	o := consumers.Options{URLs: g.as("reader:r"), Durable: "mine", Topics: []string{"bets"}, Logger: zap.New(logs)}
	run := run(t, r.subscribe(o), nil)
	r.publish("bets", 1, 1)
	run.count(1)
	g.change("another")
	streamtest.Eventually(t, patience, func() (bool, string) {
		n := seen.FilterMessage("connection error").Len()
		return n >= 3, fmt.Sprintf("refused %d times", n) // by default a client gives up at the second
	})
	r.publish("bets", 2, 2)
	g.change("r")
	run.wants("bets-1", "bets-2")
}
