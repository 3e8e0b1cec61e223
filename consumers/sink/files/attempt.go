package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/sink/recent"
)

// attempt is one try to write events: its files, and the commit that makes them part of the table.
//
// It is announced in the store before any file is written, so that whoever finds the announcement later can remove the
// files. It is dead, and may be removed, once the version that it tried to become exists and is another.
type attempt struct {
	id    string
	base  int64 // the newest version when it began
	tried int64 // the version that it last tried to become, 0 for none
	names []string
	files []addFile
}

// notice is the announcement.
type notice struct {
	Base  int64    `json:"base"`
	Files []string `json:"files"`
}

const (
	noticeFolder = ownFolder + "/open"
	// fileBits of a place are the number of the file in its commit, the others its version.
	fileBits = 16
)

func place(version int64, file int) uint64 { return uint64(version)<<fileBits | uint64(file) } //nolint:gosec // neither is negative

func (a *attempt) notice() string { return noticeFolder + "/" + a.id + ".json" }

// attempt writes events and commits them. Without landed and error somebody else committed first, in a way that these
// events have to be looked at again.
func (s *Sink) attempt(ctx context.Context, fresh []entry) (a *attempt, landed bool, err error) {
	groups := s.grouped(fresh)
	a = &attempt{id: s.session + "-" + strconv.Itoa(s.tries), base: s.version}
	for n, g := range groups {
		a.names = append(a.names, hourOf(&g[0].event).Format("dt=2006-01-02/hour=15/")+fmt.Sprintf("part-%s-%04d.parquet", a.id, n))
	}
	announcement, err := json.Marshal(notice{Base: a.base, Files: a.names})
	if err != nil {
		return a, false, err
	}
	if err := s.st.put(ctx, a.notice(), announcement); err != nil {
		return a, false, err // no file was written, and the next attempt has the same name
	}
	s.tries++
	defer func() { s.dead = append(s.dead, *a) }()
	for n, g := range groups {
		if err := s.file(ctx, a, n, g); err != nil {
			return a, false, err
		}
	}
	if landed, err = s.commit(ctx, a, groups); landed {
		a.names = nil // the files are the table's: what is left is the announcement
	}
	return a, landed, err
}

// file writes one file of an attempt.
func (s *Sink) file(ctx context.Context, a *attempt, n int, g []entry) error {
	hour := hourOf(&g[0].event)
	if s.encoder == nil {
		s.encoder = newEncoder()
	}
	oldest, newest := g[0].event.OccurredAt, g[0].event.OccurredAt
	data, err := s.encoder.encode(len(g), func(i int) row {
		if at := g[i].event.OccurredAt; at.Before(oldest) {
			oldest = at
		} else if at.After(newest) {
			newest = at
		}
		return newRow(g[i].m, &g[i].event, s.opts.Raw)
	})
	if err != nil {
		return err
	}
	if err := s.st.put(ctx, a.names[n], data); err != nil {
		return err
	}
	a.files = append(a.files, addFile{Path: a.names[n], Size: int64(len(data)), Modified: s.opts.Now().UnixMilli(), DataChange: true,
		Partition: map[string]string{"dt": hour.Format(time.DateOnly), "hour": strconv.Itoa(hour.Hour())}, Stats: stats(len(g), oldest, newest)})
	return nil
}

// stats let readers skip files. Their times have milliseconds, so the newest is rounded up.
func stats(count int, oldest, newest time.Time) string {
	const layout = "2006-01-02T15:04:05.000Z"
	up := newest.Add(time.Millisecond - time.Nanosecond).Truncate(time.Millisecond)
	return fmt.Sprintf(`{"numRecords":%d,"minValues":{"occurred_at":%q},"maxValues":{"occurred_at":%q},"nullCount":{"occurred_at":0}}`,
		count, oldest.UTC().Format(layout), up.UTC().Format(layout))
}

// commit makes an attempt the next version of the table, or finds out that it is one. When others were first it goes
// behind them, unless they wrote one of its events or have set up a fence.
func (s *Sink) commit(ctx context.Context, a *attempt, groups [][]entry) (landed bool, err error) {
	c := &commit{adds: a.files, info: commitInfo{Operation: "WRITE", Parameters: map[string]string{"mode": "Append"}, Engine: engine, Attempt: a.id}}
	for {
		c.info.Timestamp = s.opts.Now().UnixMilli()
		a.tried = s.version + 1
		err := s.table.append(ctx, a.tried, c)
		if err == nil {
			s.version = a.tried
			s.learn(groups)
			return true, nil
		}
		if !errors.Is(err, errTaken) {
			s.unsure = true
			return false, err
		}
		news, err := s.follow(ctx, a.id)
		if err != nil {
			s.unsure = true
			return false, err
		}
		if news.landed || news.fence || s.knowsAny(groups) {
			return news.landed, nil
		}
	}
}

// learn remembers what this Sink has written itself.
func (s *Sink) learn(groups [][]entry) {
	for n, g := range groups {
		for i := range g {
			s.seen.Add(g[i].m.EventID, g[i].position(), place(s.version, n))
		}
	}
}

func (s *Sink) knowsAny(groups [][]entry) bool {
	for _, g := range groups {
		for i := range g {
			if match, _ := s.seen.Find(g[i].m.EventID, g[i].position()); match != recent.New {
				return true
			}
		}
	}
	return false
}

// news is what others have committed, as far as it concerns an attempt.
type news struct {
	landed bool // the attempt is one of the commits: its own answer was lost
	fence  bool
}

// follow reads what was committed since the version that is known.
func (s *Sink) follow(ctx context.Context, attempt string) (n news, err error) {
	for {
		c, err := s.table.read(ctx, s.version+1)
		if errors.Is(err, errMissing) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if err := s.remember(ctx, s.version+1, c); err != nil {
			return n, err
		}
		s.version++
		n.fence = n.fence || c.info.Fence
		n.landed = n.landed || attempt != "" && c.info.Attempt == attempt
		for i := range s.dead {
			if s.dead[i].id == c.info.Attempt {
				s.dead[i].names = nil // they are the table's
			}
		}
	}
}

// bury removes what is left of attempts that cannot land any more. What cannot be removed now is tried again later.
func (s *Sink) bury(ctx context.Context) {
	left := s.dead[:0]
	for _, a := range s.dead {
		if a.tried > s.version || s.remove(ctx, &a) != nil {
			left = append(left, a)
		}
	}
	clear(s.dead[len(left):])
	s.dead = left
}

// remove removes the files of an attempt that did not land, then its announcement.
func (s *Sink) remove(ctx context.Context, a *attempt) error {
	for _, name := range a.names {
		if err := s.st.remove(ctx, name); err != nil {
			s.log.Warn("file of an abandoned commit not removed yet", zap.String("file", name), zap.Error(err))
			return err
		}
	}
	s.metrics.orphans.Add(float64(len(a.names)))
	return s.st.remove(ctx, a.notice())
}
