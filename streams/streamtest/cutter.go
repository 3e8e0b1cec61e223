package streamtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// dialTimeout bounds the dial of one target: a target that does not answer must not hide the next one.
const dialTimeout = 5 * time.Second

const acceptPause = 20 * time.Millisecond

// Cutter is a TCP proxy in front of one address or several, in which links break the way networks do. Tests and
// cmd/rig use it; all methods may be called from several goroutines.
type Cutter struct {
	targets  []string
	listener net.Listener
	ctx      context.Context // ends with Close
	end      context.CancelFunc
	wg       sync.WaitGroup

	mu      sync.Mutex
	links   map[*link]bool
	shape   Shape
	changed chan struct{} // closed and replaced with every change of shape
	free    [2]time.Time  // by direction: when what was admitted under BytesPerSecond has passed
	dice    *rand.Rand    // of the jitter
	next    int           // target to try first
	stats   Stats
}

// Stats counts what a Cutter carried since it was made.
type Stats struct {
	Forward, Backward int64 // bytes delivered to the target and to the dialler
	Connections       int   // joined to a target, ever
	Open              int   // of those, now
}

// NewCutter starts a proxy to the targets on a free port of 127.0.0.1; it ends with the test.
func NewCutter(t testing.TB, targets ...string) *Cutter {
	t.Helper()
	c, err := Listen("127.0.0.1:0", targets...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Listen starts a proxy on addr (host:port, port 0 for a free one), which the caller closes. Each connection goes
// to the next of the targets in turn, and to the one after it when that does not answer; it is reset when none does.
func Listen(addr string, targets ...string) (*Cutter, error) {
	if len(targets) == 0 {
		return nil, errors.New("cutter: no target")
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cutter: %w", err)
	}
	c := &Cutter{targets: append([]string(nil), targets...), listener: l, links: map[*link]bool{}, changed: make(chan struct{})}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.Seed(1)
	c.wg.Go(c.accept)
	return c, nil
}

// Addr is host:port of the proxy.
func (c *Cutter) Addr() string { return c.listener.Addr().String() }

// Stats is what was carried until now.
func (c *Cutter) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Open = len(c.links)
	return s
}

// Close ends the proxy and waits for its goroutines. It is idempotent.
func (c *Cutter) Close() {
	c.end()
	c.listener.Close()
	c.mu.Lock()
	c.resetAll()
	c.mu.Unlock()
	c.wg.Wait()
}

// resetAll is called with the lock held.
func (c *Cutter) resetAll() {
	for l := range c.links {
		l.reset()
	}
	clear(c.links)
}

func (c *Cutter) accept() {
	for {
		conn, err := c.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // such as too many open files: it passes
			select {
			case <-time.After(acceptPause):
				continue
			case <-c.ctx.Done():
				return
			}
		}
		c.wg.Go(func() { c.serve(conn) })
	}
}

func (c *Cutter) serve(in net.Conn) {
	if c.Shape().Cut {
		reset(in)
		return
	}
	out, err := c.dial()
	if err != nil {
		reset(in)
		return
	}
	l := &link{dialler: in, target: out, gone: make(chan struct{})}
	if !c.join(l) {
		l.reset()
		return
	}
	var pipes sync.WaitGroup
	pipes.Go(func() { c.pipe(l, Forward) })
	pipes.Go(func() { c.pipe(l, Backward) })
	pipes.Wait()
	c.mu.Lock()
	delete(c.links, l)
	c.mu.Unlock()
}

// dial tries every target once.
func (c *Cutter) dial() (net.Conn, error) {
	c.mu.Lock()
	first := c.next
	c.next = (c.next + 1) % len(c.targets)
	c.mu.Unlock()
	dialer := net.Dialer{Timeout: dialTimeout}
	var problems []error
	for i := range c.targets {
		conn, err := dialer.DialContext(c.ctx, "tcp", c.targets[(first+i)%len(c.targets)])
		if err == nil {
			return conn, nil
		}
		problems = append(problems, err)
	}
	return nil, errors.Join(problems...)
}

// join is false when the link was cut or the proxy closed while the target was dialled.
func (c *Cutter) join(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shape.Cut || c.ctx.Err() != nil {
		return false
	}
	c.links[l] = true
	c.stats.Connections++
	return true
}
