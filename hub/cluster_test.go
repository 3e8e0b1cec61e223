package hub

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/streamtest"
)

// clusterOpens waits until every server of a region is open, and restarts those that say they have to end, as
// a supervisor does.
func (m *testMesh) clusterOpens(servers ...string) {
	m.t.Helper()
	streamtest.Eventually(m.t, time.Minute, func() (bool, string) {
		for _, s := range servers {
			select {
			case <-m.hubs[s].Failed():
				m.restart(s)
				return false, s + " was started again"
			default:
			}
			if err := m.hubs[s].Ready(); err != nil {
				return false, s + ": " + err.Error()
			}
		}
		return true, ""
	})
	m.open(servers...)
}

// A region of three servers loses one of them, then all, then is put back to an older copy.
func TestRejoinOfACluster(t *testing.T) {
	t.Parallel()
	us := []string{"us-0", "us-1", "us-2"}
	m := newTestMesh(t, region("eu"), cluster("us"))
	m.start()
	m.settled("acme")
	n := m.flows("acme", "one", 0, 300, "eu-0", "us-1")

	m.wipe("us-1")
	m.startOnly("us-1")
	m.clusterOpens(us...)
	n = m.flows("acme", "two", n, 100, "eu-0", "us-1")
	if o := m.hubs["us-1"].Origin(); o.Epoch != 1 {
		t.Fatalf("one wiped server of three made the region go on as %s", o)
	}

	for _, epoch := range []string{"us_2", "us_3"} {
		m.wipe(us...)
		m.startOnly(us...)
		for _, s := range us {
			m.closed(s, "lost data")
		}
		m.refuses("eu-0", "acme", m.hubs["us-0"].Origin())
		m.rejoin("us-2")
		m.clusterOpens(us...)
		for _, s := range us {
			if o := m.hubs[s].Origin().String(); o != epoch {
				t.Errorf("%s goes on as %s, want %s", s, o, epoch)
			}
		}
		m.converged("acme", n, m.patience(), "eu-0", "us-0")
		n = m.flows("acme", epoch, n, 100, "eu-0", "us-0")
		m.same("acme", "eu-0", "us-0")
		m.knows("acme", "eu-0", "us-0", "us-1", "us-2")
	}
}

func TestRollbackOfACluster(t *testing.T) {
	t.Parallel()
	us := []string{"us-0", "us-1", "us-2"}
	m := newTestMesh(t, region("eu"), cluster("us"))
	m.start()
	m.settled("acme")
	m.flows("acme", "one", 0, 200, "eu-0", "us-0")
	m.backup(us...)
	m.flows("acme", "lost", 400, 100, "eu-0", "us-0")
	for _, s := range us {
		m.stop(s)
	}
	m.rollback(us...)
	m.startOnly(us...)
	for _, s := range us {
		m.closed(s, "lost data", "EVENTS of acme ends at sequence")
	}
	r := m.rejoin("us-1")
	if len(r.Streams) != 1 || r.Streams[0].Missing != 100 {
		t.Errorf("the report lists %+v", r.Streams)
	}
	m.clusterOpens(us...)
	publish(t, m.publisher("us-2", "acme"), m.hubs["us-2"].Origin(), "after-us", 50)
	publish(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), "after-eu", 50)
	m.holds("eu-0", "acme", "after-us", 50)
	m.holds("us-0", "acme", "after-eu", 50)
	m.once("acme", "eu-0", "us-0")
}
