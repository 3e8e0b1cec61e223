package lazyfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// place is a name in a directory.
type place struct{ dir, name string }

func (p place) path() string { return filepath.Join(p.dir, p.name) }

// slot is a place that survives the renaming of its directory.
type slot struct {
	dir  *directory
	name string
}

func (s slot) path() string { return fmt.Sprintf("/proc/self/fd/%d/%s", s.dir.fd, s.name) }

// directory is an open directory that changes refer to.
type directory struct {
	ino  uint64
	fd   int
	refs int
}

// change is one change of names that is not durable.
type change struct {
	ino      uint64 // what was made, moved or removed
	from, to slot   // from is empty if it was made, to if it was removed
	kept     string // where what was removed or replaced waits, empty if nothing was
	exchange bool
}

// names is the list of changes since the last sync, oldest first. Nothing is really removed before its change is
// durable, so undoing the list backwards restores every name and every inode. A nil *names records nothing.
type names struct {
	removed string // directory in which removed files wait
	files   bool   // fsync of a file syncs its name, too

	mu          sync.Mutex
	changes     []change
	directories map[uint64]*directory
	next        int
}

func newNames(removed string, files bool) (*names, error) {
	// What a killed process left there belongs to no name any more.
	if err := os.RemoveAll(removed); err != nil {
		return nil, err
	}
	if err := os.Mkdir(removed, 0o700); err != nil {
		return nil, err
	}
	return &names{removed: removed, files: files, directories: map[uint64]*directory{}}, nil
}

// close makes everything durable.
func (j *names) close() {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keep(func(change) bool { return true })
	_ = os.RemoveAll(j.removed)
}

// slot opens the directory of a place. The caller holds mu.
func (j *names) slot(p place) (slot, syscall.Errno) {
	fd, err := unix.Open(p.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return slot{}, errnoOf(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return slot{}, errnoOf(err)
	}
	d := j.directories[st.Ino]
	if d != nil {
		unix.Close(fd)
	} else {
		d = &directory{ino: st.Ino, fd: fd}
		j.directories[st.Ino] = d
	}
	d.refs++
	return slot{d, p.name}, 0
}

func (j *names) drop(s slot) {
	if s.dir == nil {
		return
	}
	if s.dir.refs--; s.dir.refs == 0 {
		delete(j.directories, s.dir.ino)
		unix.Close(s.dir.fd)
	}
}

func inodeAt(path string) uint64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// made records a new name.
func (j *names) made(dir, name string) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if s, errno := j.slot(place{dir, name}); errno == 0 {
		j.changes = append(j.changes, change{ino: inodeAt(s.path()), to: s})
	}
}

// put moves what is at path out of the way.
func (j *names) put(path string) (kept string, errno syscall.Errno) {
	j.next++
	kept = filepath.Join(j.removed, strconv.Itoa(j.next))
	return kept, errnoOf(unix.Rename(path, kept))
}

// remove takes a name away and keeps what it led to.
func (j *names) remove(dir, name string, wantDir bool) syscall.Errno {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := place{dir, name}
	var st unix.Stat_t
	if err := unix.Lstat(p.path(), &st); err != nil {
		return errnoOf(err)
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case wantDir && !isDir:
		return syscall.ENOTDIR
	case !wantDir && isDir:
		return syscall.EISDIR
	case isDir && !empty(p.path()):
		return syscall.ENOTEMPTY
	}
	s, errno := j.slot(p)
	if errno != 0 {
		return errno
	}
	kept, errno := j.put(s.path())
	if errno != 0 {
		j.drop(s)
		return errno
	}
	j.changes = append(j.changes, change{ino: st.Ino, from: s, kept: kept})
	return 0
}

func empty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// rename moves a name and keeps what it replaced.
func (j *names) rename(from, to place, flags uint32) syscall.Errno {
	j.mu.Lock()
	defer j.mu.Unlock()
	var moved, there unix.Stat_t
	if err := unix.Lstat(from.path(), &moved); err != nil {
		return errnoOf(err)
	}
	exists := unix.Lstat(to.path(), &there) == nil
	exchange := flags&unix.RENAME_EXCHANGE != 0
	if exists && flags == 0 {
		if moved.Ino == there.Ino {
			return 0
		}
		if errno := replaceable(moved, there, to.path()); errno != 0 {
			return errno
		}
	}
	a, errno := j.slot(from)
	if errno != 0 {
		return errno
	}
	b, errno := j.slot(to)
	if errno != 0 {
		j.drop(a)
		return errno
	}
	c := change{ino: moved.Ino, from: a, to: b, exchange: exchange}
	if exists && flags == 0 {
		c.kept, errno = j.put(b.path())
	}
	if errno == 0 {
		errno = errnoOf(unix.Renameat2(a.dir.fd, a.name, b.dir.fd, b.name, uint(flags)))
		if errno != 0 && c.kept != "" {
			_ = unix.Rename(c.kept, b.path())
		}
	}
	if errno != 0 {
		j.drop(a)
		j.drop(b)
		return errno
	}
	j.changes = append(j.changes, c)
	return 0
}

// replaceable says what rename(2) would if one file came in the place of another.
func replaceable(moved, there unix.Stat_t, path string) syscall.Errno {
	dir := moved.Mode&unix.S_IFMT == unix.S_IFDIR
	thereDir := there.Mode&unix.S_IFMT == unix.S_IFDIR
	switch {
	case dir && !thereDir:
		return syscall.ENOTDIR
	case !dir && thereDir:
		return syscall.EISDIR
	case dir && !empty(path):
		return syscall.ENOTEMPTY
	}
	return 0
}

// keep makes those changes durable that which says. The caller holds mu.
func (j *names) keep(which func(change) bool) {
	j.changes = slices.DeleteFunc(j.changes, func(c change) bool {
		if !which(c) {
			return false
		}
		if c.kept != "" {
			_ = os.RemoveAll(c.kept)
		}
		j.drop(c.from)
		j.drop(c.to)
		return true
	})
}

func (c change) in(dir uint64) bool {
	return c.from.dir != nil && c.from.dir.ino == dir || c.to.dir != nil && c.to.dir.ino == dir
}

// syncDir makes the names in a directory durable.
func (j *names) syncDir(ino uint64) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.keep(func(c change) bool { return c.in(ino) })
}

// syncFile makes a file's own names durable, and those of the directories above, if fsync of a file does that.
func (j *names) syncFile(ino uint64) {
	if j == nil || !j.files {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for above := []uint64{ino}; len(above) > 0; {
		one := above[0]
		above = above[1:]
		j.keep(func(c change) bool {
			if c.ino != one {
				return false
			}
			if c.to.dir != nil {
				above = append(above, c.to.dir.ino)
			}
			return true
		})
	}
}

// rollBack undoes every change that is not durable and tells how many there were.
func (j *names) rollBack() int {
	if j == nil {
		return 0
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	undone := len(j.changes)
	for _, c := range slices.Backward(j.changes) {
		c.undo()
		j.drop(c.from)
		j.drop(c.to)
	}
	j.changes = nil
	return undone
}

// undo restores the names of before, as far as a later change that is durable has not taken them.
func (c change) undo() {
	if c.to.dir != nil && inodeAt(c.to.path()) == c.ino {
		switch {
		case c.exchange:
			_ = unix.Renameat2(c.from.dir.fd, c.from.name, c.to.dir.fd, c.to.name, unix.RENAME_EXCHANGE)
		case c.from.dir == nil:
			_ = os.RemoveAll(c.to.path())
		default:
			_ = unix.Renameat2(c.to.dir.fd, c.to.name, c.from.dir.fd, c.from.name, unix.RENAME_NOREPLACE)
		}
	}
	if c.kept != "" {
		back := c.to
		if back.dir == nil {
			back = c.from
		}
		_ = unix.Renameat2(unix.AT_FDCWD, c.kept, back.dir.fd, back.name, unix.RENAME_NOREPLACE)
	}
}
