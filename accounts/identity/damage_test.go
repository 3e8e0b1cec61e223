package identity

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// TestCrashAnywhere removes what a crash could have kept from being written, for every point at which it
// could strike, and expects the next run to complete the mesh without touching what was there.
func TestCrashAnywhere(t *testing.T) {
	whole := t.TempDir()
	made(t, whole, "eu", "us")
	order := writeOrder(t, whole)
	for n := range len(order) {
		dir := t.TempDir()
		for _, name := range order[:n] {
			file := filepath.Join(dir, name)
			text, err := os.ReadFile(filepath.Join(whole, name))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, text, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		before := tree(t, dir)
		if err := Create(dir, mesh("eu", "us")); err != nil {
			t.Fatalf("killed before %s was written: %v", order[n], err)
		}
		compare(t, before, tree(t, dir), func(name string) bool { // a pair of which only the key was written is made anew
			base := filepath.Base(name)
			return base == keyFile || base == "admin-key.pem"
		})
		hub(t, dir, "eu")
		hub(t, dir, "us")
	}
}

// writeOrder lists the files of a mesh in the order in which they were written.
func writeOrder(t *testing.T, dir string) []string {
	t.Helper()
	type entry struct {
		name string
		at   time.Time
	}
	var list []entry
	for name := range tree(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, entry{name, info.ModTime()})
	}
	slices.SortFunc(list, func(a, b entry) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, e := range list {
		names = append(names, e.name)
	}
	if filepath.Base(names[len(names)-1]) != meshFile {
		t.Fatalf("the last file written is %s", names[len(names)-1])
	}
	return names
}

func TestLostSecretIsNotReplaced(t *testing.T) {
	whole := t.TempDir()
	made(t, whole, "eu", "us")
	for _, name := range []string{
		"operator/ca-key.pem", "operator/operator.nk", "operator/operator-signing.nk", "operator/control.nk", "operator/control-signing.nk",
		"operator/audit-signing.nk", "operator/system-us-signing.nk", "operator/master.age",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			lost := filepath.Join(dir, name)
			if err := os.Remove(lost); err != nil {
				t.Fatal(err)
			}
			err := Create(dir, mesh("eu", "us"))
			if fault.CodeOf(err) != "secret_lost" || !strings.Contains(err.Error(), lost) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
			if exists(lost) {
				t.Error("a new secret took its place")
			}
		})
	}
}

func TestDamage(t *testing.T) {
	whole := t.TempDir()
	made(t, whole, "eu")
	for name, code := range map[string]string{
		"operator/ca-key.pem":               "identity_damaged",
		"operator/operator.jwt":             "identity_damaged",
		"operator/control.jwt":              "identity_damaged",
		"operator/master.age":               "identity_damaged",
		"operator/mesh.json":                "mesh_malformed",
		"regions/eu/hub/master.age":         "identity_damaged",
		"regions/eu/hub/control-signing.nk": "other_mesh",
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Create(dir, mesh("eu")); fault.CodeOf(err) != code || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, code := range map[string]string{
		"regions/eu/hub/operator.jwt": "identity_damaged", "regions/eu/hub/system.jwt": "identity_damaged", "regions/eu/hub/master.age": "identity_damaged",
		"regions/eu/hub/home/ca-key.pem": "identity_damaged", "regions/eu/hub/mesh.json": "mesh_malformed",
	} {
		for _, gone := range []bool{false, true} {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			file, want := filepath.Join(dir, name), code
			err := os.WriteFile(file, []byte("{damaged"), 0o600)
			if gone {
				err, want = os.Remove(file), "identity_incomplete"
				if strings.HasSuffix(name, meshFile) {
					want = "no_identity"
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := LoadHub(dir, "eu"); fault.CodeOf(err) != want || !strings.Contains(err.Error(), filepath.Dir(file)) {
				t.Errorf("%s, gone %v: %v", name, gone, err)
			}
		}
	}
	if _, err := LoadHub(whole, "mars"); fault.CodeOf(err) != "no_identity" {
		t.Error(err)
	}
	if _, err := LoadRelay(t.TempDir(), "eu"); fault.CodeOf(err) != "no_identity" {
		t.Error(err)
	}
}
