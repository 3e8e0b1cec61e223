package streamtest

import (
	"net"
	"sync"
	"time"
)

// slicesPerSecond is how finely a limited bandwidth is handed out.
const slicesPerSecond = 50

// link is one connection through a Cutter.
type link struct {
	dialler, target net.Conn
	once            sync.Once
	gone            chan struct{} // closed with reset: nobody need wait for a link that is no more
}

func (l *link) reset() {
	l.once.Do(func() { close(l.gone) })
	reset(l.dialler)
	reset(l.target)
}

// ends are where bytes of a direction come from and where they go.
func (l *link) ends(d Direction) (from, to net.Conn) {
	if d == Forward {
		return l.dialler, l.target
	}
	return l.target, l.dialler
}

func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the other end sees a reset instead of an orderly end
	}
	conn.Close()
}

// chunk is bytes on their way and when they are due.
type chunk struct {
	data []byte
	due  time.Time
}

// pipe copies one direction until either end is closed, and closes both.
func (c *Cutter) pipe(l *link, d Direction) {
	from, to := l.ends(d)
	line := make(chan chunk, 1024)
	broken := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		defer close(broken)
		defer l.reset() // nothing can follow in the other direction either
		defer to.Close()
		for ch := range line {
			if !c.deliver(l, d, ch) {
				return
			}
		}
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			select {
			case line <- chunk{append([]byte(nil), buf[:n]...), c.due()}:
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

// due is when bytes read now arrive.
func (c *Cutter) due() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := time.Now().Add(c.shape.Delay)
	if c.shape.Jitter > 0 {
		at = at.Add(time.Duration(c.dice.Int64N(int64(c.shape.Jitter))))
	}
	return at
}

// deliver writes a chunk when it is due, as the shape admits it; false when the link is over.
func (c *Cutter) deliver(l *link, d Direction, ch chunk) bool {
	if !c.pause(l, ch.due, nil) {
		return false
	}
	_, to := l.ends(d)
	for rest := ch.data; len(rest) > 0; {
		n, ok := c.admit(l, d, len(rest))
		if !ok {
			return false
		}
		n, err := to.Write(rest[:n])
		c.count(d, n)
		if err != nil {
			return false
		}
		rest = rest[n:]
	}
	return true
}

// admit waits until some of want bytes may pass, and says how many; not ok when the link is over.
func (c *Cutter) admit(l *link, d Direction, want int) (n int, ok bool) {
	for {
		c.mu.Lock()
		shape, changed := c.shape, c.changed
		var ready time.Time
		n = want
		if shape.BytesPerSecond > 0 && !shape.holds(d) {
			n = min(want, max(1, shape.BytesPerSecond/slicesPerSecond))
			ready = time.Now()
			if c.free[d].After(ready) {
				ready = c.free[d]
			}
			ready = ready.Add(time.Duration(n) * time.Second / time.Duration(shape.BytesPerSecond))
			c.free[d] = ready
		}
		c.mu.Unlock()
		if shape.holds(d) {
			select {
			case <-changed:
				continue
			case <-l.gone:
				return 0, false
			}
		}
		if !c.pause(l, ready, changed) {
			return 0, false
		}
		select {
		case <-changed: // held or limited otherwise since: ask again
		default:
			return n, true
		}
	}
}

// pause lets time pass until at, or until changed is closed; false when the link is over.
func (c *Cutter) pause(l *link, at time.Time, changed <-chan struct{}) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-l.gone:
		return false
	}
	return true
}

func (c *Cutter) count(d Direction, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d == Forward {
		c.stats.Forward += int64(n)
	} else {
		c.stats.Backward += int64(n)
	}
}
