package accounts

import "time"

// ReportEvery is the longest time between two reports of a relay; it reports at once when the control state changes.
const ReportEvery = 5 * time.Second

// RelayReport is what a relay tells the hubs of its region, on subject.Relays, of what it knows.
type RelayReport struct {
	ID       string   `json:"id"`
	Recorded uint64   `json:"recorded"`          // sequence in the region's CONTROL stream of the last record that it goes by
	Masters  []string `json:"masters,omitempty"` // master keys whose secrets it can open

	// Began is when the relay started to count, in unix nanoseconds: what it counts begins anew with each of its lives.
	Began    int64           `json:"began,omitempty"`
	Versions []VersionReport `json:"versions,omitempty"` // of schemas on trial, at most MaxReported of them in one report
}

// MaxReported is how many versions a report speaks of; there may be several reports.
const MaxReported = 256
