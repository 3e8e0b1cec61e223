package nats

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink/recent"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// position is where an event was accepted, as the header header.Position has it.
func position(p recent.Position) string {
	return p.Origin.String() + " " + strconv.FormatUint(p.Seq, 10)
}

// parsePosition reads what position wrote; the zero value, which is no event's, for anything else.
func parsePosition(s string) recent.Position {
	token, number, _ := strings.Cut(s, " ")
	origin, err := subject.ParseOrigin(token)
	seq, bad := strconv.ParseUint(number, 10, 64)
	if err != nil || bad != nil {
		return recent.Position{}
	}
	return recent.Position{Origin: origin, Seq: seq}
}

// message is the copy of an event, which the target stores behind sequence last, or not at all. Within a batch it must
// also come behind the message before it: if the target had grown in the meantime, the sequence alone would fit a later
// message of a batch that is out of date.
func (s *Sink) message(m *consumers.Message, last uint64, behind string) *client.Msg {
	msg := client.NewMsg(s.opts.subject(m.Subject.String()))
	for name, values := range m.Header {
		if !header.IsNats(name) {
			msg.Header[name] = values
		}
	}
	msg.Header.Set(header.MsgID, m.EventID)
	msg.Header.Set(header.Position, position(recent.Position{Origin: m.Origin, Seq: m.OriginSeq}))
	msg.Header.Set(jetstream.ExpectedStreamHeader, s.opts.Stream)
	msg.Header.Set(jetstream.ExpectedLastSeqHeader, strconv.FormatUint(last, 10))
	if behind != "" {
		msg.Header.Set(jetstream.ExpectedLastMsgIDHeader, behind)
	}
	msg.Data = m.Raw
	return msg
}

// follow reads which events the target has got since it was looked at last. A target that is another one than before,
// or has lost what it had, is read anew.
func (s *Sink) follow(ctx context.Context) error {
	stream, err := s.stream(ctx)
	if err != nil {
		return err
	}
	info := stream.CachedInfo()
	if s.seen == nil || !info.Created.Equal(s.created) || info.State.LastSeq < s.last {
		if s.seen != nil {
			s.log.Error("the target has lost events, or is another stream of the same name: what it had stored is not sent again",
				zap.String("stream", s.opts.Stream), zap.Uint64("last_known", s.last), zap.Uint64("last", info.State.LastSeq))
		}
		s.created, s.last, s.seen = info.Created, 0, recent.NewSet(s.opts.Remember)
	}
	first := max(s.last+1, info.State.FirstSeq)
	if n := info.State.LastSeq; n > uint64(s.opts.Remember) { //nolint:gosec // validated
		first = max(first, n-uint64(s.opts.Remember)+1) //nolint:gosec // validated
	}
	if first <= info.State.LastSeq {
		if err := s.read(ctx, stream, first, info.State.LastSeq); err != nil {
			return err
		}
	}
	s.last, s.unsure = info.State.LastSeq, false
	return nil
}

// read remembers the events from first to last, of which some may have expired. Only headers are asked for.
func (s *Sink) read(ctx context.Context, stream jetstream.Stream, first, last uint64) error {
	ask, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	reader, err := stream.CreateConsumer(ask, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: first, AckPolicy: jetstream.AckNonePolicy,
		HeadersOnly: true, MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return err
	}
	defer func() {
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Timeout)
		defer cancel()
		_ = stream.DeleteConsumer(gone, reader.CachedInfo().Name) // it would go by itself
	}()
	for left := reader.CachedInfo().NumPending; left > 0; {
		more, err := reader.Fetch(int(min(left, 1000)), jetstream.FetchMaxWait(s.opts.Timeout)) //nolint:gosec // small
		if err != nil {
			return err
		}
		got := false
		for msg := range more.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			if got, left = true, meta.NumPending; meta.Sequence.Stream > last {
				left = 0
				continue
			}
			if id := msg.Headers().Get(header.MsgID); id != "" {
				s.seen.Add(id, parsePosition(msg.Headers().Get(header.Position)), meta.Sequence.Stream)
			}
		}
		if err := more.Error(); err != nil {
			return err
		}
		if !got {
			return client.ErrTimeout
		}
	}
	return nil
}

// copyOfStored says whether an event says the same as the message of its id that the target has at a sequence. One
// that has expired cannot be compared: the id decides then.
func (s *Sink) copyOfStored(ctx context.Context, m *consumers.Message, sequence uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	stream, err := s.js.Stream(ctx, s.opts.Stream)
	if err != nil {
		return false, err
	}
	msg, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		s.log.Warn("an event id came again, and the message that had it has expired: not compared, not sent again", zap.String("event_id", m.EventID))
		return true, nil
	}
	if err != nil {
		return false, err
	}
	mine, bad := event.Digest(m.Raw)
	theirs, worse := event.Digest(msg.Data)
	return bad == nil && worse == nil && mine == theirs, nil
}
