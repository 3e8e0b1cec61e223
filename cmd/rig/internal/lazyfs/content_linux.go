package lazyfs

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pageSize = 4096
	maxRun   = 1 << 20 // bytes that a flush writes at once
)

// page is one page of a file as readers see it; bytes lo to hi of it are not synced.
type page struct {
	data   [pageSize]byte
	lo, hi int
}

// content is the data of one regular file: what the backing file holds and what is pending above it. It exists
// while the file is open or dirty, and its descriptor keeps the inode's number from being reused.
type content struct {
	ino  uint64
	fd   int
	refs int // guarded by FS.mu

	mu    sync.RWMutex
	disk  int64 // length of the backing file
	valid int64 // how much of the backing file is still part of the file: less than disk after a truncate
	size  int64
	dirty bool
	mtime time.Time // of the last pending change
	pages map[int64]*page
}

func newContent(ino uint64, fd int, size int64) *content {
	return &content{ino: ino, fd: fd, disk: size, valid: size, size: size, pages: map[int64]*page{}}
}

// readAt fills dest as far as the file goes.
func (c *content) readAt(dest []byte, off int64) (int, syscall.Errno) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if off >= c.size {
		return 0, 0
	}
	dest = dest[:min(int64(len(dest)), c.size-off)]
	if errno := c.below(dest, off); errno != 0 {
		return 0, errno
	}
	if len(c.pages) == 0 {
		return len(dest), 0
	}
	for at := off; at < off+int64(len(dest)); {
		index, in := at/pageSize, at%pageSize
		n := min(pageSize-in, off+int64(len(dest))-at)
		if p := c.pages[index]; p != nil {
			copy(dest[at-off:at-off+n], p.data[in:])
		}
		at += n
	}
	return len(dest), 0
}

// below reads what of the backing file is still part of the file; the rest are zeros.
func (c *content) below(dest []byte, off int64) syscall.Errno {
	n := 0
	for want := min(int64(len(dest)), c.valid-off); int64(n) < want; {
		got, err := unix.Pread(c.fd, dest[n:want], off+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return errnoOf(err)
		}
		if got == 0 {
			break
		}
		n += got
	}
	clear(dest[n:])
	return 0
}

// write makes data pending. The caller holds mu.
func (c *content) write(data []byte, off int64) syscall.Errno {
	for at, rest := off, data; len(rest) > 0; {
		in := int(at % pageSize)
		n := min(pageSize-in, len(rest))
		p, errno := c.page(at / pageSize)
		if errno != 0 {
			return errno
		}
		copy(p.data[in:], rest[:n])
		p.touch(in, in+n)
		at, rest = at+int64(n), rest[n:]
		// A write that fails on its way has written what came before, so the length grows with each page.
		c.size = max(c.size, at)
		c.changed()
	}
	return 0
}

// page is the pending page of that index, made from the backing file if there is none yet.
func (c *content) page(index int64) (*page, syscall.Errno) {
	if p := c.pages[index]; p != nil {
		return p, 0
	}
	p := &page{lo: pageSize}
	if index*pageSize < c.valid {
		if errno := c.below(p.data[:], index*pageSize); errno != 0 {
			return nil, errno
		}
	}
	c.pages[index] = p
	return p, 0
}

func (p *page) touch(lo, hi int) { p.lo, p.hi = min(p.lo, lo), max(p.hi, hi) }

func (c *content) changed() { c.dirty, c.mtime = true, time.Now() }

// resize makes a new length pending. The caller holds mu.
func (c *content) resize(size int64) {
	if size < c.size {
		for index, p := range c.pages {
			in := size - index*pageSize
			if in >= pageSize {
				continue
			}
			if in <= int64(p.lo) {
				delete(c.pages, index) // nothing pending is left of it, and the backing file is cut there, too
				continue
			}
			clear(p.data[in:])
			p.hi = min(p.hi, int(in))
		}
	}
	c.valid = min(c.valid, size)
	c.size = size
	c.changed()
}

// zero makes a range within the file read as zeros. The caller holds mu.
func (c *content) zero(off, size int64) syscall.Errno {
	for end := min(off+size, c.size); off < end; {
		n := min(int64(pageSize)-off%pageSize, end-off)
		if errno := c.write(make([]byte, n), off); errno != 0 {
			return errno
		}
		off += n
	}
	return 0
}

// flush brings everything pending to the backing file. After an error it is all still pending. The caller holds mu.
func (c *content) flush() syscall.Errno {
	if !c.dirty {
		return 0
	}
	if c.valid < c.disk {
		if err := unix.Ftruncate(c.fd, c.valid); err != nil {
			return errnoOf(err)
		}
		c.disk = c.valid
	}
	if errno := c.flushPages(); errno != 0 {
		return errno
	}
	if err := unix.Ftruncate(c.fd, c.size); err != nil {
		return errnoOf(err)
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(c.mtime.UnixNano())}
	if err := unix.UtimesNanoAt(c.fd, "", times, unix.AT_EMPTY_PATH); err != nil {
		return errnoOf(err)
	}
	clear(c.pages)
	c.disk, c.valid, c.dirty = c.size, c.size, false
	return 0
}

// flushPages writes the pending bytes, those of neighbouring pages together.
func (c *content) flushPages() syscall.Errno {
	var run []byte
	var start int64
	for _, index := range slices.Sorted(maps.Keys(c.pages)) {
		p := c.pages[index]
		at := index*pageSize + int64(p.lo)
		if len(run) > 0 && (start+int64(len(run)) != at || len(run) >= maxRun) {
			if errno := pwrite(c.fd, run, start); errno != 0 {
				return errno
			}
			run = run[:0]
		}
		if len(run) == 0 {
			start = at
		}
		run = append(run, p.data[p.lo:p.hi]...)
	}
	return pwrite(c.fd, run, start)
}

func pwrite(fd int, data []byte, off int64) syscall.Errno {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, off)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return errnoOf(err)
		}
		data, off = data[n:], off+int64(n)
	}
	return 0
}

// lose forgets everything pending and tells how many bytes that were and whether anything was.
func (c *content) lose() (lost int64, dirty bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pages {
		lost += int64(p.hi - p.lo)
	}
	dirty = c.dirty
	// An error on the way of a flush may have left the backing file longer or shorter than it was.
	var st unix.Stat_t
	if err := unix.Fstat(c.fd, &st); err == nil {
		c.disk = st.Size
	}
	clear(c.pages)
	c.size, c.valid, c.dirty = c.disk, c.disk, false
	return lost, dirty
}

// errnoOf is the system's own error of a call of it, EIO if it has none.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &errno):
		return errno
	}
	return syscall.EIO
}
