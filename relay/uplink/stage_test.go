package uplink

import (
	"bytes"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/subject"
)

// stageSizes are the requests of the stage benchmarks below: one operation is one of them.
var stageSizes = []struct {
	name   string
	events int
}{{"event", 1}, {"batch100", 100}}

// sink is a connection to a server that says hello, answers pings and throws everything else away.
type sink struct {
	net.Conn // nil: what is not below is not called
	once     sync.Once
	closed   chan struct{}
	in       chan []byte // for the client to read
	rest     []byte
}

func newSink() *sink {
	s := &sink{closed: make(chan struct{}), in: make(chan []byte, 16)}
	s.in <- []byte(`INFO {"server_id":"S","version":"2.15.0","headers":true,"max_payload":1048576,"proto":1}` + "\r\n")
	return s
}

func (s *sink) Dial(string, string) (net.Conn, error) { return s, nil }

func (s *sink) Write(b []byte) (int, error) {
	if bytes.HasSuffix(b, []byte("PING\r\n")) {
		s.in <- []byte("PONG\r\n")
	}
	return len(b), nil
}

func (s *sink) Read(b []byte) (int, error) {
	if len(s.rest) == 0 {
		select {
		case s.rest = <-s.in:
		case <-s.closed:
			return 0, io.EOF
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *sink) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *sink) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// stage is an uplink before a sink, and a request for it.
type stage struct {
	b       *testing.B
	up      *Uplink
	sink    *sink
	msgs    []Message
	results []Result
	stamp   Stamp
}

func newStage(b *testing.B, n int) *stage {
	b.Helper()
	s := &stage{b: b, sink: newSink(), results: make([]Result, n),
		stamp: Stamp{IngestedAt: "2026-01-31T23:59:59.123456789Z", Relay: "eu-relay-1", Kid: "acme-1", Source: "default"}}
	conn, err := nats.Connect("nats://sink", nats.SetCustomDialer(s.sink), nats.CustomInboxPrefix(subject.InboxPrefix("eu")+".r1"),
		nats.ReconnectBufSize(-1), nats.NoReconnect())
	if err != nil {
		b.Fatal(err)
	}
	o := DefaultOptions()
	o.Region = "eu"
	if s.up, err = open(conn, &shared{Options: o}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.up.close)
	lines, err := os.ReadFile("../../streams/event/testdata/hundred.ndjson")
	if err != nil {
		b.Fatal(err)
	}
	events, err := event.DecodeLines(lines, event.Limits{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	regions := []partition.Region{{Name: "eu", Weight: 1}, {Name: "us", Weight: 1}}
	for i := range events[:n] {
		e := &events[i].Event
		to := subject.Event{Origin: subject.Origin{Region: "eu", Epoch: 1}, Scope: subject.Global, Partition: partition.Of(e.UserID), Topic: "bets", Type: e.Type}
		m := Message{Subject: to.String(), Region: "eu", ID: e.ID, Data: e.Raw}
		if home := partition.Home(e.UserID, regions); home != "eu" {
			m.Home = home
		}
		s.msgs = append(s.msgs, m)
	}
	return s
}

// arm takes a request through Publish up to where it is sent: its slots wait for their acknowledgements.
func (s *stage) arm() *call {
	c := s.up.s.call(s.msgs, s.results)
	if !s.up.window.admit(c) {
		s.b.Fatal("the window is full")
	}
	if _, n, _ := s.up.window.arm(c, s.up.prefix); n != len(s.msgs) {
		s.b.Fatal(n, "messages armed")
	}
	return c
}

// end is the rest of Publish, when all of c is settled.
func (s *stage) end(c *call) {
	s.up.window.leave(c)
	s.up.s.recycle(c)
}

// BenchmarkStagePublish is the hot path's stage from messages to the connection: slots of the window, reply
// subjects, headers, and the client library's buffers and writes. The acknowledgements are left out: the slots are
// given back as if they had timed out.
func BenchmarkStagePublish(b *testing.B) {
	for _, size := range stageSizes {
		b.Run(size.name, func(b *testing.B) {
			s := newStage(b, size.events)
			b.SetBytes(int64(500 * size.events))
			b.ReportAllocs()
			for b.Loop() {
				c := s.arm()
				c.stamp(&s.stamp)
				s.up.send(c, 0, len(s.msgs))
				s.up.window.expire(c, ackTimeout)
				s.end(c)
			}
			if n := s.up.conn.Stats().OutMsgs; n < uint64(size.events) {
				b.Fatal(n, "messages sent")
			}
		})
	}
}

// BenchmarkStagePubAck is the hot path's stage from a stream's acknowledgement to the settled event. One operation
// of "event" is one acknowledgement as the client library delivers it; of "wire100", a hundred as they come from the
// server, the client library's reading included.
func BenchmarkStagePubAck(b *testing.B) {
	b.Run("event", func(b *testing.B) {
		s := newStage(b, 1)
		c := s.up.s.call(s.msgs, s.results)
		c.held = append(c.held, 0)
		w := s.up.window
		ack := &nats.Msg{Subject: s.up.prefix + string(appendToken(nil, 0, 7)), Data: []byte(`{"stream":"EVENTS","domain":"eu","seq":123456}`)}
		b.ReportAllocs()
		for b.Loop() {
			w.slots[0] = slot{gen: 7, call: c}
			c.pending, w.free = 1, w.free[:len(w.slots)-1]
			s.up.onAck(ack)
		}
		if r := s.results[0]; r.Status != Stored || r.Seq != 123456 {
			b.Fatalf("%+v", r)
		}
	})
	b.Run("wire100", func(b *testing.B) {
		s := newStage(b, 100)
		var acks []byte
		b.ReportAllocs()
		for b.Loop() {
			c := s.arm()
			acks = s.appendAcks(acks[:0], c)
			s.sink.in <- acks
			<-c.wake
			s.end(c)
		}
		for i := range s.results {
			if r := s.results[i]; r.Status != Stored || r.Seq == 0 {
				b.Fatalf("%+v", r)
			}
		}
	})
}

// appendAcks appends what the server says when it has stored all messages of c.
func (s *stage) appendAcks(text []byte, c *call) []byte {
	width := len(c.tokens) / len(c.msgs)
	for i := range c.msgs {
		const before, after = `{"stream":"EVENTS","domain":"eu","seq":`, "}\r\n"
		text = append(append(text, "MSG "...), c.tokens[i*width:(i+1)*width]...)
		text = append(text, " 1 "...) // the uplink's only subscription
		text = strconv.AppendInt(text, int64(len(before)+len("1000000}")), 10)
		text = append(append(text, "\r\n"...), before...)
		text = strconv.AppendInt(text, int64(1_000_000+i), 10)
		text = append(text, after...)
	}
	return text
}
