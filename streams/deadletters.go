package streams

import (
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/subject"
)

// DeadLettersBytes bounds what DLQ holds, unless a spec says otherwise.
const DeadLettersBytes = 256 << 20

// DeadLettersSpec is what differs between one DLQ stream and another.
type DeadLettersSpec struct {
	Region   string
	Replicas int   // 0 = 1
	MaxBytes int64 // 0 = DeadLettersBytes
}

// DeadLettersConfig is where consumers of a region put the events of a tenant that they give up. It stays in its
// region, and nothing leaves it but by a person's word: what is in it was acknowledged, so it has no age, and full is
// an answer to the consumer, which keeps the event.
func DeadLettersConfig(s DeadLettersSpec) jetstream.StreamConfig {
	c := base(subject.DeadLettersStream, subject.DeadLettersOf(s.Region), s.Replicas)
	c.Discard = jetstream.DiscardNew
	c.MaxBytes = DeadLettersBytes
	if s.MaxBytes > 0 {
		c.MaxBytes = s.MaxBytes
	}
	return c
}
