package identity

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/streams/fault"
)

func ringIDs(t *testing.T, file string) []string {
	t.Helper()
	s, err := readRing(file)
	if err != nil {
		t.Fatal(err)
	}
	return s.IDs()
}

// everyCopy insists that all files of a ring hold the same keys in the same order.
func everyCopy(t *testing.T, dir string, ring Ring, want []string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(dir, "regions", "*", "*", ring.file()))
	wanted := map[Ring]int{RequestRing: 4, SeedRing: 2}[ring]
	if len(files) != wanted {
		t.Errorf("%d copies of ring %s, want %d", len(files), ring, wanted)
	}
	for _, f := range append(files, filepath.Join(dir, "operator", ring.file())) {
		if have := ringIDs(t, f); !slices.Equal(have, want) {
			t.Errorf("%s holds %v, want %v", f, have, want)
		}
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info.Mode(), err)
		}
	}
}

func ringMesh(t *testing.T) (string, Mesh) {
	t.Helper()
	dir, m := t.TempDir(), Mesh{Regions: []Region{{Name: "eu"}, {Name: "us"}}}
	if err := Create(dir, m); err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func TestMasterRotation(t *testing.T) {
	for _, ring := range Rings() {
		dir, mesh := ringMesh(t)
		first, err := Masters(dir, ring)
		if err != nil || len(first) != 1 {
			t.Fatalf("%v, %v", first, err)
		}
		next, err := AddMaster(dir, ring)
		if err != nil {
			t.Fatal(err)
		}
		everyCopy(t, dir, ring, []string{first[0], next})
		if again, err := AddMaster(dir, ring); err != nil || again != next {
			t.Errorf("an interrupted rotation goes on with %s (%v), it began with %s", again, err, next)
		}
		if err := PromoteMaster(dir, ring, next); err != nil {
			t.Fatal(err)
		}
		everyCopy(t, dir, ring, []string{next, first[0]})
		if again, err := AddMaster(dir, ring); err != nil || again != next {
			t.Errorf("a rotation that was interrupted after the promotion goes on with %s, %v", again, err)
		}
		if err := MasterRotated(dir, ring); err != nil {
			t.Fatal(err)
		}
		if err := RetireMasters(dir, ring); err != nil {
			t.Fatal(err)
		}
		everyCopy(t, dir, ring, []string{next})
		if third, err := AddMaster(dir, ring); err != nil || third == next {
			t.Errorf("the next rotation: %s, %v", third, err)
		}
		if err := Create(dir, mesh); err != nil {
			t.Errorf("the mesh's files after a rotation: %v", err)
		}
	}
}

// A rotation that was killed between two files leaves copies that are behind. Create and the next run complete it,
// and neither takes a copy with a key that the operator's file has not.
func TestMasterRotationIsCompleted(t *testing.T) {
	dir, mesh := ringMesh(t)
	behind := filepath.Join(dir, "regions", "us", "relay", masterFile)
	old, err := os.ReadFile(behind)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := Masters(dir, RequestRing)
	next, err := AddMaster(dir, RequestRing)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(behind, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(dir, mesh); err != nil {
		t.Fatal(err)
	}
	everyCopy(t, dir, RequestRing, []string{first[0], next})
	if err := os.WriteFile(behind, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := AddMaster(dir, RequestRing); err != nil {
		t.Fatal(err)
	}
	everyCopy(t, dir, RequestRing, []string{first[0], next})

	if err := os.WriteFile(filepath.Join(dir, "operator", masterFile), old, 0o600); err != nil { // from a backup
		t.Fatal(err)
	}
	if err := Create(dir, mesh); fault.CodeOf(err) != "other_mesh" {
		t.Errorf("Create over copies that are newer than the operator's file: %v", err)
	}
	if _, err := AddMaster(dir, RequestRing); fault.CodeOf(err) != "other_mesh" {
		t.Errorf("AddMaster over copies that are newer than the operator's file: %v", err)
	}
	if got := ringIDs(t, behind); !slices.Contains(got, next) {
		t.Error("the newer key is lost")
	}
}
