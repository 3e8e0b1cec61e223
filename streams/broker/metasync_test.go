package broker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// synced runs a round and lists what it synced, relative to the root.
func synced(t *testing.T, m *metaSync) []string {
	t.Helper()
	var out []string
	m.sync = func(path string) error {
		rel, err := filepath.Rel(m.root, path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, filepath.ToSlash(rel))
		return nil
	}
	if err := m.round(); err != nil {
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

func TestMetaSyncFollowsChanges(t *testing.T) {
	root := t.TempDir()
	m := newMetaSync(root, nil)
	stream := filepath.Join(root, "A", "streams", "EVENTS")
	write(t, stream, "meta.inf")
	write(t, stream, "meta.sum")
	write(t, stream, "msgs", "1.blk")
	all := []string{".", "A", "A/streams", "A/streams/EVENTS", "A/streams/EVENTS/meta.inf", "A/streams/EVENTS/meta.sum", "A/streams/EVENTS/msgs"}
	if got := synced(t, m); !slices.Equal(got, all) {
		t.Errorf("first round: %v, want %v", got, all)
	}
	if got := synced(t, m); len(got) != 0 {
		t.Errorf("nothing changed: %v", got)
	}
	write(t, stream, "meta.inf")
	if got, want := synced(t, m), []string{"A/streams/EVENTS", "A/streams/EVENTS/meta.inf"}; !slices.Equal(got, want) {
		t.Errorf("description rewritten: %v, want %v", got, want)
	}
	write(t, stream, "obs", "mine", "meta.inf")
	if got := synced(t, m); !slices.Contains(got, "A/streams/EVENTS/obs/mine/meta.inf") || !slices.Contains(got, "A/streams/EVENTS/obs") {
		t.Errorf("a consumer: %v", got)
	}
	write(t, stream, "msgs", "2.blk")
	if got, want := synced(t, m), []string{"A/streams/EVENTS/msgs"}; !slices.Equal(got, want) {
		t.Errorf("a block: %v, want %v", got, want)
	}
	if err := os.RemoveAll(stream); err != nil {
		t.Fatal(err)
	}
	if got, want := synced(t, m), []string{"A/streams"}; !slices.Equal(got, want) {
		t.Errorf("the stream is gone: %v, want %v", got, want)
	}
}

func TestMetaSyncTriesAgain(t *testing.T) {
	m := newMetaSync(t.TempDir(), nil)
	write(t, m.root, "meta.inf")
	broken := errors.New("no")
	m.sync = func(string) error { return broken }
	if err := m.round(); !errors.Is(err, broken) {
		t.Fatalf("a failure is not told: %v", err)
	}
	if got, want := synced(t, m), []string{".", "meta.inf"}; !slices.Equal(got, want) {
		t.Errorf("after a failure: %v, want %v", got, want)
	}
}

func TestBrokenDiskIsTold(t *testing.T) {
	b := &Broker{broken: make(chan error, 1)}
	l := &serverLog{log: zap.NewNop(), held: new(atomic.Bool), broken: b.broken}
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
