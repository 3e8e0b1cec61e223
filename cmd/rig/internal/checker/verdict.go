package checker

// Kinds of findings.
const (
	KindLost          = "lost"
	KindUnexpected    = "unexpected"
	KindDuplicated    = "duplicated"
	KindDiverged      = "diverged"
	KindReordered     = "reordered"
	KindDoubleEffect  = "double_effect"
	KindMissingEffect = "missing_effect"
	KindAdmitted      = "admitted"
	KindTurnedAway    = "turned_away"
	KindReplayed      = "replayed"
)

// maxFindings is how many findings of one kind a Verdict keeps: the counts go on, a report stays readable.
const maxFindings = 50

// Finding is one broken promise. Region and ID are empty where none applies.
type Finding struct {
	Kind   string `json:"kind"`
	Tenant string `json:"tenant"`
	Region string `json:"region,omitempty"`
	ID     string `json:"id,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Verdict is what Check found. The first line of figures are broken promises, the second one are facts that the
// contract allows and a report states.
type Verdict struct {
	Acknowledged   int `json:"acknowledged"`    // events
	Lost           int `json:"lost"`            // events that some region lacks which must hold them
	Unexpected     int `json:"unexpected"`      // events
	Duplicated     int `json:"duplicated"`      // per event and region
	Diverged       int `json:"diverged"`        // events
	Reordered      int `json:"reordered"`       // per event and region that has it behind a later one; once more against real time
	DoubleEffects  int `json:"double_effects"`  // per event and consumer group
	MissingEffects int `json:"missing_effects"` // per event and consumer group
	Admitted       int `json:"admitted"`        // requests whose credentials had ended, or never were good
	TurnedAway     int `json:"turned_away"`     // requests with valid credentials
	Replayed       int `json:"replayed"`        // copies of requests that were stored again

	Probes          int   `json:"probes"`           // requests that tell what credentials are good for
	UnknownStored   int   `json:"unknown_stored"`   // events without a clear answer that some region holds
	UnknownAbsent   int   `json:"unknown_absent"`   // and that none holds
	CrossDuplicates int   `json:"cross_duplicates"` // per event and region: stored twice, as the contract allows
	LostWithRegion  int   `json:"lost_with_region"` // acknowledged events that went with a region
	RegionalLost    int   `json:"regional_lost"`    // of scope l, which have no copy elsewhere
	Refused         int   `json:"refused"`          // events
	RPOms           int64 `json:"rpo_ms"`           // oldest age, at the loss, of an event that went with a region; 0 none

	Findings []Finding `json:"findings,omitempty"` // the first ones of each kind
}

// OK is whether every promise was kept.
func (v *Verdict) OK() bool {
	return v.Lost == 0 && v.Unexpected == 0 && v.Duplicated == 0 && v.Diverged == 0 && v.Reordered == 0 &&
		v.DoubleEffects == 0 && v.MissingEffects == 0 && v.Admitted == 0 && v.TurnedAway == 0 && v.Replayed == 0
}

// count is the figure of a kind of finding.
func (v *Verdict) count(kind string) *int {
	switch kind {
	case KindLost:
		return &v.Lost
	case KindUnexpected:
		return &v.Unexpected
	case KindDuplicated:
		return &v.Duplicated
	case KindDiverged:
		return &v.Diverged
	case KindReordered:
		return &v.Reordered
	case KindDoubleEffect:
		return &v.DoubleEffects
	case KindMissingEffect:
		return &v.MissingEffects
	case KindAdmitted:
		return &v.Admitted
	case KindTurnedAway:
		return &v.TurnedAway
	case KindReplayed:
		return &v.Replayed
	}
	panic("checker: no kind " + kind)
}

// Add sums o into v; of findings it keeps the first of each kind, of the recovery point the worst.
func (v *Verdict) Add(o *Verdict) {
	v.Acknowledged += o.Acknowledged
	v.Lost += o.Lost
	v.Unexpected += o.Unexpected
	v.Duplicated += o.Duplicated
	v.Diverged += o.Diverged
	v.Reordered += o.Reordered
	v.DoubleEffects += o.DoubleEffects
	v.MissingEffects += o.MissingEffects
	v.UnknownStored += o.UnknownStored
	v.UnknownAbsent += o.UnknownAbsent
	v.Admitted += o.Admitted
	v.TurnedAway += o.TurnedAway
	v.Replayed += o.Replayed
	v.Probes += o.Probes
	v.CrossDuplicates += o.CrossDuplicates
	v.LostWithRegion += o.LostWithRegion
	v.RegionalLost += o.RegionalLost
	v.Refused += o.Refused
	v.RPOms = max(v.RPOms, o.RPOms)
	kept := map[string]int{}
	for _, f := range v.Findings {
		kept[f.Kind]++
	}
	for _, f := range o.Findings {
		if kept[f.Kind]++; kept[f.Kind] <= maxFindings {
			v.Findings = append(v.Findings, f)
		}
	}
}
