package broker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// The server itself syncs neither at its end nor what an earlier life of it wrote.
func TestRestartLeavesNothingUnsynced(t *testing.T) {
	m, b, _ := single(t)
	site := m.openStreams("acme")["eu"]
	stop(t, b)
	var synced atomic.Int32
	b.OnSync(func(path string) {
		if strings.HasSuffix(path, ".blk") && strings.Contains(path, subject.EventsStream) {
			synced.Add(1)
		}
	})
	start(t, b)
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return site.conn.IsConnected(), "the client did not come back" })
	site.publish(0, 10)
	stop(t, b)
	if synced.Swap(0) == 0 {
		t.Error("what was stored before a stop is not synced at its end")
	}
	if start(t, b); synced.Load() == 0 {
		t.Error("what was stored by an earlier process is not synced at the start")
	}
}

// What is acknowledged is on disk within SyncInterval, although the server itself syncs more rarely: every block was
// synced at the size that it has.
func TestStoredIsSyncedWithinTheInterval(t *testing.T) {
	m, b, _ := single(t)
	site := m.openStreams("acme")["eu"]
	stop(t, b)
	var sizes sync.Map // path of a block -> its size when it was synced last
	b.OnSync(func(path string) {
		if info, err := os.Stat(path); err == nil && strings.HasSuffix(path, ".blk") {
			sizes.Store(path, info.Size())
		}
	})
	start(t, b)
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) { return site.conn.IsConnected(), "the client did not come back" })
	for i := range 3 {
		site.publish(10*i, 10)
		acked := time.Now()
		blocks := must(filepath.Glob(filepath.Join(m.regions[0].options[0].StoreDir, "jetstream", "*", "streams", subject.EventsStream, "msgs", "*.blk")))(t)
		if len(blocks) == 0 {
			t.Fatal("no blocks")
		}
		streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
			for _, path := range blocks {
				info := must(os.Stat(path))(t)
				if size, _ := sizes.Load(path); size != info.Size() {
					return false, fmt.Sprintf("%s was synced at %v bytes, of %d", filepath.Base(path), size, info.Size())
				}
			}
			return true, ""
		})
		if took := time.Since(acked); took > 2*time.Second { // the server's own sync comes each ten
			t.Errorf("on disk %s after the acknowledgement", took)
		}
	}
}
