package hub

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/digest"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// stored is a message of EVENTS without its body.
type stored struct {
	seq     uint64
	subject string
	header  nats.Header
}

// entry is an event as the comparison sees it. A repaired copy is seen as the original.
type entry struct {
	key       digest.Key
	hash      digest.Hash
	seq       uint64         // in the stream that it was read from
	origin    subject.Origin // that accepted the event
	originSeq uint64         // in the stream of the origin
}

// entryOf reads what the comparison needs; false for a message that is never compared: a marker, an event
// that stays in its region, and whatever was stored by no relay. It is pure.
func entryOf(m *stored, width time.Duration) (entry, bool) {
	ev, err := subject.Parse(m.subject)
	if err != nil || m.header.Get(header.Relay) == "" {
		return entry{}, false
	}
	id := m.header.Get(header.MsgID)
	at, err := time.Parse(time.RFC3339Nano, m.header.Get(header.IngestedAt))
	if id == "" || err != nil {
		return entry{}, false
	}
	e := entry{hash: digest.Of(id), seq: m.seq, origin: ev.Origin, originSeq: m.seq}
	ttl := ttlOf(m.header.Get(header.TTL))
	if seq, ok := header.SourceSeq(m.header.Get(header.StreamSource)); ok {
		e.originSeq = seq
	}
	if ev.Scope == subject.Regional {
		r, ok := header.ParseRepair(m.header.Get(header.Repaired))
		if !ok {
			return entry{}, false
		}
		if ev, err = subject.Parse(r.Subject); err != nil {
			return entry{}, false
		}
		e.origin, e.originSeq, ttl = ev.Origin, r.Seq, time.Duration(r.TTL)*time.Second
	}
	e.key = digest.KeyOf(ttl, at, width)
	return e, true
}

// ttlOf reads a Nats-TTL, which relays write in whole seconds; 0 when there is none.
func ttlOf(value string) time.Duration {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// span is a part of a stream to read: from and to are included, at most limit messages.
type span struct {
	from, to uint64
	limit    int
	gently   bool // in small steps with pauses, so that nobody else waits for a core
}

// A step of a gentle scan takes about two milliseconds of a core, and is followed by a pause of four times that.
const (
	scanBatch  = 1000
	gentleStep = 200
	gentleRest = 4
)

// step is how many messages are read at once.
func (s *span) step() int {
	if s.gently {
		return gentleStep
	}
	return scanBatch
}

// rest pauses after a step that began then.
func (s *span) rest(ctx context.Context, began time.Time) {
	if !s.gently {
		return
	}
	timer := time.NewTimer(gentleRest * time.Since(began))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// scanHeaders hands each the messages of a span without bodies, in order and without gaps. next is where to go
// on; drained says that there is nothing more up to span.to on the server that was read, which in a region of
// several may be one that is behind the leader.
func scanHeaders(ctx context.Context, s *session, r span, each func(*stored)) (next uint64, drained bool, err error) {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	c, err := s.js.CreateConsumer(call, subject.EventsStream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(1, r.from), AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: true, MemoryStorage: true, Replicas: 1, InactiveThreshold: 30 * time.Second,
	})
	cancel()
	if err != nil {
		return r.from, false, err
	}
	defer func() {
		call, cancel := context.WithTimeout(context.WithoutCancel(ctx), apiTimeout)
		defer cancel()
		_ = s.js.DeleteConsumer(call, subject.EventsStream, c.CachedInfo().Name) // else it ends by itself
	}()
	p := &progress{span: r, next: r.from, pending: c.CachedInfo().NumPending}
	for p.pending > 0 && p.next <= r.to && p.read < r.limit {
		began := time.Now()
		if err := p.batch(ctx, c, each); err != nil {
			return p.next, false, err
		}
		if p.pending > 0 && p.next <= r.to {
			r.rest(ctx, began)
		}
	}
	return p.next, p.pending == 0 || p.next > r.to, nil
}

// progress is how far a scan has come.
type progress struct {
	span    span
	next    uint64
	pending uint64
	read    int
}

func (p *progress) batch(ctx context.Context, c jetstream.Consumer, each func(*stored)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	before := p.read
	step := p.span.step()
	n := min(int(min(p.pending, uint64(step))), p.span.limit-p.read) //nolint:gosec // a step is small
	batch, err := c.Fetch(n, jetstream.FetchMaxWait(apiTimeout))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		p.read++
		if meta.Sequence.Consumer != uint64(p.read) {
			return fault.New("hub.repair.scan", fault.Unavailable, "gap", "a message was lost on its way from the stream")
		}
		p.pending = meta.NumPending
		if meta.Sequence.Stream > p.span.to {
			p.next = p.span.to + 1
			continue
		}
		each(&stored{seq: meta.Sequence.Stream, subject: msg.Subject(), header: msg.Headers()})
		p.next = meta.Sequence.Stream + 1
	}
	if err := batch.Error(); err != nil {
		return err
	}
	if p.read == before {
		return fault.New("hub.repair.scan", fault.Unavailable, "silent", "the stream does not answer")
	}
	return nil
}

// endsBefore asks the stream's leader whether nothing is stored from a sequence on.
func endsBefore(ctx context.Context, s *session, seq uint64) (bool, error) {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	raw, err := json.Marshal(map[string]any{"seq": seq, "next_by_subj": ">"})
	if err != nil {
		return false, err
	}
	// Not a direct get: that one may be answered by a server that is behind.
	m, err := s.conn.RequestWithContext(call, "$JS.API.STREAM.MSG.GET."+subject.EventsStream, raw)
	if err != nil {
		return false, err
	}
	var a struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return false, err
	}
	switch {
	case a.Error == nil:
		return false, nil
	case a.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return true, nil
	default:
		return false, errors.New(a.Error.Description)
	}
}
