package accounts

import "time"

// ReportEvery is the longest time between two reports of a relay; it reports at once when the control state changes.
const ReportEvery = 5 * time.Second

// RelayReport is what a relay tells the hubs of its region, on subject.Relays, of what it knows.
type RelayReport struct {
	ID       string   `json:"id"`
	Recorded uint64   `json:"recorded"`          // sequence in the region's CONTROL stream of the last record that it goes by
	Masters  []string `json:"masters,omitempty"` // master keys whose secrets it can open
}
