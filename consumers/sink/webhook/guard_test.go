package webhook

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/streams/fault"
)

func TestGuard(t *testing.T) {
	public := []string{"1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "169.253.0.1", "223.255.255.255",
		"2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"}
	private := []string{
		"0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.1.1", "169.254.169.254",
		"192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"168.63.129.16", "100.100.100.200", "192.0.0.192", // clouds
		"::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "5f00::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", // IPv4 in IPv6
		"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "3fff::1",
	}
	for _, s := range public {
		if why := (guard{}).refuses(netip.MustParseAddr(s)); why != "" {
			t.Errorf("%s is refused: %s", s, why)
		}
	}
	for _, s := range private {
		address := netip.AddrPortFrom(netip.MustParseAddr(s), 443).String()
		if err := (guard{}).control("tcp", address, nil); fault.CodeOf(err) != codeDenied || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestGuardLists(t *testing.T) {
	p := netip.MustParsePrefix
	for name, c := range map[string]struct {
		allow, deny []netip.Prefix
		addr        string
		ok          bool
	}{
		"allowed":                      {[]netip.Prefix{p("10.1.0.0/16")}, nil, "10.1.2.3", true},
		"mapped":                       {[]netip.Prefix{p("10.1.0.0/16")}, nil, "::ffff:10.1.2.3", true},
		"through NAT64":                {[]netip.Prefix{p("10.1.0.0/16")}, nil, "64:ff9b::10.1.2.3", true},
		"beside it":                    {[]netip.Prefix{p("10.1.0.0/16")}, nil, "10.2.0.1", false},
		"denied":                       {nil, []netip.Prefix{p("8.8.8.0/24")}, "8.8.8.8", false},
		"denied, mapped":               {nil, []netip.Prefix{p("8.8.8.0/24")}, "::ffff:8.8.8.8", false},
		"denied wins":                  {[]netip.Prefix{p("10.0.0.0/8")}, []netip.Prefix{p("10.1.0.0/16")}, "10.1.2.3", false},
		"metadata in a wide prefix":    {[]netip.Prefix{p("0.0.0.0/0"), p("::/0")}, nil, "169.254.169.254", false},
		"metadata in a small prefix":   {[]netip.Prefix{p("169.254.169.254/31")}, nil, "169.254.169.254", false},
		"metadata by itself":           {[]netip.Prefix{p("169.254.169.254/32")}, nil, "169.254.169.254", true},
		"metadata of IPv6":             {[]netip.Prefix{p("fd00::/8")}, nil, "fd00:ec2::254", false},
		"metadata, mapped, everything": {[]netip.Prefix{p("0.0.0.0/0"), p("::/0")}, nil, "::ffff:169.254.169.254", false},
		"zone":                         {[]netip.Prefix{p("fe80::/10")}, nil, "fe80::1%lo", false},
	} {
		if why := (guard{allow: c.allow, deny: c.deny}).refuses(netip.MustParseAddr(c.addr)); (why == "") != c.ok {
			t.Errorf("%s: %q", name, why)
		}
	}
	if err := (guard{}).control("tcp", "unix-socket", nil); fault.CodeOf(err) != codeDenied {
		t.Errorf("what is no address: %v", err)
	}
}

// However an IPv4 address is spelled in IPv6, the answer is the same.
func TestGuardSeesThroughSpellings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a [4]byte
		copy(a[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))
		plain := netip.AddrFrom4(a)
		nat := netip.MustParseAddr("64:ff9b::").As16()
		copy(nat[12:], a[:])
		var g guard
		for _, spelled := range []netip.Addr{netip.AddrFrom16(plain.As16()), netip.AddrFrom16(nat)} {
			if g.refuses(plain) != g.refuses(spelled) {
				t.Fatalf("%s and %s differ", plain, spelled)
			}
		}
		if (plain.IsPrivate() || plain.IsLoopback() || !plain.IsGlobalUnicast()) && g.refuses(plain) == "" {
			t.Fatalf("%s is let through", plain)
		}
	})
}
