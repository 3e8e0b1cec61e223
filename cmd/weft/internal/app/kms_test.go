package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// masters waits until a region's server and relays hold and use master keys as want says.
func (m *keyMesh) masters(region string, want func(*hub.MasterView) bool) {
	m.t.Helper()
	streamtest.Eventually(m.t, 30*time.Second, func() (bool, string) {
		v, err := m.hubs[region].Masters(m.t.Context())
		must(m.t, err)
		return want(v), fmt.Sprintf("%s: %+v, %+v", region, v.Rings[identity.RequestRing], v.Rings[identity.SeedRing])
	})
}

// The master keys change while producers send: no request is refused, a relay that does not hold the new key keeps
// everything as it is, and a revocation that a rewrap did not see holds.
func TestMasterKeysChangeUnderLoad(t *testing.T) {
	m := newKeyMesh(t)
	keys := []*held{m.add("eu"), m.add("us"), m.add("eu")}
	var good atomic.Int64
	done := make(chan struct{})
	var producers sync.WaitGroup
	for i, region := range []string{"eu", "us"} {
		producers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if status, code := m.post(region, keys[i]); status != http.StatusAccepted {
					t.Errorf("a valid request was refused in %s: %d %s", region, status, code)
					return
				}
				good.Add(1)
			}
		})
	}
	ids := m.newMasters()
	if _, err := m.hubs["us"].Rewrap(t.Context(), nil, "test"); err != nil {
		t.Fatal(err)
	}
	sealedAnew := func(v *hub.MasterView) bool {
		return v.Rings[identity.RequestRing].Records[ids[identity.RequestRing]] == 4 && len(v.Rings[identity.RequestRing].Records) == 1 &&
			v.Rings[identity.SeedRing].Records[ids[identity.SeedRing]] == 1 && len(v.Rings[identity.SeedRing].Records) == 1
	}
	for _, region := range []string{"eu", "us"} {
		m.masters(region, sealedAnew)
	}
	for _, ring := range identity.Rings() {
		must(t, identity.RetireMasters(m.dir, ring))
	}
	for _, region := range []string{"eu", "us"} {
		m.masters(region, func(v *hub.MasterView) bool {
			return len(v.Rings[identity.RequestRing].Held) == 1 && len(v.Rings[identity.SeedRing].Held) == 1
		})
	}
	close(done)
	producers.Wait()
	if good.Load() < 10 {
		t.Errorf("%d requests prove too little", good.Load())
	}
	m.accepted("us", m.add("us")) // the new keys are in use on both sides
}

// newMasters adds master keys everywhere but at one relay, insists that nothing is sealed with them then, and
// completes and promotes them.
func (m *keyMesh) newMasters() map[identity.Ring]string {
	m.t.Helper()
	lacking := filepath.Join(m.dir, "regions", "us", "relay", "master.age")
	old, err := os.ReadFile(lacking)
	must(m.t, err)
	ids := map[identity.Ring]string{}
	for _, ring := range identity.Rings() {
		ids[ring], err = identity.AddMaster(m.dir, ring)
		must(m.t, err)
		must(m.t, identity.PromoteMaster(m.dir, ring, ids[ring]))
	}
	must(m.t, os.WriteFile(lacking, old, 0o600))
	m.masters("us", func(v *hub.MasterView) bool {
		return v.Rings[identity.RequestRing].Held[0] == ids[identity.RequestRing]
	})
	m.masters("eu", func(v *hub.MasterView) bool {
		return v.Rings[identity.RequestRing].Held[0] == ids[identity.RequestRing] && len(v.Rings[identity.RequestRing].Lacking) == 0
	})
	if _, err := m.hubs["eu"].Rewrap(soon(m.t), nil, "test"); fault.CodeOf(err) != "region_behind" || !strings.Contains(err.Error(), "r2") {
		m.t.Errorf("a relay does not hold the new master key: %v", err)
	}
	for kid, k := range m.hubs["eu"].State().Keys {
		if k.Sealed != "" && keyring.MasterOf(k.Sealed) == ids[identity.RequestRing] {
			m.t.Errorf("%s is sealed with a master key that a relay does not hold", kid)
		}
	}
	for _, ring := range identity.Rings() {
		must(m.t, identity.PromoteMaster(m.dir, ring, ids[ring])) // as the run that is started again does
	}
	m.masters("us", func(v *hub.MasterView) bool { return len(v.Rings[identity.RequestRing].Lacking) == 0 })
	return ids
}

// A rewrap in one region does not bring a key back that the other revoked while they were cut off from each other.
func TestRewrapDoesNotUndoARevocation(t *testing.T) {
	m := newKeyMesh(t)
	k := m.add("eu")
	for _, ring := range identity.Rings() {
		id, err := identity.AddMaster(m.dir, ring)
		must(t, err)
		must(t, identity.PromoteMaster(m.dir, ring, id))
	}
	for _, region := range []string{"eu", "us"} {
		m.masters(region, func(v *hub.MasterView) bool {
			return len(v.Rings[identity.RequestRing].Held) == 2 && len(v.Rings[identity.RequestRing].Lacking) == 0
		})
	}
	m.cutter.Cut()
	_, err := m.hubs["us"].RevokeKey(soon(t), k.kid, false, "test")
	must(t, err)
	if r, err := m.hubs["eu"].Rewrap(t.Context(), []string{"us"}, "test"); err != nil || r.Done == 0 || r.Left != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	m.accepted("eu", k)
	m.cutter.Heal()
	streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
		eu, us := m.hubs["eu"].State().Keys[k.kid], m.hubs["us"].State().Keys[k.kid]
		_, code := m.post("eu", k)
		return eu.State == keyring.Revoked && us.State == keyring.Revoked && code == "key_revoked", fmt.Sprintf("%s in eu, %s in us, %s", eu.State, us.State, code)
	})
}
