package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nuid"
)

// dir is the store of a local directory. What is stored was synced, and so was the directory that names it.
type dir struct {
	root string

	mu     sync.Mutex
	synced map[string]bool // folders that are known to be named durably
}

const (
	partial    = ".tmp" // ends the names of files that are being written; they start with a dot
	mostSynced = 10_000
)

func openDir(root string) (*dir, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		return nil, err
	}
	d := &dir{root: abs, synced: make(map[string]bool)}
	return d, d.mkdir("")
}

func (d *dir) path(name string) string { return filepath.Join(d.root, filepath.FromSlash(name)) }

// mkdir makes a folder and those above it, and syncs what names them: also of those that were there, because who made
// them may have died before it did.
func (d *dir) mkdir(folder string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sure(d.path(folder))
}

func (d *dir) sure(p string) error {
	if d.synced[p] {
		return nil
	}
	parent := filepath.Dir(p)
	if len(p) > len(d.root) {
		if err := d.sure(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(p, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	if len(d.synced) >= mostSynced {
		clear(d.synced)
	}
	d.synced[p] = true
	return nil
}

func syncDir(p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// write makes a synced file under a temporary name.
func (d *dir) write(temp string, data []byte) error {
	if err := d.mkdir(path.Dir(temp)); err != nil {
		return err
	}
	f, err := os.OpenFile(d.path(temp), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func hidden(name string) string { return path.Join(path.Dir(name), "."+path.Base(name)+partial) }

func (d *dir) put(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	temp := hidden(name)
	if err := d.write(temp, data); err != nil {
		return err
	}
	if err := os.Rename(d.path(temp), d.path(name)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(d.path(name)))
}

// create links a complete file to its name: a link, other than a rename, never replaces anything.
func (d *dir) create(ctx context.Context, name string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := os.Lstat(d.path(name)); err == nil {
		return errTaken
	}
	temp := hidden(name + "-" + nuid.Next())
	defer func() { _ = os.Remove(d.path(temp)) }()
	if err := d.write(temp, data); err != nil {
		return err
	}
	if err := os.Link(d.path(temp), d.path(name)); errors.Is(err, fs.ErrExist) {
		return errTaken
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(d.path(name)))
}

func (d *dir) open(ctx context.Context, name string) (*object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMissing
	} else if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &object{ReaderAt: f, size: info.Size(), close: f.Close}, nil
}

func (d *dir) list(ctx context.Context, folder, after string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.path(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if name := e.Name(); !e.IsDir() && name > after && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, err
}

func (d *dir) remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, p := range []string{d.path(name), d.path(hidden(name))} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// staleAfter is how old a file under a temporary name is of which nobody will hear any more: each lives for moments.
const staleAfter = time.Hour

// tidy removes what interrupted writes left in folders.
func (d *dir) tidy(now time.Time, folders ...string) error {
	for _, folder := range folders {
		entries, err := os.ReadDir(d.path(folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), partial) || now.Sub(info.ModTime()) < staleAfter {
				continue
			}
			if err := os.Remove(filepath.Join(d.path(folder), e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
