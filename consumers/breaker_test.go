package consumers

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/header"
)

var (
	errOutage  = fmt.Errorf("database: %w", context.DeadlineExceeded)
	errUnknown = errors.New("no such account")
)

func testBreaker(o Breaker) (*breaker, *metrics) {
	m := newMetrics("d")
	return newBreaker(o.withDefaults(), zap.NewNop(), m), m
}

// call asks for a ticket, which there must be, and tells what became of the call.
func (b *breaker) call(t *testing.T, err error, first bool) {
	t.Helper()
	ticket, ok, _, _ := b.admit(time.Now())
	if !ok {
		t.Fatal("no call is admitted")
	}
	b.record(ticket, err, first)
}

func (b *breaker) is(t *testing.T, want BreakerState) {
	t.Helper()
	if got, _, _, _ := b.look(); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
}

func TestBreakerCountsByTheKindOfFailure(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		first bool
		want  BreakerState
	}{
		"outage":                   {errOutage, true, BreakerOpen},
		"outage, again":            {errOutage, false, BreakerOpen},
		"told to wait, again":      {retry.After(errUnknown, time.Second), false, BreakerOpen},
		"failure of new events":    {errUnknown, true, BreakerOpen},
		"permanent for new events": {retry.Permanent(errUnknown), true, BreakerOpen},
		"panic at new events":      {&retry.PanicError{Value: 1}, true, BreakerOpen},
		"failure of one event":     {errUnknown, false, BreakerClosed},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := testBreaker(Breaker{Failures: 3})
			for range 3 {
				b.is(t, BreakerClosed)
				b.call(t, c.err, c.first)
			}
			b.is(t, c.want)
		})
	}
	t.Run("one that succeeds between", func(t *testing.T) {
		b, _ := testBreaker(Breaker{Failures: 3})
		for range 5 {
			b.call(t, errOutage, true)
			b.call(t, errOutage, true)
			b.call(t, nil, true)
		}
		b.is(t, BreakerClosed)
	})
	t.Run("never", func(t *testing.T) {
		b, _ := testBreaker(Breaker{Failures: -1})
		for range 100 {
			b.call(t, errOutage, true)
		}
		b.is(t, BreakerClosed)
	})
}

// Pauses grow while tries fail, one call is made after each, and one that goes well closes it.
func TestBreakerTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := testBreaker(Breaker{Failures: 1, First: time.Second, Most: 10 * time.Second})
		b.call(t, errOutage, true)
		for _, most := range []time.Duration{1, 2, 4, 8, 10, 10} {
			most *= time.Second
			b.is(t, BreakerOpen)
			_, ok, next, moved := b.admit(time.Now())
			if wait := time.Until(next); ok || wait < most/2 || wait > most {
				t.Fatalf("admitted %v, paused for %s of %s", ok, wait, most)
			}
			await(t.Context(), moved, next)
			try, ok, _, _ := b.admit(time.Now())
			if !ok || !try.probe {
				t.Fatal("no try after the pause")
			}
			b.is(t, BreakerHalfOpen)
			if _, ok, next, _ = b.admit(time.Now()); ok || !next.IsZero() {
				t.Fatal("a second try beside the first")
			}
			b.record(try, errUnknown, false) // a try that fails counts, however it fails
		}
		if n := testutil.ToFloat64(m.opened); n != 1 {
			t.Errorf("opened %v times", n)
		}
		_, _, next, _ := b.admit(time.Now())
		await(t.Context(), nil, next)
		try, _, _, _ := b.admit(time.Now())
		b.abandon(try) // there was nothing to try with
		try, ok, _, _ := b.admit(time.Now())
		if !ok {
			t.Fatal("an abandoned try is not given again")
		}
		b.record(try, nil, true)
		b.is(t, BreakerClosed)
		b.call(t, errOutage, true) // at once again: it had not healed
		if _, _, next, _ := b.admit(time.Now()); time.Until(next) < 5*time.Second {
			t.Errorf("the pause after a relapse is %s", time.Until(next))
		}
		b.mu.Lock()
		b.until = time.Now()
		b.mu.Unlock()
		await(t.Context(), nil, time.Now().Add(time.Millisecond))
		try, _, _, _ = b.admit(time.Now())
		b.record(try, nil, true)
		await(t.Context(), nil, time.Now().Add(time.Minute))
		b.call(t, errOutage, true)
		if _, _, next, _ := b.admit(time.Now()); time.Until(next) > time.Second {
			t.Errorf("the pause after a good minute is %s", time.Until(next))
		}
	})
}

// Optional events that are too old are dropped from when it opens until one that is young has come; nothing else is.
func TestBreakerDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		event := func(age time.Duration, class string) *Message {
			return &Message{StoredAt: time.Now().Add(-age), Header: nats.Header{header.Class: {class}}}
		}
		old, young := event(2*time.Minute, header.ClassOptional), event(time.Second, header.ClassOptional)
		b, _ := testBreaker(Breaker{Failures: 1, OptionalAfter: time.Minute})
		if b.drops(old) {
			t.Error("dropped while all is well")
		}
		b.call(t, errOutage, true)
		if !b.drops(old) || b.drops(young) || b.drops(event(time.Hour, "")) {
			t.Error("dropped while it is open")
		}
		await(t.Context(), nil, time.Now().Add(time.Second))
		b.call(t, nil, true)
		b.is(t, BreakerClosed)
		if b.drops(event(time.Hour, "")) || !b.drops(old) {
			t.Error("dropped while it catches up")
		}
		if b.drops(young) || b.drops(old) {
			t.Error("dropped after it has caught up")
		}
		b.call(t, nil, true)
		if b.failing.Load() {
			t.Error("the usual case is not back")
		}
		b, _ = testBreaker(Breaker{Failures: 1, OptionalAfter: -1})
		b.call(t, errOutage, true)
		if b.drops(old) {
			t.Error("dropped where none is to be")
		}
	})
}
