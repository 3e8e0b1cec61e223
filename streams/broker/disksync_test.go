package broker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// synced runs a round and lists what it synced, relative to the root.
func synced(t *testing.T, d *diskSync) []string {
	t.Helper()
	var mu sync.Mutex
	var out []string
	d.sync = func(path string) error {
		rel, err := filepath.Rel(d.root.path, path)
		mu.Lock()
		defer mu.Unlock()
		out = append(out, filepath.ToSlash(rel))
		return err
	}
	if err := d.round(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func write(t *testing.T, elem ...string) {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(path), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

func appendTo(t *testing.T, elem ...string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(elem...), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("more"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDiskSyncFollowsChanges(t *testing.T) {
	d := newDiskSync(t.TempDir(), true, nil)
	const base = "A/streams/EVENTS"
	stream := filepath.Join(d.root.path, base)
	write(t, stream, "meta.inf")
	write(t, stream, "meta.sum")
	write(t, stream, "msgs", "9.blk")
	write(t, stream, "msgs", "10.blk")
	write(t, stream, "msgs", "index.db")
	all := []string{".", "A", "A/streams", base, base + "/meta.inf", base + "/meta.sum", base + "/msgs", base + "/msgs/10.blk", base + "/msgs/9.blk", base + "/msgs/index.db"}
	steps := []struct {
		name   string
		change func()
		want   []string // in the next round and, for a change in the same tick, in the one after it
	}{
		{"first round", func() {}, all},
		{"description rewritten", func() { write(t, stream, "meta.inf") }, []string{base, base + "/meta.inf"}},
		{"a block grows", func() { appendTo(t, stream, "msgs", "10.blk") }, []string{base + "/msgs/10.blk"}},
		{"a block is full", func() {
			appendTo(t, stream, "msgs", "10.blk")
			write(t, stream, "msgs", "11.blk")
		}, []string{base + "/msgs", base + "/msgs/10.blk", base + "/msgs/11.blk"}},
		{"the next one grows", func() { appendTo(t, stream, "msgs", "11.blk") }, []string{base + "/msgs/11.blk"}},
		{"an old block is replaced", func() { write(t, stream, "msgs", "9.blk") }, []string{base + "/msgs", base + "/msgs/9.blk"}},
		{"the index is rewritten", func() { write(t, stream, "msgs", "index.db") }, []string{base + "/msgs", base + "/msgs/index.db"}},
		{"blocks are gone", func() { remove(t, stream, "msgs", "9.blk") }, []string{base + "/msgs"}},
		{"the newest block is gone", func() { remove(t, stream, "msgs", "11.blk") }, []string{base + "/msgs"}},
		{"the one before it grows", func() { appendTo(t, stream, "msgs", "10.blk") }, []string{base + "/msgs/10.blk"}},
		{"a consumer", func() { write(t, stream, "obs", "mine", "meta.inf") }, []string{base, base + "/obs", base + "/obs/mine", base + "/obs/mine/meta.inf"}},
		{"the stream is gone", func() { remove(t, stream) }, []string{"A/streams"}},
	}
	for _, s := range steps {
		s.change()
		for _, round := range []string{"next", "second"} {
			if got := synced(t, d); !slices.Equal(got, s.want) {
				t.Errorf("%s, %s round: %v, want %v", s.name, round, got, s.want)
			}
		}
		if got := synced(t, d); len(got) != 0 {
			t.Errorf("%s: settled, and synced again: %v", s.name, got)
		}
	}
}

func remove(t *testing.T, elem ...string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(elem...)); err != nil {
		t.Fatal(err)
	}
}

// The server itself syncs messages where it does so before each acknowledgement.
func TestDiskSyncOfDescriptionsOnly(t *testing.T) {
	d := newDiskSync(t.TempDir(), false, nil)
	write(t, d.root.path, "S", "msgs", "1.blk")
	write(t, d.root.path, "S", "meta.inf")
	if got, want := synced(t, d), []string{".", "S", "S/meta.inf", "S/msgs"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestDiskSyncAdoptsWhatIsSynced(t *testing.T) {
	var got []string
	d := newDiskSync(t.TempDir(), true, func(path string) error {
		got = append(got, filepath.Base(path))
		return nil
	})
	write(t, d.root.path, "S", "msgs", "1.blk")
	write(t, d.root.path, "S", "msgs", "2.blk")
	write(t, d.root.path, "S", "obs", "mine", "o.dat")
	if err := d.all(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1.blk", "2.blk", "o.dat"}; !slices.Equal(got, want) {
		t.Errorf("all: %v, want %v", got, want)
	}
	appendTo(t, d.root.path, "S", "msgs", "2.blk")
	if got, want := synced(t, d), []string{".", "S", "S/msgs", "S/msgs/2.blk", "S/obs", "S/obs/mine"}; !slices.Equal(got, want) {
		t.Errorf("the first round: %v, want %v", got, want)
	}
}

func TestDiskSyncTriesAgain(t *testing.T) {
	d := newDiskSync(t.TempDir(), true, nil)
	write(t, d.root.path, "meta.inf")
	write(t, d.root.path, "msgs", "1.blk")
	broken := errors.New("no")
	d.sync = func(string) error { return broken }
	if err := d.round(); !errors.Is(err, broken) {
		t.Fatalf("a failure is not told: %v", err)
	}
	if got, want := synced(t, d), []string{".", "meta.inf", "msgs", "msgs/1.blk"}; !slices.Equal(got, want) {
		t.Errorf("after a failure: %v, want %v", got, want)
	}
}

// A disk that takes writes and fails to sync them ends the region's server, and promises nothing from then on.
func TestFailedSyncIsTold(t *testing.T) {
	b := &Broker{broken: make(chan error, 1)}
	d := newDiskSync(t.TempDir(), true, func(string) error { return syscall.EIO })
	stop := d.start(time.Millisecond, zap.NewNop(), b.breaks)
	defer stop()
	select {
	case err := <-b.Broken():
		if fault.CodeOf(err) != "disk_failed" || !strings.Contains(err.Error(), syscall.EIO.Error()) {
			t.Errorf("told as %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a failed sync is not told")
	}
	if d.every.Load() != 0 {
		t.Error("an interval is promised after a failed sync")
	}
}

func TestBrokenDiskIsTold(t *testing.T) {
	b := &Broker{broken: make(chan error, 1)}
	l := &serverLog{log: zap.NewNop(), held: new(atomic.Bool), gone: new(sync.Map), breaks: b.breaks}
	l.Errorf("JetStream failed to store a msg on stream '%s'", "EVENTS")
	select {
	case err := <-b.Broken():
		t.Fatalf("one refused message is no broken disk: %v", err)
	default:
	}
	l.Errorf("[A/EVENTS] Critical write error: %v", "no space left on device")
	l.Errorf("JetStream out of %s resources, will be DISABLED", "File") // nobody waits for a second one
	select {
	case err := <-b.Broken():
		if fault.CodeOf(err) != "disk_failed" || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("told as %v", err)
		}
	default:
		t.Error("a failed write is not told")
	}
}
