package broker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// keep gives every file of the store a second name while the server recovers: the server deletes a stream whose
// recovery fails, for whatever reason, so a disk that is full at that moment would take everything that is stored.
// It belongs to one goroutine.
type keep struct {
	store string
	aside string // on the same file system
	spent string // where aside goes when it is not needed any more
}

// Both are below the store directory of a server, beside its messages.
const (
	keptName  = "recovering"
	spentName = "recovered"
)

func newKeep(o *Options) *keep {
	return &keep{store: o.messagesDir(), aside: filepath.Join(o.StoreDir, keptName), spent: filepath.Join(o.StoreDir, spentName)}
}

// hold links the files. What a start that did not end, but had not dropped either, left behind is put back first.
func (k *keep) hold() error {
	if _, err := k.restore(); err != nil {
		return err
	}
	err := k.each(k.store, func(rel string, e fs.DirEntry) error {
		to := filepath.Join(k.aside, rel)
		if e.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		return unlessGone(os.Link(filepath.Join(k.store, rel), to))
	})
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM) { // no second names on this file system
		return k.drop()
	}
	if err != nil {
		return errors.Join(err, k.drop())
	}
	return nil
}

// drop lets go of the second names, in one step: what a process that is killed in the middle of it leaves behind is
// not put back by the next one, which may have removed streams since. Nil means that this step is done.
func (k *keep) drop() error {
	if err := os.RemoveAll(k.spent); err != nil {
		return err
	}
	if err := os.Rename(k.aside, k.spent); err != nil {
		return unlessGone(err)
	}
	_ = os.RemoveAll(k.spent) // else the next time
	return nil
}

// missing lists the directories of streams and consumers that were held and are no more, relative to the store.
func (k *keep) missing() (streams, consumers []string, err error) {
	err = k.each(k.aside, func(rel string, e fs.DirEntry) error {
		if e.Name() != description {
			return nil
		}
		if _, err := os.Stat(filepath.Join(k.store, rel)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		dir := filepath.Dir(rel)
		if strings.Contains(filepath.ToSlash(dir), "/obs/") {
			consumers = append(consumers, dir)
		} else {
			streams = append(streams, dir)
		}
		return nil
	})
	return streams, consumers, err
}

// restore puts back every directory that is gone, or has lost its description, and lets go of the rest. It lists
// what it put back.
func (k *keep) restore() ([]string, error) {
	var back []string
	err := k.each(k.aside, func(rel string, e fs.DirEntry) error {
		if !e.IsDir() || rel == "." {
			return nil
		}
		from, to := filepath.Join(k.aside, rel), filepath.Join(k.store, rel)
		whole, err := k.stands(from, to)
		if err != nil || whole {
			return err
		}
		if err := errors.Join(os.RemoveAll(to), os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(from, to)); err != nil {
			return err
		}
		back = append(back, rel)
		return fs.SkipDir
	})
	if err != nil {
		return back, err // what is held stays held
	}
	slices.Sort(back)
	return back, k.drop()
}

// stands says whether a directory is still there, with its description if it had one.
func (k *keep) stands(held, dir string) (bool, error) {
	for _, name := range []string{"", description} {
		if _, err := os.Stat(filepath.Join(held, name)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

// each walks a tree that may not be there; paths are relative to its root.
func (k *keep) each(root string, do func(rel string, e fs.DirEntry) error) error {
	return filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return unlessGone(err)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return do(rel, e)
	})
}
