package broker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
)

// BenchmarkStoreBesideSync is how long a stored message waits for its acknowledgement while messages are synced each
// second: by the server itself, and by diskSync. Both stores take the same messages at the same moments, so that
// whatever else the machine and its disk do strikes both. One operation is a message in each: -benchtime 20000x.
func BenchmarkStoreBesideSync(b *testing.B) {
	const pause = time.Millisecond
	sides := []struct {
		name string
		by   *store
	}{{"server", newStore(b, time.Second, false)}, {"beside", newStore(b, backstop*time.Second, true)}}
	body := []byte(strings.Repeat("x", 1000))
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for b.Loop() {
		<-tick.C
		for _, s := range sides {
			s.by.publish(body)
		}
	}
	for _, s := range sides {
		waits := s.by.waits()
		for _, per := range []int{500, 990, 999} {
			b.ReportMetric(float64(waits[len(waits)*per/1000])/1e6, fmt.Sprintf("%s-p%g-ms", s.name, float64(per)/10))
		}
	}
}

// store is a server with one stream. A goroutine of the client's calls heard, one at a time.
type store struct {
	b     *testing.B
	conn  *nats.Conn
	inbox string
	sent  int
	began sync.Map // number -> when it was published
	heard chan time.Duration
}

func newStore(b *testing.B, syncInterval time.Duration, beside bool) *store {
	dir := b.TempDir()
	s, err := server.NewServer(&server.Options{
		DontListen: true, NoLog: true, NoSigs: true, JetStream: true, StoreDir: dir, SyncInterval: syncInterval,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	s.Start()
	if beside {
		b.Cleanup(newDiskSync(dir, true, syncPath).start(time.Second, zap.NewNop(), func(err error) { b.Error(err) }))
	}
	conn, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err == nil {
		_, err = js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	}
	if err != nil {
		b.Fatal(err)
	}
	st := &store{b: b, conn: conn, inbox: conn.NewInbox() + ".", heard: make(chan time.Duration, 1<<20)}
	if _, err := conn.Subscribe(st.inbox+"*", st.acked); err != nil {
		b.Fatal(err)
	}
	return st
}

func (s *store) publish(body []byte) {
	number := strconv.Itoa(s.sent)
	s.sent++
	s.began.Store(number, time.Now())
	if err := s.conn.PublishRequest("s", s.inbox+number, body); err != nil {
		s.b.Fatal(err)
	}
}

func (s *store) acked(m *nats.Msg) {
	if began, ok := s.began.LoadAndDelete(strings.TrimPrefix(m.Subject, s.inbox)); ok {
		s.heard <- time.Since(began.(time.Time))
	}
}

// waits are all of them, in ascending order.
func (s *store) waits() []time.Duration {
	out := make([]time.Duration, s.sent)
	for i := range out {
		out[i] = <-s.heard
	}
	slices.Sort(out)
	return out
}
