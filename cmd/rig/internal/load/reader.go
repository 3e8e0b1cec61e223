package load

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/cmd/rig/internal/checker"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// Reader reads a region's copy of a tenant's events with the owner's rights, as any NATS client could.
type Reader struct {
	Tenant, Region string
	conn           *nats.Conn
	js             jetstream.JetStream

	created time.Time // of the stream that was read; another one is read from its beginning
	last    uint64
	events  []checker.Stored
}

// NewReader reads over conn, which it closes with Close.
func NewReader(tenant, region string, conn *nats.Conn) (*Reader, error) {
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(3*time.Second))
	return &Reader{Tenant: tenant, Region: region, conn: conn, js: js}, err
}

// Close ends the connection.
func (r *Reader) Close() { r.conn.Close() }

// Forget lets the next Poll begin anew.
func (r *Reader) Forget() { r.created, r.last, r.events = time.Time{}, 0, nil }

// Copy is what has been read so far.
func (r *Reader) Copy() checker.Copy {
	return checker.Copy{Tenant: r.Tenant, Region: r.Region, Events: r.events}
}

// Poll reads what is new in the stream.
func (r *Reader) Poll(ctx context.Context) error {
	st, err := r.js.Stream(ctx, subject.EventsStream)
	if err != nil {
		return err
	}
	info := st.CachedInfo()
	if !info.Created.Equal(r.created) || info.State.LastSeq < r.last {
		r.Forget()
		r.created = info.Created
	}
	if info.State.LastSeq == r.last {
		return nil
	}
	return r.read(ctx, info.State.LastSeq)
}

func (r *Reader) read(ctx context.Context, end uint64) error {
	cons, err := r.js.OrderedConsumer(ctx, subject.EventsStream, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.last + 1,
	})
	if err != nil {
		return err
	}
	info, err := cons.Info(ctx)
	if err != nil {
		return err
	}
	if info.NumPending == 0 {
		r.last = end
		return nil
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(5000), jetstream.PullExpiry(5*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Stream <= r.last {
			return fmt.Errorf("sequence %d after %d", meta.Sequence.Stream, r.last)
		}
		if err := r.take(msg, meta); err != nil {
			return err
		}
		r.last = meta.Sequence.Stream
		if meta.NumPending == 0 {
			return nil
		}
	}
}

// take keeps one message as the checker wants it.
func (r *Reader) take(msg jetstream.Msg, meta *jetstream.MsgMetadata) error {
	if subject.IsMarker(msg.Subject()) {
		return nil
	}
	ev, err := subject.Parse(msg.Subject())
	if err != nil {
		return err
	}
	h, seq := msg.Headers(), meta.Sequence.Stream
	s := checker.Stored{ID: h.Get(header.MsgID), Origin: ev.Origin.String(), Seq: seq, OriginSeq: seq, At: meta.Timestamp.UnixNano(), Body: Hash(msg.Data()), Regional: ev.Scope == subject.Regional}
	if n, ok := header.SourceSeq(h.Get(header.StreamSource)); ok {
		s.OriginSeq = n
	}
	if v := h.Get(header.Repaired); v != "" {
		if err := repaired(&s, v); err != nil {
			return err
		}
	}
	r.events = append(r.events, s)
	return nil
}

// repaired reads from the header of a copy that was brought back which event it is a copy of.
func repaired(s *checker.Stored, value string) error {
	r, ok := header.ParseRepair(value)
	if !ok {
		return fmt.Errorf("%s: %q", header.Repaired, value)
	}
	ev, err := subject.Parse(r.Subject)
	if err != nil {
		return err
	}
	s.Origin, s.OriginSeq, s.Regional, s.Repaired = ev.Origin.String(), r.Seq, false, true
	return nil
}
