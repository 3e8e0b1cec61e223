package nats

import (
	"context"
	"errors"
	"slices"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers/sink"
	"github.com/weft-mesh/weft/streams/fault"
)

// wrongLastID is the server's code for an expected message id that is not the last one.
const wrongLastID jetstream.ErrorCode = 10070

// flight is a message that was published and not answered yet.
type flight struct {
	entry
	ack jetstream.PubAckFuture
}

// publish sends what is fresh and keeps in b.fresh what was not stored. After nil that is to be looked at again.
func (s *Sink) publish(ctx context.Context, b *batch) error {
	started := time.Now()
	s.unsure = true // until every message is known to be stored
	sent, unsent, sendErr := s.send(b)
	stored, answer, err := s.collect(ctx, sent)
	if stored > 0 {
		size := 0
		for _, f := range sent[:stored] {
			size += len(f.m.Raw)
		}
		b.Add(sink.Delivered, stored)
		s.metrics.Wrote(stored, size, time.Since(started))
	}
	b.fresh = nil
	if stored == len(sent) {
		b.fresh = unsent
		s.unsure = sendErr != nil
		return sendErr
	}
	first, keep := sent[stored].entry, true
	switch {
	case err == nil:
		first.stored = answer.Sequence // the target knows the id from longer ago than is remembered here
	case errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum):
		b.Refuse(first.at, sink.Refused, tooLarge(err))
		keep, err = false, nil
	case isUnexpected(err):
		err = nil // somebody else was there
	}
	if keep {
		b.fresh = append(b.fresh, first)
	}
	for _, f := range sent[stored+1:] {
		b.fresh = append(b.fresh, f.entry)
	}
	b.fresh = append(b.fresh, unsent...)
	return err
}

// collect takes the answers in, and says how many messages were stored in order and what the answer to the next one
// was. Those behind it expected another message before them: they are not stored, or found when the target is read.
func (s *Sink) collect(ctx context.Context, sent []flight) (stored int, answer *jetstream.PubAck, err error) {
	for i, f := range sent {
		if answer, err = wait(ctx, f.ack); err != nil || answer.Duplicate {
			for _, f := range sent[i+1:] {
				_, _ = wait(ctx, f.ack)
			}
			return i, answer, err
		}
		s.last = answer.Sequence
		s.seen.Add(f.m.EventID, f.position(), answer.Sequence)
	}
	return len(sent), nil, nil
}

// send publishes events until one cannot be sent.
func (s *Sink) send(b *batch) (sent []flight, unsent []entry, err error) {
	behind := ""
	for i := range b.fresh {
		e := &b.fresh[i]
		ack, err := s.js.PublishMsgAsync(s.message(e.m, s.last+uint64(len(sent)), behind), jetstream.WithRetryAttempts(0))
		switch {
		case errors.Is(err, client.ErrMaxPayload):
			b.Refuse(e.at, sink.Refused, tooLarge(err))
		case err != nil:
			return sent, b.fresh[i:], err
		default:
			sent, behind = append(sent, flight{*e, ack}), e.m.EventID
		}
	}
	return sent, nil, nil
}

// wait returns the target's answer, or that there was none in time. The client ends every future by its timeout.
func wait(ctx context.Context, ack jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case a := <-ack.Ok():
		return a, nil
	case err := <-ack.Err():
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// isUnexpected says whether the target's end is not what a message expected.
func isUnexpected(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains([]jetstream.ErrorCode{jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant, wrongLastID}, api.ErrorCode)
}

func tooLarge(err error) error {
	return &fault.Error{Op: opWrite, Kind: fault.Invalid, Code: "too_large", Detail: "the event with its headers is larger than the target takes", Err: err}
}
