package consumers

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// readRequeued takes in what was given up by this durable and is to be handled again. Who requeues makes a durable of
// the same name on DLQ; until there is one it is looked for now and then.
func (s *Subscription) readRequeued(ctx context.Context, b *backlog) {
	for ctx.Err() == nil {
		cons, err := ask(ctx, s.opts.APITimeout, func(ctx context.Context) (jetstream.Consumer, error) {
			return s.js.Consumer(ctx, subject.DeadLettersStream, s.opts.Durable)
		})
		switch {
		case err == nil && cons.CachedInfo().Config.FilterSubject == subject.Requeued(s.opts.Durable):
			err = s.pullRequeued(ctx, cons, b)
		case err == nil:
			s.log.Error("the durable of this name on DLQ is another's: what is requeued does not arrive",
				zap.String("filter", cons.CachedInfo().Config.FilterSubject))
		case unanswered(err) && errors.Is(s.nc.LastError(), nats.ErrPermissionViolation):
			s.log.Warn("these credentials cannot read what is requeued, issue new ones", zap.Error(s.nc.LastError()))
			return
		}
		if err != nil {
			s.log.Debug("nothing requeued is read", zap.Error(err))
		}
		await(ctx, nil, time.Now().Add(s.lookAfter))
	}
}

// pullRequeued reads until ctx ends or the durable cannot be read.
func (s *Subscription) pullRequeued(ctx context.Context, cons jetstream.Consumer, b *backlog) error {
	it, err := cons.Messages(jetstream.PullMaxMessages(deadletter.RequeuedPending), jetstream.PullExpiry(s.opts.PullExpiry),
		jetstream.PullHeartbeat(min(pullHeartbeat, s.opts.PullExpiry/2)), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		m, err := decodeRequeued(msg)
		if err != nil {
			s.log.Error("message is no requeued event, skipped for good", zap.String("subject", msg.Subject()), zap.Error(err))
			_ = msg.TermWithReason("no requeued event of weft")
			continue
		}
		s.take(b, m, msg)
	}
}

// decodeRequeued reads an event that was requeued: it is again what its consumer was given the first time.
func decodeRequeued(msg jetstream.Msg) (*Message, error) {
	const op = "consumers.requeued"
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	h := msg.Headers()
	letter, err := deadletter.LetterOf(h)
	if err != nil {
		return nil, err
	}
	if letter.Requeued == nil || letter.EventID == "" {
		return nil, fault.New(op, fault.Invalid, "invalid_letter", "the letter names no event, or not who requeued it")
	}
	m := &Message{
		Raw: msg.Data(), Header: h, EventID: letter.EventID, OriginSeq: letter.OriginSeq, Sequence: meta.Sequence.Stream, StoredAt: meta.Timestamp,
		Deliveries: int(min(meta.NumDelivered, 1<<30)), Redelivered: meta.NumDelivered > 1, Attempt: 1, Requeued: letter.Requeued,
	}
	if m.Subject, err = subject.Parse(letter.Subject); err != nil {
		return nil, err
	}
	if m.Origin, err = subject.ParseOrigin(letter.Origin); err != nil {
		return nil, err
	}
	m.IngestedAt, _ = time.Parse(time.RFC3339Nano, h.Get(header.IngestedAt))
	h.Set(header.MsgID, letter.EventID)
	h.Del(header.DeadLetter)
	return m, nil
}
