package broker

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"github.com/weft-mesh/weft/streams/fault"
)

// probeBytes is written and synced before the server starts: a disk without room for it is full.
const probeBytes = 1 << 20

// checkPorts finds out before the start whether every listener can be opened, because the server itself
// stays half up when one cannot.
func checkPorts(o Options) error {
	for _, l := range []Listen{o.Client, o.Leaf, o.Route} {
		if l.Port <= 0 {
			continue
		}
		ln, err := net.Listen("tcp", l.address())
		if err != nil {
			return portFault(l.address(), err)
		}
		ln.Close()
	}
	return nil
}

// portFault says in one line why a listener cannot be opened and what to do.
func portFault(address string, err error) error {
	const op = "broker.start"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.New(op, fault.Conflict, "port_taken", "%s is in use by another program: stop it or choose another --port-base", address)
	case errors.Is(err, syscall.EACCES):
		return fault.New(op, fault.Denied, "port_denied", "listening on %s is not permitted: choose a port above 1023", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.New(op, fault.Invalid, "address_unknown", "%s is no address of this machine", address)
	}
	return &fault.Error{Op: op, Kind: fault.Internal, Code: "listen_failed", Detail: "cannot listen on " + address, Err: err}
}

// checkStore makes the store directory, takes it for this process and writes to it. What it returns holds
// the directory until it is closed; the kernel lets go of it when the process dies.
func checkStore(dir string) (io.Closer, error) {
	const op = "broker.start"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, storeFault(op, dir, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, storeFault(op, dir, err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fault.New(op, fault.Conflict, "store_locked", "%s is in use by another weft process: stop it or choose another directory", dir)
		}
		return nil, storeFault(op, dir, err)
	}
	if err := probe(dir); err != nil {
		lock.Close()
		return nil, storeFault(op, dir, err)
	}
	return lock, nil
}

// probe writes, syncs and removes a file.
func probe(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	_, werr := f.Write(make([]byte, probeBytes))
	return errors.Join(werr, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// storeFault says in one line what is wrong with a directory and what to do.
func storeFault(op, dir string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(op, fault.Unavailable, "disk_full", "the disk of %s is full: make room or choose another directory", dir)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fault.New(op, fault.Denied, "store_unwritable", "%s cannot be written: check its owner and permissions", dir)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fault.New(op, fault.Invalid, "store_unwritable", "%s is not a directory, or lies below something that is none", dir)
	}
	return &fault.Error{Op: op, Kind: fault.Internal, Code: "store_failed", Detail: "cannot use " + dir, Err: err}
}
