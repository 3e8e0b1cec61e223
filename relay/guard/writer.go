package guard

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

const (
	minRetry = 100 * time.Millisecond
	maxRetry = time.Second
)

// writer is the state of the writing goroutine.
type writer struct {
	g       *Guard
	message []byte
	owed    []entry // of groups that were not acknowledged: their events may be stored, so they are sent until they are
	retry   time.Duration
}

// write sends one group after the other: what arrives while one is on its way is the next, so that a group is one
// request when there are few and hundreds when there are many, and none waits for a timer.
func (g *Guard) write(ctx context.Context) {
	w := &writer{g: g}
	tick := time.NewTicker(g.o.Probe)
	defer tick.Stop()
	for {
		w.send(ctx)
		var again <-chan time.Time
		if w.retry > 0 {
			again = time.After(w.retry)
		}
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-again:
		case <-tick.C:
			g.share()
			g.sweep()
		}
	}
}

// send stores what waits, nothing at all as well: reading that back shows that the journal works.
func (w *writer) send(ctx context.Context) {
	g := w.g
	group := g.queue.take()
	entries := w.owed
	if group != nil {
		entries, group.entries = append(group.entries, w.owed...), nil
	}
	err := w.store(ctx, entries)
	if group != nil {
		group.settle(err == nil)
	}
	if err == nil {
		if w.retry > 0 {
			g.o.Logger.Info("the journal of request ids takes groups again")
		}
		w.owed, w.retry = nil, 0
		g.queue.reuse(entries)
		g.refused.Store(false)
		return
	}
	if w.retry == 0 && ctx.Err() == nil {
		g.o.Logger.Warn("the journal of request ids took no group: requests are refused until it does", zap.Error(err))
	}
	g.refused.Store(true)
	w.owed, w.retry = entries, min(max(2*w.retry, minRetry), maxRetry)
}

// store publishes entries in as many messages as they need.
func (w *writer) store(ctx context.Context, entries []entry) error {
	for {
		n := min(len(entries), maxGroup)
		if err := w.publish(ctx, entries[:n]); err != nil {
			return err
		}
		if entries = entries[n:]; len(entries) == 0 {
			return nil
		}
	}
}

func (w *writer) publish(ctx context.Context, entries []entry) error {
	g := w.g
	const op = "guard.write"
	origin, err := g.o.Origin()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, g.o.Ack)
	defer cancel()
	w.message = appendMessage(w.message[:0], head{process: g.process, sent: g.moment()}, entries)
	ack, err := g.o.Journal.PublishMsg(ctx, &nats.Msg{Subject: subject.Guard{Origin: origin, Relay: g.o.Relay}.String(), Data: w.message},
		jetstream.WithRetryAttempts(0))
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	if ack.Stream != subject.GuardStream || ack.Domain != origin.Region {
		return fault.New(op, fault.Unavailable, "wrong_stream", "acknowledged by stream %q of domain %q, expected %s of %s", ack.Stream, ack.Domain, subject.GuardStream, origin.Region)
	}
	g.groups.Add(1)
	return nil
}
