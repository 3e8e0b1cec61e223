//go:build rig

package app

import (
	"os"
	"time"
)

// clock is the time that hubs and relays go by: in a build for the fault rig it can be wrong.
func clock() func() time.Time {
	offset, err := time.ParseDuration(os.Getenv("WEFT_RIG_CLOCK"))
	if err != nil {
		return time.Now
	}
	return func() time.Time { return time.Now().Add(offset) }
}
