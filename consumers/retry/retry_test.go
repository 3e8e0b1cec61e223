package retry_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
)

var (
	errPlain = errors.New("no")
	now      = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func whole(d time.Duration) time.Duration { return d }

func TestClassify(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want retry.Class
	}{
		"plain":            {errPlain, retry.Failure},
		"invalid":          {fault.New("x", fault.Invalid, "", ""), retry.Failure},
		"deadline":         {fmt.Errorf("x: %w", context.DeadlineExceeded), retry.Outage},
		"network":          {&net.OpError{Op: "dial", Err: errPlain}, retry.Outage},
		"unavailable":      {fault.Wrap("x", fault.Unavailable, errPlain), retry.Outage},
		"limited":          {fault.Wrap("x", fault.Limited, errPlain), retry.Outage},
		"told":             {fmt.Errorf("x: %w", retry.After(errPlain, time.Second)), retry.Delayed},
		"permanent":        {fmt.Errorf("x: %w", retry.Permanent(errPlain)), retry.Hopeless},
		"permanent outage": {retry.Permanent(context.DeadlineExceeded), retry.Hopeless},
		"panic":            {&retry.PanicError{Value: "boom"}, retry.Panicked},
	} {
		if got := retry.Classify(c.err); got != c.want {
			t.Errorf("%s is %s, want %s", name, got, c.want)
		}
	}
	if retry.Permanent(nil) != nil || retry.After(nil, time.Second) != nil || retry.AfterHeader(nil, "1", now) != nil {
		t.Error("no error became one")
	}
	if err := retry.Permanent(retry.After(errPlain, 1)); !errors.Is(err, errPlain) || err.Error() != errPlain.Error() {
		t.Errorf("the mark hides the error: %v", err)
	}
}

func TestDecide(t *testing.T) {
	p := retry.Policy{First: time.Second, Most: 5 * time.Second, MostTold: time.Minute, Attempts: 3}
	for name, c := range map[string]struct {
		err               error
		failures, counted int
		want              retry.Decision
	}{
		"first":           {errPlain, 1, 1, retry.Decision{Wait: time.Second}},
		"second":          {errPlain, 2, 2, retry.Decision{Wait: 2 * time.Second}},
		"last":            {errPlain, 3, 3, retry.Decision{Wait: 4 * time.Second, GiveUp: true}},
		"after an outage": {errPlain, 90, 1, retry.Decision{Wait: 5 * time.Second}},
		"outage":          {context.DeadlineExceeded, 90, 90, retry.Decision{Class: retry.Outage, Wait: 5 * time.Second}},
		"told":            {retry.After(errPlain, 20*time.Second), 1, 1, retry.Decision{Class: retry.Delayed, Wait: 21 * time.Second}},
		"told too much":   {retry.After(errPlain, time.Hour), 1, 1, retry.Decision{Class: retry.Delayed, Wait: 61 * time.Second}},
		"permanent":       {retry.Permanent(errPlain), 1, 1, retry.Decision{Class: retry.Hopeless, Wait: time.Second, GiveUp: true}},
		"panic":           {&retry.PanicError{}, 1, 1, retry.Decision{Class: retry.Panicked, Wait: time.Second, GiveUp: true}},
	} {
		if got := p.Decide(c.err, c.failures, c.counted, whole); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	p.Attempts = -1
	if p.Decide(errPlain, 1000, 1000, whole).GiveUp {
		t.Error("given up without a limit")
	}
}

func TestAfterHeader(t *testing.T) {
	p := retry.Policy{First: time.Second, MostTold: 24 * time.Hour}.WithDefaults()
	for value, want := range map[string]time.Duration{
		"7": 8 * time.Second, "0": time.Second, "Fri, 02 Jan 2026 03:04:15 GMT": 11 * time.Second, "Fri, 02 Jan 2026 03:00:00 GMT": time.Second,
	} {
		if d := p.Decide(retry.AfterHeader(errPlain, value, now), 1, 1, whole); d.Class != retry.Delayed || d.Wait != want {
			t.Errorf("%q: %+v, want %s", value, d, want)
		}
	}
	for _, value := range []string{"", "-1", "soon", "99999999999"} {
		if err := retry.AfterHeader(errPlain, value, now); err != errPlain { //nolint:errorlint // the very same
			t.Errorf("%q: %v", value, err)
		}
	}
}

// Waits never shrink with the number of failures and stay within the policy, however many there were.
func TestWaitsGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Int64Range(int64(time.Millisecond), int64(time.Hour)).Draw(t, "first")
		p := retry.Policy{First: time.Duration(first), Most: time.Duration(rapid.Int64Range(first, int64(1<<62)).Draw(t, "most"))}.WithDefaults()
		if problem := p.Validate(); problem != "" {
			t.Fatal(problem)
		}
		n := rapid.IntRange(1, 1<<30).Draw(t, "n")
		a, b := p.Decide(errPlain, n, 1, whole).Wait, p.Decide(errPlain, n+1, 1, whole).Wait
		if a < p.First || b < a || b > p.Most {
			t.Fatalf("%s, then %s", a, b)
		}
	})
}

func TestPolicyIsChecked(t *testing.T) {
	if problem := retry.DefaultPolicy().Validate(); problem != "" {
		t.Error(problem)
	}
	for _, p := range []retry.Policy{{First: -1}, {First: time.Microsecond}, {First: time.Second, Most: time.Millisecond}, {MostTold: -1}} {
		if p.WithDefaults().Validate() == "" {
			t.Errorf("%+v is accepted", p)
		}
	}
}
