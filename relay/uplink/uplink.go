package uplink

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
)

// Uplink is one tenant's way to the streams: a connection, an inbox and a window.
type Uplink struct {
	conn   *nats.Conn
	s      *shared
	window *window
	prefix string // of every reply subject, with the final dot
	status chan nats.Status
	done   sync.WaitGroup
	dead   atomic.Bool
	remote atomic.Int64 // events on their way that another region has to confirm
	probes atomic.Int64 // under way
}

// shared is what the uplinks of a pool have in common.
type shared struct {
	Options
	late  atomic.Uint64
	calls sync.Pool // of *call; one refers to nothing while it is in here
}

// open takes over conn: it is closed with the uplink, or here when this fails.
func open(conn *nats.Conn, s *shared) (*Uplink, error) {
	u := &Uplink{
		conn: conn, s: s, window: newWindow(s.Window, &s.late), prefix: conn.NewInbox() + ".",
		status: conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED),
	}
	sub, err := conn.Subscribe(u.prefix+"*", u.onAck)
	if err == nil {
		err = errors.Join(sub.SetPendingLimits(-1, -1), conn.FlushTimeout(s.DialTimeout))
	}
	if err != nil {
		conn.Close()
		return nil, fault.Wrap("uplink.open", fault.Unavailable, err)
	}
	u.done.Go(u.watch)
	return u, nil
}

func (u *Uplink) onAck(m *nats.Msg) {
	if len(m.Subject) < len(u.prefix) {
		return
	}
	a := readAck(m)
	u.window.acked(m.Subject[len(u.prefix):], u.s.Region, &a)
}

// watch gives up what is in flight as soon as the connection breaks: the server drops acknowledgements
// to an inbox that nobody listens on, so they would only run into the timeout.
func (u *Uplink) watch() {
	for s := range u.status {
		u.window.breakAll()
		if s == nats.CLOSED {
			u.dead.Store(true)
			u.window.close()
			return
		}
	}
}

// close ends the uplink. What is in flight is settled as lost.
func (u *Uplink) close() {
	u.dead.Store(true)
	u.window.close()
	u.conn.Close()
	u.conn.RemoveStatusListener(u.status)
	u.done.Wait()
	u.window.breakAll()
}

// Publish sends the messages in their order and waits until every one of results, which is as long, is
// settled. It takes at most the time that the acknowledgements, the comparison of duplicates and the
// confirmation of another region may take. A ctx that ends does not cut it short, because what was sent still occupies the stream.
func (u *Uplink) Publish(ctx context.Context, stamp *Stamp, msgs []Message, results []Result) {
	if len(msgs) == 0 {
		return
	}
	remote, ok := u.reserve(msgs)
	if !ok {
		fill(results, crowded)
		return
	}
	defer u.remote.Add(-remote)
	if !u.exchange(u.s.call(msgs, results), stamp) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	u.compare(ctx, msgs, results)
	if remote > 0 {
		u.confirm(ctx, msgs, results)
	}
}

// exchange takes a call through the window until all of its results are settled; false when the window is full.
func (u *Uplink) exchange(c *call, stamp *Stamp) bool {
	defer u.s.recycle(c)
	if !u.window.admit(c) {
		fill(c.results, shed)
		return false
	}
	c.stamp(stamp)
	u.sendAll(c)
	u.window.leave(c)
	return true
}

func fill(results []Result, r Result) {
	for i := range results {
		results[i] = r
	}
}

// sendAll sends the call wave by wave until all of it is settled.
func (u *Uplink) sendAll(c *call) {
	for {
		first, n, left := u.window.arm(c, u.prefix)
		if n > 0 {
			u.send(c, first, n)
			c.timer.Reset(c.patience)
			continue
		}
		if left == 0 {
			return
		}
		select {
		case <-c.wake:
		case <-c.timer.C:
			u.window.skip(c, notSent)
			u.window.expire(c, ackTimeout)
		}
	}
}

// send publishes one wave: n messages from first, each with its own reply subject.
func (u *Uplink) send(c *call, first, n int) {
	replies := string(c.tokens)
	width := len(replies) / n
	for i := range n {
		if c.broken.Load() {
			return // and everything of it is settled
		}
		m := &c.msgs[first+i]
		c.msg.Subject, c.msg.Reply, c.msg.Data = m.Subject, replies[i*width:(i+1)*width], m.Data
		if c.probe {
			c.msg.Data = nil
		}
		c.set(header.MsgID, m.ID)
		c.set(header.Home, m.Home)
		c.set(header.TTL, m.TTL)
		c.set(header.Schema, m.Schema)
		c.set(header.DeadLetter, m.Letter)
		c.set(header.Class, m.Class)
		c.set(header.DerivedFrom, m.DerivedFrom)
		c.set(header.DerivedDigest, m.DerivedDigest)
		c.set(header.Mapping, m.Mapping)
		err := u.conn.PublishMsg(&c.msg)
		switch {
		case err == nil:
		case errors.Is(err, nats.ErrMaxPayload):
			u.window.failOne(c, replies[i*width+width-tokenLen:(i+1)*width], Result{Status: Rejected, Code: CodeTooLarge,
				Detail: "the event is larger than a message of the mesh may be"})
		default:
			for ; i < n; i++ {
				u.window.failOne(c, replies[i*width+width-tokenLen:(i+1)*width], notLinked)
			}
			u.window.skip(c, notLinked)
			return
		}
	}
}

func (s *shared) call(msgs []Message, results []Result) *call {
	c, _ := s.calls.Get().(*call)
	if c == nil {
		c = &call{wake: make(chan struct{}, 1), timer: time.NewTimer(time.Hour), header: nats.Header{}, values: map[string][]string{}}
		c.msg.Header = c.header
	}
	select {
	case <-c.wake:
	default:
	}
	c.msgs, c.results, c.patience, c.probe = msgs, results, s.AckTimeout, false
	c.set(header.Rollup, "")
	c.broken.Store(false)
	return c
}

func (s *shared) recycle(c *call) {
	c.timer.Stop()
	c.msgs, c.results, c.msg.Data = nil, nil, nil
	s.calls.Put(c)
}

// stamp sets the headers that all messages of the call share.
func (c *call) stamp(s *Stamp) {
	c.set(header.IngestedAt, s.IngestedAt)
	c.set(header.Relay, s.Relay)
	c.set(header.Kid, s.Kid)
	c.set(header.Source, s.Source)
	c.set(header.TraceParent, s.TraceParent)
}

// set changes the value in place: one map and one slice for each name serve all messages, also for a name that only
// some of them have.
func (c *call) set(name, value string) {
	vs := c.values[name]
	if vs == nil {
		if value == "" {
			return
		}
		vs = make([]string, 1)
		c.values[name] = vs
	}
	had := vs[0] != ""
	vs[0] = value
	switch {
	case value != "" && !had:
		c.header[name] = vs
	case value == "" && had:
		delete(c.header, name)
	}
}
