package checker

import (
	"slices"
	"strings"
	"time"
)

// answer holds what the producer was told against what is there.
func (j *judge) answer(s *scope, it *item) {
	if it.attempt == nil {
		return
	}
	switch it.attempt.Outcome {
	case Acked:
		j.v.Acknowledged++
		j.lost(s, it)
	case Refused:
		j.v.Refused++
	default:
		if len(it.held) > 0 {
			j.v.UnknownStored++
		} else {
			j.v.UnknownAbsent++
		}
	}
}

func (j *judge) lost(s *scope, it *item) {
	if len(it.held) == 0 {
		if age, ok := excuse(j.h.Losses, it.attempt); ok {
			if it.attempt.Regional { // has no copy elsewhere: nothing of it is promised through the loss of its region
				j.v.RegionalLost++
				return
			}
			j.v.LostWithRegion++
			j.v.RPOms = max(j.v.RPOms, milliseconds(age))
			return
		}
	}
	if absent := it.missing(promised(s, it.attempt)); len(absent) > 0 {
		j.find(Finding{Kind: KindLost, Tenant: s.tenant, Region: absent[0], ID: it.id},
			"acknowledged by %s, absent from %s", it.attempt.Region, strings.Join(absent, ", "))
	}
}

// promised are the regions that an acknowledgement is a promise for.
func promised(s *scope, a *Attempt) []string {
	if a.Regional {
		return []string{a.Region}
	}
	return s.regions
}

// excuse says whether an acknowledgement went with its region, and how old it was at most at that time.
func excuse(losses []Loss, a *Attempt) (age time.Duration, ok bool) {
	for _, l := range losses {
		if l.Region == a.Region && l.From < a.AckedAt && a.AckedAt <= l.At {
			age, ok = max(age, time.Duration(l.At-a.AckedAt)), true
		}
	}
	return age, ok
}

// milliseconds rounds up: what is lost is never reported as no loss.
func milliseconds(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// unexpected finds what should not be stored, or not there, or not so.
func (j *judge) unexpected(s *scope, it *item) {
	if it.again {
		j.find(Finding{Kind: KindUnexpected, Tenant: s.tenant, ID: it.id}, "the history has two attempts of this id")
		return
	}
	for _, h := range it.held {
		if why := objection(it.attempt, h); why != "" {
			j.find(Finding{Kind: KindUnexpected, Tenant: s.tenant, Region: h.region, ID: it.id}, "seq %d: %s", h.Seq, why)
			return
		}
	}
}

// objection is what speaks against one entry of a stream, "" if nothing does.
func objection(a *Attempt, h holding) string {
	switch {
	case a == nil:
		return "nobody sent it"
	case a.Poison:
		return "poison was stored"
	case a.Outcome == Refused:
		return "the producer was told that it is not stored"
	case h.Body != a.Body:
		return "the body is not the one that was sent"
	case h.Regional != a.Regional:
		return "the scope is not the one that was asked for"
	case a.Regional && !mayHold(a, h):
		return "a regional event outside its region"
	}
	return ""
}

// mayHold says whether a regional event may stand in a region: in the one that took it in, which is the one that
// acknowledged it, or another one that was asked as well. Without an acknowledgement any region may have taken it in
// (a relay forwards to the key's home).
func mayHold(a *Attempt, h holding) bool {
	if regionOf(h.Origin) != h.region {
		return false
	}
	if a.Outcome != Acked || a.Region == h.region {
		return true
	}
	return manyAsked(a) && slices.ContainsFunc(a.Sends, func(s Send) bool { return s.Region == h.region })
}

// manyAsked says whether relays of more than one region were asked.
func manyAsked(a *Attempt) bool {
	return slices.ContainsFunc(a.Sends, func(s Send) bool { return s.Region != a.Sends[0].Region })
}

// duplicated finds what stands twice where the dedupe window should have stopped it, and counts what it could not.
func (j *judge) duplicated(s *scope, it *item) {
	places := 0
	for region, entries := range it.byRegion() {
		places++
		if len(entries) < 2 {
			continue
		}
		if why := copied(it.attempt, entries, j.h.Window); why != "" {
			j.find(Finding{Kind: KindDuplicated, Tenant: s.tenant, Region: region, ID: it.id},
				"%d times, such as seq %d and %d: %s", len(entries), entries[0].Seq, entries[1].Seq, why)
		} else {
			j.v.CrossDuplicates++
		}
	}
	if places > 1 && it.attempt != nil && it.attempt.Regional {
		j.v.CrossDuplicates++
	}
}

// copied says why entries of one region are no duplicates that the contract allows, "" if they are. It allows them
// where dedupe windows do not reach: between sends further apart than the window, and between regions, which may be
// cut off from each other. The latter leaves one entry per origin: each region dedupes what it takes in itself.
func copied(a *Attempt, entries []holding, window time.Duration) string {
	oneOrigin := false
	for i, e := range entries {
		for _, f := range entries[:i] {
			if e.Origin == f.Origin && e.OriginSeq == f.OriginSeq {
				return "one event of one origin came in twice"
			}
			oneOrigin = oneOrigin || e.Origin == f.Origin
		}
	}
	switch {
	case a == nil || len(a.Sends) == 0:
		return "nobody sent it"
	case a.Sends[len(a.Sends)-1].At-a.Sends[0].At > int64(window):
		return ""
	case !manyAsked(a):
		return "sent to one region within the dedupe window"
	case oneOrigin:
		return "one origin took it in twice within the dedupe window"
	}
	return ""
}

// diverged finds what regions disagree on.
func (j *judge) diverged(s *scope, it *item) {
	if len(it.held) == 0 || !it.replicated() {
		return
	}
	if absent := it.missing(s.regions); len(absent) > 0 {
		j.find(Finding{Kind: KindDiverged, Tenant: s.tenant, Region: absent[0], ID: it.id},
			"in %s, not in %s", it.held[0].region, strings.Join(absent, ", "))
		return
	}
	for _, h := range it.held[1:] {
		if h.Body != it.held[0].Body {
			j.find(Finding{Kind: KindDiverged, Tenant: s.tenant, Region: h.region, ID: it.id},
				"its body is not the one in %s", it.held[0].region)
			return
		}
	}
}
