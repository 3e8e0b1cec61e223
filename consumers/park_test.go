package consumers_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/streamtest"
	"github.com/weft-mesh/weft/streams/subject"
)

func (r *region) deadLetters() jetstream.Stream {
	r.t.Helper()
	st, err := r.js.CreateOrUpdateStream(r.t.Context(), streams.DeadLettersConfig(streams.DeadLettersSpec{Region: "eu"}))
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

func poison(_ context.Context, m *consumers.Message) error {
	if m.EventID == "bets-2" {
		panic("cannot read it")
	}
	return nil
}

func TestPoisonEndsInTheDeadLetters(t *testing.T) {
	r := newRegion(t)
	dlq := r.deadLetters()
	run := run(t, r.subscribe(r.options("d")), poison)
	r.publish("bets", 1, 3)
	run.wants("bets-1", "bets-2", "bets-3")
	streamtest.Eventually(t, patience, func() (bool, string) { return r.info("d").NumAckPending == 0, "not acknowledged" })

	msg, err := dlq.GetLastMsgForSubject(t.Context(), "dlq.eu.panic.bets.d")
	if err != nil {
		t.Fatal(err)
	}
	l, err := deadletter.LetterOf(msg.Header)
	if err != nil {
		t.Fatal(err)
	}
	if l.EventID != "bets-2" || l.Attempts != 1 || l.LastError != "handler panicked: cannot read it" || l.FirstError != l.LastError || l.Origin != "eu_1" || l.OriginSeq != 2 ||
		l.Subject != "evt.eu_1.g.2.bets.bet.placed" || l.Consumer != "d" || l.Region != "eu" || l.ParkedAt.Before(l.LastAt) {
		t.Errorf("letter %+v", l)
	}
	if string(msg.Data) != `{"event_id":"bets-2"}` || msg.Header.Get(header.Relay) != "test" || msg.Header.Get(header.MsgID) == "bets-2" {
		t.Errorf("message %s %v", msg.Data, msg.Header)
	}
}

// Where no dead letter can be stored the event waits; when one can again it is parked, once.
func TestWithoutDeadLettersNothingIsLost(t *testing.T) {
	r := newRegion(t)
	o := r.options("d")
	o.Retry = quick
	run := run(t, r.subscribe(o), poison)
	r.publish("bets", 1, 3)
	run.wants("bets-1", "bets-2", "bets-3")
	if n := r.info("d").NumAckPending; n == 0 {
		t.Error("acknowledged without a letter")
	}
	dlq := r.deadLetters()
	streamtest.Eventually(t, patience, func() (bool, string) {
		n := r.info("d").NumAckPending
		return n == 0, fmt.Sprintf("%d not acknowledged", n)
	})
	info, err := dlq.Info(t.Context())
	if err != nil || info.State.Msgs != 1 || len(run.ids()) != 3 {
		t.Errorf("%d letters after %d calls, %v", info.State.Msgs, len(run.ids()), err)
	}
}

// What consumers are allowed is enough to park what is theirs.
func TestBoundCredentialsPark(t *testing.T) {
	g := newGuarded(t)
	r := g.region()
	dlq := r.deadLetters()
	sub, err := consumers.Subscribe(t.Context(), consumers.Options{URLs: g.as("reader:r"), Durable: "mine", Topics: []string{"bets"}})
	if err != nil {
		t.Fatal(err)
	}
	run := run(t, sub, poison)
	r.publish("bets", 1, 2)
	run.wants("bets-1", "bets-2")
	streamtest.Eventually(t, patience, func() (bool, string) {
		_, err := dlq.GetLastMsgForSubject(t.Context(), subject.DeadLetter{Region: "eu", Cause: "panic", Topic: "bets", Durable: "mine"}.String())
		return err == nil, fmt.Sprint(err)
	})
}
