package broker

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/weft-mesh/weft/streams/fault"
)

func validOptions(t *testing.T) Options {
	t.Helper()
	key, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := key.PublicKey()
	token, err := jwt.NewOperatorClaims(public).Encode(key)
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.Name, o.Region, o.StoreDir, o.OperatorJWT = "eu-0", "eu", t.TempDir(), token
	o.SystemAccount, o.Accounts = "SYS", map[string]string{"SYS": "jwt"}
	o.Client.Port, o.Leaf.Port = 4222, 7422
	o.ClientTLS, o.LeafTLS, o.LeafClientTLS, o.RouteTLS = &tls.Config{}, &tls.Config{}, &tls.Config{}, &tls.Config{}
	return o
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Options)
		want string // in the message; "" = valid
	}{
		{"complete", func(*Options) {}, ""},
		{"no name", func(o *Options) { o.Name = "" }, "a name and a region"},
		{"no store", func(o *Options) { o.StoreDir = "" }, "store directory"},
		{"no client port", func(o *Options) { o.Client.Port = 0 }, "client listener"},
		{"no system account", func(o *Options) { o.Accounts = nil }, "system account"},
		{"payload", func(o *Options) { o.MaxPayload = 9 << 20 }, "payload"},
		{"cluster without routes", func(o *Options) { o.Cluster = &Cluster{Name: "eu"} }, "route listener"},
		{"damaged operator", func(o *Options) { o.OperatorJWT = "x.y.z" }, "operator JWT is damaged"},
		{"plain on loopback", func(o *Options) { o.ClientTLS = nil; o.Client.Host = "localhost" }, ""},
		{"plain on a network", func(o *Options) { o.LeafTLS = nil; o.Leaf.Host = "0.0.0.0" }, "leaf listener on 0.0.0.0 needs TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := validOptions(t)
			tt.edit(&o)
			_, err := New(o)
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// A reload compares old with new and applies what differs: nothing may be shared between the two.
func TestBuildSharesNothing(t *testing.T) {
	o := validOptions(t)
	o.Route.Port, o.Cluster = 6222, &Cluster{Name: "eu", Routes: []string{"nats-route://127.0.0.1:6222"}}
	links := []Link{{Account: "A", URLs: []string{"tls://127.0.0.1:1", "tls://127.0.0.1:2"}, Credentials: "c"}}
	x, err := build(o, links, nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := build(o, links, nil)
	if err != nil {
		t.Fatal(err)
	}
	rx, ry := x.LeafNode.Remotes[0], y.LeafNode.Remotes[0]
	if rx == ry || rx.URLs[0] == ry.URLs[0] || rx.TLSConfig == ry.TLSConfig || x.TLSConfig == y.TLSConfig || x.TLSConfig == o.ClientTLS ||
		x.LeafNode.TLSConfig == y.LeafNode.TLSConfig || x.Cluster.TLSConfig == y.Cluster.TLSConfig || x.TrustedOperators[0] == y.TrustedOperators[0] || x.Routes[0] == y.Routes[0] {
		t.Error("two builds share a value")
	}
	if !x.LeafNode.IsolateLeafnodeInterest || !rx.LocalIsolation || !rx.RequestIsolation || !rx.IgnoreDiscoveredServers || rx.SignatureCB != nil {
		t.Error("a full mesh of links needs isolation on both sides, and remotes without callbacks")
	}
	if x.JetStreamDomain != "eu" || !x.NoSigs || x.MaxPayload != 1<<20 || len(rx.URLs) != 2 {
		t.Errorf("options %+v", x)
	}
}

func TestSortedLinks(t *testing.T) {
	a := Link{Account: "A", URLs: []string{"u"}, Credentials: "c"}
	b := Link{Account: "B", URLs: []string{"u"}, Credentials: "c"}
	got := sortedLinks([]Link{b, a, b})
	if len(got) != 2 || got[0].Account != "A" || got[1].Account != "B" {
		t.Errorf("%+v", got)
	}
	a.URLs[0] = "changed"
	if got[0].URLs[0] != "u" {
		t.Error("the caller's slice is shared")
	}
}

func TestFaultsNameCauseAndRemedy(t *testing.T) {
	wrap := func(e error) error { return &fs.PathError{Op: "open", Path: "/d", Err: e} }
	listen := func(e error) error { return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", e)} }
	tests := []struct {
		err        error
		code, hint string
	}{
		{storeFault("op", "/d", wrap(syscall.ENOSPC)), "disk_full", "the disk of /d is full: make room"},
		{storeFault("op", "/d", wrap(syscall.EDQUOT)), "disk_full", "full"},
		{storeFault("op", "/d", errors.Join(wrap(syscall.ENOSPC), nil)), "disk_full", "full"},
		{storeFault("op", "/d", wrap(syscall.EACCES)), "store_unwritable", "check its owner and permissions"},
		{storeFault("op", "/d", wrap(syscall.EROFS)), "store_unwritable", "permissions"},
		{storeFault("op", "/d", wrap(syscall.ENOTDIR)), "store_unwritable", "not a directory"},
		{storeFault("op", "/d", wrap(syscall.EIO)), "store_failed", "cannot use /d"},
		{portFault("h:80", listen(syscall.EADDRINUSE)), "port_taken", "choose another --port-base"},
		{portFault("h:80", listen(syscall.EACCES)), "port_denied", "above 1023"},
		{portFault("h:80", listen(syscall.EADDRNOTAVAIL)), "address_unknown", "no address of this machine"},
		{portFault("h:80", listen(syscall.EMFILE)), "listen_failed", "cannot listen on h:80"},
	}
	for _, tt := range tests {
		if fault.CodeOf(tt.err) != tt.code || !strings.Contains(tt.err.Error(), tt.hint) {
			t.Errorf("%v has code %s; want %s and %q", tt.err, fault.CodeOf(tt.err), tt.code, tt.hint)
		}
	}
}

func TestStoreBelongsToOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	first, err := checkStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := checkStore(dir); fault.CodeOf(err) != "store_locked" {
		t.Errorf("%v, want store_locked", err)
	}
	first.Close()
	again, err := checkStore(dir)
	if err != nil {
		t.Fatalf("after the first let go: %v", err)
	}
	again.Close()
	if left, _ := filepath.Glob(filepath.Join(dir, ".probe-*")); len(left) > 0 {
		t.Errorf("%v left behind", left)
	}
}
