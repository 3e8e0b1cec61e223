package lazyfs_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/cmd/rig/internal/lazyfs"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// TestKill kills the process that serves a mount: what was not synced is lost, and the stale mount can be replaced.
func TestKill(t *testing.T) {
	m := mount(t, lazyfs.Options{})
	m.must(m.Close())
	cmd := m.serve("idle")
	m.put("kept", "x", true)
	m.put("lost", "x", false)
	m.must(cmd.Process.Kill())
	_ = cmd.Wait()
	if _, err := os.Stat(m.path("kept")); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("on a stale mount: %v, want ENOTCONN", err)
	}
	again, err := lazyfs.Mount(m.backing, m.dir, lazyfs.Options{})
	m.must(err)
	m.wants("kept", "x")
	m.wants("lost", "")
	m.must(again.Close())
}

// serve has another process mount the directories of a file system that is closed.
func (m *mounted) serve(how string) *exec.Cmd {
	m.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), served+"="+strings.Join([]string{m.backing, m.dir, how}, string(filepath.ListSeparator)))
	in, err := cmd.StdinPipe()
	m.must(err)
	m.Cleanup(func() { in.Close() })
	out, err := cmd.StdoutPipe()
	m.must(err)
	m.must(cmd.Start())
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		m.Fatalf("the serving process says %q", line)
	}
	return cmd
}

// TestKillBusy kills a process that waits for its own mount, over and over: it can end only after Unmount.
func TestKillBusy(t *testing.T) {
	m := mount(t, lazyfs.Options{})
	m.must(m.Close())
	for range 5 {
		cmd := m.serve("busy")
		streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
			made, err := os.ReadDir(m.backing)
			return len(made) == 8, fmt.Sprintf("%d files, %v", len(made), err)
		})
		m.must(cmd.Process.Kill())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		m.must(lazyfs.Unmount(m.dir))
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal("the killed process does not end")
		}
		for i := range 8 {
			m.must(os.Remove(filepath.Join(m.backing, fmt.Sprint(i))))
		}
	}
}

// TestCloseBusy has a file open while the file system is closed.
func TestCloseBusy(t *testing.T) {
	m := mount(t, lazyfs.Options{LoseMetadata: true})
	f := m.open("f", os.O_CREATE|os.O_WRONLY)
	m.write(f, "pending")
	closed := make(chan error)
	go func() { closed <- m.Close() }()
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		_, err := f.WriteAt([]byte("p"), 0)
		return err != nil, fmt.Sprint(err)
	})
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(m.backing, "f")); err != nil || string(got) != "pending" {
		t.Errorf("a detached mount left %q, %v", got, err)
	}
}

func TestClose(t *testing.T) {
	m := mount(t, lazyfs.Options{})
	m.put("f", "pending", false)
	m.must(m.Close())
	m.must(m.Close())
	if got, err := os.ReadFile(filepath.Join(m.backing, "f")); err != nil || !bytes.Equal(got, []byte("pending")) {
		t.Errorf("a clean unmount left %q, %v", got, err)
	}
	if err := lazyfs.Unmount(m.dir); err != nil {
		t.Errorf("unmounting what is not mounted: %v", err)
	}
}
