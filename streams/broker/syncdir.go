package broker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stamp tells whether a file was written on since.
type stamp struct {
	mod  time.Time
	size int64
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.ModTime(), info.Size()} }

// mark is what is known of a path. A change may leave the stamp as it was when it comes within a tick of the file
// system's clock, so the path is settled only when a later round has synced the same stamp once more.
type mark struct {
	stamp   stamp
	settled bool
}

// next is the mark after a round that saw s; that round has to sync unless the old mark is settled and the same.
func (m mark) next(s stamp) (_ mark, due bool) {
	same := m.stamp == s
	return mark{s, same}, !same || !m.settled
}

// syncDir is what diskSync knows of one directory. The server appends to the newest block of a directory of messages,
// and replaces every other file by a rename, which changes the directory. As long as that is settled, nothing else in
// it has to be looked at: there may be a hundred thousand blocks, and most streams are quiet.
type syncDir struct {
	path   string
	mark   mark
	files  map[string]mark // those that have to be on disk, by name
	newest string          // block; "" if there is none
	open   []string        // files that are not settled
	dirs   map[string]*syncDir
}

// description is the file that a stream or consumer cannot do without.
const description = "meta.inf"

// contents is the directory of a stream's or a Raft log's messages: blocks, numbered in the order in which they were
// begun, and the server's index of them.
const contents = "msgs"

// wanted says whether a file of the directory has to be on disk.
func (d *syncDir) wanted(name string, messages bool) bool {
	if filepath.Base(d.path) == contents {
		return messages
	}
	return name == description || name == "meta.sum"
}

// look adds to jobs what is due in the directory and below, and marks it. What must be synced one after the other is one
// job: blocks, then the index that tells of them, then the directory.
func (d *syncDir) look(jobs [][]string, messages bool) ([][]string, error) {
	info, err := os.Lstat(d.path)
	if err != nil {
		return jobs, unlessGone(err)
	}
	next, changed := d.mark.next(stampOf(info))
	d.mark = next
	var due []string
	if changed {
		if due, err = d.list(messages); err == nil {
			due = append(due, d.path)
		}
	} else {
		due, err = d.glance()
	}
	if len(due) > 0 {
		jobs = append(jobs, due)
	}
	errs := []error{unlessGone(err)}
	for _, below := range d.dirs {
		jobs, err = below.look(jobs, messages)
		errs = append(errs, err)
	}
	return jobs, errors.Join(errs...)
}

// glance looks at what may have changed although the directory has not.
func (d *syncDir) glance() (due []string, _ error) {
	names := d.open
	if d.newest != "" && !slices.Contains(names, d.newest) {
		names = append(names, d.newest)
	}
	d.open = nil
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(d.path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // so the directory has changed since: the next round lists it
		}
		if err != nil {
			return nil, err
		}
		due = d.see(due, d.files[name], name, info)
	}
	return due, nil
}

// list looks at everything.
func (d *syncDir) list(messages bool) (due []string, _ error) {
	entries, err := os.ReadDir(d.path) // by name: digits, so blocks, come first
	if err != nil {
		return nil, err
	}
	files, dirs := d.files, d.dirs
	d.files, d.dirs, d.newest, d.open = nil, nil, "", nil
	newest := uint64(0)
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			d.enter(dirs[name], name)
			continue
		}
		if !e.Type().IsRegular() || !d.wanted(name, messages) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		due = d.see(due, files[name], name, info)
		if n, ok := blockNumber(name); ok && n >= newest {
			newest, d.newest = n, name
		}
	}
	return due, nil
}

func (d *syncDir) enter(known *syncDir, name string) {
	if known == nil {
		known = &syncDir{path: filepath.Join(d.path, name)}
	}
	if d.dirs == nil {
		d.dirs = map[string]*syncDir{}
	}
	d.dirs[name] = known
}

// see marks a file and adds it to what is due, if it is.
func (d *syncDir) see(due []string, old mark, name string, info fs.FileInfo) []string {
	next, isDue := old.next(stampOf(info))
	if d.files == nil {
		d.files = map[string]mark{}
	}
	d.files[name] = next
	if !next.settled {
		d.open = append(d.open, name)
	}
	if isDue {
		due = append(due, filepath.Join(d.path, name))
	}
	return due
}

// settle takes all files for synced.
func (d *syncDir) settle() {
	d.open = nil
	for name, m := range d.files {
		d.files[name] = mark{m.stamp, true}
	}
	for _, below := range d.dirs {
		below.settle()
	}
}

// blockNumber is the number of a block, from a name such as 17.blk.
func blockNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, ".blk")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}
