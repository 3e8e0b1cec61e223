package canary

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/schema"
)

var began = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// trial is a version on trial, with a clock that a test moves.
type trial struct {
	t    *testing.T
	look Look
	v    *accounts.TrialVerdict
}

func newTrial(t *testing.T, status schema.Status) *trial {
	p := accounts.TrialPolicy{Share: 10, Sample: 100, MaxErrors: 2, Hold: accounts.Duration(10 * time.Minute), Watch: accounts.Duration(time.Hour), Promote: accounts.PromoteSelf}
	return &trial{t: t, look: Look{Schema: &accounts.Schema{Status: status, Run: 1, Trial: &p}, Back: true, Now: began}}
}

// after lets time pass and events come in, and insists on the verdict.
func (c *trial) after(d time.Duration, checked, failed uint64, state accounts.TrialState, action Action, waits string) {
	c.t.Helper()
	c.look.Now = c.look.Now.Add(d)
	n := &c.look.Sum.Shadow
	if c.look.Schema.Status == schema.Active {
		n = &c.look.Sum.Active
	}
	*n = n.Plus(accounts.Count{Checked: checked, Failed: failed})
	v, got := Judge(c.v, c.look)
	if c.v = &v; v.State != state || got != action || !strings.Contains(v.Waits, waits) || (waits == "") != (v.Waits == "") {
		c.t.Errorf("after %s: %+v, action %d; want %s, action %d, waiting for %q", c.look.Now.Sub(began), v, got, state, action, waits)
	}
}

func TestAGreenCanaryIsPromotedAfterItsTime(t *testing.T) {
	c := newTrial(t, schema.Canary)
	c.after(0, 0, 0, accounts.TrialSampling, None, "100 more checked events")
	c.after(time.Hour, 99, 1, accounts.TrialSampling, None, "1 more checked events")
	c.after(time.Minute, 1, 0, accounts.TrialGreen, None, "green until 2026-01-01T13:11:00Z")
	c.after(9*time.Minute, 200, 4, accounts.TrialGreen, None, "green until")
	c.look.Silent = []string{"us"}
	c.after(time.Minute, 0, 0, accounts.TrialGreen, None, "word of region us")
	c.look.Silent = nil
	c.after(time.Second, 0, 0, accounts.TrialGreen, Promote, "")
	if why := Why(*c.v, c.look.Schema.Trial); why != "green: 5 of 300 events failed (1.67 %, at most 2 %)" {
		t.Error(why)
	}
}

func TestACanaryTurnsRedAsSoonAsItCannotBeGreen(t *testing.T) {
	c := newTrial(t, schema.Canary)
	c.after(0, 0, 0, accounts.TrialSampling, None, "100 more")
	c.after(time.Second, 3, 2, accounts.TrialSampling, None, "97 more")
	c.after(time.Second, 1, 1, accounts.TrialRed, None, "100 more")
	c.after(time.Second, 99, 2, accounts.TrialRed, None, "1 more")
	c.after(time.Second, 1, 0, accounts.TrialGreen, None, "green until")
}

// What was green for long does not make up for what comes in now.
func TestALateFailureIsNotDiluted(t *testing.T) {
	c := newTrial(t, schema.Canary)
	c.after(0, 0, 0, accounts.TrialSampling, None, "100 more")
	c.after(time.Second, 100000, 0, accounts.TrialGreen, None, "green until")
	c.after(9*time.Minute, 10, 3, accounts.TrialRed, None, "100 more")
	c.after(time.Hour, 100, 0, accounts.TrialGreen, None, "green until")
	c.after(10*time.Minute, 0, 0, accounts.TrialGreen, Promote, "")
}

func TestWhatAPersonDecides(t *testing.T) {
	c := newTrial(t, schema.Canary)
	c.look.Schema.Trial.Promote = accounts.PromoteByHand
	c.after(0, 0, 0, accounts.TrialSampling, None, "100 more")
	c.after(0, 100, 0, accounts.TrialGreen, None, "a person")
	c.after(time.Hour, 100, 0, accounts.TrialGreen, None, "a person")
	c.look.Schema.Trial.Promote, c.look.Schema.Rollbacks = accounts.PromoteSelf, 1
	c.after(time.Hour, 100, 0, accounts.TrialGreen, None, "it was rolled back before")
}

func TestARedActiveVersionIsRolledBack(t *testing.T) {
	c := newTrial(t, schema.Active)
	c.look.Silent = []string{"us"} // which delays nothing
	c.look.Schema.Counted.Active, c.look.Sum.Active = accounts.Count{Checked: 50, Failed: 50}, accounts.Count{Checked: 50, Failed: 50}
	c.after(0, 0, 0, accounts.TrialWatched, None, "the end of its watch at 2026-01-01T13:00:00Z")
	c.after(time.Minute, 2, 2, accounts.TrialWatched, None, "the end of its watch")
	c.after(time.Minute, 1, 1, accounts.TrialRed, RollBack, "")
	if why := Why(*c.v, c.look.Schema.Trial); why != "red: 3 of 3 events failed (100 %, at most 2 %)" {
		t.Error(why)
	}
	c.after(time.Second, 0, 0, accounts.TrialRed, RollBack, "") // it is still active: the step failed
	c.look.Back = false
	c.after(time.Second, 0, 0, accounts.TrialRed, None, "no other version")
	c.look.Back = true
	c.after(time.Second, 1000, 0, accounts.TrialWatched, None, "the end of its watch")
	c.after(time.Hour, 0, 0, accounts.TrialPassed, None, "")
	c.after(time.Hour, 1000, 1000, accounts.TrialPassed, None, "")
}

func TestWhatIsNotWatchedHasPassed(t *testing.T) {
	c := newTrial(t, schema.Active)
	c.look.Schema.Trial.Watch = 0
	c.after(0, 100, 100, accounts.TrialPassed, None, "")
	c.after(time.Hour, 100, 100, accounts.TrialPassed, None, "")
}

func TestEachRunBeginsAnew(t *testing.T) {
	c := newTrial(t, schema.Canary)
	c.after(0, 0, 0, accounts.TrialSampling, None, "100 more")
	c.after(0, 100, 0, accounts.TrialGreen, None, "green until")
	c.look.Schema.Run, c.look.Schema.Counted = 2, c.look.Sum
	c.after(time.Hour, 0, 0, accounts.TrialSampling, None, "100 more")
	c.after(time.Second, 99, 0, accounts.TrialSampling, None, "1 more")
	if got := c.v.Counted(); got != (accounts.Count{Checked: 99}) {
		t.Errorf("counted %+v", got)
	}
}

// A region that lost its counts takes nothing from the others' and makes no verdict of its own.
func TestLostCountsAreNoEvents(t *testing.T) {
	c := newTrial(t, schema.Canary)
	c.look.Schema.Counted.Shadow, c.look.Sum.Shadow = accounts.Count{Checked: 500, Failed: 5}, accounts.Count{Checked: 500, Failed: 5}
	c.after(0, 0, 0, accounts.TrialSampling, None, "100 more")
	c.look.Sum.Shadow = accounts.Count{Checked: 10}
	c.after(time.Second, 0, 0, accounts.TrialSampling, None, "100 more")
	c.after(time.Second, 99, 0, accounts.TrialSampling, None, "1 more")
	c.after(time.Second, 1, 0, accounts.TrialGreen, None, "green until")
}
