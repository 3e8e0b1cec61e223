package bench

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/subject"
)

// raw is the baseline of ingest: what nats.go alone can do with the same broker over the same TLS: core publish of
// events of the same size with ids, one acknowledgement for each, a bounded number of them outstanding.
type raw struct {
	*author
	conn   *nats.Conn
	end    func()
	origin subject.Origin
	slots  chan int             // those that are free, each for one outstanding event
	due    [rawWindow]time.Time // when the event in a slot was to be sent
	acked  atomic.Int64
	failed atomic.Int64
	inbox  string

	mu      sync.Mutex
	latency *hdrhistogram.Histogram
}

// rawWindow is how many events may be unacknowledged, as many as a relay allows a tenant.
const rawWindow = 4000

func openRaw(ctx context.Context, m *mesh, o *Options, region, tenant, tag string) (*raw, error) {
	r, err := m.file.Region(region)
	if err != nil {
		return nil, err
	}
	origin, err := subject.ParseOrigin(r.Origin)
	if err != nil {
		return nil, err
	}
	conn, end, err := app.DialTenant(ctx, m.dir, r.Name, r.NATS, tenant, o.Logger)
	if err != nil {
		return nil, err
	}
	p := &raw{author: newAuthor(tag+"r", 0, o.Keys, o.EventBytes), conn: conn, end: end, origin: origin, slots: make(chan int, rawWindow), inbox: conn.NewInbox(), latency: newHistogram()}
	for i := range rawWindow {
		p.slots <- i
	}
	sub, err := conn.Subscribe(p.inbox+".*", p.ack)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		end()
		return nil, err
	}
	return p, nil
}

func (p *raw) ack(m *nats.Msg) {
	slot, err := strconv.Atoi(m.Subject[len(p.inbox)+1:])
	if err != nil || slot < 0 || slot >= rawWindow {
		p.failed.Add(1)
		return
	}
	if bytes.HasPrefix(m.Data, []byte(`{"stream":"`+subject.EventsStream+`"`)) {
		p.acked.Add(1)
		took := max(min(time.Since(p.due[slot]).Microseconds(), 59_000_000), 1)
		p.mu.Lock()
		_ = p.latency.RecordValue(took)
		p.mu.Unlock()
	} else {
		p.failed.Add(1)
	}
	p.slots <- slot
}

// publish sends for d, as fast as acknowledgements come, and waits until everything is acknowledged. It returns the
// acknowledged events and the time.
func (p *raw) publish(ctx context.Context, d time.Duration) (events int, took time.Duration, err error) {
	began := time.Now()
	events, err = p.during(ctx, func() (time.Time, bool) {
		now := time.Now()
		return now, now.Sub(began) < d
	})
	return events, time.Since(began), err
}

// paced sends at a fixed rate for d and returns the latencies, from when an event was to be sent to its acknowledgement.
func (p *raw) paced(ctx context.Context, rate float64, d time.Duration) (*hdrhistogram.Histogram, error) {
	p.mu.Lock()
	p.latency.Reset()
	p.mu.Unlock()
	interval, began, n := time.Duration(float64(time.Second)/rate), time.Now(), 0
	_, err := p.during(ctx, func() (time.Time, bool) {
		after := time.Duration(n) * interval
		n++
		at := began.Add(after)
		time.Sleep(time.Until(at))
		return at, after < d
	})
	return p.latency, err
}

// during sends events, each when next returns, which says when it should have, until there is none to send. It returns
// how many are acknowledged when an answer to each is there.
func (p *raw) during(ctx context.Context, next func() (at time.Time, more bool)) (events int, err error) {
	p.acked.Store(0)
	msg := nats.Msg{Header: nats.Header{header.MsgID: {""}}}
	for ctx.Err() == nil {
		at, more := next()
		if !more {
			break
		}
		if err := p.send(ctx, &msg, at); err != nil {
			return 0, err
		}
	}
	free := make([]int, 0, rawWindow)
	for len(free) < rawWindow { // all answered
		select {
		case slot := <-p.slots:
			free = append(free, slot)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	for _, slot := range free {
		p.slots <- slot
	}
	return int(p.acked.Load()), ctx.Err()
}

func (p *raw) send(ctx context.Context, msg *nats.Msg, at time.Time) error {
	var slot int
	select {
	case slot = <-p.slots:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.due[slot] = at
	id, kind := string(p.appendID(nil, p.next)), eventType(p.next)
	key := "u-0-" + strconv.FormatUint(p.next%uint64(p.keys), 10)
	msg.Data = p.append(msg.Data[:0], at)
	msg.Header[header.MsgID][0] = id
	msg.Subject = subject.Event{Origin: p.origin, Scope: subject.Global, Partition: partition.Of(key), Topic: "events", Type: kind}.String()
	msg.Reply = p.inbox + "." + strconv.Itoa(slot)
	return p.conn.PublishMsg(msg)
}
