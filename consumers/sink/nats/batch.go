package nats

import (
	"context"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink"
	"github.com/weft-mesh/weft/consumers/sink/recent"
	"github.com/weft-mesh/weft/streams/fault"
)

// entry is one event of a batch that is to be published.
type entry struct {
	m      *consumers.Message
	at     int    // in the batch
	stored uint64 // sequence of the message of its id that the target told of, 0 for none
}

func (e *entry) position() recent.Position {
	return recent.Position{Origin: e.m.Origin, Seq: e.m.OriginSeq}
}

// batch is a call's events.
type batch struct {
	*sink.Verdicts
	fresh []entry // neither stored nor refused, in order
	twins []entry // have the id of one before them, which must be stored before they can be compared
}

// rounds is how often a batch is begun anew before the events rest: another writer is busy with the target.
const rounds = 8

// HandleBatch publishes events in order, those that the target has not. It returns nil, or which events can never be
// published, after the target has acknowledged all others.
func (s *Sink) HandleBatch(ctx context.Context, ms []*consumers.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &batch{Verdicts: sink.NewVerdicts(len(ms))}
	for i, m := range ms {
		b.fresh = append(b.fresh, entry{m: m, at: i})
	}
	if err := s.write(ctx, b); err != nil {
		return s.failed(err)
	}
	s.said = ""
	return b.Settle(s.metrics.Metrics)
}

// write brings the events that are fresh into the target.
func (s *Sink) write(ctx context.Context, b *batch) error {
	for range rounds {
		if s.unsure {
			if err := s.follow(ctx); err != nil {
				return err
			}
		}
		if err := s.compare(ctx, b); err != nil {
			return err
		}
		if len(b.fresh) > 0 {
			if err := s.publish(ctx, b); err != nil {
				return err
			}
		}
		if len(b.fresh) > 0 {
			s.metrics.rounds.Inc()
			continue
		}
		if len(b.twins) == 0 {
			return nil
		}
		b.fresh, b.twins = b.twins, nil
	}
	return fault.New("", fault.Unavailable, "target_busy", "another writer adds to stream %s all the time: give this sink a stream of its own", s.opts.Stream)
}

// compare takes the events out that the target has.
func (s *Sink) compare(ctx context.Context, b *batch) error {
	fresh := b.fresh[:0:0]
	here := make(map[string]bool, len(b.fresh))
	for i := range b.fresh {
		e := &b.fresh[i]
		match, where := s.seen.Find(e.m.EventID, e.position())
		if match == recent.New && e.stored != 0 {
			match, where = recent.Other, e.stored
		}
		same := match == recent.Again
		if match == recent.Other {
			var err error
			if same, err = s.copyOfStored(ctx, e.m, where); err != nil {
				return err
			}
		}
		switch {
		case match == recent.New && here[e.m.EventID]:
			b.twins = append(b.twins, *e)
		case match == recent.New:
			here[e.m.EventID] = true
			fresh = append(fresh, *e)
		case same:
			b.Add(sink.Duplicate, 1)
		default:
			s.log.Error("an event id came again with other content", zap.String("event_id", e.m.EventID),
				zap.String("origin", e.m.Origin.String()), zap.Uint64("origin_seq", e.m.OriginSeq))
			b.Refuse(e.at, sink.Conflict, fault.New(opWrite, fault.Conflict, "event_id_conflict", "the target has an event of this id with other content"))
		}
	}
	b.fresh = fresh
	return nil
}
