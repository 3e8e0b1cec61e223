// Package secretfile writes files that only their owner may read, so that a crash at any point leaves the
// old content or the new, never half of it.
//
// The minting packages and the command line use it. Functions may be called concurrently, also by several
// processes: a reader sees one writer's whole content.
package secretfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/weft-mesh/weft/streams/fault"
)

// The modes of files and of the directories that are made for them.
const (
	FileMode = 0o600
	DirMode  = 0o700
)

// Replace writes data to path, over an existing file if there is one.
func Replace(path string, data []byte) error {
	tmp, err := stage(path, data)
	if err != nil {
		return explain("file.write", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp)
		return explain("file.write", path, err)
	}
	return explain("file.write", path, syncDir(filepath.Dir(path)))
}

// Create writes data to path if there is no such file, and leaves an existing one alone. It returns the
// content that is there afterwards: of two concurrent callers both get the first one's.
func Create(path string, data []byte) ([]byte, error) {
	const op = "file.create"
	tmp, err := stage(path, data)
	if err != nil {
		return nil, explain(op, path, err)
	}
	defer os.Remove(tmp)
	switch err := os.Link(tmp, path); { // unlike a rename, a link never replaces
	case errors.Is(err, fs.ErrExist):
		have, err := os.ReadFile(path)
		return have, explain(op, path, err)
	case err != nil:
		return nil, explain(op, path, err)
	}
	return data, explain(op, path, syncDir(filepath.Dir(path)))
}

// Dir makes a directory and its parents for the owner only, and takes other users' rights from one that
// was there.
func Dir(path string) error {
	if err := os.MkdirAll(path, DirMode); err != nil {
		return explain("directory.create", path, err)
	}
	return Tighten(path)
}

// Tighten takes every right of group and others from a file or directory.
func Tighten(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return explain("file.mode", path, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return explain("file.mode", path, os.Chmod(path, mode&^0o077))
	}
	return nil
}

// Lock waits until no other process or caller holds the lock of that file, which is made if it is missing
// and stays. Release gives the lock back; the end of the process does too. Where the file system knows no
// locks, Lock holds nothing back.
func Lock(path string) (release func(), err error) {
	const op = "file.lock"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, FileMode)
	if err != nil {
		return nil, explain(op, path, err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil && !errors.Is(err, syscall.ENOTSUP) && !errors.Is(err, syscall.ENOLCK) {
		_ = f.Close()
		return nil, explain(op, path, err)
	}
	return func() { _ = f.Close() }, nil
}

// stage writes data to a new file next to path and onto the disk.
func stage(path string, data []byte) (name string, err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, DirMode); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp") // made with 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // not every file system syncs directories
		return err
	}
	return nil
}

// explain gives the common failures a hint.
func explain(op, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return &fault.Error{Op: op, Kind: fault.Denied, Code: "no_permission", Err: err,
			Detail: "this user may not write " + path + ": choose another directory or change its owner"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "disk_full", Err: err,
			Detail: "no space left for " + path + ": free some or choose another disk"}
	case errors.Is(err, syscall.EROFS):
		return &fault.Error{Op: op, Kind: fault.Denied, Code: "read_only", Err: err,
			Detail: "the file system of " + path + " is read-only: choose another directory"}
	case errors.Is(err, fs.ErrNotExist):
		return &fault.Error{Op: op, Kind: fault.NotFound, Code: "no_file", Err: err, Detail: path + " is missing"}
	}
	return &fault.Error{Op: op, Kind: fault.Internal, Code: "file_failed", Detail: path, Err: err}
}
