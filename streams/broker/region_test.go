package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// flowControl is more messages than a source gets without the flow control subjects in the allow-list.
const flowControl = 7000

func TestThreeRegionsConverge(t *testing.T) {
	m := newMesh(t, map[string]int{"ap": 1, "eu": 1, "us": 1})
	m.addTenant("acme")
	sites := m.openStreams("acme")
	sites["eu"].publish(0, flowControl)
	sites["us"].publish(0, 300)
	sites["ap"].publish(0, 300)
	must(sites["eu"].js.Publish(t.Context(), "evt.eu_1.l.0.orders.order.created", nil, jetstream.WithMsgID("stays")))(t)
	delete(sites, "eu")
	converge(t, sites, flowControl+600, 30*time.Second)
	eu := m.site("acme", "eu")
	eu.waitCount(flowControl+601, 5*time.Second)
	if got := eu.contents(flowControl + 601); len(got) != flowControl+601 {
		t.Errorf("EVENTS@eu: %d distinct messages", len(got))
	}
}

func TestTwoRegions(t *testing.T) {
	m := newMesh(t, map[string]int{"eu": 1, "us": 1})
	m.addTenant("acme")
	sites := m.openStreams("acme")
	sites["eu"].publish(0, 500)
	sites["us"].publish(0, 500)
	converge(t, sites, 1000, 20*time.Second)

	checkForward(t, sites)
	checkDenied(t, sites)
	checkTenantLife(t, m)
	checkCut(t, m, sites, 1000+forwards+1)
	checkKickOfQuietOrigin(t, m, sites)
}

const forwards = 20

// checkForward publishes to the other region's subjects: one answer, from there, and the event in both.
func checkForward(t *testing.T, sites map[string]*site) {
	eu := sites["eu"]
	inbox := eu.conn.NewInbox()
	acks := must(eu.conn.SubscribeSync(inbox))(t)
	for i := range forwards {
		msg := nats.NewMsg("evt.us_1.g.0.orders.order.created")
		msg.Reply = inbox
		msg.Header.Set(nats.MsgIdHdr, fmt.Sprintf("forward-%d", i))
		if err := eu.conn.PublishMsg(msg); err != nil {
			t.Fatal(err)
		}
	}
	for range forwards {
		msg := must(acks.NextMsg(5 * time.Second))(t)
		var ack jetstream.PubAck
		if err := json.Unmarshal(msg.Data, &ack); err != nil || ack.Stream != subject.EventsStream || ack.Domain != "us" {
			t.Fatalf("acknowledged with %s, want EVENTS@us", msg.Data)
		}
	}
	if msg, err := acks.NextMsg(200 * time.Millisecond); err == nil {
		t.Errorf("a second acknowledgement: %s", msg.Data)
	}
	must(eu.js.Publish(t.Context(), "evt.eu_1.g.0.orders.order.created", nil, jetstream.WithMsgID("local")))(t)
	converge(t, sites, 1000+forwards+1, 10*time.Second)
	ack := must(eu.js.Publish(t.Context(), "evt.eu_1.g.0.orders.order.created", nil, jetstream.WithMsgID("forward-0")))(t)
	if !ack.Duplicate {
		t.Error("a retry at home of what was forwarded is no duplicate")
	}
}

// checkDenied asks the other region, from a client without any restriction, for what the link must not carry.
func checkDenied(t *testing.T, sites map[string]*site) {
	for from, to := range map[string]string{"eu": "us", "us": "eu"} {
		api := "$JS." + to + ".API."
		body := fmt.Sprintf(`{"stream_name":"EVENTS","config":{"durable_name":"x","ack_policy":"explicit","filter_subject":"evt.%s_1.l.>"}}`, to)
		for _, subj := range []string{
			"STREAM.DELETE.EVENTS", "STREAM.PURGE.EVENTS", "STREAM.UPDATE.EVENTS", "STREAM.CREATE.X", "STREAM.INFO.EVENTS", "STREAM.MSG.GET.EVENTS",
			"DIRECT.GET.EVENTS", "INFO", "CONSUMER.LIST.EVENTS", "CONSUMER.DELETE.EVENTS.x", "CONSUMER.MSG.NEXT.EVENTS.x",
			"CONSUMER.DURABLE.CREATE.EVENTS.x", "CONSUMER.CREATE.EVENTS.x", "CONSUMER.CREATE.EVENTS.x.evt." + to + "_1.l.>",
		} {
			if msg, err := sites[from].conn.Request(api+subj, []byte(body), time.Second); !errors.Is(err, nats.ErrNoResponders) {
				t.Errorf("%s asks %s: %v %v, want no responders", from, api+subj, msg, err)
			}
		}
		sub := must(sites[to].conn.SubscribeSync(">"))(t)
		if err := sites[to].conn.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, subj := range []string{"foo.bar", "evt." + to + "_9.g.0.t.x", "_INBOX.x", "_SRC." + to + ".xx.1", "weft.x"} {
			if err := sites[from].conn.Publish(subj, []byte("foreign")); err != nil {
				t.Fatal(err)
			}
		}
		for {
			msg, err := sub.NextMsg(100 * time.Millisecond)
			if err != nil {
				break
			}
			if string(msg.Data) == "foreign" {
				t.Errorf("%s came from %s to %s", msg.Subject, from, to)
			}
		}
		_ = sub.Unsubscribe()
	}
}

func leafIDs(m *mesh) map[string]bool {
	out := map[string]bool{}
	for _, r := range m.regions {
		for _, l := range r.servers[0].Leaves() {
			out[fmt.Sprintf("%s %d %s %s", r.name, l.ID, l.Account, l.Peer)] = true
		}
	}
	return out
}

// checkTenantLife adds and removes a tenant while another one's client and links look on.
func checkTenantLife(t *testing.T, m *mesh) {
	var disconnects atomic.Int32
	m.site("acme", "us", nats.DisconnectErrHandler(func(*nats.Conn, error) { disconnects.Add(1) }))
	m.site("acme", "eu", nats.DisconnectErrHandler(func(*nats.Conn, error) { disconnects.Add(1) }))
	before := leafIDs(m)
	began := time.Now()
	globex := m.addTenant("globex")
	t.Logf("tenant in both regions, links up: %s", time.Since(began))
	sites := m.openStreams("globex")
	sites["eu"].publish(0, 50)
	sites["us"].publish(0, 50)
	converge(t, sites, 100, 10*time.Second)
	with := leafIDs(m)
	if len(with) != len(before)+2 {
		t.Errorf("%d ends of links, want %d", len(with), len(before)+2)
	}
	for id := range before {
		if !with[id] {
			t.Errorf("link %s was not kept", id)
		}
	}

	delete(m.tenants, "globex")
	m.setLinks()
	for _, r := range m.regions {
		if err := r.servers[0].RemoveAccount(globex.public); err != nil {
			t.Fatal(err)
		}
	}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		return maps.Equal(leafIDs(m), before), fmt.Sprintf("links %v, want %v", leafIDs(m), before)
	})
	for name, s := range sites {
		streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
			return !s.conn.IsConnected(), "the removed tenant is still connected in " + name
		})
	}
	if n := disconnects.Load(); n != 0 {
		t.Errorf("the other tenant's clients were disconnected %d times", n)
	}
}

// checkCut loses the link while both sides go on, and kicks the sources when it is back.
func checkCut(t *testing.T, m *mesh, sites map[string]*site, total int) {
	cutter := m.cutters["us eu"]
	cutter.Cut()
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		return len(m.region("eu").servers[0].Leaves()) == 0, "the link is still up"
	})
	sites["eu"].publish(10_000, 200)
	sites["us"].publish(10_000, 200)
	if _, err := sites["eu"].conn.Request("evt.us_1.g.0.orders.order.created", nil, time.Second); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("forward over a cut link: %v, want no responders", err)
	}
	// A cut of some seconds, so that what the sources last asked for is lost and not merely late.
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		silent := sites["eu"].silence()
		return silent > 3*time.Second, fmt.Sprintf("the source has been silent for %s", silent)
	})
	cutter.Heal()
	m.waitLinks()
	healed := time.Now()
	var slowest time.Duration
	for name, s := range sites {
		src := m.eventsConfig(m.region(name)).Sources[0]
		began := time.Now()
		if err := streams.Kick(t.Context(), s.js, subject.EventsStream, src); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(began))
	}
	converge(t, sites, total+400, 10*time.Second)
	t.Logf("slowest kick %s; equal %s after the link was up", slowest, time.Since(healed))
}

// checkKickOfQuietOrigin kicks a source of whose origin the stream holds nothing any more, as after retention
// has removed it. The server then knows no position: a source that did not say where to start would begin at
// the stream's own last message and skip what the origin stored before that.
func checkKickOfQuietOrigin(t *testing.T, m *mesh, sites map[string]*site) {
	for _, s := range sites {
		if err := must(s.js.Stream(t.Context(), subject.EventsStream))(t).Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	src := m.eventsConfig(m.region("eu")).Sources[0]
	if err := streams.DropSourceOf(t.Context(), sites["eu"].js, subject.EventsStream, src); err != nil {
		t.Fatal(err)
	}
	sites["us"].publish(30_000, 100)
	sites["eu"].publish(30_000, 1)
	if err := streams.Kick(t.Context(), sites["eu"].js, subject.EventsStream, src); err != nil {
		t.Fatal(err)
	}
	converge(t, sites, 101, 10*time.Second)
}

// A link that is taken out while it is being dialled cannot come back at once; the broker waits for that.
func TestLinkComesBackWhileItIsDialled(t *testing.T) {
	m := newMesh(t, map[string]int{"eu": 1, "us": 1})
	m.cutters["us eu"].Freeze()
	acme := m.op.tenant("acme")
	m.tenants["acme"] = acme
	us := m.region("us").servers[0]
	for _, r := range m.regions {
		if err := r.servers[0].StoreAccount(acme.public, acme.token); err != nil {
			t.Fatal(err)
		}
	}
	links := m.links(m.region("us"))
	for _, set := range [][]broker.Link{links, nil, links} {
		if err := us.SetLinks(set); err != nil {
			t.Fatal(err)
		}
	}
	m.cutters["us eu"].Heal()
	m.waitLinks()
}

func TestClusterAgainstSingle(t *testing.T) {
	m := newMesh(t, map[string]int{"eu": 1, "us": 3})
	acme := m.addTenant("acme")
	us := m.region("us")
	want := broker.Durability{SyncInterval: time.Second, Servers: 3, MaxStore: 1 << 30}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		d := us.servers[0].Durability()
		return d == want, fmt.Sprintf("durability %+v, want %+v", d, want)
	})
	sites := m.openStreams("acme")
	sites["us"].publish(0, flowControl)
	sites["eu"].publish(0, 200)
	converge(t, sites, flowControl+200, 30*time.Second)

	leader := -1
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		leader = slices.IndexFunc(us.servers, func(b *broker.Broker) bool { return b.LeadsStream(acme.public, subject.EventsStream) })
		return leader >= 0, "no server leads EVENTS@us"
	})
	// The server that leads goes; the region goes on, and so do both directions.
	began := time.Now()
	stop(t, us.servers[leader])
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the leader took %s to stop", took)
	}
	left := us.connect((leader+1)%3, acme)
	sites["us"] = &site{t, us, left, must(jetstream.New(left))(t)}
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
		marker := nats.NewMsg("evt.us_1.g.hb")
		marker.Header.Set(nats.MsgIdHdr, "marker")
		_, err := left.RequestMsg(marker, time.Second)
		return err == nil, fmt.Sprint(err)
	})
	sites["us"].publish(20_000, 200)
	sites["eu"].publish(20_000, 200)
	for _, s := range sites {
		s.kickUntil(m, flowControl+600+1)
	}
	converge(t, sites, flowControl+600+1, 5*time.Second)
}

// kickUntil kicks the stream's source every few seconds until n messages are there, as the watchdog does: a
// request that a leader took with it when it went is not answered, and the next one comes after 10 s.
func (s *site) kickUntil(m *mesh, n int) {
	s.t.Helper()
	src := m.eventsConfig(s.region).Sources[0]
	var kicked time.Time
	streamtest.Eventually(s.t, 20*time.Second, func() (bool, string) {
		have, err := s.count()
		if err == nil && have < n && time.Since(kicked) > 3*time.Second {
			err = streams.Kick(s.t.Context(), s.js, subject.EventsStream, src)
			kicked = time.Now()
		}
		return have >= n, fmt.Sprintf("EVENTS@%s holds %d of %d (%v)", s.region.name, have, n, err)
	})
}
