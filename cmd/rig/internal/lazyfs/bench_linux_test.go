package lazyfs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/cmd/rig/internal/lazyfs"
)

// places are a directory on a mount and one beside it.
func places(b *testing.B, bench func(b *testing.B, dir string)) {
	b.Run("plain", func(b *testing.B) { bench(b, b.TempDir()) })
	b.Run("mount", func(b *testing.B) { bench(b, mount(b, lazyfs.Options{}).dir) })
}

// BenchmarkAppend writes 4 KiB at a time; every is after how many it syncs.
func BenchmarkAppend(b *testing.B) {
	block := make([]byte, 4096)
	for name, every := range map[string]int{"sync 1": 1, "sync 256": 256} {
		b.Run(name, func(b *testing.B) {
			places(b, func(b *testing.B, dir string) {
				f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
				if err != nil {
					b.Fatal(err)
				}
				defer f.Close()
				b.SetBytes(int64(len(block)))
				for i := 1; b.Loop(); i++ {
					_, err := f.Write(block)
					if err == nil && i%every == 0 {
						err = f.Sync()
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkPublish has a server in this process acknowledge messages of 300 bytes, 256 of them under way at once.
func BenchmarkPublish(b *testing.B) {
	for name, always := range map[string]bool{"SyncAlways": true, "SyncInterval": false} {
		b.Run(name, func(b *testing.B) {
			places(b, func(b *testing.B, dir string) {
				s := serve(b, filepath.Join(dir, "store"), always)
				publish(b, s, 1)
				_, js, done := stream(b, s)
				defer done()
				body := []byte(strings.Repeat("x", 300))
				window := make(chan jetstream.PubAckFuture, 256)
				for b.Loop() {
					if len(window) == cap(window) {
						acknowledged(b, <-window)
					}
					future, err := js.PublishAsync("s", body)
					if err != nil {
						b.Fatal(err)
					}
					window <- future
				}
				for len(window) > 0 {
					acknowledged(b, <-window)
				}
			})
		})
	}
}

func acknowledged(b *testing.B, future jetstream.PubAckFuture) {
	b.Helper()
	select {
	case <-future.Ok():
	case err := <-future.Err():
		b.Fatal(err)
	}
}
