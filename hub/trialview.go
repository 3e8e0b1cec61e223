package hub

import (
	"time"

	"github.com/weft-mesh/weft/accounts"
)

// TrialView is how a version on trial does: what it has to show, and what it has shown in its present run.
type TrialView struct {
	Policy  accounts.TrialPolicy  `json:"policy"`
	Run     int                   `json:"run"`
	State   accounts.TrialState   `json:"state"` // "" before the region that judges has looked
	Since   *time.Time            `json:"since,omitempty"`
	Checked uint64                `json:"checked"` // in all regions
	Failed  uint64                `json:"failed"`
	Percent float64               `json:"percent"`
	Waits   string                `json:"waits,omitempty"`
	Judge   string                `json:"judge"` // the region that judges
	Regions []TrialRegion         `json:"regions"`
	Faults  []accounts.TrialFault `json:"faults"` // the first ones: rule and place in the schema
}

// TrialRegion is what one region counted, earlier runs included.
type TrialRegion struct {
	Region string `json:"region"`
	accounts.Counts
	At time.Time `json:"at"` // when it last said so, by its clock
}

// viewTrial is nil for a version that is on no trial, and has been on none.
func (h *Hub) viewTrial(s *accounts.Schema) *TrialView {
	if s.Trial == nil {
		return nil
	}
	state := h.State()
	v := &TrialView{Policy: *s.Trial, Run: s.Run, Judge: h.opts.Identity.Mesh.Home, Regions: []TrialRegion{}, Faults: []accounts.TrialFault{}}
	if verdict := state.Verdict(s); verdict != nil {
		c := verdict.Counted()
		v.State, v.Since, v.Waits = verdict.State, &verdict.Since, verdict.Waits
		v.Checked, v.Failed, v.Percent = c.Checked, c.Failed, c.Percent()
	} else {
		v.Waits = "a first look by region " + v.Judge
	}
	for _, t := range state.TrialsOf(s) {
		v.Regions = append(v.Regions, TrialRegion{Region: t.Region, Counts: t.Total(), At: t.At})
		v.Faults = accounts.JoinFaults(v.Faults, t.Faults)
	}
	return v
}
