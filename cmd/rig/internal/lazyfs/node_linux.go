package lazyfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// node is a name of the backing directory that the kernel knows. It holds nothing: contents go by inode number.
type node struct {
	gofs.Inode
	fs *FS
}

var (
	_ gofs.NodeGetattrer      = (*node)(nil)
	_ gofs.NodeSetattrer      = (*node)(nil)
	_ gofs.NodeLookuper       = (*node)(nil)
	_ gofs.NodeOpener         = (*node)(nil)
	_ gofs.NodeCreater        = (*node)(nil)
	_ gofs.NodeOpendirHandler = (*node)(nil)
	_ gofs.NodeReadlinker     = (*node)(nil)
	_ gofs.NodeStatfser       = (*node)(nil)
)

func (n *node) path() string { return filepath.Join(n.fs.backing, n.Path(n.Root())) }

// stat asks the backing directory and puts on top what is pending. The caller holds gate.
func (f *FS) stat(dirfd int, path string, flags int) (a fuse.Attr, generation uint64, errno syscall.Errno) {
	var st unix.Statx_t
	err := unix.Statx(dirfd, path, flags|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return a, 0, errnoOf(err)
	}
	a = fuse.Attr{
		Ino: st.Ino, Size: st.Size, Blocks: st.Blocks, Blksize: st.Blksize, Mode: uint32(st.Mode), Nlink: st.Nlink,
		Owner: fuse.Owner{Uid: st.Uid, Gid: st.Gid}, Rdev: uint32(unix.Mkdev(st.Rdev_major, st.Rdev_minor)),
		Atime: uint64(st.Atime.Sec), Atimensec: st.Atime.Nsec,
		Mtime: uint64(st.Mtime.Sec), Mtimensec: st.Mtime.Nsec,
		Ctime: uint64(st.Ctime.Sec), Ctimensec: st.Ctime.Nsec,
	}
	if c := f.peek(st.Ino); c != nil && a.Mode&unix.S_IFMT == unix.S_IFREG {
		c.mu.RLock()
		if c.dirty {
			a.Size, a.Blocks = uint64(c.size), uint64(c.size+511)/512
			a.Mtime, a.Mtimensec = uint64(c.mtime.Unix()), uint32(c.mtime.Nanosecond())
		}
		c.mu.RUnlock()
	}
	// An inode's number is used again after its end: the time of its birth tells the two apart. After a power-off every
	// inode is another to the kernel, which would not look into a directory again that it has seen removed.
	return a, uint64(st.Btime.Sec)*1e9 + uint64(st.Btime.Nsec) + 1 + f.epoch, 0
}

// Getattr is stat and fstat.
func (n *node) Getattr(_ context.Context, fh gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if errno := n.fs.enter(); errno != 0 {
		return errno
	}
	defer n.fs.gate.RUnlock()
	return n.getattr(fh, &out.Attr)
}

func (n *node) getattr(fh gofs.FileHandle, out *fuse.Attr) (errno syscall.Errno) {
	if h, ok := fh.(*handle); ok {
		*out, _, errno = n.fs.stat(h.c.fd, "", unix.AT_EMPTY_PATH)
		return errno
	}
	*out, _, errno = n.fs.stat(unix.AT_FDCWD, n.path(), 0)
	if errno == syscall.ENOENT || errno == 0 && !n.IsRoot() && out.Ino != n.StableAttr().Ino {
		return syscall.ESTALE
	}
	return errno
}

// Setattr is chmod, chown and utimes, which are durable at once, and truncate, which is not.
func (n *node) Setattr(_ context.Context, fh gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.fs.enter(); errno != 0 {
		return errno
	}
	defer n.fs.gate.RUnlock()
	if h, ok := fh.(*handle); ok && h.epoch != n.fs.epoch && in.Valid&fuse.FATTR_FH != 0 {
		return syscall.EIO
	}
	target := n.path()
	if n.StableAttr().Mode == unix.S_IFREG {
		c, errno := n.fs.acquire(target, n.StableAttr().Ino)
		if errno != 0 {
			return errno
		}
		defer n.fs.release(c)
		if size, ok := in.GetSize(); ok {
			if errno := n.fs.truncate(c, int64(size)); errno != 0 {
				return errno
			}
		}
		if err := setAttributes(c.fd, "", unix.AT_EMPTY_PATH, in); err != nil {
			return errnoOf(err)
		}
		if _, ok := in.GetMTime(); ok {
			c.mu.Lock()
			c.mtime, _ = in.GetMTime()
			c.mu.Unlock()
		}
		out.Attr, _, errno = n.fs.stat(c.fd, "", unix.AT_EMPTY_PATH)
		return errno
	}
	if err := setAttributes(unix.AT_FDCWD, target, unix.AT_SYMLINK_NOFOLLOW, in); err != nil {
		return errnoOf(err)
	}
	return n.getattr(nil, &out.Attr)
}

// setAttributes changes what the backing file system keeps.
func setAttributes(fd int, path string, flags int, in *fuse.SetAttrIn) error {
	uid, uidSet := in.GetUID()
	gid, gidSet := in.GetGID()
	if uidSet || gidSet {
		u, g := -1, -1
		if uidSet {
			u = int(uid)
		}
		if gidSet {
			g = int(gid)
		}
		if err := unix.Fchownat(fd, path, u, g, flags); err != nil {
			return err
		}
	}
	if mode, ok := in.GetMode(); ok {
		var err error
		if path == "" {
			err = unix.Fchmod(fd, mode&0o7777)
		} else {
			err = unix.Chmod(path, mode&0o7777)
		}
		if err != nil {
			return err
		}
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	atime, atimeSet := in.GetATime()
	mtime, mtimeSet := in.GetMTime()
	if atimeSet {
		times[0] = unix.NsecToTimespec(atime.UnixNano())
	}
	if mtimeSet {
		times[1] = unix.NsecToTimespec(mtime.UnixNano())
	}
	if atimeSet || mtimeSet {
		return unix.UtimesNanoAt(fd, path, times, flags)
	}
	return nil
}

func (f *FS) truncate(c *content, size int64) syscall.Errno {
	if errno := f.failing(); errno != 0 {
		return errno
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if errno := f.reserve(c.size, size); errno != 0 {
		return errno
	}
	c.resize(size)
	return 0
}

// Lookup finds a name.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.fs.enter(); errno != 0 {
		return nil, errno
	}
	defer n.fs.gate.RUnlock()
	return n.child(ctx, name, out)
}

func (n *node) child(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	a, generation, errno := n.fs.stat(unix.AT_FDCWD, filepath.Join(n.path(), name), 0)
	if errno != 0 {
		return nil, errno
	}
	out.Attr = a
	return n.NewInode(ctx, &node{fs: n.fs}, gofs.StableAttr{Mode: a.Mode & unix.S_IFMT, Ino: a.Ino, Gen: generation}), 0
}

// Open opens a regular file. Every read and write comes here, past the kernel's cache.
func (n *node) Open(_ context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if errno := n.fs.enter(); errno != 0 {
		return nil, 0, errno
	}
	defer n.fs.gate.RUnlock()
	c, errno := n.fs.acquire(n.path(), n.StableAttr().Ino)
	if errno != 0 {
		return nil, 0, errno
	}
	h := n.fs.newHandle(c, flags)
	if flags&unix.O_TRUNC != 0 {
		if errno := n.fs.truncate(c, 0); errno != 0 {
			n.fs.release(c)
			return nil, 0, errno
		}
	}
	return h, fuse.FOPEN_DIRECT_IO, 0
}

// Create makes a file, or opens the one that somebody else made in the meantime.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	leave, errno := n.fs.enterNames()
	if errno != 0 {
		return nil, nil, 0, errno
	}
	defer leave()
	if errno := n.fs.failing(); errno != 0 {
		return nil, nil, 0, errno
	}
	path := filepath.Join(n.path(), name)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_CREAT|unix.O_EXCL, mode&0o7777)
	made := err == nil
	if errors.Is(err, unix.EEXIST) && flags&unix.O_EXCL == 0 {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, nil, 0, errnoOf(err)
	}
	if made {
		own(ctx, path)
		_ = unix.Fchmod(fd, mode&0o7777) // this process' umask is not the caller's
	}
	n.fs.mu.Lock()
	c, errno := n.fs.adopt(fd)
	n.fs.mu.Unlock()
	if errno != 0 {
		return nil, nil, 0, errno
	}
	if made {
		n.fs.names.made(n.path(), name)
	} else if flags&unix.O_TRUNC != 0 {
		errno = n.fs.truncate(c, 0)
	}
	var child *gofs.Inode
	if errno == 0 {
		child, errno = n.child(ctx, name, out)
	}
	if errno != 0 {
		n.fs.release(c)
		return nil, nil, 0, errno
	}
	return child, n.fs.newHandle(c, flags), fuse.FOPEN_DIRECT_IO, 0
}

// own gives a new name to the caller. What fails is seen in stat.
func own(ctx context.Context, path string) {
	if caller, ok := fuse.FromContext(ctx); ok {
		_ = os.Lchown(path, int(caller.Uid), int(caller.Gid))
	}
}

// OpendirHandle opens a directory.
func (n *node) OpendirHandle(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if errno := n.fs.enter(); errno != 0 {
		return nil, 0, errno
	}
	defer n.fs.gate.RUnlock()
	var st unix.Stat_t
	if err := unix.Stat(n.path(), &st); err != nil {
		return nil, 0, errnoOf(err)
	}
	stream, errno := gofs.NewLoopbackDirStream(n.path())
	if errno != 0 {
		return nil, 0, errno
	}
	list, ok := stream.(listing)
	if !ok {
		stream.Close()
		return nil, 0, syscall.ENOTSUP
	}
	return &dirHandle{listing: list, fs: n.fs, ino: st.Ino, epoch: n.fs.epoch}, 0, 0
}

// Readlink is where a symbolic link leads.
func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	if errno := n.fs.enter(); errno != 0 {
		return nil, errno
	}
	defer n.fs.gate.RUnlock()
	target, err := os.Readlink(n.path())
	return []byte(target), errnoOf(err)
}

// Statfs is the backing file system's, with the room that Capacity leaves.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	if errno := n.fs.enter(); errno != 0 {
		return errno
	}
	defer n.fs.gate.RUnlock()
	var st syscall.Statfs_t
	if err := syscall.Statfs(n.fs.backing, &st); err != nil {
		return errnoOf(err)
	}
	out.FromStatfsT(&st)
	if n.fs.capacity > 0 {
		out.Bsize, out.Frsize = pageSize, pageSize
		out.Blocks = uint64(n.fs.capacity) / pageSize
		out.Bfree = uint64(max(0, n.fs.capacity-n.fs.used.Load())) / pageSize
		out.Bavail = out.Bfree
	}
	return 0
}
