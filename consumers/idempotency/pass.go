package idempotency

// Mark is what a store remembers of an event that was applied.
type Mark struct {
	EventID string
	Digest  [32]byte
}

// Against says how an entry stands to the mark of its id or place.
func (m Mark) Against(e *Entry) Result {
	if m.Digest == e.Digest {
		return Result{Outcome: Duplicate, Prior: m.EventID}
	}
	return Result{Outcome: Conflict, Prior: m.EventID}
}

// Plan begins the results of a batch and divides its entries so that no two of a pass share an id or a place: each
// pass is compared with the marks that the passes before it left. An event that is twice in a batch is compared
// with itself that way, and applied by its second copy when the effect of the first one failed. Invalid entries are
// in no pass, their result is final.
func Plan(entries []Entry) (results []Result, passes [][]int) {
	results = make([]Result, len(entries))
	ids, places := make(map[string]int, len(entries)), make(map[Place]int)
	for i := range entries {
		e := &entries[i]
		if err := e.Validate(); err != nil {
			results[i] = Result{Outcome: Failed, Err: err}
			continue
		}
		n := ids[e.EventID] // the first pass that is free of it
		place, counts := e.Place()
		if counts {
			n = max(n, places[place])
			places[place] = n + 1
		}
		ids[e.EventID] = n + 1
		if n == len(passes) {
			passes = append(passes, make([]int, 0, len(entries)-i))
		}
		passes[n] = append(passes[n], i)
	}
	return results, passes
}
