package checker

import "time"

// Answer is what a relay said to one request.
type Answer int

// Answers.
const (
	Silent   Answer = iota // none, or one that says nothing about credentials: not ready, overloaded
	Accepted               // stored now
	Known                  // a duplicate: it was stored before
	Barred                 // refused for who sent it, or when
)

// Probe is one request that tells what a credential is still good for. Times are those of the rig's clock.
type Probe struct {
	Fault          string // that made the credential what it is
	Tenant, Region string
	ID             string // of its only event
	At, Answered   int64
	Answer         Answer
	Code           string
	GoodFrom       int64 // from here ...
	GoodUntil      int64 // ... to here it has to be let in; 0: it never has to
	BadFrom        int64 // sent later than this, and what it takes to be known, it must not be accepted; 0: it never was good; Forever: it still is
	Calm           bool  // nothing is promised while relays' clocks are off, or are told nothing
	Copy           bool  // of a request that was accepted: it must not be stored, and may be told so
}

// Forever is a time after every trial.
const Forever = int64(1<<63 - 1)

// Span is when something kept relays from hearing of a change, or from knowing the time.
type Span struct{ From, To int64 }

// What has to be known everywhere, and how soon.
const (
	KnownWithin  = 2 * time.Second  // while regions reach each other
	KnownAgainIn = 15 * time.Second // once they do again
)

// credentials holds what relays said to each probe against what its credential was good for.
func (j *judge) credentials() {
	for i := range j.h.Probes {
		p := &j.h.Probes[i]
		j.v.Probes++
		f := Finding{Tenant: p.Tenant, Region: p.Region, ID: p.ID}
		calm := !j.disturbed(p.At, p.Answered)
		switch {
		case p.Calm && !calm, p.Answer == Silent:
		case p.Answer == Accepted && p.Copy:
			f.Kind = KindReplayed
			j.find(f, "%s: a copy of an accepted request was stored", p.Fault)
		case p.Answer == Accepted && p.At > j.barredFrom(p.BadFrom):
			f.Kind = KindAdmitted
			j.find(f, "%s: accepted at %s, the credential had ended at %s", p.Fault, rounded(p.At), rounded(p.BadFrom))
		case p.Answer == Barred && p.GoodUntil > 0 && p.At > p.GoodFrom && p.Answered < p.GoodUntil && calm:
			f.Kind = KindTurnedAway
			j.find(f, "%s: a valid credential was refused at %s: %s", p.Fault, rounded(p.At), p.Code)
		}
	}
}

// barredFrom is when every relay has to know what happened at a time.
func (j *judge) barredFrom(at int64) int64 {
	if at == 0 || at == Forever {
		return at
	}
	known := at + int64(KnownWithin)
	for again := true; again; {
		again = false
		for _, s := range j.h.Disturbed {
			if later := s.To + int64(KnownAgainIn); s.From < known && s.To > at && later > known {
				known, again = later, true
			}
		}
	}
	return known
}

func (j *judge) disturbed(from, to int64) bool {
	for _, s := range j.h.Disturbed {
		if s.From <= to && from <= s.To+int64(KnownAgainIn) {
			return true
		}
	}
	return false
}

// once finds events of which copies were sent on purpose: no window excuses a second one.
func (j *judge) once(s *scope, it *item) {
	if it.attempt == nil || !it.attempt.Once {
		return
	}
	for region, held := range it.byRegion() {
		if len(held) > 1 {
			j.find(Finding{Kind: KindReplayed, Tenant: s.tenant, Region: region, ID: it.id}, "stands %d times after its request was replayed", len(held))
		}
	}
}

func rounded(at int64) time.Duration { return time.Duration(at).Round(time.Millisecond) }
