package streams

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/subject"
)

const (
	// RejectsBytes and RejectsAge bound what REJECTS holds, unless a spec says otherwise.
	RejectsBytes = 64 << 20
	RejectsAge   = 7 * 24 * time.Hour
	// rejectsPerCode keeps a flood of one code from pushing out what is known of the others: a record has
	// some 600 bytes, so ten codes have to be flooded at once before the bytes run out.
	rejectsPerCode = 10_000
	// rejectSize is more than a record has: every text in it is bounded.
	rejectSize = 16 << 10
)

// RejectsSpec is what differs between one REJECTS stream and another.
type RejectsSpec struct {
	Region   string
	Replicas int           // 0 = 1
	MaxBytes int64         // 0 = RejectsBytes
	MaxAge   time.Duration // 0 = RejectsAge
}

// RejectsConfig is a tenant's log of what relays of a region refused. It stays in its region, and when it is
// full the oldest records go: whoever was refused was told, so a lost record loses no event.
func RejectsConfig(s RejectsSpec) jetstream.StreamConfig {
	c := base(subject.RejectsStream, subject.RejectsOf(s.Region), s.Replicas)
	c.Discard = jetstream.DiscardOld
	c.MaxBytes, c.MaxAge, c.MaxMsgsPerSubject, c.MaxMsgSize = RejectsBytes, RejectsAge, rejectsPerCode, rejectSize
	if s.MaxBytes > 0 {
		c.MaxBytes = s.MaxBytes
	}
	if s.MaxAge > 0 {
		c.MaxAge = s.MaxAge
	}
	c.Duplicates = min(c.Duplicates, c.MaxAge)
	c.DenyDelete = true
	return c
}
