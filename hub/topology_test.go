package hub

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// More than 5,000 messages from each region: less would pass although flow control between regions is cut.
func TestThreeRegionsConverge(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 1, Weight: 1}, identity.Region{Name: "ap", Servers: 1, Weight: 1})
	m.start()
	m.tenant("acme")
	for _, r := range []string{"eu", "us", "ap"} {
		publish(t, m.publisher(r+"-0", "acme"), m.hubs[r+"-0"].Origin(), r, 6000)
	}
	m.converged("acme", 18000, 30*time.Second, "eu-0", "us-0", "ap-0")
	// A publish to another region's subjects is stored there, and comes back by the source alone.
	publish(t, m.publisher("eu-0", "acme"), m.hubs["ap-0"].Origin(), "forwarded", 50)
	m.converged("acme", 18050, 10*time.Second, "eu-0", "us-0", "ap-0")
}

func TestThreeServersInARegion(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 3, Weight: 1})
	m.start()
	m.tenant("acme")
	publish(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), "eu", 2000)
	publish(t, m.publisher("us-1", "acme"), m.hubs["us-1"].Origin(), "us", 2000)
	m.converged("acme", 4000, 30*time.Second, "eu-0", "us-0")
	st, err := m.hubs["us-0"].tenancyOf("acme").openSession().js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	info := st.CachedInfo()
	if info.Config.Replicas != 3 || info.Cluster == nil || len(info.Cluster.Replicas) != 2 {
		t.Fatalf("EVENTS in us is not on three servers: %+v", info.Cluster)
	}
	// The server that leads the stream goes; the others take over and nothing is lost.
	m.stop(info.Cluster.Leader)
	for _, s := range []string{"us-0", "us-1", "us-2"} {
		if m.hubs[s] == nil {
			continue
		}
		pub := m.publisher(s, "acme")
		streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := pub.js.PublishMsg(ctx, &nats.Msg{Subject: eventSubject(m.hubs[s].Origin(), subject.Global, 1), Data: []byte(`{}`), Header: nats.Header{nats.MsgIdHdr: {"after-" + s}}})
			return err == nil, fmt.Sprintf("%s does not store yet: %v", s, err)
		})
		m.converged("acme", 4001, 40*time.Second, "eu-0", s)
		return
	}
}

// A tenant comes and goes while another one's client stays connected and its links stay the same.
func TestTenantsComeAndGo(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 1, Weight: 1})
	m.start()
	m.tenant("acme")
	home := m.hubs["eu-0"]
	acme := m.publisher("eu-0", "acme")
	dropped := make(chan struct{}, 16)
	acme.conn.SetDisconnectErrHandler(func(*nats.Conn, error) { dropped <- struct{}{} })
	links := linksOf(home, home.tenancyOf("acme").tenant.Account)
	if len(links) != 1 {
		t.Fatalf("acme has %d links, want one", len(links))
	}

	m.tenant("globex")
	globex := m.publisher("us-0", "globex")
	closed := make(chan struct{}, 16)
	globex.conn.SetDisconnectErrHandler(func(*nats.Conn, error) { closed <- struct{}{} })
	publish(t, globex, m.hubs["us-0"].Origin(), "g", 100)
	m.converged("globex", 100, 10*time.Second, "eu-0", "us-0")
	if n := len(m.events("eu-0", "acme")); n != 0 {
		t.Fatalf("acme holds %d events of globex", n)
	}

	dry, err := home.RemoveTenant(t.Context(), "globex", true, "test")
	if err != nil || dry.Events < 100 {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	m.converged("globex", 100, 5*time.Second, "eu-0", "us-0") // nothing was done
	if _, err := home.RemoveTenant(t.Context(), "globex", false, "test"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("a client of the removed tenant is still connected")
	}
	if _, err := home.AddTenant(t.Context(), TenantSpec{Name: "globex"}, "test"); fault.CodeOf(err) != "name_used" {
		t.Errorf("the name of a removed tenant was given away again: %v", err)
	}

	publish(t, acme, home.Origin(), "a", 100)
	m.converged("acme", 100, 10*time.Second, "eu-0", "us-0")
	if now := linksOf(home, home.tenancyOf("acme").tenant.Account); len(now) != 1 || now[0] != links[0] {
		t.Errorf("the links of acme were replaced: %v, then %v", links, now)
	}
	if len(dropped) > 0 {
		t.Errorf("the client of acme was disconnected %d times", len(dropped))
	}
}

func linksOf(h *Hub, account string) []uint64 {
	var out []uint64
	for _, l := range h.broker.Leaves() {
		if l.Account == account {
			out = append(out, l.ID)
		}
	}
	return out
}

// What a tenant's owner holds in its hands reaches nothing of another tenant, nor of another region's API, and
// stores no event.
func TestOwnerCredentialsReachNothingElse(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 1, Weight: 1})
	m.start()
	m.tenant("acme")
	globex := m.tenant("globex")
	publish(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), "secret", 10)

	owner, err := nats.Connect("", m.hubs["eu-0"].broker.InProcess(), nats.UserCredentialBytes([]byte(globex.ConsumerCreds)),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})) // refusals are what is asked for
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	js, err := jetstream.New(owner)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatalf("the owner cannot see its own stream: %v", err)
	}
	if n := st.CachedInfo().State.Msgs; n > 2 { // markers
		t.Errorf("globex sees %d messages, it has none", n)
	}
	if _, err := js.CreateOrUpdateConsumer(t.Context(), "EVENTS", jetstream.ConsumerConfig{Durable: "mine", FilterSubject: subject.Events()}); err != nil {
		t.Errorf("the owner cannot make a durable on its own stream: %v", err)
	}
	for _, to := range []string{
		eventSubject(m.hubs["eu-0"].Origin(), subject.Global, 1), eventSubject(m.hubs["us-0"].Origin(), subject.Global, 1), subject.Marker(m.hubs["eu-0"].Origin()),
		"$JS.API.STREAM.DELETE.EVENTS", "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.STREAM.UPDATE.EVENTS", "$JS.API.STREAM.CREATE.OTHER",
		"$JS.us.API.STREAM.INFO.EVENTS", "$JS.us.API.CONSUMER.CREATE.EVENTS.x.evt.us_1.g.>", "_SRC.eu.us.x", "$JS.FC.EVENTS.x", "$JSC.R.x",
		"weft.eu.credential", "weft.eu.digest", "$SYS.REQ.ACCOUNT.PING", "ctl.eu_1.tenant.globex",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		m, err := owner.RequestWithContext(ctx, to, []byte(`{}`))
		cancel()
		if err == nil {
			t.Errorf("a request to %s was answered: %s", to, m.Data)
		} else if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("a request to %s ended with %v", to, err)
		}
	}
	for _, from := range []string{">", "evt.>", "$SYS.>", "$JS.>", "_SRC.>", "ctl.>"} {
		sub, err := owner.SubscribeSync(from)
		if err != nil {
			continue
		}
		publish(t, mustPublisher(m, "eu-0"), m.hubs["eu-0"].Origin(), "probe"+from, 1)
		if msg, err := sub.NextMsg(200 * time.Millisecond); err == nil {
			t.Errorf("a subscription to %s received %s", from, msg.Subject)
		}
	}
	if n := len(m.events("eu-0", "globex")); n != 0 {
		t.Errorf("%d events were stored for globex without a relay", n)
	}
}

func mustPublisher(m *testMesh, server string) *session { return m.publisher(server, "acme") }

// Routes may change while the mesh runs; the stream's age follows the longest retention, in every region.
func TestRoutesChangeWhileRunning(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 1, Weight: 1})
	m.start()
	m.tenant("acme")
	routes := accounts.DefaultRoutes("acme")
	routes.Topics[0].Retention = accounts.Duration(30 * 24 * time.Hour)
	if _, err := m.hubs["eu-0"].SetRoutes(t.Context(), "acme", routes, "test"); err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{"eu-0", "us-0"} {
		streamtest.Eventually(t, 10*time.Second, func() (bool, string) {
			st, err := m.hubs[server].tenancyOf("acme").openSession().js.Stream(t.Context(), "EVENTS")
			if err != nil {
				return false, err.Error()
			}
			age := st.CachedInfo().Config.MaxAge
			return age == 30*24*time.Hour, fmt.Sprintf("%s keeps events for %s", server, age)
		})
	}
	if _, err := m.hubs["eu-0"].SetRoutes(t.Context(), "nobody", routes, "test"); fault.CodeOf(err) != "no_such_tenant" {
		t.Errorf("routes of a tenant that does not exist: %v", err)
	}
	routes.Default = "missing"
	if _, err := m.hubs["eu-0"].SetRoutes(t.Context(), "acme", routes, "test"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a default topic that does not exist: %v", err)
	}
}
