// Package fleet runs a mesh of real processes on loopback addresses of its own: hubs and relays as operators run
// them, with a proxy on every path between two of them, so that a rig can break what breaks in the field.
//
// cmd/rig's trials use it. A Fleet's methods may be called from any goroutine; whoever changes the same process
// or link from two of them gets one of the two outcomes.
package fleet

import (
	"fmt"
	"net"
	"time"
)

// Ports of every process; the addresses differ.
const (
	portNats    = 4222
	portLeaf    = 7422
	portRoute   = 6222
	portAdmin   = 8480
	portMetrics = 8490
	portHTTPS   = 8443
)

// SharedHost is a name of every relay: requests that are signed for it are good at all of them.
const SharedHost = "events.rig"

// Region is one region of the mesh.
type Region struct {
	Name    string
	Servers int    // 1 or 3
	Sync    string // "interval" or "always"
}

// Spec describes a mesh.
type Spec struct {
	Dir     string // everything that the mesh writes
	Weft    string // the binary
	Regions []Region
	Tenants []Tenant

	Window      time.Duration // dedupe window
	RepairEvery time.Duration
	RepairAfter time.Duration
}

// The last byte of the addresses within a region.
const (
	hubHost    = 1   // + server
	relayHost  = 10  //
	feedHost   = 20  // + server: proxies from the relay to the hubs
	leafHost   = 30  // + 10 * soliciting region + server
	routeHost  = 100 // + 10 * from + to: proxies between the servers
	deadHost   = 200 // nobody listens: what servers gossip of their routes leads nowhere
	guardPort  = 4999
	firstSlot  = 20
	lastSlot   = 120
	maxServers = 3
)

// slot is a block 127.N.0.0/16 that one fleet holds.
type slot struct {
	number int
	guard  net.Listener
}

// takeSlot finds a block that no other rig on this machine holds.
func takeSlot() (*slot, error) {
	for n := firstSlot; n <= lastSlot; n++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.255.1:%d", n, guardPort))
		if err != nil {
			continue
		}
		s := &slot{n, l}
		if s.free() {
			return s, nil
		}
		_ = l.Close()
	}
	return nil, fmt.Errorf("all loopback blocks 127.%d to 127.%d are taken", firstSlot, lastSlot)
}

// free says whether nothing listens where a hub would: a rig that was killed can leave one that hangs.
func (s *slot) free() bool {
	l, err := net.Listen("tcp", s.addr(0, hubHost, portMetrics))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}

func (s *slot) host(region, last int) string {
	return fmt.Sprintf("127.%d.%d.%d", s.number, region, last)
}

func (s *slot) addr(region, last, port int) string {
	return fmt.Sprintf("%s:%d", s.host(region, last), port)
}

// hosts are all addresses at which something of the region presents its certificate, proxies included.
func (s *slot) hosts(region, regions int) []string {
	out := []string{s.host(region, relayHost)}
	for i := range maxServers {
		out = append(out, s.host(region, hubHost+i), s.host(region, feedHost+i))
		for from := range regions {
			out = append(out, s.host(region, leafHost+10*from+i))
		}
		for j := range maxServers {
			out = append(out, s.host(region, routeHost+10*i+j))
		}
	}
	return out
}
