package hub

import (
	"testing"

	"github.com/weft-mesh/weft/streams/subject"
)

// A rejoin that ends after any of its steps ends in the same good state when it is run again, or when the
// region is started again.
func TestInterruptedRejoin(t *testing.T) {
	t.Parallel()
	all := []string{"eu-0", "us-0", "ap-0"}
	m := newTestMesh(t, region("eu"), region("us"), region("ap"))
	m.start()
	m.settled("acme")
	n := m.flows("acme", "one", 0, 200, all...)
	epoch := 1
	for name, steps := range map[string]func(us *Hub, to subject.Origin){
		"one peer notified": func(us *Hub, to subject.Origin) {
			m.notify("us-0", "eu", to.Epoch)
			m.restart("us-0")
			m.closed("us-0", "eu was told that this region goes on under epoch")
			m.rejoin("us-0")
		},
		"both peers notified": func(us *Hub, to subject.Origin) {
			m.notify("us-0", "eu", to.Epoch)
			m.notify("us-0", "ap", to.Epoch)
			m.restart("us-0")
			m.closed("us-0", "ap was told", "eu was told")
			m.restart("eu-0") // a peer that starts again remembers
			m.open("eu-0")
			m.rejoin("us-0")
		},
		"control moved": func(us *Hub, to subject.Origin) {
			for _, peer := range []string{"eu", "ap"} {
				m.notify("us-0", peer, to.Epoch)
			}
			us.cancel() // the gate does not see the last step any more
			us.loops.Wait()
			m.must(us.moveControl(t.Context(), to))
			m.restart("us-0")
		},
	} {
		m.wipe("us-0")
		m.startOnly("us-0")
		m.closed("us-0", "lost data")
		epoch++
		to := subject.Origin{Region: "us", Epoch: epoch}
		t.Logf("%s, on the way to %s", name, to)
		steps(m.hubs["us-0"], to)
		m.open("us-0")
		if o := m.hubs["us-0"].Origin(); o != to {
			t.Fatalf("%s: us goes on as %s, want %s", name, o, to)
		}
		m.converged("acme", n, m.patience(), all...)
		n = m.flows("acme", to.String(), n, 100, all...)
		m.same("acme", all...)
		m.knows("acme", all...)
	}
}

// The gate goes on by itself when it sees that the control state has moved.
func TestGateFollowsTheControlState(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.settled("acme")
	n := m.flows("acme", "one", 0, 100, "eu-0", "us-0")
	m.wipe("us-0")
	m.startOnly("us-0")
	m.closed("us-0", "lost data")
	us, to := m.hubs["us-0"], subject.Origin{Region: "us", Epoch: 2}
	m.notify("us-0", "eu", 2)
	m.must(us.moveControl(t.Context(), to))
	m.open("us-0")
	m.must(us.moveTo(to)) // a second time, by whoever started it
	select {
	case err := <-us.Failed():
		t.Fatal(err)
	default:
	}
	m.converged("acme", n, m.patience(), "eu-0", "us-0")
	m.flows("acme", "two", n, 100, "eu-0", "us-0")
}

// Two of three regions lose their stores at once: the third has everything, and they rejoin one after the other.
func TestTwoRegionsLostAtOnce(t *testing.T) {
	t.Parallel()
	all := []string{"eu-0", "us-0", "ap-0"}
	m := newTestMesh(t, region("eu"), region("us"), region("ap"))
	m.start()
	m.settled("acme")
	n := m.flows("acme", "one", 0, 200, all...)
	m.wipe("eu-0", "us-0")
	m.startOnly("eu-0", "us-0")
	m.closed("eu-0", "lost data")
	m.closed("us-0", "lost data")
	m.rejoin("us-0")
	m.open("us-0")
	m.closed("eu-0", "lost data")
	m.rejoin("eu-0")
	m.open("eu-0")
	// What a region that was closed itself could not give comes by the comparison between the regions.
	m.knows("acme", all...)
	m.serves("acme", all...)
	m.holds("ap-0", "acme", "one-eu-0", 200)
	for _, s := range all {
		publish(t, m.publisher(s, "acme"), m.hubs[s].Origin(), "two-"+s, 50)
	}
	for _, s := range all {
		for _, from := range all {
			m.holds(s, "acme", "two-"+from, 50)
		}
	}
	m.converged("acme", n+150, m.patience(), "ap-0")
	m.once("acme", all...)
}

// A region that is put back to a copy from before its peer's rejoin lost nothing of its own, and still must not
// read the peer's stream, which is another one now, as if it were the old.
func TestRollbackBeforeAPeersRejoin(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"), region("us"))
	m.start()
	m.settled("acme")
	n := m.flows("acme", "one", 0, 200, "eu-0", "us-0")
	m.backup("us-0")
	m.wipe("eu-0")
	m.startOnly("eu-0")
	m.closed("eu-0", "lost data")
	m.rejoin("eu-0")
	m.open("eu-0")
	m.converged("acme", n, m.patience(), "eu-0", "us-0")
	m.stop("us-0")
	m.rollback("us-0")
	m.startOnly("us-0")
	if m.hubs["us-0"].Ready() != nil { // it wrote to the control state since
		m.rejoin("us-0")
	}
	m.open("us-0")
	m.flows("acme", "two", n, 100, "eu-0", "us-0")
	m.same("acme", "eu-0", "us-0")
}
