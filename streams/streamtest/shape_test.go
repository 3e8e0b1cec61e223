package streamtest_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/streams/streamtest"
)

// sink takes connections and gives them to the test.
func sink(t *testing.T) (addr string, conns chan net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns = make(chan net.Conn, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		close(conns)
		for c := range conns {
			c.Close()
		}
	})
	return l.Addr().String(), conns
}

// through is both ends of a connection through a proxy.
func through(t *testing.T) (cutter *streamtest.Cutter, dialler, target net.Conn) {
	t.Helper()
	addr, conns := sink(t)
	cutter = streamtest.NewCutter(t, addr)
	dialler = dial(t, cutter.Addr())
	select {
	case target = <-conns:
	case <-time.After(5 * time.Second):
		t.Fatal("no connection at the target")
	}
	t.Cleanup(func() { target.Close() })
	return cutter, dialler, target
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// hear is what arrives within wait, up to n bytes.
func hear(c net.Conn, n int, wait time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, n)
	got, err := io.ReadFull(c, buf)
	return string(buf[:got]), err
}

func TestDropIsOneWay(t *testing.T) {
	cases := map[streamtest.Direction]func(d, u net.Conn) (lossy, good [2]net.Conn){
		streamtest.Forward:  func(d, u net.Conn) (lossy, good [2]net.Conn) { return [2]net.Conn{d, u}, [2]net.Conn{u, d} },
		streamtest.Backward: func(d, u net.Conn) (lossy, good [2]net.Conn) { return [2]net.Conn{u, d}, [2]net.Conn{d, u} },
	}
	for direction, ways := range cases {
		t.Run(fmt.Sprint(direction), func(t *testing.T) {
			cutter, dialler, target := through(t)
			lossy, good := ways(dialler, target)
			cutter.Drop(direction)
			say(t, lossy[0], "held")
			say(t, good[0], "open")
			if got, err := hear(good[1], 4, 5*time.Second); got != "open" {
				t.Errorf("the good direction brought %q (%v)", got, err)
			}
			if got, err := hear(lossy[1], 1, 50*time.Millisecond); got != "" || !isTimeout(err) {
				t.Errorf("the lossy direction brought %q (%v), want a timeout", got, err)
			}
			say(t, lossy[0], " back")
			cutter.Heal()
			if got, err := hear(lossy[1], 9, 5*time.Second); got != "held back" {
				t.Errorf("after the heal came %q (%v)", got, err)
			}
		})
	}
}

func TestDropBothThenSet(t *testing.T) {
	cutter, dialler, target := through(t)
	cutter.Drop(streamtest.Forward)
	cutter.Drop(streamtest.Backward)
	if s := cutter.Shape(); !s.DropForward || !s.DropBackward {
		t.Errorf("two drops make %+v", s)
	}
	say(t, dialler, "f")
	say(t, target, "b")
	cutter.Set(streamtest.Shape{DropBackward: true}) // from one state to another without a heal between
	if got, err := hear(target, 1, 5*time.Second); got != "f" {
		t.Errorf("forward brought %q (%v)", got, err)
	}
	if got, err := hear(dialler, 1, 50*time.Millisecond); !isTimeout(err) {
		t.Errorf("backward brought %q (%v), want a timeout", got, err)
	}
	cutter.Set(streamtest.Shape{})
	if got, err := hear(dialler, 1, 5*time.Second); got != "b" {
		t.Errorf("backward brought %q (%v) at last", got, err)
	}
}

func TestHealKeepsSpeed(t *testing.T) {
	cutter := streamtest.NewCutter(t, echo(t))
	full := streamtest.Shape{Cut: true, Freeze: true, DropForward: true, DropBackward: true,
		Delay: time.Second, Jitter: time.Minute, BytesPerSecond: 7}
	cutter.Set(full)
	if got := cutter.Shape(); got != full {
		t.Errorf("set %+v, got %+v", full, got)
	}
	cutter.Heal()
	if got, want := cutter.Shape(), (streamtest.Shape{Delay: time.Second, Jitter: time.Minute, BytesPerSecond: 7}); got != want {
		t.Errorf("after the heal %+v, want %+v", got, want)
	}
}

func TestCutWhileFrozenEndsTheConnection(t *testing.T) {
	cutter, dialler, target := through(t)
	cutter.Freeze()
	say(t, dialler, "x")
	cutter.Cut()
	for name, c := range map[string]net.Conn{"dialler": dialler, "target": target} {
		if _, err := hear(c, 1, 5*time.Second); err == nil || isTimeout(err) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		s := cutter.Stats()
		return s.Open == 0, fmt.Sprintf("%+v", s)
	})
}

// The end of one side is not known to the other side of a black hole.
func TestFreezeHidesTheEnd(t *testing.T) {
	cutter, dialler, target := through(t)
	cutter.Freeze()
	say(t, dialler, "last")
	dialler.Close()
	if got, err := hear(target, 1, 50*time.Millisecond); !isTimeout(err) {
		t.Errorf("a frozen link brought %q (%v)", got, err)
	}
	cutter.Heal()
	if got, err := hear(target, 5, 5*time.Second); got != "last" || err != io.ErrUnexpectedEOF {
		t.Errorf("after the heal %q (%v), want the last bytes and the end", got, err)
	}
}

func TestJitterKeepsOrderAndBounds(t *testing.T) {
	cutter, dialler, target := through(t)
	cutter.Seed(7)
	cutter.Jitter(20 * time.Millisecond)
	cutter.Delay(10 * time.Millisecond)
	var sent strings.Builder
	began := time.Now()
	for i := range 50 {
		text := fmt.Sprintf("%02d.", i)
		sent.WriteString(text)
		say(t, dialler, text)
	}
	got, err := hear(target, sent.Len(), 5*time.Second)
	if got != sent.String() {
		t.Errorf("in another order (%v):\n%s\n%s", err, sent.String(), got)
	}
	if took := time.Since(began); took < 10*time.Millisecond {
		t.Errorf("took %s, less than the delay", took)
	}
}

func TestJitterIsSeeded(t *testing.T) {
	cutter := streamtest.NewCutter(t, echo(t))
	c := dial(t, cutter.Addr())
	cutter.Jitter(80 * time.Millisecond)
	cutter.Seed(7)
	dice := rand.New(rand.NewPCG(7, 0))
	for range 3 {
		drawn := time.Duration(dice.Int64N(int64(80*time.Millisecond)) + dice.Int64N(int64(80*time.Millisecond)))
		if took, err := c.ask(5 * time.Second); err != nil || took < drawn {
			t.Errorf("the echo took %s, less than the %s drawn for both ways (%v)", took, drawn, err)
		}
	}
}

func TestBandwidth(t *testing.T) {
	cutter, dialler, target := through(t)
	cutter.Bandwidth(1 << 20)
	const size = 256 << 10
	for name, way := range map[string][2]net.Conn{"forward": {dialler, target}, "backward": {target, dialler}} {
		began := time.Now()
		go func() { _, _ = way[0].Write(bytes.Repeat([]byte("x"), size)) }()
		if got, err := hear(way[1], size, 20*time.Second); len(got) != size {
			t.Fatalf("%s: %d bytes (%v)", name, len(got), err)
		}
		if took := time.Since(began); took < 200*time.Millisecond {
			t.Errorf("%s: a quarter of a second's worth took %s", name, took)
		}
	}
	cutter.Bandwidth(1) // would take days
	go func() { _, _ = dialler.Write(bytes.Repeat([]byte("x"), size)) }()
	if got, err := hear(target, size, 50*time.Millisecond); !isTimeout(err) {
		t.Errorf("one byte per second brought %d bytes (%v)", len(got), err)
	}
	cutter.Bandwidth(0) // who waits under the old limit goes on
	if got, err := hear(target, size-2, 5*time.Second); err != nil {
		t.Errorf("without a limit %d bytes (%v)", len(got), err)
	}
}

// name answers each connection with text and closes it.
func name(t *testing.T, text string) string {
	addr, conns := sink(t)
	go func() {
		for c := range conns {
			_, _ = c.Write([]byte(text))
			c.Close()
		}
	}()
	return addr
}

func TestTargetsInTurn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	cutter := streamtest.NewCutter(t, name(t, "a"), nobody, name(t, "c"))
	var got string
	for range 6 {
		text, err := io.ReadAll(dial(t, cutter.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		got += string(text)
	}
	if got != "accacc" {
		t.Errorf("asked %s, want accacc: in turn, and c for the one that does not answer", got)
	}
	dead := streamtest.NewCutter(t, nobody)
	if c, err := net.Dial("tcp", dead.Addr()); err == nil { // the reset may come before or after the dial returns
		defer c.Close()
		if _, err := hear(c, 1, 5*time.Second); err == nil || isTimeout(err) {
			t.Errorf("without a target: %v, want a reset", err)
		}
	}
}

func TestStats(t *testing.T) {
	cutter, dialler, target := through(t)
	say(t, dialler, "four")
	say(t, target, "seven..")
	want := streamtest.Stats{Forward: 4, Backward: 7, Connections: 1, Open: 1}
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		s := cutter.Stats()
		return s == want, fmt.Sprintf("%+v", s)
	})
	dialler.Close()
	streamtest.Eventually(t, 5*time.Second, func() (bool, string) {
		s := cutter.Stats()
		return s.Open == 0 && s.Connections == 1, fmt.Sprintf("%+v", s)
	})
}

func TestListen(t *testing.T) {
	if _, err := streamtest.Listen("127.0.0.1:0"); err == nil {
		t.Error("a proxy to nowhere")
	}
	cutter, err := streamtest.Listen("127.0.0.1:0", echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer cutter.Close()
	if _, err := dial(t, cutter.Addr()).ask(5 * time.Second); err != nil {
		t.Errorf("through an open proxy: %v", err)
	}
	if _, err := streamtest.Listen(cutter.Addr(), "127.0.0.1:1"); err == nil {
		t.Error("a second proxy on the same port")
	}
	cutter.Freeze()
	say(t, dial(t, cutter.Addr()), "x")
	cutter.Close() // while bytes are held
	cutter.Close()
	if c, err := net.Dial("tcp", cutter.Addr()); err == nil {
		c.Close()
		t.Error("the closed proxy still listens")
	}
}
