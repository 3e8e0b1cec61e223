package broker

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// disk is a directory of messages under the hands of a server, with what of it was synced.
type disk struct {
	t      *rapid.T
	dir    string
	sync   *diskSync
	onDisk map[string]string   // path -> content when it was synced last
	fresh  map[string]struct{} // written on since the last round
	recent map[string]struct{} // written on between the last two: when the last one looked, the tick was not over
	newest int
	count  int
}

// TestDiskSyncMissesNothing does what the server does to its files, in any order, and after each round compares what
// was synced with what is there. That includes a write within the same tick of the file system's clock as one that the
// last round has seen, which leaves time and size as they were.
func TestDiskSyncMissesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp("", "disksync")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(root)
		d := &disk{t: t, dir: filepath.Join(root, "A", "streams", "S", "msgs"), onDisk: map[string]string{}, fresh: map[string]struct{}{}}
		var mu sync.Mutex
		d.sync = newDiskSync(root, true, func(path string) error {
			body, err := os.ReadFile(path)
			if err == nil {
				mu.Lock()
				d.onDisk[path] = string(body)
				mu.Unlock()
			}
			return nil
		})
		d.newBlock()
		t.Repeat(map[string]func(*rapid.T){
			"append":    func(*rapid.T) { d.appendToNewest() },
			"new block": func(*rapid.T) { d.newBlock() },
			"replace":   func(t *rapid.T) { d.replace(rapid.SampledFrom(d.files()).Draw(t, "file")) },
			"index":     func(*rapid.T) { d.replace(filepath.Join(d.dir, "index.db")) },
			"remove":    func(t *rapid.T) { d.remove(rapid.SampledFrom(d.files()).Draw(t, "file")) },
			"purge":     func(*rapid.T) { d.purge() },
			"same tick": func(*rapid.T) { d.sameTick() },
			"round":     func(*rapid.T) { d.round() },
		})
		d.round()
	})
}

func (d *disk) must(err error) {
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) files() []string {
	entries, err := os.ReadDir(d.dir)
	d.must(err)
	var out []string
	for _, e := range entries {
		out = append(out, filepath.Join(d.dir, e.Name()))
	}
	return out
}

func (d *disk) block() string { return filepath.Join(d.dir, fmt.Sprintf("%d.blk", d.newest)) }

func (d *disk) write(path, body string) {
	d.must(os.MkdirAll(d.dir, 0o700))
	d.must(os.WriteFile(path, []byte(body), 0o600))
	d.fresh[path] = struct{}{}
}

func (d *disk) body() string {
	d.count++
	return fmt.Sprintf("%06d", d.count)
}

func (d *disk) newBlock() {
	d.newest++
	d.write(d.block(), d.body())
}

func (d *disk) appendToNewest() {
	old, _ := os.ReadFile(d.block()) // may be gone: then it begins anew
	d.write(d.block(), string(old)+d.body())
}

func (d *disk) replace(path string) {
	d.write(path+".new", d.body())
	delete(d.fresh, path+".new")
	d.must(os.Rename(path+".new", path))
	d.fresh[path] = struct{}{}
}

func (d *disk) remove(path string) {
	if len(d.files()) > 1 {
		d.must(os.Remove(path))
		delete(d.fresh, path)
		delete(d.recent, path)
	}
}

// purge is how the server empties a stream: the directory is moved away, and another one made.
func (d *disk) purge() {
	away := filepath.Join(filepath.Dir(d.dir), "__msgs__")
	d.must(os.Rename(d.dir, away))
	d.must(os.RemoveAll(away))
	clear(d.fresh)
	clear(d.recent)
	d.newBlock()
}

// sameTick changes a file that changed before the last round, without a trace.
func (d *disk) sameTick() {
	for _, path := range slices.Sorted(maps.Keys(d.recent)) {
		info, err := os.Stat(path)
		d.must(err)
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		d.must(err)
		_, err = f.WriteAt([]byte(strings.Repeat("x", 1+d.count%3)), 0)
		d.must(err)
		d.must(f.Close())
		d.must(os.Chtimes(path, info.ModTime(), info.ModTime()))
	}
}

func (d *disk) round() {
	d.must(d.sync.round())
	for _, path := range d.files() {
		body, err := os.ReadFile(path)
		d.must(err)
		if d.onDisk[path] != string(body) {
			d.t.Fatalf("%s is not synced", filepath.Base(path))
		}
	}
	d.recent, d.fresh = d.fresh, map[string]struct{}{}
}
