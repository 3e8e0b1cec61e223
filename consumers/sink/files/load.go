package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"go.uber.org/zap"
)

// load remembers the last events of the table. It reads several versions at a time, and remembers them in order.
func (s *Sink) load(ctx context.Context) error {
	tail, err := s.tail(ctx)
	if err != nil {
		return err
	}
	slices.Reverse(tail)
	first := s.version - int64(len(tail)) + 1
	for from := 0; from < len(tail); from += parallel {
		if err := s.loadSome(ctx, first+int64(from), tail[from:min(from+parallel, len(tail))]); err != nil {
			return err
		}
	}
	return nil
}

// tail reads the last commits, the newest first, until their events are enough or too old: older by the horizon than
// the last commit that added events, so that time without any does not count.
func (s *Sink) tail(ctx context.Context) (tail []*commit, err error) {
	events, oldest := 0, int64(math.MinInt64)
	for v := s.version; v >= 0; v -= parallel {
		some, err := s.commits(ctx, v)
		if err != nil {
			return nil, err
		}
		for _, c := range some {
			if c == nil { // another tool has cleaned the log up
				return tail, nil
			}
			added := c.rows()
			if added > 0 && events == 0 {
				oldest = c.info.Timestamp - s.opts.Horizon.Milliseconds()
			}
			if events >= s.opts.Remember || c.info.Timestamp < oldest {
				return tail, nil
			}
			tail = append(tail, c)
			events += added
		}
	}
	return tail, nil
}

// commits reads a version and those before it, nil for one that is gone.
func (s *Sink) commits(ctx context.Context, newest int64) ([]*commit, error) {
	some := make([]*commit, min(parallel, newest+1))
	errs := make([]error, len(some))
	var readers sync.WaitGroup
	for i := range some {
		readers.Go(func() {
			if some[i], errs[i] = s.table.read(ctx, newest-int64(i)); errors.Is(errs[i], errMissing) {
				errs[i] = nil
			}
		})
	}
	readers.Wait()
	return some, errors.Join(errs...)
}

func (s *Sink) loadSome(ctx context.Context, first int64, commits []*commit) error {
	found := make([][]known, len(commits))
	errs := make([]error, len(commits))
	var readers sync.WaitGroup
	for i, c := range commits {
		readers.Go(func() { found[i], errs[i] = s.added(ctx, c) })
	}
	readers.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, events := range found {
		s.add(first+int64(i), events)
	}
	return nil
}

// known is an event in a file of a commit.
type known struct {
	stored
	file int
}

// rows is how many events a commit says that it has added.
func (c *commit) rows() (n int) {
	for i := range c.adds {
		var st struct {
			Records int `json:"numRecords"`
		}
		if json.Unmarshal([]byte(c.adds[i].Stats), &st) == nil && c.adds[i].DataChange {
			n += st.Records
		}
	}
	return n
}

// added reads which events a commit has added. What a commit only rewrote was added by an earlier one. A file that is
// gone was removed by another tool, with its events or after it had rewritten them.
func (s *Sink) added(ctx context.Context, c *commit) (events []known, err error) {
	for n := range c.adds {
		if !c.adds[n].DataChange {
			continue
		}
		name, err := c.adds[n].object()
		if err != nil {
			return nil, err
		}
		err = rows(ctx, s.st, name, func(r *stored) bool {
			events = append(events, known{*r, n})
			return true
		})
		if errors.Is(err, errMissing) {
			s.log.Warn("a file of the table is gone: its events would be written again if they came again", zap.String("file", name))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return events, nil
}

func (s *Sink) add(version int64, events []known) {
	for i := range events {
		if at, err := events[i].position(); err == nil { // no other tool writes events
			s.seen.Add(events[i].EventID, at, place(version, events[i].file))
		}
	}
}

// remember takes in one commit of another writer.
func (s *Sink) remember(ctx context.Context, version int64, c *commit) error {
	events, err := s.added(ctx, c)
	if err == nil {
		s.add(version, events)
	}
	return err
}
