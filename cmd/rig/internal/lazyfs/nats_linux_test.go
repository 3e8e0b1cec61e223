package lazyfs_test

import (
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/cmd/rig/internal/lazyfs"
)

// TestServer cuts the power of a JetStream server: with SyncAlways nothing that it acknowledged is missing, and with
// a long SyncInterval everything since the last sync is, which shows that the file system can lose.
func TestServer(t *testing.T) {
	const early, late = 100, 200
	cases := map[string]struct {
		always  bool
		options lazyfs.Options
		want    uint64
	}{
		"SyncAlways":                             {true, lazyfs.Options{}, early + late},
		"SyncAlways, names lost":                 {true, lazyfs.Options{LoseMetadata: true, SyncNames: true}, early + late},
		"SyncInterval of a minute":               {false, lazyfs.Options{}, early},
		"SyncInterval of a minute, names lost":   {false, lazyfs.Options{LoseMetadata: true}, early},
		"SyncInterval of a minute, names synced": {false, lazyfs.Options{LoseMetadata: true, SyncNames: true}, early},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := mount(t, c.options)
			store := m.path("store")
			s := serve(t, store, c.always)
			publish(t, s, early)
			if !c.always {
				syncAll(m)
			}
			publish(t, s, late)
			loss := m.PowerOff()
			s.Shutdown()
			s.WaitForShutdown()
			m.PowerOn()
			t.Logf("%+v", loss)
			if got := stored(t, serve(t, store, c.always)); got != c.want {
				t.Errorf("%d messages after the power-off, want %d of %d that were acknowledged", got, c.want, early+late)
			}
		})
	}
}

func serve(t testing.TB, dir string, always bool) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: dir, SyncAlways: always, SyncInterval: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	s.Start()
	if !s.ReadyForConnections(10*time.Second) || !s.JetStreamEnabled() {
		t.Fatal("the server is not ready")
	}
	return s
}

func stream(t testing.TB, s *server.Server) (context.Context, jetstream.JetStream, func()) {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	return ctx, js, func() {
		cancel()
		nc.Close()
	}
}

func publish(t testing.TB, s *server.Server, n int) {
	t.Helper()
	ctx, js, done := stream(t, s)
	defer done()
	// An update would write the stream's configuration anew, and without SyncAlways the server does not sync that.
	_, err := js.Stream(ctx, "S")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	}
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(strings.Repeat("x", 300))
	for range n {
		if _, err := js.Publish(ctx, "s", body); err != nil {
			t.Fatal(err)
		}
	}
}

// stored is how many messages are left, 0 if the stream is gone.
func stored(t testing.TB, s *server.Server) uint64 {
	t.Helper()
	ctx, js, done := stream(t, s)
	defer done()
	st, err := js.Stream(ctx, "S")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= st.CachedInfo().State.Msgs; seq++ {
		if _, err := st.GetMsg(ctx, seq); err != nil {
			t.Fatalf("message %d: %v", seq, err)
		}
	}
	return st.CachedInfo().State.Msgs
}

// syncAll is what sync(2) would be.
func syncAll(m *mounted) {
	m.Helper()
	m.must(filepath.WalkDir(m.dir, func(path string, _ iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil // a temporary file of the server
		}
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	}))
}
