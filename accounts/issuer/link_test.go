package issuer_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/streams/subject"
)

// region is one server of a pair joined by links with the leaf grants.
type region struct {
	*world
	origin subject.Origin
}

func (r *region) inbox() nats.Option {
	return nats.CustomInboxPrefix(subject.InboxPrefix(r.origin.Region))
}

// pair starts eu, which accepts, and us, which solicits, with the tenant's and CONTROL's links between them.
func pair(t *testing.T) (eu, us *region) {
	t.Helper()
	op := must[*issuer.Operator](t)(issuer.NewOperator("weft"))
	base := &world{op: op}
	base.tenant = must[*issuer.AccountKeys](t)(issuer.NewAccount(op, issuer.AccountSpec{Name: "acme"}))
	base.control = must[*issuer.AccountKeys](t)(issuer.NewAccount(op, issuer.AccountSpec{Name: "CONTROL"}))
	eu = &region{origin: eu1}
	us = &region{origin: subject.Origin{Region: "us", Epoch: 1}}
	eu.world = base.serve(t, "eu", server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT})
	varz := must[*server.Varz](t)(eu.server.Varz(nil))
	var remotes []*server.RemoteLeafOpts
	for account, family := range map[*issuer.AccountKeys]grant.Family{base.tenant: grant.EventsFamily(), base.control: grant.ControlFamily()} {
		token, seed, err := issuer.User(issuer.UserSpec{Name: "leaf", Account: account.Public, SigningSeed: account.SigningSeed, Permissions: grant.Leaf(us.origin, eu.origin, family)})
		if err != nil {
			t.Fatal(err)
		}
		creds := filepath.Join(t.TempDir(), "leaf.creds")
		if err := issuer.WriteCreds(creds, token, seed); err != nil {
			t.Fatal(err)
		}
		remotes = append(remotes, &server.RemoteLeafOpts{
			LocalAccount: account.Public, Credentials: creds, IgnoreDiscoveredServers: true, LocalIsolation: true, RequestIsolation: true,
			URLs: []*url.URL{{Scheme: "nats-leaf", Host: fmt.Sprintf("127.0.0.1:%d", varz.LeafNode.Port)}}, Compression: server.CompressionOpts{Mode: server.CompressionOff},
		})
	}
	us.world = base.serve(t, "us", server.LeafNodeOpts{ReconnectInterval: 100 * time.Millisecond, Remotes: remotes})
	wait(t, "the links", func() string {
		if n := eu.server.NumLeafNodes(); n != 2 {
			return fmt.Sprint(n, " links")
		}
		return ""
	})
	return eu, us
}

// serve starts one region's server with the accounts of base.
func (base *world) serve(t *testing.T, name string, leaf server.LeafNodeOpts) *world {
	t.Helper()
	w := *base
	system := must[*issuer.AccountKeys](t)(issuer.NewAccount(w.op, issuer.AccountSpec{Name: "SYSTEM", System: true}))
	resolver := &server.MemAccResolver{}
	for _, a := range []*issuer.AccountKeys{system, w.tenant, w.control} {
		if err := resolver.Store(a.Public, a.JWT); err != nil {
			t.Fatal(err)
		}
	}
	leaf.IsolateLeafnodeInterest = true
	w.server = must[*server.Server](t)(server.NewServer(&server.Options{
		ServerName: name + "-0", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, StoreDir: t.TempDir(), LeafNode: leaf,
		JetStream: true, JetStreamDomain: name, JetStreamMaxStore: 4 << 30, AccountResolver: resolver, SystemAccount: system.Public,
		TrustedOperators: []*jwt.OperatorClaims{must[*jwt.OperatorClaims](t)(jwt.DecodeOperatorClaims(w.op.JWT()))},
	}))
	w.server.Start()
	t.Cleanup(func() { w.server.Shutdown(); w.server.WaitForShutdown() })
	if !w.server.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return &w
}

// wait polls until problem returns nothing, at most 30 seconds.
func wait(t *testing.T, what string, problem func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(30 * time.Second)
	for {
		p := problem()
		if p == "" {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("%s: %s", what, p)
		}
	}
}

func source(name, filter string, to, from subject.Origin) *jetstream.StreamSource {
	return &jetstream.StreamSource{Name: name, FilterSubject: filter, OptStartSeq: 1,
		External: &jetstream.ExternalStream{APIPrefix: subject.APIPrefix(from.Region), DeliverPrefix: subject.DeliverPrefix(to.Region, from.Region)}}
}

// TestLinksCarryWhatTheyMust replicates both kinds of streams both ways, with more events than flow control
// lets pass unanswered, forwards to the other region, and asks its digest service.
func TestLinksCarryWhatTheyMust(t *testing.T) {
	eu, us := pair(t)
	const n = 12000
	streams := map[*region]jetstream.Stream{}
	for _, p := range [][2]*region{{eu, us}, {us, eu}} {
		own, peer := p[0], p[1]
		hub := own.user(t, own.tenant, grant.Service(own.origin), own.inbox())
		streams[own] = must[jetstream.Stream](t)(hub.js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: subject.EventsStream, Subjects: []string{subject.OfOrigin(own.origin)}, MaxBytes: 64 << 20, Duplicates: time.Minute,
			Sources: []*jetstream.StreamSource{source(subject.EventsStream, subject.Replicated(peer.origin), own.origin, peer.origin)},
		}))
		if _, err := hub.Subscribe(subject.Digest(own.origin.Region), func(m *nats.Msg) { _ = m.Respond([]byte(own.origin.Region)) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range [][2]*region{{eu, us}, {us, eu}} {
		own, peer := p[0], p[1]
		relay := own.user(t, own.tenant, grant.Relay(own.origin.Region, "r1"), nats.CustomInboxPrefix(grant.RelayInbox(own.origin.Region, "r1")))
		for i := range n - 1 {
			if _, err := relay.js.PublishAsync(fmt.Sprintf("evt.%s.g.%d.bets.placed", own.origin, i%64), make([]byte, 400), jetstream.WithStallWait(20*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-relay.js.PublishAsyncComplete():
		case <-time.After(30 * time.Second):
			t.Fatal("publishing does not end")
		}
		wait(t, "the link's interest", func() string { // forward: stored at the peer, acknowledged here
			ack, err := relay.js.Publish(t.Context(), fmt.Sprintf("evt.%s.g.0.bets.forwarded", peer.origin), nil)
			if err != nil {
				return err.Error()
			}
			if ack.Domain != peer.origin.Region {
				t.Fatalf("stored in %s", ack.Domain)
			}
			return ""
		})
		if m, err := relay.Request(subject.Digest(peer.origin.Region), nil, 2*time.Second); err != nil || string(m.Data) != peer.origin.Region {
			t.Errorf("digest of %s: %v", peer.origin.Region, err)
		}
	}
	for r, s := range streams {
		wait(t, "convergence of "+r.origin.Region, func() string {
			info, err := s.Info(t.Context())
			if err != nil {
				return err.Error()
			}
			if info.State.Msgs != 2*n {
				return fmt.Sprintf("%d of %d", info.State.Msgs, 2*n)
			}
			return ""
		})
	}
	control := map[*region]jetstream.Stream{}
	for _, p := range [][2]*region{{eu, us}, {us, eu}} {
		own, peer := p[0], p[1]
		hub := own.user(t, own.control, grant.Service(own.origin), own.inbox())
		control[own] = must[jetstream.Stream](t)(hub.js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: subject.ControlStream, Subjects: []string{subject.ControlOf(own.origin)}, MaxBytes: 1 << 20,
			Sources: []*jetstream.StreamSource{source(subject.ControlStream, subject.ControlOf(peer.origin), own.origin, peer.origin)},
		}))
		if _, err := hub.js.Publish(t.Context(), subject.ControlHeartbeat(own.origin), nil); err != nil {
			t.Fatal(err)
		}
	}
	for r, s := range control {
		wait(t, "CONTROL of "+r.origin.Region, func() string {
			if info, err := s.Info(t.Context()); err != nil || info.State.Msgs != 2 {
				return fmt.Sprint(info.State.Msgs, err)
			}
			return ""
		})
	}
}

// TestLinksCarryNothingElse tries, as a user whom nothing but the link restrains, to reach the other region.
func TestLinksCarryNothingElse(t *testing.T) {
	eu, us := pair(t)
	for _, p := range [][2]*region{{eu, us}, {us, eu}} {
		own, peer := p[0], p[1]
		anything := grant.Permissions{Publish: []string{">"}, Subscribe: []string{">"}}
		hub := peer.user(t, peer.tenant, grant.Service(peer.origin), peer.inbox())
		must[jetstream.Stream](t)(hub.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: subject.EventsStream, Subjects: []string{subject.OfOrigin(peer.origin)}, MaxBytes: 1 << 20, AllowDirect: true}))
		listener := peer.user(t, peer.tenant, anything)
		heard := must[*nats.Subscription](t)(listener.SubscribeSync(">"))
		if err := listener.Flush(); err != nil {
			t.Fatal(err)
		}
		c := own.user(t, own.tenant, anything, own.inbox())
		wait(t, "the link's interest", func() string {
			_, err := c.js.Publish(t.Context(), fmt.Sprintf("evt.%s.g.0.bets.forwarded", peer.origin), nil)
			if err != nil {
				return err.Error()
			}
			return ""
		})
		api := subject.APIPrefix(peer.origin.Region)
		for _, request := range []string{
			"INFO", "STREAM.NAMES", "STREAM.INFO.EVENTS", "STREAM.CREATE.X", "STREAM.UPDATE.EVENTS", "STREAM.DELETE.EVENTS", "STREAM.PURGE.EVENTS", "STREAM.MSG.GET.EVENTS",
			"STREAM.MSG.DELETE.EVENTS", "DIRECT.GET.EVENTS", "CONSUMER.LIST.EVENTS", "CONSUMER.CREATE.EVENTS", "CONSUMER.CREATE.EVENTS.x", "CONSUMER.DURABLE.CREATE.EVENTS.x",
			"CONSUMER.CREATE.EVENTS.x.evt." + peer.origin.String() + ".l.>", "CONSUMER.CREATE.EVENTS.x.evt.>", "CONSUMER.MSG.NEXT.EVENTS.x", "CONSUMER.DELETE.EVENTS.x",
		} {
			if m, err := c.Request(api+"."+request, nil, 150*time.Millisecond); err == nil {
				t.Errorf("%s answers %s: %s", peer.origin.Region, request, m.Data)
			}
		}
		for _, s := range []string{"foo.bar", "evt.ap_1.g.1.a.b", "evt." + own.origin.String() + ".g.1.a.b", "evt." + peer.origin.Region + "_9.g.1.a.b", "_INBOX.x", "_INB.ap.x", "_SRC.ap.eu.x",
			"$JS.API.STREAM.PURGE.EVENTS", "$JS.ACK.EVENTS.x.1.1.1.1.1", "ctl.eu_1.tenant.x", "weft." + peer.origin.Region + ".credential"} {
			if err := c.Publish(s, []byte("stray")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.js.Publish(t.Context(), fmt.Sprintf("evt.%s.g.0.bets.last", peer.origin), nil); err != nil { // passes after everything before it
			t.Fatal(err)
		}
		for {
			m, err := heard.NextMsg(5 * time.Second)
			if err != nil {
				t.Fatal("the last event was not heard:", err)
			}
			if strings.HasSuffix(m.Subject, ".last") {
				break
			}
			if string(m.Data) == "stray" {
				t.Errorf("%s hears %s", peer.origin.Region, m.Subject)
			}
		}
	}
}
