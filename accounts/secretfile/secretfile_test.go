package secretfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReplaceAndCreate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	file := filepath.Join(dir, "f")
	if got, err := secretfile.Create(file, []byte("one")); err != nil || string(got) != "one" {
		t.Fatalf("%q %v", got, err)
	}
	if got, err := secretfile.Create(file, []byte("two")); err != nil || string(got) != "one" {
		t.Fatalf("Create over an existing file: %q %v", got, err)
	}
	if content(t, file) != "one" {
		t.Fatal("Create overwrote")
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := secretfile.Replace(file, []byte("three")); err != nil || content(t, file) != "three" {
		t.Fatal(err)
	}
	if mode(t, file) != 0o600 || mode(t, dir) != 0o700 {
		t.Errorf("modes %v %v", mode(t, file), mode(t, dir))
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestCreateHasOneWinner(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	got := make([]string, 16)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			text, err := secretfile.Create(file, fmt.Appendf(nil, "writer %d", i))
			if err != nil {
				t.Error(err)
			}
			got[i] = string(text)
		})
	}
	wg.Wait()
	for i, text := range got {
		if text != content(t, file) {
			t.Errorf("caller %d was told %q, the file holds %q", i, text, content(t, file))
		}
	}
}

func TestTighten(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := secretfile.Dir(dir); err != nil || mode(t, dir) != 0o700 {
		t.Errorf("%v %v", mode(t, dir), err)
	}
	if err := secretfile.Tighten(filepath.Join(dir, "none")); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := secretfile.Replace(filepath.Join(blocked, "f"), nil); err == nil || !strings.Contains(err.Error(), blocked) {
		t.Errorf("a file in the place of a directory: %v", err)
	}
	if os.Geteuid() == 0 {
		t.Log("permissions do not bind this user; /proc stands for a directory that cannot be written")
		if err := secretfile.Replace("/proc/weft/f", nil); err == nil || !strings.Contains(err.Error(), "/proc/weft/f") {
			t.Error(err)
		}
		return
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	err := secretfile.Replace(filepath.Join(dir, "f"), nil)
	if fault.KindOf(err) != fault.Denied || fault.CodeOf(err) != "no_permission" || !strings.Contains(err.Error(), "choose another directory") {
		t.Error(err)
	}
}

func TestFullDisk(t *testing.T) {
	full := os.Getenv("WEFT_FULL_DISK") // a directory on a file system without space
	if full == "" {
		t.Skip("WEFT_FULL_DISK is not set")
	}
	err := secretfile.Replace(filepath.Join(full, "f"), make([]byte, 1<<20))
	if fault.CodeOf(err) != "disk_full" || !strings.Contains(err.Error(), "no space left") {
		t.Error(err)
	}
	if left, err := os.ReadDir(full); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	var inside, most atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			release, err := secretfile.Lock(file)
			if err != nil {
				t.Error(err)
				return
			}
			if n := inside.Add(1); n > most.Load() {
				most.Store(n)
			}
			runtime.Gosched()
			inside.Add(-1)
			release()
		})
	}
	wg.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d held the lock at once", n)
	}
	if _, err := secretfile.Lock(filepath.Join(file, "x")); err == nil {
		t.Error("locked a file that cannot be")
	}
}
