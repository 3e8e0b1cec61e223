//go:build !rig

package app

import "time"

// clock is the time that hubs and relays go by.
func clock() func() time.Time { return time.Now }

// boot stands in for the operating system's boot id; "" leaves it as it is.
func boot() string { return "" }
