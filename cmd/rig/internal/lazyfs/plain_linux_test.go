package lazyfs_test

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/cmd/rig/internal/lazyfs"
)

const longest = 20_000

// TestLikePlain does the same random operations on a mount and in a plain directory: as long as the power is on,
// nobody can tell the two apart.
func TestLikePlain(t *testing.T) {
	for name, o := range map[string]lazyfs.Options{"data": {}, "metadata": {LoseMetadata: true}} {
		t.Run(name, func(t *testing.T) {
			m := mount(t, o)
			plain := t.TempDir()
			round := 0
			rapid.Check(t, func(rt *rapid.T) {
				round++
				p := newPair(rt, plain, m.dir, round)
				defer p.close()
				rt.Repeat(p.actions())
				for _, f := range p.open {
					p.same("sync", f[0].Sync(), f[1].Sync())
				}
				p.check(rt)
			})
		})
	}
}

// pair is a plain directory and one on the mount, with files open in both.
type pair struct {
	*rapid.T
	dirs [2]string
	open map[string][2]*os.File
}

func newPair(t *rapid.T, plain, mounted string, round int) *pair {
	p := &pair{T: t, open: map[string][2]*os.File{}}
	for i, base := range []string{plain, mounted} {
		p.dirs[i] = filepath.Join(base, fmt.Sprint(round))
		for _, dir := range []string{p.dirs[i], filepath.Join(p.dirs[i], "d")} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

func (p *pair) close() {
	for _, f := range p.open {
		f[0].Close()
		f[1].Close()
	}
}

// same holds both sides to the same error.
func (p *pair) same(what string, plain, mounted error) {
	var a, b syscall.Errno
	errors.As(plain, &a)
	errors.As(mounted, &b)
	if a != b || (plain == nil) != (mounted == nil) {
		p.Fatalf("%s: %v in the plain directory, %v on the mount", what, plain, mounted)
	}
}

// both does something to a path on both sides.
func (p *pair) both(what string, do func(dir string) error) {
	p.same(what, do(p.dirs[0]), do(p.dirs[1]))
}

func (p *pair) name() string {
	return rapid.SampledFrom([]string{"a", "b", "d", "d/a", "d/b", "e", "e/a"}).Draw(p.T, "name")
}

// file is one of the open files, nil if there is none.
func (p *pair) file() *[2]*os.File {
	if len(p.open) == 0 {
		return nil
	}
	f := p.open[rapid.SampledFrom(slices.Sorted(maps.Keys(p.open))).Draw(p.T, "file")]
	return &f
}

func (p *pair) offset() int64 { return rapid.Int64Range(0, longest).Draw(p.T, "offset") }

func (p *pair) actions() map[string]func(*rapid.T) {
	acts := p.nameActions()
	maps.Copy(acts, p.dataActions())
	acts["look"] = p.check // not after every action: reading everything takes most of the time
	return acts
}

func (p *pair) nameActions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"rename": func(*rapid.T) {
			from, to := p.name(), p.name()
			p.both("rename "+from+" "+to, func(dir string) error {
				return unix.Rename(filepath.Join(dir, from), filepath.Join(dir, to))
			})
		},
		"unlink": func(*rapid.T) {
			name := p.name()
			p.both("unlink "+name, func(dir string) error { return unix.Unlink(filepath.Join(dir, name)) })
		},
		"mkdir": func(*rapid.T) {
			name := p.name()
			p.both("mkdir "+name, func(dir string) error { return unix.Mkdir(filepath.Join(dir, name), 0o755) })
		},
		"rmdir": func(*rapid.T) {
			name := p.name()
			p.both("rmdir "+name, func(dir string) error { return unix.Rmdir(filepath.Join(dir, name)) })
		},
		"link": func(*rapid.T) {
			from, to := p.name(), p.name()
			p.both("link "+from+" "+to, func(dir string) error {
				return unix.Link(filepath.Join(dir, from), filepath.Join(dir, to))
			})
		},
		"truncate": func(*rapid.T) {
			name, size := p.name(), p.offset()
			p.both("truncate "+name, func(dir string) error { return unix.Truncate(filepath.Join(dir, name), size) })
		},
	}
}

func (p *pair) dataActions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"open": func(t *rapid.T) {
			name := p.name()
			flags := os.O_RDWR | rapid.SampledFrom([]int{0, os.O_CREATE, os.O_CREATE, os.O_CREATE | os.O_EXCL}).Draw(t, "create") |
				rapid.SampledFrom([]int{0, os.O_TRUNC, os.O_APPEND, os.O_SYNC}).Draw(t, "flags")
			var f [2]*os.File
			var err [2]error
			for i, dir := range p.dirs {
				f[i], err[i] = os.OpenFile(filepath.Join(dir, name), flags, 0o644)
			}
			p.same("open "+name, err[0], err[1])
			if err[0] == nil {
				p.open[fmt.Sprintf("%s %d", name, len(p.open))] = f
			}
		},
		"write": func(t *rapid.T) {
			if f := p.file(); f != nil {
				data := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(1, 9000).Draw(t, "length"))
				_, a := f[0].Write(data)
				_, b := f[1].Write(data)
				p.same("write", a, b)
			}
		},
		"seek": func(*rapid.T) {
			if f := p.file(); f != nil {
				off := p.offset()
				_, a := f[0].Seek(off, 0)
				_, b := f[1].Seek(off, 0)
				p.same("seek", a, b)
			}
		},
		"resize": func(*rapid.T) {
			if f := p.file(); f != nil {
				size := p.offset()
				p.same("resize", f[0].Truncate(size), f[1].Truncate(size))
			}
		},
		"allocate": func(t *rapid.T) {
			if f := p.file(); f != nil {
				mode := rapid.SampledFrom([]uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE}).Draw(t, "mode")
				off, size := p.offset(), p.offset()+1
				p.same("fallocate", unix.Fallocate(int(f[0].Fd()), mode, off, size), unix.Fallocate(int(f[1].Fd()), mode, off, size))
			}
		},
		"sync": func(*rapid.T) {
			if f := p.file(); f != nil {
				p.same("sync", f[0].Sync(), f[1].Sync())
			}
		},
		"read": func(*rapid.T) { p.read() },
	}
}

func (p *pair) read() {
	f := p.file()
	if f == nil {
		return
	}
	off := p.offset()
	var buf [2][5000]byte
	n, a := f[0].ReadAt(buf[0][:], off)
	k, b := f[1].ReadAt(buf[1][:], off)
	if n != k || buf[0] != buf[1] || (a == nil) != (b == nil) {
		p.Fatalf("read at %d: %d bytes and %v in the plain directory, %d and %v on the mount", off, n, a, k, b)
	}
}

// check compares names, lengths, kinds and contents.
func (p *pair) check(t *rapid.T) {
	plain, mounted := tree(t, p.dirs[0]), tree(t, p.dirs[1])
	if !maps.Equal(plain, mounted) {
		for name := range plain {
			if plain[name] != mounted[name] {
				t.Fatalf("%s: %.80q in the plain directory, %.80q on the mount", name, plain[name], mounted[name])
			}
		}
		t.Fatalf("%v in the plain directory, %v on the mount", slices.Sorted(maps.Keys(plain)), slices.Sorted(maps.Keys(mounted)))
	}
	for name, f := range p.open {
		a, errA := f[0].Stat()
		b, errB := f[1].Stat()
		p.same("fstat", errA, errB)
		if a.Size() != b.Size() {
			t.Fatalf("fstat of %s: %d bytes in the plain directory, %d on the mount", name, a.Size(), b.Size())
		}
	}
}

func tree(t *rapid.T, root string) map[string]string {
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		if d.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %d %s", info.Size(), data)
		}
		found[strings.TrimPrefix(path, root)] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
