package streamtest_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/streams/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPortsAreDisjoint(t *testing.T) {
	a, b := streamtest.Ports(t), streamtest.Ports(t)
	if a.Base() == b.Base() {
		t.Fatalf("the same block %d twice", a.Base())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if p := l.Addr().(*net.TCPAddr).Port; p >= a.Base() && p < a.Base()+100 {
		t.Errorf("the kernel chose port %d, inside a block", p)
	}
}

func TestServerKeepsDataOverRestart(t *testing.T) {
	s := streamtest.Server(t)
	conn, js := s.Stream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := js.Publish(ctx, "s.a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	url, lives := s.URL(), conn.Stats().Reconnects
	s.Restart()
	if s.URL() != url {
		t.Errorf("restarted at %s, was at %s", s.URL(), url)
	}
	// A connection that has not noticed its end yet would take the next request with it.
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) { return conn.Stats().Reconnects > lives, "not reconnected" })
	st, err := js.Stream(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := st.CachedInfo().State.Msgs; n != 1 {
		t.Errorf("%d messages after the restart, want 1", n)
	}
}

// echo answers every line with itself.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadBytes('\n')
					if err != nil {
						return
					}
					if _, err := c.Write(line); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

type client struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &client{c, bufio.NewReader(c)}
}

// ask sends a line and waits for its echo.
func (c *client) ask(wait time.Duration) (time.Duration, error) {
	began := time.Now()
	if _, err := c.Write([]byte("x\n")); err != nil {
		return 0, err
	}
	_ = c.SetReadDeadline(began.Add(wait))
	_, err := c.r.ReadString('\n')
	return time.Since(began), err
}

func TestCutter(t *testing.T) {
	cutter := streamtest.NewCutter(t, echo(t))
	c := dial(t, cutter.Addr())
	if _, err := c.ask(5 * time.Second); err != nil {
		t.Fatalf("through an open proxy: %v", err)
	}

	cutter.Delay(30 * time.Millisecond)
	if took, err := c.ask(5 * time.Second); err != nil || took < 60*time.Millisecond {
		t.Errorf("with 30ms each way the echo took %s (%v)", took, err)
	}
	cutter.Delay(0)

	cutter.Freeze()
	if _, err := c.ask(50 * time.Millisecond); !isTimeout(err) {
		t.Errorf("through a frozen proxy: %v, want a timeout", err)
	}
	cutter.Heal()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.r.ReadString('\n'); err != nil {
		t.Errorf("what was held back did not come after the heal: %v", err)
	}

	cutter.Cut()
	if _, err := c.ask(5 * time.Second); err == nil || isTimeout(err) {
		t.Errorf("over a cut connection: %v, want a reset", err)
	}
	if fresh, err := net.Dial("tcp", cutter.Addr()); err == nil { // the reset may come before or after the dial returns
		defer fresh.Close()
		if _, err := (&client{fresh, bufio.NewReader(fresh)}).ask(5 * time.Second); err == nil || isTimeout(err) {
			t.Errorf("over a new connection while cut: %v, want a reset", err)
		}
	}
	cutter.Heal()
	if _, err := dial(t, cutter.Addr()).ask(5 * time.Second); err != nil {
		t.Errorf("after the heal: %v", err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
