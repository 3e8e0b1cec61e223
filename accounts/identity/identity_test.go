package identity

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

func mesh(regions ...string) Mesh {
	m := Mesh{}
	for _, r := range regions {
		m.Regions = append(m.Regions, Region{Name: r})
	}
	return m
}

func made(t *testing.T, dir string, regions ...string) {
	t.Helper()
	if err := Create(dir, mesh(regions...)); err != nil {
		t.Fatal(err)
	}
}

// tree reads every file below dir.
func tree(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		out[rel] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func hub(t *testing.T, dir, region string) *Hub {
	t.Helper()
	h, err := LoadHub(dir, region)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestCreateAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	made(t, dir, "eu", "us")
	eu, us := hub(t, dir, "eu"), hub(t, dir, "us")
	if eu.Home == nil || us.Home != nil || eu.Mesh.Home != "eu" || eu.Mesh.Name != "weft" {
		t.Error("the first region is not the control home")
	}
	if eu.Control.Public != us.Control.Public || eu.Audit.Public != us.Audit.Public || eu.OperatorJWT != us.OperatorJWT {
		t.Error("the regions do not share CONTROL, AUDIT and operator")
	}
	if eu.System.Public == us.System.Public {
		t.Error("the regions share a system account")
	}
	if eu.Control.Name != "CONTROL" || eu.Audit.Name != "AUDIT" || eu.System.Name != "SYSTEM" {
		t.Error(eu.Control.Name, eu.Audit.Name, eu.System.Name)
	}
	for _, h := range []*Hub{eu, us} {
		for _, a := range []Account{h.System, h.Control, h.Audit} {
			if _, _, err := issuer.User(issuer.UserSpec{Name: "x", Account: a.Public, SigningSeed: a.SigningSeed}); err != nil {
				t.Errorf("%s: %v", a.Name, err)
			}
			claims, err := jwt.DecodeAccountClaims(a.JWT)
			if err != nil || claims.Subject != a.Public || claims.Limits.IsJSEnabled() == (a.Name == "SYSTEM") {
				t.Errorf("%s: %v", a.Name, err)
			}
		}
	}
	if _, err := issuer.NewAccount(eu.Home.Operator, issuer.AccountSpec{Name: "acme"}); err != nil {
		t.Error("the home cannot make accounts:", err)
	}
	relay, err := LoadRelay(dir, "us")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := eu.Sealer.Seal(t.Context(), []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := relay.Sealer.Open(t.Context(), sealed); err != nil || string(got.Bytes()) != "secret" {
		t.Error("a relay does not open what a hub sealed:", err)
	}
	creds, err := os.ReadFile(relay.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.ParseDecoratedJWT(creds)
	if err != nil {
		t.Fatal(err)
	}
	user, err := jwt.DecodeUserClaims(token)
	if err != nil || user.IssuerAccount != us.Control.Public || !user.Pub.Allow.Contains("weft.us.credential") || user.Expires != 0 {
		t.Errorf("relay's user: %+v %v", user, err)
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	m := mesh("eu")
	m.Regions[0].Hosts = []string{"10.0.0.7", "relay.eu.example.com"}
	if err := Create(dir, m); err != nil {
		t.Fatal(err)
	}
	h := hub(t, dir, "eu")
	r, err := LoadRelay(dir, "eu")
	if err != nil {
		t.Fatal(err)
	}
	ca, adminCert, adminKey := AdminFiles(dir)
	for _, tc := range []struct{ cert, key, ca, want string }{
		{h.CertFile, h.KeyFile, h.CAFile, "spiffe://weft/hub/eu"}, {r.CertFile, r.KeyFile, r.CAFile, "spiffe://weft/relay/eu"}, {adminCert, adminKey, ca, "spiffe://weft/operator"},
	} {
		pair, err := tls.LoadX509KeyPair(tc.cert, tc.key)
		if err != nil {
			t.Fatal(err)
		}
		p, err := pki.FromCertificate(pair.Leaf)
		if err != nil || p.URI() != tc.want {
			t.Errorf("%s: %v %v", tc.cert, p, err)
		}
		if p.Role != pki.RoleOperator && (pair.Leaf.VerifyHostname("10.0.0.7") != nil || pair.Leaf.VerifyHostname("relay.eu.example.com") != nil || pair.Leaf.VerifyHostname("localhost") == nil) {
			t.Errorf("%s is not for the region's hosts", tc.cert)
		}
		if _, err := pki.Open(pki.FilesOptions{Cert: tc.cert, Key: tc.key, CA: tc.ca}); err != nil {
			t.Error(err)
		}
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	made(t, dir, "eu")
	master := filepath.Join(dir, "operator", masterFile)
	if err := errors.Join(os.Chmod(master, 0o644), os.Chmod(filepath.Join(dir, "regions"), 0o755)); err != nil {
		t.Fatal(err)
	}
	made(t, dir, "eu")
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if want := fs.FileMode(0o600); !d.IsDir() && info.Mode().Perm() != want {
			t.Errorf("%s: %v", path, info.Mode())
		}
		if d.IsDir() && info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCreateAgainChangesNothing(t *testing.T) {
	dir := t.TempDir()
	made(t, dir, "eu", "us")
	before := tree(t, dir)
	made(t, dir, "eu", "us")
	compare(t, before, tree(t, dir), nil)
}

// compare fails for each file of before that is gone or other, except those that changed says may be.
func compare(t *testing.T, before, after map[string][]byte, changed func(name string) bool) {
	t.Helper()
	for name, text := range before {
		if !bytes.Equal(after[name], text) && (changed == nil || !changed(name)) {
			t.Errorf("%s changed", name)
		}
	}
}

func TestAddRegion(t *testing.T) {
	dir := t.TempDir()
	made(t, dir, "eu", "us")
	before := tree(t, dir)
	made(t, dir, "eu", "us", "ap")
	compare(t, before, tree(t, dir), func(name string) bool { return filepath.Base(name) == meshFile })
	ap := hub(t, dir, "ap")
	if ap.Control.Public != hub(t, dir, "eu").Control.Public || len(ap.Mesh.Regions) != 3 || ap.Home != nil {
		t.Error("the new region is not of the mesh")
	}
	if len(hub(t, dir, "eu").Mesh.Regions) != 3 {
		t.Error("the old region does not know of the new one")
	}
	for name, m := range map[string]Mesh{
		"region_missing": mesh("eu", "us"),
		"other_home":     {Home: "us", Regions: mesh("eu", "us", "ap").Regions},
		"other_mesh":     {Name: "elsewhere", Regions: mesh("eu", "us", "ap").Regions},
	} {
		if err := Create(dir, m); fault.CodeOf(err) != name || fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFolderStandsAlone copies one region's folders elsewhere, as to another machine.
func TestFolderStandsAlone(t *testing.T) {
	dir, there := t.TempDir(), t.TempDir()
	made(t, dir, "eu", "us")
	for _, r := range []string{"eu", "us"} {
		if err := os.CopyFS(filepath.Join(there, "regions", r), os.DirFS(filepath.Join(dir, "regions", r))); err != nil {
			t.Fatal(err)
		}
	}
	if h := hub(t, there, "eu"); h.Home == nil || h.Home.CA == nil {
		t.Error("the copied home cannot make tenants")
	}
	hub(t, there, "us")
	if _, err := LoadRelay(there, "us"); err != nil {
		t.Error(err)
	}
	// a region that moved away is made again with the keys that it has there
	if err := os.RemoveAll(filepath.Join(dir, "regions", "us")); err != nil {
		t.Fatal(err)
	}
	made(t, dir, "eu", "us")
	if hub(t, dir, "us").System.Public != hub(t, there, "us").System.Public {
		t.Error("made again with another system account")
	}
}

func TestRenewal(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	made(t, dir, "eu")
	serial := func() string {
		pair, err := tls.LoadX509KeyPair(hub(t, dir, "eu").CertFile, hub(t, dir, "eu").KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.String()
	}
	first := serial()
	create := func(m Mesh, at time.Time) {
		t.Helper()
		if err := create(dir, m, at); err != nil {
			t.Fatal(err)
		}
	}
	if create(mesh("eu"), now.Add(certLife*6/10)); serial() != first {
		t.Error("renewed with more than a third of its life left")
	}
	create(mesh("eu"), now.Add(certLife*7/10))
	second := serial()
	if second == first {
		t.Error("not renewed with less than a third of its life left")
	}
	m := mesh("eu")
	m.Regions[0].Hosts = []string{"127.0.0.1", "new.example.com"}
	create(m, now)
	third := serial()
	if third == second {
		t.Error("not renewed for another host")
	}
	h := hub(t, dir, "eu")
	if err := os.WriteFile(h.KeyFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if create(m, now); serial() == third {
		t.Error("a broken pair was kept")
	}
}

func TestCreateInParallel(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := Create(dir, mesh("eu", "us")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	before := tree(t, dir)
	made(t, dir, "eu", "us")
	compare(t, before, tree(t, dir), nil)
	if hub(t, dir, "eu").Control.Public != hub(t, dir, "us").Control.Public {
		t.Error("two meshes in one directory")
	}
}

func TestMeshChecks(t *testing.T) {
	for want, m := range map[string]Mesh{
		`the control home "" is not one of the mesh's regions`:                   {},
		`the control home "ap" is not one of the mesh's regions`:                 {Home: "ap", Regions: mesh("eu").Regions},
		`mesh name "Weft": want [a-z][a-z0-9-]{0,31}`:                            {Name: "Weft", Regions: mesh("eu").Regions},
		`region name "EU": want [a-z][a-z0-9-]{0,30}`:                            mesh("EU"),
		`region name "../x": want [a-z][a-z0-9-]{0,30}`:                          mesh("../x"),
		`region "eu" is named twice`:                                             mesh("eu", "eu"),
		`region "eu": 2 servers; a cluster has 1, 3 or 5`:                        {Regions: []Region{{Name: "eu", Servers: 2}}},
		`region "eu": weight -1; want more than 0 and at most 1000`:              {Regions: []Region{{Name: "eu", Weight: -1}}},
		`region "eu": host "a b" is neither an IP address nor a host name`:       {Regions: []Region{{Name: "eu", Hosts: []string{"a b"}}}},
		`region "eu": host "https://x" is neither an IP address nor a host name`: {Regions: []Region{{Name: "eu", Hosts: []string{"https://x"}}}},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		err := Create(dir, m)
		if f, ok := errors.AsType[*fault.Error](err); !ok || f.Detail != want || f.Kind != fault.Invalid {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if exists(dir) {
			t.Error("made a directory for a mesh that cannot be")
		}
	}
}

func TestLoadedIdentityShowsNoSecret(t *testing.T) {
	dir := t.TempDir()
	made(t, dir, "eu")
	h := hub(t, dir, "eu")
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		text := fmt.Sprintf(verb, h) + fmt.Sprintf(verb, *h) + fmt.Sprintf(verb, h.Home) + fmt.Sprintf(verb, *h.Home)
		for _, s := range []string{string(h.Control.SigningSeed), fmt.Sprintf("%d", []byte(h.Control.SigningSeed)), "AGE-SECRET", "PRIVATE KEY", string(h.Home.Operator.SigningSeed())} {
			if strings.Contains(text, s) {
				t.Errorf("%s shows a secret", verb)
			}
		}
	}
}

// A relay that fell into wrong hands can forge requests, but not mint users of a tenant's account.
func TestRelaysCannotOpenSeeds(t *testing.T) {
	dir := t.TempDir()
	if err := Create(dir, Mesh{Regions: []Region{{Name: "eu"}}}); err != nil {
		t.Fatal(err)
	}
	hub, err := LoadHub(dir, "eu")
	if err != nil {
		t.Fatal(err)
	}
	relay, err := LoadRelay(dir, "eu")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := hub.Seeds.Seal(t.Context(), []byte("seed"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := relay.Sealer.Open(t.Context(), sealed); err == nil {
		t.Error("a relay's key opened the seed of an account")
	}
	if _, err := os.Stat(filepath.Join(relayFolder(dir, "eu"), seedsFile)); err == nil {
		t.Error("a relay's folder holds the key of the seeds")
	}
}
