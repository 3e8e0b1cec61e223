package lazyfs

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// closeWithin is how long Close waits for operations that are under way.
const closeWithin = 5 * time.Second

// FS is a mounted file system.
type FS struct {
	backing, mountpoint string
	capacity            int64
	server              *fuse.Server

	// gate is held for reading by every operation and for writing by what must not fall into one.
	gate  sync.RWMutex
	off   bool
	epoch uint64 // counts power-offs: a handle of another epoch is dead
	names *names // nil if names are durable at once

	failure atomic.Uint32 // errno of every change, 0 for none
	used    atomic.Int64  // sum of lengths, kept only with a capacity

	mu       sync.Mutex // taken before a content's
	contents map[uint64]*content
	closed   bool
}

// Mount shows the directory backing at mountpoint. Both exist; a stale mount of a killed process there is detached
// first. Nobody else may change the backing directory until Close.
func Mount(backing, mountpoint string, o Options) (*FS, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(mountpoint); errors.Is(err, unix.ENOTCONN) {
		if err := Unmount(mountpoint); err != nil {
			return nil, err
		}
	}
	backing, err := filepath.Abs(backing)
	if err != nil {
		return nil, fmt.Errorf("lazyfs: %w", err)
	}
	f := &FS{backing: backing, mountpoint: mountpoint, capacity: o.Capacity, contents: map[uint64]*content{}}
	if err := f.measure(); err != nil {
		return nil, fmt.Errorf("lazyfs: measure %s: %w", backing, err)
	}
	if o.LoseMetadata {
		if f.names, err = newNames(backing+".removed", o.SyncNames); err != nil {
			return nil, fmt.Errorf("lazyfs: %w", err)
		}
	}
	never := time.Duration(0) // the kernel remembers neither names nor attributes: PowerOff changes both
	f.server, err = gofs.Mount(mountpoint, &node{fs: f}, &gofs.Options{
		EntryTimeout: &never, AttrTimeout: &never, NegativeTimeout: &never, NullPermissions: true,
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, AllowOther: true, Options: []string{"default_permissions"},
			FsName: backing, Name: "lazyfs", DisableXAttrs: true, DisableReadDirPlus: true, MaxWrite: maxRun,
			DisableSplice: true, // a pipe holds less than a request may ask for
		},
	})
	if err != nil {
		f.names.close()
		return nil, fmt.Errorf("lazyfs: mount %s (needs root and /dev/fuse): %w", mountpoint, err)
	}
	return f, nil
}

// Unmount cuts off what is mounted at mountpoint, also if the process that served it is gone, or cannot go because
// it waits for its own mount. Requests that nobody has answered fail, and descriptors there are dead. It is no error
// if nothing is mounted.
func Unmount(mountpoint string) error {
	// MNT_FORCE aborts the connection, MNT_DETACH takes the mount away although somebody still uses it.
	err := unix.Unmount(mountpoint, unix.MNT_FORCE|unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("lazyfs: unmount %s: %w", mountpoint, err)
	}
	return nil
}

// PowerOff loses everything that was not synced and makes every operation fail with EIO until PowerOn. It waits
// for the operations that are under way, none of which waits for anything but the backing disk.
func (f *FS) PowerOff() Loss {
	f.gate.Lock()
	defer f.gate.Unlock()
	f.off = true
	f.epoch++
	var loss Loss
	f.mu.Lock()
	for _, c := range f.contents {
		lost, dirty := c.lose()
		loss.Bytes += lost
		if dirty {
			loss.Files++
		}
		f.settle(c)
	}
	f.mu.Unlock()
	loss.Names = f.names.rollBack()
	return loss
}

// PowerOn lets operations through again. Descriptors from before the power-off stay dead.
func (f *FS) PowerOn() {
	f.gate.Lock()
	defer f.gate.Unlock()
	if f.off {
		f.off = false
		// Lengths that were given up count no more. A file that cannot be measured has no part in the sum.
		_ = f.measure()
	}
}

// Fail makes every write, truncate, fsync and making of a name fail with err, EIO or ENOSPC say, until Heal. What
// is pending stays so. Reading, renaming and removing go on.
func (f *FS) Fail(err syscall.Errno) { f.failure.Store(uint32(err)) }

// Heal ends Fail.
func (f *FS) Heal() { f.failure.Store(0) }

// Close writes what is pending, as a clean unmount does, unmounts and waits until the file system is gone. If files
// are still open after a while, it cuts them off, and their descriptors are dead. Closing again does nothing.
func (f *FS) Close() error {
	f.mu.Lock()
	closed := f.closed
	f.closed = true
	f.mu.Unlock()
	if closed {
		return nil
	}
	err := f.server.Unmount()
	f.gate.Lock()
	defer f.gate.Unlock()
	lost := f.finish()
	f.off = true
	f.epoch++
	f.names.close()
	if err == nil {
		return lost
	}
	return errors.Join(lost, f.detach())
}

// detach is the way out for Close if somebody has files open.
func (f *FS) detach() error {
	if err := Unmount(f.mountpoint); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { // ends at once, because the connection is aborted, unless an operation hangs in the backing disk
		f.server.Wait()
		close(gone)
	}()
	// Operations that are under way need the gate to end.
	f.gate.Unlock()
	defer f.gate.Lock()
	timeout := time.NewTimer(closeWithin)
	defer timeout.Stop()
	select {
	case <-gone:
		return nil
	case <-timeout.C:
		return fmt.Errorf("lazyfs: cut off from %s, but operations do not end: %w", f.mountpoint, syscall.EBUSY)
	}
}

// finish writes what is pending and lets go of the files that nobody has open.
func (f *FS) finish() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed error
	for _, c := range f.contents {
		c.mu.Lock()
		if errno := c.flush(); errno != 0 {
			failed = fmt.Errorf("lazyfs: close: a file's pending data cannot be written: %w", errno)
		}
		c.mu.Unlock()
		f.settle(c)
	}
	return failed
}

// enter lets an operation in; whoever got 0 calls f.gate.RUnlock in the end.
func (f *FS) enter() syscall.Errno {
	f.gate.RLock()
	if f.off {
		f.gate.RUnlock()
		return syscall.EIO
	}
	return 0
}

// enterNames lets an operation on names in, alone if they can be lost: what it does takes several steps then.
func (f *FS) enterNames() (leave func(), errno syscall.Errno) {
	leave = f.gate.RUnlock
	if f.names == nil {
		f.gate.RLock()
	} else {
		f.gate.Lock()
		leave = f.gate.Unlock
	}
	if f.off {
		leave()
		return nil, syscall.EIO
	}
	return leave, 0
}

func (f *FS) failing() syscall.Errno { return syscall.Errno(f.failure.Load()) }

// acquire is the content of a regular file, to be released. The node's path may lead elsewhere by now: ESTALE makes
// the kernel look the name up again.
func (f *FS) acquire(path string, ino uint64) (*content, syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.contents[ino]; c != nil {
		c.refs++
		return c, 0
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, syscall.ESTALE
	}
	if err != nil {
		return nil, errnoOf(err)
	}
	c, errno := f.adopt(fd)
	if errno == 0 && c.ino != ino {
		c.refs--
		f.settle(c)
		return nil, syscall.ESTALE
	}
	return c, errno
}

// adopt takes an open descriptor over. The caller holds mu.
func (f *FS) adopt(fd int) (*content, syscall.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return nil, errnoOf(err)
	}
	c := f.contents[st.Ino]
	if c != nil {
		unix.Close(fd)
	} else {
		c = newContent(st.Ino, fd, st.Size)
		f.contents[st.Ino] = c
	}
	c.refs++
	return c, 0
}

func (f *FS) release(c *content) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.refs--
	f.settle(c)
}

// unnamed drops what is pending for a file that has just lost its last name and that nobody has open.
func (f *FS) unnamed(ino uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.contents[ino]; c != nil {
		f.settle(c)
	}
}

// settle lets go of a content that is neither open nor worth keeping. The caller holds mu.
func (f *FS) settle(c *content) {
	if c.refs > 0 {
		return
	}
	c.mu.RLock()
	dirty := c.dirty
	c.mu.RUnlock()
	if dirty {
		var st unix.Stat_t
		if err := unix.Fstat(c.fd, &st); err != nil || st.Nlink > 0 {
			return
		}
	}
	delete(f.contents, c.ino)
	unix.Close(c.fd)
}

// peek is the content of an inode if there is one.
func (f *FS) peek(ino uint64) *content {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.contents[ino]
}

// reserve takes room for a file that grows from one length to another, or gives it back.
func (f *FS) reserve(from, to int64) syscall.Errno {
	if f.capacity == 0 {
		return 0
	}
	if f.used.Add(to-from) > f.capacity && to > from {
		f.used.Add(from - to)
		return syscall.ENOSPC
	}
	return 0
}

// measure adds up the lengths of all files.
func (f *FS) measure() error {
	if f.capacity == 0 {
		return nil
	}
	var used int64
	err := filepath.WalkDir(f.backing, func(_ string, d iofs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			used += info.Size()
		}
		return err
	})
	f.used.Store(used)
	return err
}
