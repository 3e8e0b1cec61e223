package meshfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/streams/fault"
)

// golden is the file as it is documented; readers in other languages rely on every name in it.
const golden = `{"ca":"pki/ca.pem",
 "regions":[{"name":"eu","origin":"eu_1","relay":"https://127.0.0.1:18443","nats":"tls://127.0.0.1:18422","admin":"https://127.0.0.1:18480","metrics":"http://127.0.0.1:18490"}],
 "tenants":[{"name":"acme","kid":"acme-1","secret_file":"tenants/acme/acme-1.key","client_cert":"tenants/acme/client.pem","client_key":"tenants/acme/client-key.pem","consumer_creds":"tenants/acme/consumer.creds"}]}`

func sample() *Mesh {
	return &Mesh{
		CA: "pki/ca.pem",
		Regions: []Region{{
			Name: "eu", Origin: "eu_1", Relay: "https://127.0.0.1:18443", NATS: "tls://127.0.0.1:18422",
			Admin: "https://127.0.0.1:18480", Metrics: "http://127.0.0.1:18490",
		}},
		Tenants: []Tenant{{
			Name: "acme", Kid: "acme-1", SecretFile: "tenants/acme/acme-1.key", ClientCert: "tenants/acme/client.pem",
			ClientKey: "tenants/acme/client-key.pem", ConsumerCreds: "tenants/acme/consumer.creds",
		}},
	}
}

func TestWriteIsTheDocumentedFile(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, sample()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, FileName)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(raw, &got), json.Unmarshal([]byte(golden), &want)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("mesh.json is\n%s\nwant\n%s", raw, golden)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode(), err)
	}
}

func TestReadResolvesPaths(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(golden), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Path(m.CA), filepath.Join(dir, "pki", "ca.pem"); got != want {
		t.Errorf("CA %s, want %s", got, want)
	}
	if got := m.Path("/etc/ca.pem"); got != "/etc/ca.pem" {
		t.Errorf("an absolute path became %s", got)
	}
	first, err := m.Tenant("")
	if err != nil || first.Name != "acme" || first.SecretFile != filepath.Join(dir, "tenants/acme/acme-1.key") {
		t.Errorf("first tenant %+v, %v", first, err)
	}
	if m.Tenants[0].SecretFile != "tenants/acme/acme-1.key" {
		t.Error("looking a tenant up changed the mesh")
	}
	if r, err := m.Region(""); err != nil || r.Origin != "eu_1" {
		t.Errorf("first region %+v, %v", r, err)
	}
}

func TestLookupErrorsListWhatThereIs(t *testing.T) {
	m := sample()
	m.Regions = append(m.Regions, Region{Name: "ap"})
	_, err := m.Region("mars")
	expect(t, err, fault.NotFound, `no region "mars"`, "it has ap, eu")
	_, err = m.Tenant("nobody")
	expect(t, err, fault.NotFound, `no tenant "nobody"`, "it has acme")
	m.Tenants = nil
	_, err = m.Tenant("")
	expect(t, err, fault.NotFound, "has no tenant", "weft tenant add NAME")
}

func TestReadErrors(t *testing.T) {
	region := `{"name":"eu","relay":"https://a:1","nats":"tls://a:2"}`
	for name, c := range map[string]struct{ content, detail string }{
		"empty":          {"", "is damaged: it is empty"},
		"blank":          {" \n", "is damaged: it is empty"},
		"cut off":        {golden[:100], "line 2, column"},
		"syntax":         {"{\n  \"ca\": \"x\",,\n}", "line 2, column 13"},
		"glued":          {golden + golden, "line 3, column"},
		"list":           {"[]", "JSON array"},
		"wrong type":     {"{\"ca\":\n 5}", `line 2, column 2: "ca" is a JSON number`},
		"null":           {"null", `"ca" is missing`},
		"no regions":     {`{"ca":"x","regions":[]}`, `"regions" is missing or empty`},
		"unnamed region": {`{"ca":"x","regions":[{"relay":"https://a:1","nats":"tls://a:2"}]}`, `region 1 has no "name"`},
		"no relay":       {`{"ca":"x","regions":[{"name":"eu"}]}`, `region "eu" has no "relay"`},
		"region twice":   {`{"ca":"x","regions":[` + region + "," + region + `]}`, `region "eu" is listed twice`},
		"unnamed tenant": {`{"ca":"x","regions":[` + region + `],"tenants":[{}]}`, `tenant 1 has no "name"`},
		"tenant twice":   {`{"ca":"x","regions":[` + region + `],"tenants":[{"name":"a"},{"name":"a"}]}`, `tenant "a" is listed twice`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, FileName), []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Read(dir)
			expect(t, err, fault.Invalid, c.detail, "remove it or start the mesh again with `weft up --data "+dir+"`")
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestMissingMesh(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	hint := "start one with `weft up --data " + dir + "`"
	_, err := Read(dir)
	expect(t, err, fault.NotFound, "no mesh at "+dir, hint)
	expect(t, UpsertTenant(dir, Tenant{Name: "a"}), fault.NotFound, "no mesh at "+dir, hint)
	expect(t, RemoveTenant(dir, "a"), fault.NotFound, "no mesh at "+dir, hint)
	if err := Remove(dir); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	expect(t, Write(dir, sample()), fault.Unavailable, "cannot write", "data directory exists")
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory was made")
	}
}

func TestUnwritableDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, sample()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, lockName), 0o700); err != nil { // works for root too, whom modes do not stop
		t.Fatal(err)
	}
	expect(t, Write(dir, sample()), fault.Unavailable, "cannot write "+filepath.Join(dir, FileName), "is yours and has space left")
}

func TestWriteRefusesWhatReadWould(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, &Mesh{CA: "x"}); fault.CodeOf(err) != "mesh_incomplete" {
		t.Errorf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*mesh.json*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestTenantsComeAndGo(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, sample()); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		do   func() error
		want string
	}{
		{func() error { return UpsertTenant(dir, Tenant{Name: "globex", Kid: "globex-1"}) }, "acme:acme-1 globex:globex-1"},
		{func() error { return UpsertTenant(dir, Tenant{Name: "acme", Kid: "acme-2"}) }, "acme:acme-2 globex:globex-1"},
		{func() error { return RemoveTenant(dir, "nobody") }, "acme:acme-2 globex:globex-1"},
		{func() error { return RemoveTenant(dir, "acme") }, "globex:globex-1"},
		{func() error { return RemoveTenant(dir, "globex") }, ""},
	}
	for i, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if got := tenants(t, dir); got != s.want {
			t.Errorf("step %d: %q, want %q", i, got, s.want)
		}
	}
	if err := errors.Join(Remove(dir), Remove(dir)); err != nil {
		t.Error(err)
	}
	if _, err := Read(dir); fault.KindOf(err) != fault.NotFound {
		t.Errorf("after Remove: %v", err)
	}
}

// TestConcurrentWriters would lose tenants without the lock, and see half a file without the rename.
func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, sample()); err != nil {
		t.Fatal(err)
	}
	const writers = 20
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			if err := UpsertTenant(dir, Tenant{Name: fmt.Sprintf("t%d", i)}); err != nil {
				t.Error(err)
			}
			if _, err := Read(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(strings.Fields(tenants(t, dir))); got != writers+1 {
		t.Errorf("%d tenants, want %d", got, writers+1)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".mesh.json.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v %v", left, err)
	}
}

func tenants(t *testing.T, dir string) string {
	t.Helper()
	m, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, one := range m.Tenants {
		out = append(out, one.Name+":"+one.Kid)
	}
	return strings.Join(out, " ")
}

func expect(t *testing.T, err error, kind fault.Kind, detail, hint string) {
	t.Helper()
	hinted, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("no Error: %v", err)
	}
	if fault.KindOf(err) != kind || !strings.Contains(err.Error(), detail) || !strings.Contains(hinted.Hint(), hint) {
		t.Errorf("got %s %q, hint %q; want %s %q, hint %q", fault.KindOf(err), err, hinted.Hint(), kind, detail, hint)
	}
}
