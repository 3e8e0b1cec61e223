package consumers

import "time"

// BelieveGoneAfter shortens how long a durable must be missing before Run ends.
func (s *Subscription) BelieveGoneAfter(d time.Duration) { s.goneAfter = d }

// LookAfter shortens how often is looked for a durable on DLQ.
func (s *Subscription) LookAfter(d time.Duration) { s.lookAfter = d }
