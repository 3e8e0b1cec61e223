package hub

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
)

// settled adds a tenant with routes of its own, so that there is control state to lose.
func (m *testMesh) settled(name string) {
	m.t.Helper()
	m.tenant(name)
	home := m.hubs[m.mesh.Home+"-0"]
	if _, err := home.SetRoutes(m.t.Context(), name, accounts.DefaultRoutes(name), "test"); err != nil {
		m.t.Fatal(err)
	}
}

func TestRejoinAfterAWipedStore(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.settled("acme")
	n := m.flows("acme", "one", 0, 500, "eu-0", "us-0")
	us := m.hubs["us-0"]
	if _, err := us.Rejoin(t.Context(), false, "test"); fault.CodeOf(err) != "is_open" {
		t.Errorf("rejoin of an open region: %v", err)
	}

	m.wipe("us-0")
	publish(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), "meanwhile", 100)
	n += 100
	m.startOnly("us-0")
	m.closed("us-0", "lost data", "EVENTS of acme is gone", "weft hub rejoin --region us")
	us = m.hubs["us-0"]
	if s := us.Status(); len(s.Losses) < 2 || s.Origin != "us_1" {
		t.Errorf("status: %+v", s)
	}
	m.open("eu-0")
	m.refuses("eu-0", "acme", us.Origin())
	if _, err := us.SetRoutes(t.Context(), "acme", accounts.DefaultRoutes("acme"), "test"); fault.CodeOf(err) != "region_closed" {
		t.Errorf("routes are set in a closed region: %v", err)
	}
	if err := us.Waive([]string{"eu"}, "test"); fault.CodeOf(err) != "data_lost" {
		t.Errorf("a loss is waived: %v", err)
	}

	dry, err := us.Rejoin(t.Context(), true, "test")
	if err != nil || !dry.DryRun || dry.From != "us_1" || dry.To != "us_2" {
		t.Fatalf("dry run: %+v, %v", dry, err)
	}
	if len(dry.Streams) != 1 || dry.Streams[0].Missing != 500 || len(dry.Streams[0].Events) != 500 || dry.Streams[0].Newest == nil || dry.Streams[0].Kept != nil {
		t.Errorf("the dry run tells of the lost events: %+v", dry.Streams)
	}
	m.closed("us-0", "lost data")

	m.cutters["us-eu"].Cut()
	if _, err := us.Rejoin(t.Context(), false, "test"); fault.CodeOf(err) != "peer_silent" {
		t.Errorf("rejoin while a peer does not answer: %v", err)
	}
	m.cutters["us-eu"].Heal()
	m.closed("us-0", "lost data")

	m.rejoin("us-0")
	m.open("us-0")
	if o := us.Origin().String(); o != "us_2" {
		t.Errorf("us goes on as %s", o)
	}
	m.converged("acme", n, m.patience(), "eu-0", "us-0")
	m.flows("acme", "two", n, 300, "eu-0", "us-0")
	m.same("acme", "eu-0", "us-0")
	m.knows("acme", "eu-0", "us-0")
	m.restart("us-0")
	m.restart("eu-0")
	m.open("us-0", "eu-0")
	m.flows("acme", "three", n+600, 100, "eu-0", "us-0")
}

// The control home is wiped, with three regions, and then again: epoch 3.
func TestRejoinOfTheControlHomeTwice(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"), region("ap"))
	m.start()
	m.settled("acme")
	m.settled("globex")
	all := []string{"eu-0", "us-0", "ap-0"}
	n := m.flows("acme", "one", 0, 300, all...)
	m.flows("globex", "one", 0, 50, all...)
	for i, epoch := range []string{"eu_2", "eu_3"} {
		m.wipe("eu-0")
		m.startOnly("eu-0")
		m.closed("eu-0", "lost data")
		m.refuses("us-0", "acme", m.hubs["us-0"].originOf("eu"))
		m.rejoin("eu-0")
		m.open("eu-0")
		if o := m.hubs["eu-0"].Origin().String(); o != epoch {
			t.Fatalf("eu goes on as %s, want %s", o, epoch)
		}
		m.converged("acme", n, m.patience(), all...)
		n = m.flows("acme", epoch, n, 200, all...)
		m.same("acme", all...)
		m.knows("acme", all...)
		m.knows("globex", all...)
		if _, err := m.hubs["eu-0"].AddTenant(t.Context(), TenantSpec{Name: "acme"}, "test"); fault.CodeOf(err) != "tenant_exists" {
			t.Errorf("loss %d: a tenant's name was given away again: %v", i+1, err)
		}
	}
	m.settled("initech")
	m.flows("initech", "new", 0, 50, all...)
	// The whole mesh restarts under what it is now.
	for _, s := range all {
		m.stop(s)
	}
	m.startOnly(all...)
	m.open(all...)
	n = m.flows("acme", "end", n, 50, all...)
	m.same("acme", all...)

	// And now another region: it reads the home's epochs from the home.
	m.wipe("us-0")
	m.startOnly("us-0")
	m.closed("us-0", "lost data")
	m.rejoin("us-0")
	m.open("us-0")
	m.converged("acme", n, m.patience(), all...)
	m.flows("acme", "us", n, 50, all...)
	m.same("acme", all...)
}

func TestRejoinAfterARollback(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.settled("acme")
	m.flows("acme", "one", 0, 300, "eu-0", "us-0")
	m.backup("us-0")
	m.flows("acme", "lost", 600, 200, "eu-0", "us-0")
	routes := accounts.DefaultRoutes("acme")
	routes.Topics[0].Retention *= 2
	if _, err := m.hubs["us-0"].SetRoutes(t.Context(), "acme", routes, "test"); err != nil {
		t.Fatal(err)
	}
	m.controlled("eu-0", "acme", routes)
	m.stop("us-0")
	m.rollback("us-0")
	m.startOnly("us-0")
	m.closed("us-0", "lost data", "EVENTS of acme ends at sequence", "control state")
	m.refuses("eu-0", "acme", m.hubs["us-0"].Origin())
	m.restart("us-0") // a second start changes nothing
	m.closed("us-0", "lost data", "EVENTS of acme ends at sequence", "control state")

	r := m.rejoin("us-0")
	if len(r.Streams) != 1 || r.Streams[0].Missing != 200 || len(r.Streams[0].Events) != 200 {
		t.Fatalf("the report lists %+v", r.Streams)
	}
	s := r.Streams[0]
	listed := map[string]bool{}
	for _, e := range s.Events {
		listed[e.ID] = true
		if e.Topic != "events" || e.Seq <= s.Kept.Seq || e.At.IsZero() {
			t.Errorf("a lost event is described as %+v", e)
		}
	}
	if !listed["lost-us-0-0"] || !listed["lost-us-0-199"] || s.Newest.ID != "lost-us-0-199" {
		t.Errorf("the lost events are not the ones listed: newest %+v", s.Newest)
	}
	m.open("us-0")
	m.controlled("us-0", "acme", routes) // the newer routes won on both sides
	m.controlled("eu-0", "acme", routes)
	m.knows("acme", "eu-0", "us-0")

	publish(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), "after-eu", 100)
	publish(t, m.publisher("us-0", "acme"), m.hubs["us-0"].Origin(), "after-us", 100)
	m.converged("acme", 1200, m.patience(), "eu-0")
	m.holds("us-0", "acme", "after-eu", 100)
	m.holds("us-0", "acme", "after-us", 100)
	m.holds("us-0", "acme", "one-us-0", 300)
	m.once("acme", "eu-0", "us-0")
}

// A power cut can take the description of a stream and leave its messages: the server does not know the stream
// then, and takes the messages over when it is made anew. With the history of a peer on top they would stand twice.
func TestRejoinWithMessagesOfAnUnknownStream(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.tune = func(o *Options) { o.DedupeWindow = 100 * time.Millisecond } // which would hide the doubles
	m.start()
	m.settled("acme")
	n := m.flows("acme", "one", 0, 300, "eu-0", "us-0")
	m.stop("us-0")
	found, err := filepath.Glob(filepath.Join(m.store("us-0"), "jetstream", "*", "streams", "EVENTS", "meta.*"))
	if err != nil || len(found) != 2 {
		t.Fatalf("descriptions: %v, %v", found, err)
	}
	for _, f := range found {
		m.must(os.Truncate(f, 0)) // as a rename without a sync leaves it
	}
	m.startOnly("us-0")
	m.closed("us-0", "EVENTS of acme is gone")
	m.rejoin("us-0")
	m.open("us-0")
	publish(t, m.publisher("us-0", "acme"), m.hubs["us-0"].Origin(), "after", 100)
	m.converged("acme", n+100, m.patience(), "eu-0", "us-0")
}
