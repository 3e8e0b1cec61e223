// Package canary judges how a new version of a schema does: whether it may be promoted, and whether it has to be rolled
// back.
//
// The hub of one region, the one that judges, asks it every few seconds. All functions are pure and safe for concurrent
// use; what they remember is in the verdict that they return.
package canary

import (
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/schema"
)

// Action is what a verdict asks for.
type Action uint8

// The actions.
const (
	None Action = iota
	Promote
	RollBack
)

// Look is what is to be seen of a version on trial at one moment.
type Look struct {
	Schema *accounts.Schema // a canary, or active
	Sum    accounts.Counts  // of all regions
	Silent []string         // regions of the tenant that may have counted more
	Back   bool             // another version can judge its events
	Now    time.Time        // by the clock of the hub that judges
}

// counts are what matters in the version's status, at the beginning of its run and now.
func (l *Look) counts() (start, now accounts.Count) {
	if l.Schema.Status == schema.Active {
		return l.Schema.Counted.Active, l.Sum.Active
	}
	return l.Schema.Counted.Shadow, l.Sum.Shadow
}

// Judge says how the version does now, given the verdict before, and what is to be done. A verdict of another run is none.
//
// A version is red as soon as more events failed than may fail of a whole sample, however few were checked. Each state
// counts from its own beginning: a canary that turned green has to stay so on what comes in from then on, and one that
// turned red is sampled anew. Nobody is in a hurry to promote: a region that is not heard of delays it. It does not delay
// a rollback.
func Judge(last *accounts.TrialVerdict, l Look) (accounts.TrialVerdict, Action) {
	start, now := l.counts()
	v := accounts.TrialVerdict{Run: l.Schema.Run, State: accounts.TrialSampling, Since: l.Now, Start: start, Base: start}
	if l.Schema.Status == schema.Active {
		v.State = accounts.TrialWatched
	}
	if last != nil && last.Run == l.Schema.Run {
		v = *last
	}
	v.Waits = ""
	v.Start, v.Base = v.Start.Min(now), v.Base.Min(now) // a region may have lost its counts
	v.Seen = now
	if l.Schema.Status == schema.Active {
		return watch(v, l)
	}
	return sample(v, l)
}

// sample judges a canary.
func sample(v accounts.TrialVerdict, l Look) (accounts.TrialVerdict, Action) {
	p := l.Schema.Trial
	window := v.Seen.Less(v.Base)
	switch {
	case red(p, window):
		v.State, v.Since, v.Base = accounts.TrialRed, l.Now, v.Seen
	case v.State != accounts.TrialGreen && window.Checked >= p.Sample:
		v.State, v.Since, v.Base = accounts.TrialGreen, l.Now, v.Seen
	}
	if v.State != accounts.TrialGreen {
		v.Waits = fmt.Sprintf("%d more checked events", p.Sample-min(p.Sample, v.Seen.Less(v.Base).Checked))
		return v, None
	}
	left := p.Hold.Std() - l.Now.Sub(v.Since)
	switch {
	case p.Promote == accounts.PromoteByHand:
		v.Waits = "a person who promotes it"
	case l.Schema.Rollbacks > 0:
		v.Waits = "a person who promotes it: it was rolled back before"
	case left > 0:
		v.Waits = "green until " + v.Since.Add(p.Hold.Std()).UTC().Format(time.RFC3339)
	case len(l.Silent) > 0:
		v.Waits = "word of region " + strings.Join(l.Silent, ", ")
	default:
		return v, Promote
	}
	return v, None
}

// watch judges an active version.
func watch(v accounts.TrialVerdict, l Look) (accounts.TrialVerdict, Action) {
	p := l.Schema.Trial
	if v.State == accounts.TrialPassed {
		return v, None
	}
	isRed := red(p, v.Seen.Less(v.Base))
	switch {
	case l.Now.Sub(v.Since) >= p.Watch.Std() && v.State == accounts.TrialWatched && !isRed, p.Watch == 0:
		v.State, v.Since = accounts.TrialPassed, l.Now
	case isRed && l.Back:
		v.State = accounts.TrialRed
		return v, RollBack
	case isRed:
		v.State = accounts.TrialRed
		v.Waits = "a person: there is no other version to go back to"
	default:
		v.State = accounts.TrialWatched
		v.Waits = "the end of its watch at " + v.Since.Add(p.Watch.Std()).UTC().Format(time.RFC3339)
	}
	return v, None
}

// red says whether more failed than may of a sample, or of what was checked where that is more.
func red(p *accounts.TrialPolicy, c accounts.Count) bool {
	return float64(c.Failed)*100 > p.MaxErrors*float64(max(c.Checked, p.Sample))
}

// Why is the reason of an action, for the record.
func Why(v accounts.TrialVerdict, p *accounts.TrialPolicy) string {
	c := v.Counted()
	return fmt.Sprintf("%s: %d of %d events failed (%.3g %%, at most %g %%)", v.State, c.Failed, c.Checked, c.Percent(), p.MaxErrors)
}
