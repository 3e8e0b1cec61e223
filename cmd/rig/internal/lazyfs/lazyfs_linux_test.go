package lazyfs_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/cmd/rig/internal/lazyfs"
)

// served is set in a process that serve starts from the test binary: directories to mount and what to do there.
const served = "LAZYFS_SERVED"

func TestMain(m *testing.M) {
	if dirs := filepath.SplitList(os.Getenv(served)); len(dirs) == 3 {
		os.Exit(serveUntilKilled(dirs[0], dirs[1], dirs[2] == "busy"))
	}
	goleak.VerifyTestMain(m)
}

func serveUntilKilled(backing, dir string, busy bool) int {
	fs, err := lazyfs.Mount(backing, dir, lazyfs.Options{})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer fs.Close()
	for i := 0; busy && i < 8; i++ {
		name := filepath.Join(dir, fmt.Sprint(i))
		go func() {
			for os.WriteFile(name, []byte("x"), 0o600) == nil {
			}
		}()
	}
	fmt.Println("mounted")
	_, _ = io.Copy(io.Discard, os.Stdin) // ends if the test dies
	return 0
}

// mounted is a file system of one test.
type mounted struct {
	*lazyfs.FS
	testing.TB
	dir, backing string
}

func mount(t testing.TB, o lazyfs.Options) *mounted {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("mounting needs /dev/fuse: ", err)
	}
	base := t.TempDir()
	m := &mounted{TB: t, dir: filepath.Join(base, "mount"), backing: filepath.Join(base, "backing")}
	for _, dir := range []string{m.dir, m.backing} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := lazyfs.Mount(m.backing, m.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	m.FS = fs
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *mounted) path(name string) string { return filepath.Join(m.dir, name) }

func (m *mounted) open(name string, flags int) *os.File {
	m.Helper()
	f, err := os.OpenFile(m.path(name), flags, 0o640)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { f.Close() })
	return f
}

func (m *mounted) write(f *os.File, data string) {
	m.Helper()
	if _, err := f.WriteString(data); err != nil {
		m.Fatal(err)
	}
}

func (m *mounted) sync(f *os.File) {
	m.Helper()
	if err := f.Sync(); err != nil {
		m.Fatal(err)
	}
}

// put makes a file with synced or pending content.
func (m *mounted) put(name, data string, synced bool) {
	m.Helper()
	f := m.open(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	m.write(f, data)
	if synced {
		m.sync(f)
	}
	if err := f.Close(); err != nil {
		m.Fatal(err)
	}
}

func (m *mounted) syncDir(name string) {
	m.Helper()
	m.sync(m.open(name, os.O_RDONLY))
}

// wants compares a file; "-" stands for none.
func (m *mounted) wants(name, want string) {
	m.Helper()
	got, err := os.ReadFile(m.path(name))
	switch {
	case want == "-" && errors.Is(err, os.ErrNotExist):
	case want == "-":
		m.Errorf("%s is there (%v)", name, err)
	case err != nil:
		m.Error(err)
	case string(got) != want:
		m.Errorf("%s holds %q, want %q", name, abridged(got), abridged([]byte(want)))
	}
	if info, err := os.Stat(m.path(name)); err == nil && want != "-" && info.Size() != int64(len(want)) {
		m.Errorf("%s has a length of %d, want %d", name, info.Size(), len(want))
	}
}

func abridged(b []byte) []byte { return b[:min(len(b), 60)] }

func (m *mounted) blink() lazyfs.Loss {
	loss := m.PowerOff()
	m.PowerOn()
	return loss
}

func (m *mounted) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func TestPowerOff(t *testing.T) {
	long := strings.Repeat("0123456789", 2000)
	cases := map[string]struct {
		do   func(m *mounted)
		now  string // content before the power-off
		want string // and after
		loss lazyfs.Loss
	}{
		"synced survives":          {func(m *mounted) { m.put("f", long, true) }, long, long, lazyfs.Loss{}},
		"unsynced does not":        {func(m *mounted) { m.put("f", long, false) }, long, "", lazyfs.Loss{Bytes: 20000, Files: 1}},
		"O_SYNC survives":          {func(m *mounted) { m.write(m.open("f", os.O_CREATE|os.O_WRONLY|os.O_SYNC), "sync") }, "sync", "sync", lazyfs.Loss{}},
		"O_DSYNC survives":         {func(m *mounted) { m.write(m.open("f", os.O_CREATE|os.O_WRONLY|unix.O_DSYNC), "sync") }, "sync", "sync", lazyfs.Loss{}},
		"another descriptor syncs": {func(m *mounted) { m.put("f", "data", false); m.sync(m.open("f", os.O_RDONLY)) }, "data", "data", lazyfs.Loss{}},
		"fdatasync keeps the length": {func(m *mounted) {
			f := m.open("f", os.O_CREATE|os.O_WRONLY)
			m.write(f, "data")
			m.must(unix.Fdatasync(int(f.Fd())))
		}, "data", "data", lazyfs.Loss{}},
		"append": {func(m *mounted) { m.put("f", "old", true); m.write(m.open("f", os.O_WRONLY|os.O_APPEND), "new") }, "oldnew", "old", lazyfs.Loss{Bytes: 3, Files: 1}},
		"overwrite": {func(m *mounted) {
			m.put("f", long, true)
			_, err := m.open("f", os.O_WRONLY).WriteAt([]byte("xxxx"), 4094)
			m.must(err)
		}, long[:4094] + "xxxx" + long[4098:], long, lazyfs.Loss{Bytes: 4, Files: 1}},
		"truncate":         {func(m *mounted) { m.put("f", long, true); m.must(os.Truncate(m.path("f"), 7)) }, long[:7], long, lazyfs.Loss{Files: 1}},
		"O_TRUNC":          {func(m *mounted) { m.put("f", "old", true); m.put("f", "n", false) }, "n", "old", lazyfs.Loss{Bytes: 1, Files: 1}},
		"synced truncate":  {func(m *mounted) { m.put("f", long, true); m.put("f", "n", true) }, "n", "n", lazyfs.Loss{}},
		"shrink and grow":  {func(m *mounted) { m.put("f", "secret", true); shrinkAndGrow(m, false) }, "se\x00\x00", "secret", lazyfs.Loss{Files: 1}},
		"synced shrinking": {func(m *mounted) { m.put("f", "secret", true); shrinkAndGrow(m, true) }, "se\x00\x00", "se\x00\x00", lazyfs.Loss{}},
		"fallocate": {func(m *mounted) {
			m.must(unix.Fallocate(int(m.open("f", os.O_CREATE|os.O_WRONLY).Fd()), 0, 0, 3))
		}, "\x00\x00\x00", "", lazyfs.Loss{Files: 1}},
		"unsynced rename": {func(m *mounted) {
			m.put("f", "old", true)
			m.put("g", "new", false)
			m.must(os.Rename(m.path("g"), m.path("f")))
		}, "new", "", lazyfs.Loss{Bytes: 3, Files: 1}},
		"synced rename": {func(m *mounted) {
			m.put("f", "old", true)
			m.put("g", "new", true)
			m.must(os.Rename(m.path("g"), m.path("f")))
		}, "new", "new", lazyfs.Loss{}},
		"removed is not lost": {func(m *mounted) { m.put("f", "x", false); m.must(os.Remove(m.path("f"))) }, "-", "-", lazyfs.Loss{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := mount(t, lazyfs.Options{})
			c.do(m)
			m.wants("f", c.now)
			if loss := m.blink(); loss != c.loss {
				t.Errorf("lost %+v, want %+v", loss, c.loss)
			}
			m.wants("f", c.want)
		})
	}
}

func shrinkAndGrow(m *mounted, synced bool) {
	f := m.open("f", os.O_RDWR)
	m.must(f.Truncate(2))
	m.must(f.Truncate(4))
	if synced {
		m.sync(f)
	}
}

func TestPowerless(t *testing.T) {
	m := mount(t, lazyfs.Options{})
	m.put("f", "kept", true)
	f := m.open("f", os.O_RDWR)
	m.write(f, "lost")
	m.PowerOff()
	buf := make([]byte, 4)
	operations := map[string]func() error{
		"write":   func() error { _, err := f.Write(buf); return err },
		"read":    func() error { _, err := f.ReadAt(buf, 0); return err },
		"sync":    f.Sync,
		"open":    func() error { _, err := os.Open(m.path("f")); return err },
		"create":  func() error { _, err := os.Create(m.path("g")); return err },
		"readdir": func() error { _, err := os.ReadDir(m.dir); return err },
		"stat":    func() error { _, err := os.Stat(m.path("f")); return err },
		"remove":  func() error { return os.Remove(m.path("f")) },
		"rename":  func() error { return os.Rename(m.path("f"), m.path("g")) },
		"mkdir":   func() error { return os.Mkdir(m.path("d"), 0o755) },
		"statfs":  func() error { return unix.Statfs(m.dir, &unix.Statfs_t{}) },
	}
	for name, op := range operations {
		if err := op(); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s without power: %v, want EIO", name, err)
		}
	}
	m.PowerOn()
	for _, name := range []string{"write", "read", "sync"} {
		if err := operations[name](); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s by a descriptor from before the power-off: %v, want EIO", name, err)
		}
	}
	m.wants("f", "kept")
	m.put("g", "again", true)
	m.wants("g", "again")
}

func TestFail(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC} {
		m := mount(t, lazyfs.Options{})
		f := m.open("f", os.O_CREATE|os.O_RDWR)
		m.write(f, "data")
		m.FS.Fail(errno)
		for name, op := range map[string]func() error{
			"write":    func() error { _, err := f.Write([]byte("x")); return err },
			"sync":     f.Sync,
			"truncate": func() error { return f.Truncate(1) },
			"create":   func() error { _, err := os.Create(m.path("g")); return err },
			"mkdir":    func() error { return os.Mkdir(m.path("d"), 0o755) },
		} {
			if err := op(); !errors.Is(err, errno) {
				t.Errorf("%s: %v, want %v", name, err, errno)
			}
		}
		m.wants("f", "data")
		m.Heal()
		m.sync(f)
		m.blink()
		m.wants("f", "data")
	}
}

func TestCapacity(t *testing.T) {
	m := mount(t, lazyfs.Options{Capacity: 10 << 10})
	full := strings.Repeat("x", 10<<10)
	m.put("f", full, true)
	f := m.open("g", os.O_CREATE|os.O_WRONLY)
	if _, err := f.WriteString("y"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write on a full disk: %v", err)
	}
	m.must(os.Truncate(m.path("f"), 100))
	m.write(f, strings.Repeat("y", 10140))
	m.blink() // the truncate is undone, and so is the write
	if _, err := m.open("g", os.O_WRONLY).WriteString("y"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write on a disk that is full again: %v", err)
	}
	m.must(os.Remove(m.path("f")))
	m.put("g", full, false)
	var st unix.Statfs_t
	m.must(unix.Statfs(m.dir, &st))
	if st.Blocks*uint64(st.Bsize) != 8<<10 || st.Bavail != 0 { // whole pages of 4 KiB
		t.Errorf("statfs: %d blocks, %d available", st.Blocks, st.Bavail)
	}
}

func TestLock(t *testing.T) {
	m := mount(t, lazyfs.Options{})
	a, b := m.open("lock", os.O_CREATE|os.O_RDWR), m.open("lock", os.O_RDWR)
	m.must(unix.Flock(int(a.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	if err := unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("second lock: %v", err)
	}
	m.must(a.Close())
	m.must(unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

func TestAttributes(t *testing.T) {
	m := mount(t, lazyfs.Options{})
	m.put("f", "x", false)
	m.must(os.Chmod(m.path("f"), 0o600))
	m.must(os.Chown(m.path("f"), 7, 8))
	m.must(os.Symlink("f", m.path("link")))
	m.must(os.Link(m.path("f"), m.path("hard")))
	m.wants("link", "x")
	m.wants("hard", "x")
	info, err := os.Lstat(m.path("f"))
	m.must(err)
	st, _ := info.Sys().(*syscall.Stat_t)
	if info.Mode() != 0o600 || st.Uid != 7 || st.Gid != 8 || st.Nlink != 2 {
		t.Errorf("%v, %d:%d, %d links", info.Mode(), st.Uid, st.Gid, st.Nlink)
	}
	f := m.open("f", os.O_RDWR)
	m.must(os.Remove(m.path("f")))
	m.must(os.Remove(m.path("hard")))
	if info, err := f.Stat(); err != nil || info.Size() != 1 {
		t.Errorf("an open file without a name: %v, %v", info, err)
	}
	if _, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a shared mapping would hide writes: %v, want ENODEV", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []lazyfs.Options{{Capacity: -1}, {SyncNames: true}} {
		if fs, err := lazyfs.Mount(t.TempDir(), t.TempDir(), o); err == nil {
			fs.Close()
			t.Errorf("%+v is accepted", o)
		}
	}
}
