package checker

import "fmt"

// Check judges one run. Every event counts once per kind, except where a Verdict says otherwise; one fault may
// show as several kinds: an acknowledged event that one region lacks is lost, and the regions have diverged.
//
// What it takes for granted: AckedAt is after the event's first send (else the event is no witness of order), and
// what it is not shown it cannot miss: a region without a Ledger has no consumers.
func Check(h *History) *Verdict {
	j := &judge{h: h, v: &Verdict{}}
	for _, s := range split(h) {
		for i := range s.items {
			j.item(s, &s.items[i])
		}
		j.streamOrder(s)
		j.realTimeOrder(s)
		j.effects(s)
	}
	j.credentials()
	return j.v
}

// judge is the state of one Check.
type judge struct {
	h    *History
	v    *Verdict
	kept map[string]int // findings by kind
}

// find counts a broken promise and keeps it while there are few of its kind.
func (j *judge) find(f Finding, format string, args ...any) {
	*j.v.count(f.Kind)++
	if j.kept == nil {
		j.kept = map[string]int{}
	}
	if j.kept[f.Kind]++; j.kept[f.Kind] > maxFindings {
		return
	}
	f.Detail = fmt.Sprintf(format, args...)
	j.v.Findings = append(j.v.Findings, f)
}

// item judges what can be said of one event by itself.
func (j *judge) item(s *scope, it *item) {
	j.unexpected(s, it)
	j.answer(s, it)
	j.duplicated(s, it)
	j.diverged(s, it)
	j.once(s, it)
}
