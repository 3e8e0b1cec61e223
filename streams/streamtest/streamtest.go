// Package streamtest is what tests of weft stand on: a plain JetStream server in the test's own process,
// ports that no two test processes share, a TCP proxy in which links break the way networks do, and a bounded poll
// instead of sleeping.
//
// Only tests import it, and cmd/rig, which breaks links of real processes (it is, next to streams/broker, the only
// package that knows nats-server). What takes a testing.TB ends with the test; what Listen starts ends with Close.
//
// # Concurrency
//
// All values may be used from several goroutines of one test.
package streamtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const pollEvery = 10 * time.Millisecond

// Eventually asks cond until it is true and fails the test after timeout with what cond said last. cond runs
// in the calling goroutine, so it may end the test.
func Eventually(t testing.TB, timeout time.Duration, cond func() (ok bool, state string)) {
	t.Helper()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, state := cond()
		if ok {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("not so within %s: %s", timeout, state)
		case <-tick.C:
		}
	}
}

// JetStream is a plain server: no accounts, no TLS, files in a directory of the test.
type JetStream struct {
	t      testing.TB
	dir    string
	domain string
	server *server.Server
}

// Server starts a plain JetStream server on a free port of 127.0.0.1. The optional domain is its JetStream
// domain.
func Server(t testing.TB, domain ...string) *JetStream {
	t.Helper()
	s := &JetStream{t: t, dir: t.TempDir()}
	if len(domain) > 0 {
		s.domain = domain[0]
	}
	s.start(server.RANDOM_PORT)
	t.Cleanup(s.Stop)
	return s
}

func (s *JetStream) start(port int) {
	s.t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: s.dir, JetStreamDomain: s.domain,
	})
	if err != nil {
		s.t.Fatalf("test server: %v", err)
	}
	srv.Start()
	s.server = srv
	if !srv.ReadyForConnections(10*time.Second) || !srv.JetStreamEnabled() {
		s.t.Fatal("test server: not ready within 10s")
	}
}

// URL is where clients connect.
func (s *JetStream) URL() string { return s.server.ClientURL() }

// Stop ends the server; its files stay until the test ends.
func (s *JetStream) Stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

// Restart stops the server and starts it on the same port with the same files.
func (s *JetStream) Restart() {
	s.t.Helper()
	addr := s.server.Addr()
	s.Stop()
	s.start(portOf(addr))
}

// Backup copies the server's files; restore puts the server back to them, as an operator does with an older disk.
func (s *JetStream) Backup() (restore func()) {
	s.t.Helper()
	aside := filepath.Join(s.t.TempDir(), "copy")
	s.between(func() error { return os.CopyFS(aside, os.DirFS(s.dir)) })
	return func() {
		s.t.Helper()
		s.between(func() error { return errors.Join(os.RemoveAll(s.dir), os.CopyFS(s.dir, os.DirFS(aside))) })
	}
}

// between does something to the files while the server is away.
func (s *JetStream) between(act func() error) {
	s.t.Helper()
	addr := s.server.Addr()
	s.Stop()
	if err := act(); err != nil {
		s.t.Fatal(err)
	}
	s.start(portOf(addr))
}

// Connect is a connection that is closed with the test.
func (s *JetStream) Connect(opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	conn, err := nats.Connect(s.URL(), append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		s.t.Fatalf("connect to test server: %v", err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}

// Stream connects and makes a stream.
func (s *JetStream) Stream(c jetstream.StreamConfig) (*nats.Conn, jetstream.JetStream) {
	s.t.Helper()
	conn := s.Connect()
	js, err := jetstream.New(conn)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err = js.CreateStream(ctx, c)
	}
	if err != nil {
		s.t.Fatalf("stream %s: %v", c.Name, err)
	}
	return conn, js
}
