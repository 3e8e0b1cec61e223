package fleet

import (
	"fmt"
	"strings"
)

// hubConfig is the configuration file of one server.
func (f *Fleet) hubConfig(i, server int) string {
	r := f.Regions[i]
	host := f.slot.host(i, hubHost+server)
	var b strings.Builder
	fmt.Fprintf(&b, "region: %s\nserver: %d\ndata: %s\nsync: %s\ndurability: relaxed\nmax_store: 4GiB\n", r.Name, server, f.Data(), r.Sync)
	fmt.Fprintf(&b, "dedupe_window: %s\nrepair_every: %s\nrepair_after: %s\nrepair_bucket: 2s\n", f.Window, f.RepairEvery, f.RepairAfter)
	fmt.Fprintf(&b, "listen:\n  nats: %s:%d\n  leaf: %s:%d\n  route: %s:%d\n  admin: %s:%d\n  metrics: %s:%d\n",
		host, portNats, host, portLeaf, host, portRoute, host, portAdmin, host, portMetrics)
	if r.Servers > 1 {
		fmt.Fprintf(&b, "route_advertise: %s\nroutes:\n", f.slot.addr(i, deadHost, portRoute))
		for to := range r.Servers {
			if to != server {
				fmt.Fprintf(&b, "  - tls://%s\n", f.slot.addr(i, routeHost+10*server+to, portRoute))
			}
		}
	}
	if len(f.Regions) > 1 {
		b.WriteString("peers:\n")
	}
	for j, peer := range f.Regions {
		if j == i {
			continue
		}
		fmt.Fprintf(&b, "  - name: %s\n    leaf:\n", peer.Name)
		for to := range peer.Servers {
			fmt.Fprintf(&b, "      - tls://%s\n", f.slot.addr(j, leafHost+10*i+to, portLeaf))
		}
	}
	b.WriteString("log:\n  level: info\n  format: json\n")
	return b.String()
}

// relayConfig is the configuration file of a region's relay: it reaches the servers through proxies.
func (f *Fleet) relayConfig(i int) string {
	host := f.slot.host(i, relayHost)
	var b strings.Builder
	fmt.Fprintf(&b, "region: %s\nid: %s-relay\ndata: %s\n", f.Regions[i].Name, f.Regions[i].Name, f.Data())
	fmt.Fprintf(&b, "listen:\n  https: %s:%d\n  metrics: %s:%d\n", host, portHTTPS, host, portMetrics)
	fmt.Fprintf(&b, "hosts: ['%s:%d', '%s']\nhub:\n", host, portHTTPS, SharedHost)
	for server := range f.Regions[i].Servers {
		fmt.Fprintf(&b, "  - tls://%s\n", f.slot.addr(i, feedHost+server, portNats))
	}
	b.WriteString("limits:\n  ack_timeout: 3s\nlog:\n  level: info\n  format: json\n")
	return b.String()
}
