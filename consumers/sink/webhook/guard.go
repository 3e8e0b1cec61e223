package webhook

import (
	"net/netip"
	"slices"
	"syscall"

	"github.com/weft-mesh/weft/streams/fault"
)

// guard decides which addresses may be dialled. It is asked with the address itself, after the name was resolved and
// before anything is sent, so that it makes no difference what a name meant a moment ago.
type guard struct{ allow, deny []netip.Prefix }

// control is a net.Dialer's Control.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	why := "it is no IP address"
	if err == nil {
		why = g.refuses(to.Addr())
	}
	if why == "" {
		return nil
	}
	return fault.New(opWrite, fault.Unavailable, codeDenied, "the address %s is not dialled: %s", address, why)
}

// refuses says why an address is not dialled, "" if it is.
func (g guard) refuses(addr netip.Addr) string {
	if addr.Zone() != "" {
		return "it is of this machine's own networks"
	}
	addr = addr.Unmap()
	if embedded, ok := translated(addr); ok {
		addr = embedded
	}
	in := func(p netip.Prefix) bool { return p.Contains(addr) }
	itself := func(p netip.Prefix) bool { return p.IsSingleIP() && in(p) }
	switch {
	case slices.ContainsFunc(g.deny, in):
		return "it is on the list of what is denied"
	case slices.ContainsFunc(g.allow, itself):
		return ""
	case slices.Contains(metadata[:], addr):
		return "a cloud gives out credentials there; allow this one address if that is meant"
	case slices.ContainsFunc(g.allow, in):
		return ""
	case addr.Is6() && !globalUnicast.Contains(addr), slices.ContainsFunc(special[:], in):
		return "it is not public; allow it if that is meant"
	}
	return ""
}

// translated is the IPv4 address that a NAT64 gateway makes of an address (RFC 6052, the well-known prefix). Gateways with
// prefixes of their own are for Options.Deny.
func translated(addr netip.Addr) (netip.Addr, bool) {
	if !netip.MustParsePrefix("64:ff9b::/96").Contains(addr) {
		return addr, false
	}
	all := addr.As16()
	return netip.AddrFrom4([4]byte(all[12:])), true
}

// globalUnicast is all of IPv6 that is given out to hosts.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// special are the blocks that lead to no public host, by IANA's registries of special-purpose addresses (RFC 6890), and
// those of multicast and of the future. Of IPv6 these are the ones within globalUnicast.
var special = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"),
}

// metadata are addresses at which clouds give credentials to whoever asks: AWS (instances, ECS, EKS), Azure's host, which
// has a public address, Google, Alibaba and Oracle.
var metadata = [...]netip.Addr{
	netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("169.254.170.2"),
	netip.MustParseAddr("169.254.170.23"), netip.MustParseAddr("fd00:ec2::23"), netip.MustParseAddr("168.63.129.16"),
	netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"),
}
