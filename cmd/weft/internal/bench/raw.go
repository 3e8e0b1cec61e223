package bench

import (
	"bytes"
	"context"
	"strconv"
	"sync/atomic"
	"time"

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
	window chan struct{}
	acked  atomic.Int64
	failed atomic.Int64
	inbox  string
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
	p := &raw{author: newAuthor(tag+"r", 0, o.Keys, o.EventBytes), conn: conn, end: end, origin: origin, window: make(chan struct{}, rawWindow), inbox: conn.NewInbox()}
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
	if bytes.HasPrefix(m.Data, []byte(`{"stream":"`+subject.EventsStream+`"`)) {
		p.acked.Add(1)
	} else {
		p.failed.Add(1)
	}
	<-p.window
}

// publish sends for d and waits until everything is acknowledged. It returns the acknowledged events and the time.
func (p *raw) publish(ctx context.Context, d time.Duration) (events int, took time.Duration, err error) {
	p.acked.Store(0)
	began := time.Now()
	head := nats.Header{header.MsgID: {""}}
	msg := nats.Msg{Header: head}
	for n := 0; ctx.Err() == nil; n++ {
		now := time.Now()
		if now.Sub(began) >= d {
			break
		}
		select {
		case p.window <- struct{}{}:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
		id, kind := string(p.appendID(nil, p.next)), eventType(p.next)
		key := "u-0-" + strconv.FormatUint(p.next%uint64(p.keys), 10)
		msg.Data = p.append(msg.Data[:0], now)
		head[header.MsgID][0] = id
		msg.Subject = subject.Event{Origin: p.origin, Scope: subject.Global, Partition: partition.Of(key), Topic: "events", Type: kind}.String()
		msg.Reply = p.inbox + "." + strconv.Itoa(n)
		if err := p.conn.PublishMsg(&msg); err != nil {
			return 0, 0, err
		}
	}
	for range rawWindow { // all acknowledged
		select {
		case p.window <- struct{}{}:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
	took = time.Since(began)
	for range rawWindow {
		<-p.window
	}
	return int(p.acked.Load()), took, nil
}
