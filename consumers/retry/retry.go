// Package retry decides what a failed handler call means for its event: how long the event rests before the next
// call, or that there is no next one.
//
// Handlers mark their errors (Permanent, After), package consumers asks a Policy. Everything here is pure and safe
// for concurrent use.
package retry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// Class is what is known of why a call failed.
type Class uint8

// The classes.
const (
	Failure  Class = iota // nobody knows: it may be the event
	Outage                // something that the handler needs does not answer: it is not the event
	Delayed               // something that the handler needs said when to come again
	Hopeless              // the handler says that this event fails however often it is tried
	Panicked              // the handler panicked
)

var classNames = [...]string{"failure", "outage", "delayed", "permanent", "panic"}

// String is the class's name, as metrics and records show it.
func (c Class) String() string { return classNames[c] }

// Classes are all of them.
func Classes() []Class { return []Class{Failure, Outage, Delayed, Hopeless, Panicked} }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error that the same event would meet for ever; nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type afterError struct {
	err  error
	wait time.Duration
}

func (e *afterError) Error() string { return e.err.Error() }
func (e *afterError) Unwrap() error { return e.err }

// After marks an error with how long the next call should wait at least; nil stays nil.
func After(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &afterError{err: err, wait: max(wait, 0)}
}

// AfterHeader marks an error with the value of a Retry-After header. With a value that is none the error stays as it is.
func AfterHeader(err error, value string, now time.Time) error {
	if wait, ok := ParseAfter(value, now); ok {
		return After(err, wait)
	}
	return err
}

// ParseAfter reads the value of a Retry-After header (RFC 9110, 10.2.3): seconds, or a date, which may be past.
func ParseAfter(value string, now time.Time) (wait time.Duration, ok bool) {
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}

// PanicError is a handler's panic as an error.
type PanicError struct {
	Value any
	Stack []byte
}

// Error tells the panic's value.
func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// Classify says what an error means: its mark, where it has one, or else its kind.
func Classify(err error) Class {
	if _, ok := errors.AsType[*PanicError](err); ok {
		return Panicked
	}
	if _, ok := errors.AsType[*permanentError](err); ok {
		return Hopeless
	}
	if _, ok := errors.AsType[*afterError](err); ok {
		return Delayed
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err).Retryable() {
		return Outage
	}
	return Failure
}

// Policy is how often and how fast an event is tried again. Zero fields mean their defaults.
type Policy struct {
	// First bounds the wait after the first failed call; each further failure doubles the bound, up to Most. The wait
	// is drawn between zero and the bound, so that what failed together does not come back together.
	First    time.Duration // default 1 s
	Most     time.Duration // default 30 s
	MostTold time.Duration // the longest wait that an After mark is believed; default 1 h
	// Attempts is how many calls may fail before the event is given up; default 10, negative: no limit. Failures of the
	// class Outage do not count: an event is not to blame for a database that is down.
	Attempts int
}

// DefaultPolicy returns the policy with every default filled in.
func DefaultPolicy() Policy { return Policy{}.WithDefaults() }

// WithDefaults fills in what was left open.
func (p Policy) WithDefaults() Policy {
	or := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	or(&p.First, time.Second)
	or(&p.Most, max(30*time.Second, p.First))
	or(&p.MostTold, time.Hour)
	if p.Attempts == 0 {
		p.Attempts = 10
	}
	return p
}

// Validate says what is wrong with a complete policy, or "".
func (p Policy) Validate() string {
	switch {
	case p.First < time.Millisecond || p.Most < p.First:
		return fmt.Sprintf("retry waits %s to %s: at least 1ms, the most not below the first", p.First, p.Most)
	case p.MostTold < 0:
		return fmt.Sprintf("the longest wait that is believed, %s, is negative", p.MostTold)
	default:
		return ""
	}
}

// Decision is what follows from a failed call.
type Decision struct {
	Class  Class
	GiveUp bool          // no further call
	Wait   time.Duration // before the next call, or before the next try to put the event away
}

// Decide says what follows from a failed call: failures is how many of the event's calls failed, this one included,
// and counted how many of those count for Attempts. Jitter draws from zero to its argument.
func (p Policy) Decide(err error, failures, counted int, jitter func(time.Duration) time.Duration) Decision {
	d := Decision{Class: Classify(err), Wait: jitter(p.bound(failures))}
	switch d.Class {
	case Hopeless, Panicked:
		d.GiveUp = true
	case Failure, Delayed:
		d.GiveUp = p.Attempts > 0 && counted >= p.Attempts
	case Outage:
	}
	if told, ok := errors.AsType[*afterError](err); ok {
		d.Wait += min(told.wait, p.MostTold)
	}
	return d
}

// Counts says whether a failure of the class counts for Attempts.
func (c Class) Counts() bool { return c != Outage }

// bound is the most that failure number n, from 1, rests.
func (p Policy) bound(n int) time.Duration {
	b := p.First
	for ; n > 1 && b < p.Most; n-- {
		b *= 2
	}
	return min(b, p.Most)
}
