package lazyfs

import (
	"context"
	"path/filepath"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var (
	_ gofs.NodeMkdirer   = (*node)(nil)
	_ gofs.NodeMknoder   = (*node)(nil)
	_ gofs.NodeSymlinker = (*node)(nil)
	_ gofs.NodeLinker    = (*node)(nil)
	_ gofs.NodeUnlinker  = (*node)(nil)
	_ gofs.NodeRmdirer   = (*node)(nil)
	_ gofs.NodeRenamer   = (*node)(nil)
)

// make runs a call that makes a name, and records it.
func (n *node) make(ctx context.Context, name string, out *fuse.EntryOut, call func(path string) error) (*gofs.Inode, syscall.Errno) {
	leave, errno := n.fs.enterNames()
	if errno != 0 {
		return nil, errno
	}
	defer leave()
	if errno := n.fs.failing(); errno != 0 {
		return nil, errno
	}
	if err := call(filepath.Join(n.path(), name)); err != nil {
		return nil, errnoOf(err)
	}
	n.fs.names.made(n.path(), name)
	return n.child(ctx, name, out)
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return n.make(ctx, name, out, func(path string) error {
		if err := unix.Mkdir(path, mode&0o7777); err != nil {
			return err
		}
		own(ctx, path)
		return unix.Chmod(path, mode&0o7777) // this process' umask is not the caller's
	})
}

// Mknod makes a regular file, a socket or a pipe; the mount refuses devices.
func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return n.make(ctx, name, out, func(path string) error {
		if err := unix.Mknod(path, mode, int(dev)); err != nil {
			return err
		}
		own(ctx, path)
		return unix.Chmod(path, mode&0o7777)
	})
}

// Symlink makes a symbolic link.
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return n.make(ctx, name, out, func(path string) error {
		if err := unix.Symlink(target, path); err != nil {
			return err
		}
		own(ctx, path)
		return nil
	})
}

// Link gives a file another name.
func (n *node) Link(ctx context.Context, target gofs.InodeEmbedder, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	old, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	return n.make(ctx, name, out, func(path string) error { return unix.Link(old.path(), path) })
}

// Unlink removes a name; what is pending for a file goes with its last one.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno { return n.remove(name, false) }

// Rmdir removes an empty directory.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno { return n.remove(name, true) }

func (n *node) remove(name string, dir bool) syscall.Errno {
	leave, errno := n.fs.enterNames()
	if errno != 0 {
		return errno
	}
	defer leave()
	path := filepath.Join(n.path(), name)
	target, errno := n.fs.target(path)
	if errno != 0 {
		return errno
	}
	if n.fs.names != nil {
		errno = n.fs.names.remove(n.path(), name, dir)
	} else if dir {
		errno = errnoOf(unix.Rmdir(path))
	} else {
		errno = errnoOf(unix.Unlink(path))
	}
	if errno == 0 {
		n.fs.gone(target)
	}
	return errno
}

// target is what a name leads to before it is removed or replaced.
func (f *FS) target(path string) (fuse.Attr, syscall.Errno) {
	a, _, errno := f.stat(unix.AT_FDCWD, path, 0)
	return a, errno
}

// gone gives back what a file took that has lost a name.
func (f *FS) gone(a fuse.Attr) {
	if a.Mode&unix.S_IFMT != unix.S_IFREG || a.Nlink > 1 {
		return
	}
	f.reserve(int64(a.Size), 0)
	f.unnamed(a.Ino)
}

// Rename moves a name, at once in the mount, and durably as Options says.
func (n *node) Rename(_ context.Context, name string, parent gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := parent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	leave, errno := n.fs.enterNames()
	if errno != 0 {
		return errno
	}
	defer leave()
	oldPath, newPath := filepath.Join(n.path(), name), filepath.Join(to.path(), newName)
	replaced, errno := n.fs.target(newPath)
	if errno != 0 && errno != syscall.ENOENT {
		return errno
	}
	exists := errno == 0
	moved, errno := n.fs.target(oldPath)
	if errno != 0 {
		return errno
	}
	if n.fs.names != nil {
		errno = n.fs.names.rename(place{n.path(), name}, place{to.path(), newName}, flags)
	} else {
		errno = errnoOf(unix.Renameat2(unix.AT_FDCWD, oldPath, unix.AT_FDCWD, newPath, uint(flags)))
	}
	if errno == 0 && exists && flags&unix.RENAME_EXCHANGE == 0 && moved.Ino != replaced.Ino {
		n.fs.gone(replaced)
	}
	return errno
}
