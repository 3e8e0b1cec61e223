//go:build !rig

package app

import "time"

// clock is the time that hubs and relays go by.
func clock() func() time.Time { return time.Now }
