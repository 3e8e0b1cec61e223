package checker

import (
	"fmt"
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
	absent := it.missing(promised(s, it.attempt))
	if len(absent) == 0 {
		return
	}
	// An event of scope l has no copy that could come back from elsewhere, not even where another request stored it.
	// One of scope g has, if any region holds it.
	if age, ok := excuse(j.h.Losses, it.attempt); ok && it.attempt.Regional {
		j.v.RegionalLost++
		return
	} else if ok && len(it.held) == 0 {
		j.v.LostWithRegion++
		j.v.RPOms = max(j.v.RPOms, milliseconds(age))
		return
	}
	j.find(Finding{Kind: KindLost, Tenant: s.tenant, Region: absent[0], ID: it.id},
		"acknowledged by %s at %s, absent from %s%s", it.attempt.Region, time.Duration(it.attempt.AckedAt).Round(time.Millisecond),
		strings.Join(absent, ", "), losses(j.h.Losses, it.attempt.Region))
}

// losses tells when a region was set back, for a finding that such a loss does not excuse.
func losses(all []Loss, region string) string {
	var b strings.Builder
	for _, l := range all {
		if l.Region == region {
			fmt.Fprintf(&b, "; its store of %s was set back to that of %s", time.Duration(max(l.At, l.Back)).Round(time.Millisecond),
				time.Duration(max(l.From, 0)).Round(time.Millisecond))
		}
	}
	return b.String()
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
		if l.Region == a.Region && l.From < a.AckedAt && a.AckedAt <= max(l.At, l.Back) {
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
		if why := copied(it, entries, j.h.Window); why != "" {
			j.find(Finding{Kind: KindDuplicated, Tenant: s.tenant, Region: region, ID: it.id},
				"%d times, such as %s and %s: %s", len(entries), place(entries[0]), place(entries[1]), why)
		} else {
			j.v.CrossDuplicates++
		}
	}
	if places > 1 && it.attempt != nil && it.attempt.Regional {
		j.v.CrossDuplicates++
	}
}

// place says where one entry stands and where it came from.
func place(h holding) string {
	from := ""
	if h.Repaired {
		from = ", repaired"
	}
	return fmt.Sprintf("seq %d (%s %d%s)", h.Seq, h.Origin, h.OriginSeq, from)
}

// spread says when an event was sent.
func spread(a *Attempt) string {
	first, last := time.Duration(a.Sends[0].At), time.Duration(a.Sends[len(a.Sends)-1].At)
	return fmt.Sprintf("%d sends from %.3f to %.3f s", len(a.Sends), first.Seconds(), last.Seconds())
}

// copied says why entries of one region are no duplicates that the contract allows, "" if they are. It allows them
// where dedupe windows do not reach: between sends, or arrivals at the origin, further apart than the window, and
// between regions, which may be cut off from each other. The latter leaves one entry per origin: each region
// dedupes what it takes in itself.
func copied(it *item, entries []holding, window time.Duration) string {
	a, oneOrigin := it.attempt, false
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
	case it.farApart(entries, window):
		return ""
	case !manyAsked(a):
		return "sent to one region within the dedupe window, " + spread(a)
	case oneOrigin:
		return "one origin took it in twice within the dedupe window, " + spread(a)
	}
	return ""
}

// farApart says whether the entries reached their origins further apart than the window: a send that waits in a slow
// link arrives long after a later one was answered.
func (it *item) farApart(entries []holding, window time.Duration) bool {
	times := make([]int64, len(entries))
	for i, e := range entries {
		times[i] = it.storedAt(e)
	}
	slices.Sort(times)
	for i := range times {
		if times[i] == 0 || i > 0 && times[i]-times[i-1] < int64(window-windowSlack) {
			return false
		}
	}
	return true
}

// windowSlack is how exactly the server keeps the time of its window.
const windowSlack = 100 * time.Millisecond

// storedAt is when the entry's origin stored it; the region's own time where the origin has it no more.
func (it *item) storedAt(e holding) int64 {
	for _, h := range it.held {
		if h.Origin == e.Origin && h.OriginSeq == e.OriginSeq && !h.Repaired && strings.HasPrefix(e.Origin, h.region+"_") {
			return h.At
		}
	}
	return e.At
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
