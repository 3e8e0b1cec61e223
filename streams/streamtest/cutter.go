package streamtest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Cutter is a TCP proxy in front of one address, in which links break the way networks do.
type Cutter struct {
	target   string
	listener net.Listener
	done     chan struct{}
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool // both ends of every connection
	cut    bool
	thaw   chan struct{} // closed while bytes flow; open while frozen
	delay  time.Duration
	closed bool
}

// NewCutter starts a proxy to target on a free port of 127.0.0.1; it ends with the test.
func NewCutter(t testing.TB, target string) *Cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("cutter: %v", err)
	}
	c := &Cutter{target: target, listener: l, done: make(chan struct{}), conns: map[net.Conn]bool{}, thaw: make(chan struct{})}
	close(c.thaw)
	c.wg.Add(1)
	go c.accept()
	t.Cleanup(c.Close)
	return c
}

// Addr is host:port of the proxy.
func (c *Cutter) Addr() string { return c.listener.Addr().String() }

// Cut resets every connection and refuses new ones until Heal.
func (c *Cutter) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	c.resetAll()
}

// Freeze makes the proxy a black hole: connections stay open, also new ones, and nothing comes through.
func (c *Cutter) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.thaw:
		c.thaw = make(chan struct{})
	default:
	}
}

// Heal ends Cut and Freeze. What a frozen connection held back goes through now.
func (c *Cutter) Heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
	select {
	case <-c.thaw:
	default:
		close(c.thaw)
	}
}

// Delay lets every byte read from now on arrive d later, in each direction.
func (c *Cutter) Delay(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delay = d
}

// Close ends the proxy and waits for its goroutines. It is idempotent.
func (c *Cutter) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.done)
		c.listener.Close()
		c.resetAll()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

// resetAll is called with the lock held.
func (c *Cutter) resetAll() {
	for conn := range c.conns {
		reset(conn)
	}
	clear(c.conns)
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the other end sees a reset instead of an orderly end
	}
	conn.Close()
}

func (c *Cutter) accept() {
	defer c.wg.Done()
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.wg.Add(1)
		go c.serve(conn)
	}
}

func (c *Cutter) serve(in net.Conn) {
	defer c.wg.Done()
	out, err := net.DialTimeout("tcp", c.target, 5*time.Second)
	if err != nil {
		reset(in)
		return
	}
	c.mu.Lock()
	if c.cut || c.closed {
		c.mu.Unlock()
		reset(in)
		reset(out)
		return
	}
	c.conns[in], c.conns[out] = true, true
	c.mu.Unlock()
	var pipes sync.WaitGroup
	pipes.Go(func() { c.pipe(in, out) })
	pipes.Go(func() { c.pipe(out, in) })
	pipes.Wait()
	c.mu.Lock()
	delete(c.conns, in)
	delete(c.conns, out)
	c.mu.Unlock()
}

// chunk is bytes on their way and when they are due.
type chunk struct {
	data []byte
	due  time.Time
}

// pipe copies from one end to the other until either is closed, and closes both.
func (c *Cutter) pipe(from, to net.Conn) {
	line := make(chan chunk, 1024)
	broken := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		defer close(broken)
		defer reset(from)
		defer to.Close()
		for ch := range line {
			if !c.wait(ch.due) {
				return
			}
			if _, err := to.Write(ch.data); err != nil {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			c.mu.Lock()
			due := time.Now().Add(c.delay)
			c.mu.Unlock()
			select {
			case line <- chunk{append([]byte(nil), buf[:n]...), due}:
			case <-broken:
				err = net.ErrClosed
			}
		}
		if err != nil {
			break
		}
	}
	close(line)
	writer.Wait()
}

// wait lets time pass until due and while frozen; false when the proxy is closed.
func (c *Cutter) wait(due time.Time) bool {
	if d := time.Until(due); d > 0 {
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-c.done:
			t.Stop()
			return false
		}
	}
	c.mu.Lock()
	thaw := c.thaw
	c.mu.Unlock()
	select {
	case <-thaw:
		return true
	case <-c.done:
		return false
	}
}
