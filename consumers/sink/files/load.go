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

// load remembers the last events of the table, and stops where the options say.
func (s *Sink) load(ctx context.Context) error {
	var tail []*commit // the newest first
	events := 0
	oldest := int64(math.MinInt64) // counted from the last commit that added events: time without any does not count
	for v := s.version; v >= 0 && events < s.opts.Remember; v-- {
		c, err := s.table.read(ctx, v)
		if errors.Is(err, errMissing) {
			break // another tool has cleaned the log up
		}
		if err != nil {
			return err
		}
		added := c.rows()
		if added > 0 && events == 0 {
			oldest = c.info.Timestamp - s.opts.Horizon.Milliseconds()
		} else if c.info.Timestamp < oldest {
			break
		}
		tail = append(tail, c)
		events += added
	}
	slices.Reverse(tail)
	first := s.version - int64(len(tail)) + 1
	// Files of several versions are read at a time; they are remembered in order.
	for from := 0; from < len(tail); from += parallel {
		if err := s.loadSome(ctx, first+int64(from), tail[from:min(from+parallel, len(tail))]); err != nil {
			return err
		}
	}
	return nil
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
