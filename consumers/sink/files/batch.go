package files

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/sink"
	"github.com/weft-mesh/weft/consumers/sink/recent"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
)

// entry is one event of a batch that is to be written.
type entry struct {
	m     *consumers.Message
	event event.Event
	at    int // in the batch
}

func (e *entry) position() recent.Position {
	return recent.Position{Origin: e.m.Origin, Seq: e.m.OriginSeq}
}

// batch is a call's events.
type batch struct {
	*sink.Verdicts
	fresh []entry // neither written nor refused
}

// HandleBatch writes events in one commit, those that the table has not. It returns nil, or which events can never be
// written, after the commit has survived a power loss.
func (s *Sink) HandleBatch(ctx context.Context, ms []*consumers.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &batch{Verdicts: sink.NewVerdicts(len(ms))}
	for i, m := range ms {
		e := entry{m: m, at: i}
		if err := event.Decode(m.Raw, &e.event); err != nil {
			b.Refuse(e.at, sink.Refused, fault.Wrap(opWrite, fault.Invalid, err))
			continue
		}
		b.fresh = append(b.fresh, e)
	}
	if err := s.write(ctx, b); err != nil {
		return s.failed(err)
	}
	s.said = ""
	s.bury(ctx)
	return b.Settle(s.metrics.Metrics)
}

// write brings the events that are fresh into the table, however often somebody else commits in between.
func (s *Sink) write(ctx context.Context, b *batch) error {
	if s.unsure {
		if _, err := s.follow(ctx, ""); err != nil {
			return err
		}
		s.unsure = false
	}
	for {
		if err := s.compare(ctx, b); err != nil || len(b.fresh) == 0 {
			return err
		}
		started := time.Now()
		a, landed, err := s.attempt(ctx, b.fresh)
		if err != nil {
			return err
		}
		if landed {
			s.metrics.Wrote(len(b.fresh), size(b.fresh), time.Since(started))
			s.metrics.files.Add(float64(len(a.files)))
			b.Add(sink.Delivered, len(b.fresh))
			b.fresh = nil
			return nil
		}
		s.metrics.races.Inc()
	}
}

// compare takes the events out that the table has, and one of two that have the same id.
func (s *Sink) compare(ctx context.Context, b *batch) error {
	fresh := b.fresh[:0:0]
	here := make(map[string]*entry, len(b.fresh))
	for i := range b.fresh {
		e := &b.fresh[i]
		match, where := s.seen.Find(e.m.EventID, e.position())
		twin := here[e.m.EventID]
		var same bool
		var err error
		switch {
		case match == recent.Again || twin != nil && twin.position() == e.position():
			same = true
		case match == recent.Other:
			same, err = s.copyOfStored(ctx, e, where)
		case twin != nil:
			same, err = copies(e.m.Raw, twin.m.Raw)
		default:
			here[e.m.EventID] = e
			fresh = append(fresh, *e)
			continue
		}
		if err != nil {
			return err
		}
		if same {
			b.Add(sink.Duplicate, 1)
			continue
		}
		s.log.Error("an event id came again with other content", zap.String("event_id", e.m.EventID),
			zap.String("origin", e.m.Origin.String()), zap.Uint64("origin_seq", e.m.OriginSeq))
		b.Refuse(e.at, sink.Conflict, fault.New(opWrite, fault.Conflict, "event_id_conflict", "the table has an event of this id with other content"))
	}
	b.fresh = fresh
	return nil
}

// copies says whether two events say the same.
func copies(a, b []byte) (bool, error) {
	x, err := event.Digest(a)
	if err != nil {
		return false, err
	}
	y, err := event.Digest(b)
	return x == y, err
}

// copyOfStored says whether an event says the same as the one of its id that the table has.
func (s *Sink) copyOfStored(ctx context.Context, e *entry, where uint64) (bool, error) {
	version, file := int64(where>>fileBits), int(where&(1<<fileBits-1)) //nolint:gosec // as place made it
	c, err := s.table.read(ctx, version)
	if err != nil || file >= len(c.adds) {
		return s.vanished(e, err)
	}
	name, err := c.adds[file].object()
	if err != nil {
		return false, err
	}
	mine, err := event.Digest(e.m.Raw)
	if err != nil {
		return false, err
	}
	var same bool
	err = rows(ctx, s.st, name, func(r *row) bool {
		if r.EventID != e.m.EventID {
			return true
		}
		theirs, bad := r.content()
		same = bad == nil && theirs == mine
		return false
	})
	if err != nil {
		return s.vanished(e, err)
	}
	return same, nil
}

// vanished is the answer about an event whose first copy is not where it was written: another tool has rewritten the
// table's files, and this one does not search them. The id decides then.
func (s *Sink) vanished(e *entry, err error) (bool, error) {
	if err != nil && !errors.Is(err, errMissing) {
		return false, err
	}
	s.log.Warn("an event id came again, and the file that had it is gone: not compared, not written again", zap.String("event_id", e.m.EventID))
	return true, nil
}

// size is how many bytes events have.
func size(events []entry) (n int) {
	for i := range events {
		n += len(events[i].m.Raw)
	}
	return n
}

// grouped puts events of the same hour together, the hours in order, and ends a file when it is full.
func (s *Sink) grouped(fresh []entry) [][]entry {
	sorted := slices.Clone(fresh)
	slices.SortStableFunc(sorted, func(x, y entry) int { return hourOf(&x.event).Compare(hourOf(&y.event)) })
	var groups [][]entry
	first, full := 0, 0
	for i := range sorted {
		if i > first && (full >= s.opts.FileBytes || !hourOf(&sorted[i].event).Equal(hourOf(&sorted[first].event))) {
			groups = append(groups, sorted[first:i])
			first, full = i, 0
		}
		full += len(sorted[i].m.Raw)
	}
	return append(groups, sorted[first:])
}
