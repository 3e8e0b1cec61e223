package lazyfs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// handle is one open description of a regular file.
type handle struct {
	fs            *FS
	c             *content
	epoch         uint64
	sync, appends bool
}

var (
	_ gofs.FileReader    = (*handle)(nil)
	_ gofs.FileWriter    = (*handle)(nil)
	_ gofs.FileFsyncer   = (*handle)(nil)
	_ gofs.FileFlusher   = (*handle)(nil)
	_ gofs.FileAllocater = (*handle)(nil)
	_ gofs.FileReleaser  = (*handle)(nil)
)

func (f *FS) newHandle(c *content, flags uint32) *handle {
	// O_SYNC contains the bit of O_DSYNC.
	return &handle{fs: f, c: c, epoch: f.epoch, sync: flags&unix.O_DSYNC != 0, appends: flags&unix.O_APPEND != 0}
}

// enter is that of the file system, for a handle that has not lived through a power-off.
func (h *handle) enter() syscall.Errno {
	if errno := h.fs.enter(); errno != 0 {
		return errno
	}
	if h.epoch != h.fs.epoch {
		h.fs.gate.RUnlock()
		return syscall.EIO
	}
	return 0
}

// Read sees what is pending.
func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := h.enter(); errno != 0 {
		return nil, errno
	}
	defer h.fs.gate.RUnlock()
	n, errno := h.c.readAt(dest, off)
	return fuse.ReadResultData(dest[:n]), errno
}

// Write makes data pending, or durable if the file was opened so.
func (h *handle) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := h.enter(); errno != 0 {
		return 0, errno
	}
	defer h.fs.gate.RUnlock()
	if errno := h.fs.failing(); errno != 0 {
		return 0, errno
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if h.appends {
		off = h.c.size
	}
	before := h.c.size
	if errno := h.fs.reserve(before, max(before, off+int64(len(data)))); errno != 0 {
		return 0, errno
	}
	errno := h.c.write(data, off)
	if errno == 0 && h.sync {
		if errno = h.c.flush(); errno == 0 {
			h.fs.names.syncFile(h.c.ino)
		}
	}
	if errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

// Fsync is also fdatasync: the length is part of the data.
func (h *handle) Fsync(context.Context, uint32) syscall.Errno {
	if errno := h.enter(); errno != 0 {
		return errno
	}
	defer h.fs.gate.RUnlock()
	if errno := h.fs.failing(); errno != 0 {
		return errno
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	errno := h.c.flush()
	if errno == 0 {
		h.fs.names.syncFile(h.c.ino)
	}
	return errno
}

// Flush is a close: it syncs nothing.
func (h *handle) Flush(context.Context) syscall.Errno {
	errno := h.enter()
	if errno == 0 {
		h.fs.gate.RUnlock()
	}
	return errno
}

// Allocate lengthens the file or makes a hole. Room is not kept apart for it: Capacity counts lengths.
func (h *handle) Allocate(_ context.Context, off, size uint64, mode uint32) syscall.Errno {
	if errno := h.enter(); errno != 0 {
		return errno
	}
	defer h.fs.gate.RUnlock()
	if errno := h.fs.failing(); errno != 0 {
		return errno
	}
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	switch mode &^ unix.FALLOC_FL_KEEP_SIZE {
	case 0:
	case unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE:
		if errno := h.c.zero(int64(off), int64(size)); errno != 0 {
			return errno
		}
	default:
		return syscall.EOPNOTSUPP
	}
	if end := int64(off + size); mode&unix.FALLOC_FL_KEEP_SIZE == 0 && end > h.c.size {
		if errno := h.fs.reserve(h.c.size, end); errno != 0 {
			return errno
		}
		h.c.resize(end)
	}
	if h.sync {
		return h.c.flush()
	}
	return 0
}

// Release works without power, too.
func (h *handle) Release(context.Context) syscall.Errno {
	h.fs.gate.RLock()
	defer h.fs.gate.RUnlock()
	h.fs.release(h.c)
	return 0
}

// listing is the part of go-fuse's loopback directory that a directory handle passes on.
type listing interface {
	gofs.FileReaddirenter
	gofs.FileSeekdirer
	gofs.FileReleasedirer
}

// dirHandle is one open description of a directory.
type dirHandle struct {
	listing
	fs    *FS
	ino   uint64
	epoch uint64
}

func (d *dirHandle) enter() syscall.Errno {
	if errno := d.fs.enter(); errno != 0 {
		return errno
	}
	if d.epoch != d.fs.epoch {
		d.fs.gate.RUnlock()
		return syscall.EIO
	}
	return 0
}

// Readdirent is the next entry.
func (d *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if errno := d.enter(); errno != 0 {
		return nil, errno
	}
	defer d.fs.gate.RUnlock()
	return d.listing.Readdirent(ctx)
}

// Fsyncdir makes the names in the directory durable.
func (d *dirHandle) Fsyncdir(context.Context, uint32) syscall.Errno {
	if errno := d.enter(); errno != 0 {
		return errno
	}
	defer d.fs.gate.RUnlock()
	if errno := d.fs.failing(); errno != 0 {
		return errno
	}
	d.fs.names.syncDir(d.ino)
	return 0
}
