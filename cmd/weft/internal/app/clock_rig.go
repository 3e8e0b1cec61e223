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

// boot stands in for the operating system's boot id, so that a power cut can be played without one.
func boot() string { return os.Getenv("WEFT_RIG_BOOT") }
