package consumers

import "time"

// BelieveGoneAfter shortens how long a durable must be missing before Run ends.
func (s *Subscription) BelieveGoneAfter(d time.Duration) { s.goneAfter = d }
