package hub

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// heldRequest asks a region for how much of an origin's events it has stored: now, and whenever it is more during
// a lease. One question serves everybody who waits, and an answer comes half a round trip after the event.
type heldRequest struct {
	Origin string `json:"origin"`
}

// heldAnswer is the sequence, in the stream of the origin, of the newest event that is stored here.
type heldAnswer struct {
	Origin string `json:"origin"`
	Seq    uint64 `json:"seq"`
}

const (
	heldLease = time.Second
	// The stream is looked at after pollFirst when a question came, after pollBusy while it grows, and
	// otherwise at intervals that grow to pollIdle. Each look costs the server some 50 µs.
	pollFirst = time.Millisecond
	pollBusy  = 2 * time.Millisecond
	pollIdle  = 10 * time.Millisecond
	// maxLessees bounds who is answered about one origin: each server of its region may ask.
	maxLessees = 16
)

// lender tells other regions, in one tenant's account, what this one holds of theirs.
type lender struct {
	hub     *Hub
	name    string // of the tenant
	session *session

	mu     sync.Mutex
	leases map[subject.Origin]*lease
}

// lease is what is told about one origin. until and fresh belong to lender.mu.
type lease struct {
	until map[string]time.Time // by the inbox of who asked
	fresh bool                 // somebody asked since the last answer
	wake  chan struct{}        // holds one token
}

// lend takes the question of another region's hub.
func (l *lender) lend(m *nats.Msg) {
	var q heldRequest
	if err := json.Unmarshal(m.Data, &q); err != nil || m.Reply == "" {
		return // no hub sends this
	}
	o, err := subject.ParseOrigin(q.Origin)
	if err != nil || !slices.ContainsFunc(l.hub.opts.Peers, func(p Peer) bool { return p.Name == o.Region }) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.leases[o]
	if e == nil {
		e = &lease{until: map[string]time.Time{}, wake: make(chan struct{}, 1)}
		l.leases[o] = e
		l.hub.remotes.run(func(ctx context.Context) { l.tell(ctx, o, e) })
	}
	if _, known := e.until[m.Reply]; !known && len(e.until) >= maxLessees {
		return
	}
	e.until[m.Reply] = time.Now().Add(heldLease)
	e.fresh = true
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// lessees are the inboxes to answer to; none ends the lease. fresh says that an answer is due in any case.
func (l *lender) lessees(o subject.Origin, e *lease) (inboxes []string, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(e.until, func(_ string, until time.Time) bool { return now.After(until) })
	if len(e.until) == 0 || l.session.conn.IsClosed() {
		delete(l.leases, o)
		return nil, false
	}
	fresh, e.fresh = e.fresh, false
	return slices.Collect(maps.Keys(e.until)), fresh
}

// tell answers about one origin until nobody wants to know any more.
func (l *lender) tell(ctx context.Context, o subject.Origin, e *lease) {
	var st jetstream.Stream
	var told uint64
	pause, timer := pollFirst, time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-timer.C:
		}
		inboxes, fresh := l.lessees(o, e)
		if len(inboxes) == 0 {
			return
		}
		seq, err := l.look(ctx, &st, o)
		switch {
		case err != nil:
			l.hub.log.Debug("what is held of an origin is not known", zap.String("origin", o.String()), zap.Error(err))
			pause = pollIdle
		case seq > told:
			pause, told = pollBusy, seq
			l.answer(inboxes, heldAnswer{Origin: o.String(), Seq: seq})
		case fresh:
			pause = pollFirst
			l.answer(inboxes, heldAnswer{Origin: o.String(), Seq: told})
		default:
			pause = min(pause*3/2, pollIdle)
		}
		timer.Reset(pause)
	}
}

// look reads the newest event that was sourced from the origin: sourcing keeps the order, so everything before it
// has been stored, or was skipped because its id was stored already.
func (l *lender) look(ctx context.Context, st *jetstream.Stream, o subject.Origin) (uint64, error) {
	call, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	if *st == nil {
		have, err := l.session.js.Stream(call, subject.EventsStream)
		if err != nil {
			return 0, err
		}
		*st = have
	}
	msg, err := (*st).GetLastMsgForSubject(call, subject.Replicated(o))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	seq, _ := header.SourceSeq(msg.Header.Get(header.StreamSource))
	return seq, nil
}

func (l *lender) answer(inboxes []string, a heldAnswer) {
	raw, err := json.Marshal(a)
	for _, inbox := range inboxes {
		if err == nil {
			err = l.session.conn.Publish(inbox, raw)
		}
	}
	if err != nil && !l.session.conn.IsClosed() {
		l.hub.log.Warn("answer about what is held not sent", zap.String("tenant", l.name), zap.Error(err))
	}
}
