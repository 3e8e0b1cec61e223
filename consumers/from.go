package consumers

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// From is where a durable starts when it is created; one that exists goes on where it stopped. The
// zero value is FromAll.
type From struct {
	kind fromKind
	time time.Time
	seq  uint64
}

type fromKind uint8

const (
	fromAll fromKind = iota
	fromNew
	fromTime
	fromSequence
)

// FromAll starts with the oldest event that the stream still holds.
func FromAll() From { return From{} }

// FromNew starts with the first event stored after the durable was created.
func FromNew() From { return From{kind: fromNew} }

// FromTime starts with the first event stored in this region at or after t. It is the region's own
// clock: an event from elsewhere counts by when it arrived here.
func FromTime(t time.Time) From { return From{kind: fromTime, time: t} }

// FromSequence starts with the first event at or after sequence n, at least 1, of this region's
// stream. The same event has another sequence in another region.
func FromSequence(n uint64) From { return From{kind: fromSequence, seq: n} }

// String is the form that logs show: "all", "new", an RFC 3339 time or a sequence.
func (f From) String() string {
	switch f.kind {
	case fromNew:
		return "new"
	case fromTime:
		return f.time.UTC().Format(time.RFC3339Nano)
	case fromSequence:
		return fmt.Sprint(f.seq)
	default:
		return "all"
	}
}

func (f From) validate() string {
	switch {
	case f.kind == fromTime && f.time.IsZero():
		return "from a time needs a time"
	case f.kind == fromSequence && f.seq == 0:
		return "sequences start at 1"
	default:
		return ""
	}
}

func (f From) apply(c *jetstream.ConsumerConfig) {
	switch f.kind {
	case fromNew:
		c.DeliverPolicy = jetstream.DeliverNewPolicy
	case fromTime:
		t := f.time
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &t
	case fromSequence:
		c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.seq
	default:
		c.DeliverPolicy = jetstream.DeliverAllPolicy
	}
}
