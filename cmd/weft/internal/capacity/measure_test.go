package capacity_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
	"github.com/weft-mesh/weft/streams/traffic"
)

// The benchmarks of this file measure what Costs holds where nothing else did. They count CPU, not time: it depends
// less on what else the machine does. One operation is perRun events: run them with -benchtime 1x -count 5.

const (
	perRun    = 100_000
	ackWindow = 4000
)

var (
	eu = subject.Origin{Region: "eu", Epoch: 1}
	us = subject.Origin{Region: "us", Epoch: 1}
)

// rig is one or three servers of a region in this process.
type rig struct {
	b       *testing.B
	servers []*server.Server
	dirs    []string
}

func newRig(b *testing.B, n int, change func(*server.Options)) *rig {
	r := &rig{b: b}
	routes := make([]string, n)
	for i := range routes {
		routes[i] = freeAddr(b)
	}
	for i := range n {
		dir := b.TempDir()
		o := &server.Options{
			ServerName: fmt.Sprintf("s%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: dir, SyncInterval: time.Second,
		}
		if n > 1 {
			host, port, _ := net.SplitHostPort(routes[i])
			p, _ := strconv.Atoi(port)
			o.Cluster = server.ClusterOpts{Name: "c", Host: host, Port: p}
			o.Routes = server.RoutesFromStr("nats://" + strings.Join(routes, ",nats://"))
		}
		if change != nil {
			change(o)
		}
		s, err := server.NewServer(o)
		if err != nil {
			b.Fatal(err)
		}
		s.Start()
		b.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		r.servers, r.dirs = append(r.servers, s), append(r.dirs, dir)
	}
	for _, s := range r.servers {
		if !s.ReadyForConnections(10 * time.Second) {
			b.Fatal("not ready")
		}
	}
	return r
}

func freeAddr(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// stream makes a stream and returns a connection to its leader, as far as there is a choice.
func (r *rig) stream(c jetstream.StreamConfig) (*nats.Conn, jetstream.JetStream) {
	conn, err := nats.Connect(r.servers[0].ClientURL())
	if err != nil {
		r.b.Fatal(err)
	}
	r.b.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		r.b.Fatal(err)
	}
	streamtest.Eventually(r.b, 20*time.Second, func() (bool, string) {
		ctx, cancel := context.WithTimeout(r.b.Context(), 2*time.Second)
		defer cancel()
		_, err := js.CreateOrUpdateStream(ctx, c)
		return err == nil, fmt.Sprint(err)
	})
	return conn, js
}

// events are what a relay stores of the demo traffic.
func events(run int) (msgs []*nats.Msg, bodyBytes int) {
	now := time.Now().UTC()
	g := traffic.New(traffic.Options{Seed: uint64(run), Prefix: fmt.Sprintf("0197a2c4-7d1e-7c3a-%04d", run)})
	for i := range perRun {
		body := g.Next(now)
		bodyBytes += len(body)
		msgs = append(msgs, &nats.Msg{
			Subject: subject.Event{Origin: eu, Scope: subject.Global, Partition: i % 64, Topic: "bets", Type: "bet.placed"}.String(),
			Data:    body,
			Header: nats.Header{
				header.MsgID: {fmt.Sprintf("0197a2c4-7d1e-7c3a-%04d-%012d", run, i)}, header.IngestedAt: {now.Format(time.RFC3339Nano)},
				header.Relay: {"relay-eu-1"}, header.Kid: {"acme-1"}, header.Source: {"spiffe://weft/acme/games"},
				header.TraceParent: {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			},
		})
	}
	return msgs, bodyBytes
}

// publish sends msgs as a relay does: an inbox, a window, an acknowledgement for each.
func publish(b *testing.B, conn *nats.Conn, msgs []*nats.Msg) {
	window := make(chan struct{}, ackWindow)
	sub, err := conn.Subscribe("acks.*", func(m *nats.Msg) {
		if !bytes.HasPrefix(m.Data, []byte(`{"stream":"EVENTS"`)) {
			b.Errorf("%s", m.Data)
		}
		<-window
	})
	if err != nil {
		b.Fatal(err)
	}
	for i, m := range msgs {
		window <- struct{}{}
		m.Reply = "acks." + strconv.Itoa(i)
		if err := conn.PublishMsg(m); err != nil {
			b.Fatal(err)
		}
	}
	for range ackWindow {
		window <- struct{}{}
	}
	if err := sub.Unsubscribe(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkStore publishes the demo traffic into a stream of one server and of three, all in this process with
// the publisher: CPU, size in the stream (uncompressed), size on each server's disk, and what was written to it.
func BenchmarkStore(b *testing.B) {
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprintf("R%d", replicas), func(b *testing.B) {
			var cpu time.Duration
			var n, body, kept, onDisk, written float64
			for b.Loop() {
				r := newRig(b, replicas, nil)
				conn, js := r.stream(streams.EventsConfig(streams.EventsSpec{Self: eu, Replicas: replicas}))
				msgs, size := events(1)
				io, began := writtenBytes(b), cpuTime(b)
				publish(b, conn, msgs)
				cpu += cpuTime(b) - began
				written += writtenBytes(b) - io
				s, err := js.Stream(b.Context(), subject.EventsStream)
				if err != nil {
					b.Fatal(err)
				}
				n += perRun
				body += float64(size)
				kept += float64(s.CachedInfo().State.Bytes)
				onDisk += dirBytes(b, r.dirs[0])
			}
			b.ReportMetric(float64(cpu)/n, "cpu-ns/event")
			b.ReportMetric(body/n, "body-B/event")
			b.ReportMetric(kept/n, "stored-B/event")
			b.ReportMetric(onDisk/n, "disk-B/event")
			b.ReportMetric(written/n/float64(replicas), "written-B/event")
		})
	}
}

// BenchmarkStoreSynced is for counting fsyncs from outside: strace -f -c -e trace=fsync.
func BenchmarkStoreSynced(b *testing.B) {
	for b.Loop() {
		r := newRig(b, 3, func(o *server.Options) { o.SyncAlways = true })
		conn, _ := r.stream(streams.EventsConfig(streams.EventsSpec{Self: eu, Replicas: 3}))
		msgs, _ := events(1)
		publish(b, conn, msgs)
	}
}

// BenchmarkSource copies a stream of one server to another region's, both in this process: CPU of both together
// and bytes over the link in the direction of the events, without TLS.
func BenchmarkSource(b *testing.B) {
	var cpu time.Duration
	var n, body, wire, kept float64
	for b.Loop() {
		leaf := freeAddr(b)
		host, port, _ := net.SplitHostPort(leaf)
		p, _ := strconv.Atoi(port)
		from := newRig(b, 1, func(o *server.Options) {
			o.ServerName, o.JetStreamDomain = "eu", "eu"
			o.LeafNode = server.LeafNodeOpts{Host: host, Port: p, NoAdvertise: true}
		})
		cut := streamtest.NewCutter(b, leaf)
		to := newRig(b, 1, func(o *server.Options) {
			o.ServerName, o.JetStreamDomain = "us", "us"
			o.LeafNode.Remotes = []*server.RemoteLeafOpts{{URLs: []*url.URL{{Scheme: "nats", Host: cut.Addr()}}, Compression: server.CompressionOpts{Mode: server.CompressionOff}}}
		})
		conn, _ := from.stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
		msgs, size := events(1)
		publish(b, conn, msgs)
		streamtest.Eventually(b, 10*time.Second, func() (bool, string) { return to.servers[0].NumLeafNodes() == 1, "no link" })
		before, began := cut.Stats(), cpuTime(b)
		_, js := to.stream(streams.EventsConfig(streams.EventsSpec{Self: us, Peers: []subject.Origin{eu}}))
		streamtest.Eventually(b, time.Minute, func() (bool, string) {
			s, err := js.Stream(b.Context(), subject.EventsStream)
			if err != nil {
				return false, err.Error()
			}
			state := s.CachedInfo().State
			if state.Msgs == perRun {
				kept += float64(state.Bytes)
			}
			return state.Msgs == perRun, fmt.Sprint(state.Msgs, " copied")
		})
		cpu += cpuTime(b) - began
		n += perRun
		body += float64(size)
		wire += float64(max(cut.Stats().Forward-before.Forward, cut.Stats().Backward-before.Backward))
	}
	b.ReportMetric(float64(cpu)/n, "cpu-ns/event")
	b.ReportMetric(body/n, "body-B/event")
	b.ReportMetric(wire/n, "wire-B/event")
	b.ReportMetric(kept/n, "stored-B/event")
}

// BenchmarkDeliver reads a stream through one durable for all topics with explicit acks, server and client in this process.
func BenchmarkDeliver(b *testing.B) {
	var cpu time.Duration
	var n float64
	for b.Loop() {
		r := newRig(b, 1, nil)
		conn, js := r.stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
		msgs, _ := events(1)
		publish(b, conn, msgs)
		c, err := js.CreateConsumer(b.Context(), subject.EventsStream, jetstream.ConsumerConfig{Durable: "d", AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 1000})
		if err != nil {
			b.Fatal(err)
		}
		began := cpuTime(b)
		it, err := c.Messages(jetstream.PullMaxMessages(500))
		if err != nil {
			b.Fatal(err)
		}
		for range perRun {
			m, err := it.Next()
			if err == nil {
				err = m.Ack()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		it.Stop()
		cpu += cpuTime(b) - began
		n += perRun
	}
	b.ReportMetric(float64(cpu)/n, "cpu-ns/event")
}

// BenchmarkMemory is the heap that an empty stream takes, and each subject that a stream holds events of.
func BenchmarkMemory(b *testing.B) {
	const idle, subjects = 500, 50_000
	for b.Loop() {
		r := newRig(b, 1, nil)
		conn, js := r.stream(streams.EventsConfig(streams.EventsSpec{Self: eu}))
		base := heap()
		for i := range idle {
			c := streams.EventsConfig(streams.EventsSpec{Self: subject.Origin{Region: "r" + strconv.Itoa(i), Epoch: 1}})
			c.Name = "S" + strconv.Itoa(i)
			if _, err := js.CreateStream(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
		perStream := (heap() - base) / idle
		base = heap()
		for i := range subjects {
			name := subject.Event{Origin: eu, Scope: subject.Global, Partition: i % 64, Topic: "topic" + strconv.Itoa(i/64), Type: "thing.happened"}.String()
			if err := conn.Publish(name, []byte("x")); err != nil {
				b.Fatal(err)
			}
		}
		streamtest.Eventually(b, time.Minute, func() (bool, string) {
			z, err := r.servers[0].Jsz(nil)
			return err == nil && z.Messages == subjects, "not stored"
		})
		b.ReportMetric(perStream, "B/stream")
		b.ReportMetric((heap()-base)/subjects, "B/subject")
	}
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// writtenBytes is what the process has made the disk store; 0 where the system does not tell.
func writtenBytes(b *testing.B) float64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func dirBytes(b *testing.B, dir string) (sum float64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += float64(info.Size())
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return sum
}
