package accounts

import (
	"time"

	"github.com/weft-mesh/weft/streams/schema/rule"
)

// Rules are what a tenant asks of all its events and schemas, as the control log holds them.
type Rules struct {
	Tenant string `json:"tenant"`
	rule.Set
	Canary *TrialSpec `json:"canary,omitempty"` // what new versions have to show, other than DefaultTrial
	By     string     `json:"by,omitempty"`     // who set them last: a principal
	At     time.Time  `json:"at,omitzero"`
}
