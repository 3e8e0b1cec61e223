package consumers

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/fault"
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

// Sequence is where a durable that starts here would begin in a region's stream: the sequence of its first event, or the
// one that the next event will have.
func (f From) Sequence(ctx context.Context, js jetstream.JetStream, stream string) (uint64, error) {
	const op = "consumers.from"
	st, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, fault.Wrap(op, fault.Unavailable, err)
	}
	state := st.CachedInfo().State
	switch f.kind {
	case fromSequence:
		return f.seq, nil
	case fromTime:
		at := f.time
		cons, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &at, HeadersOnly: true})
		if err != nil {
			return 0, fault.Wrap(op, fault.Unavailable, err)
		}
		if cons.CachedInfo().NumPending == 0 {
			return state.LastSeq + 1, nil
		}
		m, err := cons.Next()
		if err != nil {
			return 0, fault.Wrap(op, fault.Unavailable, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return 0, fault.Wrap(op, fault.Internal, err)
		}
		return meta.Sequence.Stream, nil
	case fromNew:
		return state.LastSeq + 1, nil
	default:
		return max(state.FirstSeq, 1), nil
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
