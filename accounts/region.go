package accounts

import "github.com/weft-mesh/weft/streams/subject"

// The ack modes: what a 2xx guarantees. A region gives one of the first two; a topic may ask for the third.
const (
	AckStored      = "stored"       // a quorum has it in memory or page cache
	AckStoredFsync = "stored-fsync" // a quorum has it on disk
	AckRemote      = "remote"       // a second region has stored it too, each of them as the region's own mode says
)

// RegionInfo is what the mesh knows of one region.
type RegionInfo struct {
	Name            string  `json:"name"`
	Epoch           int     `json:"epoch"`                      // of its live origin; only grows
	Weight          float64 `json:"weight"`                     // share of the keys that have their home here
	Replicas        int     `json:"replicas"`                   // of its streams: 1 or 3
	Ack             string  `json:"ack"`                        // AckStored or AckStoredFsync
	RelaxedCritical bool    `json:"relaxed_critical,omitempty"` // critical topics are taken without fsync
}

// Origin is the region's live origin.
func (r RegionInfo) Origin() subject.Origin { return subject.Origin{Region: r.Name, Epoch: r.Epoch} }
