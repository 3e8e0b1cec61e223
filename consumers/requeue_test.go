package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/reorder"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

// letter waits for the last dead letter with a subject.
func (r *region) letter(dlq jetstream.Stream, of string) (msg *jetstream.RawStreamMsg) {
	r.t.Helper()
	streamtest.Eventually(r.t, patience, func() (bool, string) {
		var err error
		msg, err = dlq.GetLastMsgForSubject(r.t.Context(), of)
		return err == nil, fmt.Sprint(err)
	})
	return msg
}

// requeue stores a dead letter to be handled again, as the command does.
func (r *region) requeue(msg *jetstream.RawStreamMsg) {
	r.t.Helper()
	l, err := deadletter.LetterOf(msg.Header)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.js.CreateOrUpdateConsumer(r.t.Context(), subject.DeadLettersStream, jetstream.ConsumerConfig{
		Durable: l.Consumer, FilterSubject: subject.Requeued(l.Consumer), AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute,
		MaxAckPending: deadletter.RequeuedPending,
	}); err != nil {
		r.t.Fatal(err)
	}
	again, err := l.Requeue(deadletter.Requeue{At: time.Now(), By: "ops", Why: "mended"}, msg.Header, msg.Data)
	if err != nil {
		r.t.Fatal(err)
	}
	for range 2 { // a second copy is dropped
		if _, err := r.js.PublishMsg(r.t.Context(), again); err != nil {
			r.t.Fatal(err)
		}
	}
}

// A requeued event is handled again by the consumer that gave it up and by no other, byte for byte what it was; one
// that fails again is a dead letter again.
func TestRequeuedEventsAreHandledAgain(t *testing.T) {
	r := newRegion(t)
	dlq := r.deadLetters()
	mended := make(chan struct{})
	fail := func(ctx context.Context, m *consumers.Message) error {
		select {
		case <-mended:
			return nil
		default:
			return poison(ctx, m)
		}
	}
	sub := r.subscribe(r.options("d"))
	sub.LookAfter(10 * time.Millisecond)
	one := run(t, sub, fail)
	other := r.subscribe(r.options("other"))
	other.LookAfter(10 * time.Millisecond)
	two := run(t, other, nil)
	r.publish("bets", 1, 3)
	one.wants("bets-1", "bets-2", "bets-3")
	two.wants("bets-1", "bets-2", "bets-3")

	const parked = "dlq.eu.panic.bets.d"
	first := r.letter(dlq, parked)
	r.requeue(first)
	one.wants("bets-1", "bets-2", "bets-3", "bets-2")
	var again *jetstream.RawStreamMsg
	streamtest.Eventually(t, patience, func() (bool, string) {
		again = r.letter(dlq, parked)
		return again.Sequence > first.Sequence, "not given up again"
	})
	l, err := deadletter.LetterOf(again.Header)
	if err != nil || l.Requeued == nil || l.Requeued.By != "ops" || l.Requeued.Why != "mended" || l.Requeued.Times != 1 {
		t.Errorf("letter %+v, %v", l.Requeued, err)
	}
	close(mended)
	r.requeue(again)
	one.wants("bets-1", "bets-2", "bets-3", "bets-2", "bets-2")
	streamtest.Eventually(t, patience, func() (bool, string) {
		c, err := r.js.Consumer(t.Context(), subject.DeadLettersStream, "d")
		return err == nil && c.CachedInfo().NumAckPending == 0 && c.CachedInfo().NumPending == 0, fmt.Sprint(err)
	})
	was, is := one.got[1], one.got[4]
	if string(is.Raw) != string(was.Raw) || is.Subject != was.Subject || is.Origin != was.Origin || is.OriginSeq != was.OriginSeq || !is.IngestedAt.Equal(was.IngestedAt) ||
		is.EventID != was.EventID || is.Header.Get(header.MsgID) != "bets-2" || is.Header.Get(header.DeadLetter) != "" {
		t.Errorf("requeued: %+v\nwas: %+v", is, was)
	}
	if is.Requeued == nil || is.Requeued.Times != 2 || was.Requeued != nil {
		t.Errorf("requeued: %+v", is.Requeued)
	}
	two.wants("bets-1", "bets-2", "bets-3")
}

// Requeued events do not move the count of their source: they are late, and go to who corrects.
func TestRequeuedEventsAreLate(t *testing.T) {
	r := newRegion(t)
	dlq := r.deadLetters()
	o := r.reordering(time.Minute)
	late := make(chan consumers.Message, 1)
	o.Reorder.Correct = func(_ context.Context, m *consumers.Message) error {
		late <- *m
		return nil
	}
	sub := r.subscribe(o)
	sub.LookAfter(10 * time.Millisecond)
	run := run(t, sub, func(_ context.Context, m *consumers.Message) error {
		if m.EventID == "ann-1" {
			panic("boom")
		}
		return nil
	})
	r.counted("ann", 1, 2)
	run.wants("ann-1", "ann-2")
	r.requeue(r.letter(dlq, "dlq.eu.panic.bets.d"))
	if m := <-late; m.EventID != "ann-1" || m.Order.Verdict != reorder.Late || m.Requeued == nil {
		t.Errorf("late: %+v", m)
	}
	r.counted("ann", 3)
	run.told("ann-1", "ann-2", "ann-3")
}

// What was being handled again when the subscription ended is handled by the next one.
func TestRequeuedEventsOutliveARestart(t *testing.T) {
	r := newRegion(t)
	dlq := r.deadLetters()
	entered := make(chan struct{}, 1)
	sub := r.subscribe(r.options("d"))
	sub.LookAfter(10 * time.Millisecond)
	first := run(t, sub, func(ctx context.Context, m *consumers.Message) error {
		if m.Requeued == nil {
			return poison(ctx, m)
		}
		entered <- struct{}{}
		<-ctx.Done()
		return errors.New("not done")
	})
	r.publish("bets", 1, 2)
	first.wants("bets-1", "bets-2")
	r.requeue(r.letter(dlq, "dlq.eu.panic.bets.d"))
	<-entered
	if err := first.end(); err != nil {
		t.Error(err)
	}
	again := r.subscribe(r.options("d"))
	again.LookAfter(10 * time.Millisecond)
	run(t, again, nil).wants("bets-2")
}

// Credentials from before, which may not read what is requeued, read events as ever, and the log says what they cannot.
func TestCredentialsFromBeforeEventsWereRequeued(t *testing.T) {
	g := newGuarded(t)
	r := g.region()
	g.before = true
	g.change("r")
	logs, seen := observer.New(zap.WarnLevel)
	sub, err := consumers.Subscribe(t.Context(), consumers.Options{
		URLs: g.as("reader:r"), Durable: "mine", Topics: []string{"bets"}, APITimeout: time.Second, Logger: zap.New(logs),
	})
	if err != nil {
		t.Fatal(err)
	}
	run := run(t, sub, nil)
	r.publish("bets", 1, 2)
	run.wants("bets-1", "bets-2")
	streamtest.Eventually(t, patience, func() (bool, string) {
		return seen.FilterMessage("these credentials cannot read what is requeued, issue new ones").Len() == 1, fmt.Sprint(seen.All())
	})
}

// Bound credentials are given what is requeued for their durable.
func TestBoundCredentialsReadWhatIsRequeued(t *testing.T) {
	g := newGuarded(t)
	r := g.region()
	dlq := r.deadLetters()
	sub, err := consumers.Subscribe(t.Context(), consumers.Options{URLs: g.as("reader:r"), Durable: "mine", Topics: []string{"bets"}})
	if err != nil {
		t.Fatal(err)
	}
	sub.LookAfter(10 * time.Millisecond)
	run := run(t, sub, func(ctx context.Context, m *consumers.Message) error {
		if m.Requeued != nil {
			return nil
		}
		return poison(ctx, m)
	})
	r.publish("bets", 1, 2)
	run.wants("bets-1", "bets-2")
	r.requeue(r.letter(dlq, "dlq.eu.panic.bets.mine"))
	run.wants("bets-1", "bets-2", "bets-2")
}
