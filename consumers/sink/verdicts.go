package sink

import (
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
)

// Verdicts are what becomes of the events of one batch, until the batch is through. They belong to one goroutine.
type Verdicts struct {
	outcomes [len(outcomeNames)]int
	errs     consumers.BatchErrors // nil while none is refused
	size     int
}

// NewVerdicts begins those of a batch of that size.
func NewVerdicts(size int) *Verdicts { return &Verdicts{size: size} }

// Add notes the outcome of n events that are settled.
func (v *Verdicts) Add(o Outcome, n int) { v.outcomes[o] += n }

// Refuse gives the event at index i of the batch up, for good.
func (v *Verdicts) Refuse(i int, o Outcome, err error) {
	if v.errs == nil {
		v.errs = make(consumers.BatchErrors, v.size)
	}
	v.errs[i] = retry.Permanent(err)
	v.outcomes[o]++
}

// Settle counts the outcomes and returns what HandleBatch returns: nil, or which events are refused.
func (v *Verdicts) Settle(m *Metrics) error {
	for o, n := range v.outcomes {
		m.Count(Outcome(o), n) //nolint:gosec // an index
	}
	if v.errs == nil {
		return nil
	}
	return v.errs
}
