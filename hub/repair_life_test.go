package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// The server that compares goes away right after a loss: another one takes over, indexes anew and repairs once.
func TestRepairSurvivesItsLeader(t *testing.T) {
	m := newTestMesh(t, identity.Region{Name: "eu", Servers: 1, Weight: 1}, identity.Region{Name: "us", Servers: 3, Weight: 1})
	m.tune = func(o *Options) {
		o.RepairEvery, o.RepairAfter, o.RepairBucket, o.DedupeWindow = 200*time.Millisecond, time.Second, time.Second, shortWindow
	}
	m.start()
	m.tenant("acme")
	m.deletable("us-0", "acme")
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		_, err := eventsInfo(t.Context(), m.hubs["us-0"].tenancyOf("acme").openSession())
		return err == nil, fmt.Sprint(err)
	})
	send(t, m.publisher("eu-0", "acme"), m.hubs["eu-0"].Origin(), samples("eu", 30)...)
	streamtest.Eventually(t, 40*time.Second, func() (bool, string) {
		n := len(m.all("us-0", "acme"))
		return n == 30, fmt.Sprintf("us holds %d of 30", n)
	})
	m.lose("us-0", "acme", "eu-3", "eu-4", "eu-5")
	leader := ""
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		for name, h := range m.hubs {
			if strings.HasPrefix(name, "us-") && h.leads() {
				leader = name
			}
		}
		return leader != "", "no server of us leads"
	})
	m.stop(leader)
	left := ""
	for name := range m.hubs {
		if strings.HasPrefix(name, "us-") {
			left = name
		}
	}
	streamtest.Eventually(t, 60*time.Second, func() (bool, string) {
		have := m.all(left, "acme")
		for id, copies := range have {
			if len(copies) != 1 {
				t.Fatalf("%s is stored %d times", id, len(copies))
			}
		}
		return len(have) == 30, fmt.Sprintf("%d of 30 events; %+v", len(have), m.hubs[left].Status().Repair)
	})
	m.leavesNoConsumers(left, "acme")
}

// leavesNoConsumers insists that scans delete their consumers, of which a tenant may have a limited number. One may be
// under way.
func (m *testMesh) leavesNoConsumers(server, tenant string) {
	m.t.Helper()
	st, err := m.hubs[server].tenancyOf(tenant).openSession().js.Stream(m.t.Context(), "EVENTS")
	if err != nil {
		m.t.Fatal(err)
	}
	n := 0
	list := st.ListConsumers(m.t.Context())
	for c := range list.Info() {
		if c.Config.HeadersOnly {
			n++
		}
	}
	if list.Err() != nil || n > 2 {
		m.t.Errorf("%d consumers of scans are left (%v)", n, list.Err())
	}
}

// A tenant that is removed while it is compared leaves nothing of itself behind, and a peer that is down stops
// neither the comparison with others nor the hub.
func TestRepairOfWhatGoesAway(t *testing.T) {
	m := newRepairMesh(t, shortWindow, TenantSpec{Name: "acme"}, "eu", "us", "ap")
	m.deletable("eu-0", "acme")
	send(t, m.publisher("us-0", "acme"), m.hubs["us-0"].Origin(), samples("us", 30)...)
	m.converged("acme", 30, 20*time.Second, "eu-0", "us-0", "ap-0")
	m.compared("eu-0", time.Now())
	m.stop("us-0")
	m.lose("eu-0", "acme", "us-3", "us-4")
	m.converged("acme", 30, 40*time.Second, "eu-0", "ap-0") // ap has them too
	eu := m.hubs["eu-0"]
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		s := eu.Status().Repair["acme"]
		return s["us"].Error != "" && s["ap"].Error == "", fmt.Sprintf("%+v", s)
	})
	if _, err := eu.RemoveTenant(t.Context(), "acme", false, "test"); err != nil && !strings.Contains(err.Error(), "[us] will follow") {
		t.Fatal(err)
	}
	streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
		n := eu.repairedSoFar("acme")
		return eu.Status().Repair == nil && n == 0, fmt.Sprintf("%+v, %v repaired", eu.Status().Repair, n)
	})
}
