package consumers

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/streams/deadletter"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// Message is one stored event. The handler may keep it; Raw and Header must not be changed.
//
// One exception to OriginSeq: a region that lost its data takes its own old events, those of an earlier
// epoch, back from a peer. In that region they carry the peer's sequence.
type Message struct {
	Raw     []byte        // the event's JSON, byte for byte as its producer sent it
	Subject subject.Event // origin, scope, partition, topic and event type
	Header  nats.Header   // as package header lists them

	EventID    string         // the id to compare for events that come twice
	Origin     subject.Origin // the region, and its epoch, that accepted the event
	OriginSeq  uint64         // sequence in Origin's stream; with Origin the position that is the same in all regions
	Sequence   uint64         // sequence in this region's stream
	IngestedAt time.Time      // when the relay accepted it; zero if the header is missing or damaged
	StoredAt   time.Time      // when this region stored it

	// Repaired: the region had lost this event and took a copy from another one. Origin, OriginSeq and Subject are
	// those of the original; the copy comes later than its place among the others of its key.
	Repaired bool

	Deliveries  int  // how often this durable has delivered it, this time included
	Redelivered bool // Deliveries > 1
	Attempt     int  // which call of the handler in this Run it is, from 1

	// Order tells how the event stands to the others of its source's count, with Options.Reorder. It is nil where there
	// is nothing to tell: the event is in order, or has no order.
	Order *Order

	// Requeued: the event had been given up, and somebody had it handled again (weft dlq requeue). Sequence and
	// StoredAt are those of the stream DLQ then; later events of its key were handled before it.
	Requeued *deadletter.Requeue

	envelope *event.Event // what Raw says, where it was read
}

// decode reads a delivered message; an error means that it is not an event, now or ever.
func decode(msg jetstream.Msg) (*Message, error) {
	const op = "consumers.decode"
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fault.Wrap(op, fault.Internal, err)
	}
	ev, err := subject.Parse(msg.Subject())
	if err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err)
	}
	h := msg.Headers()
	m := &Message{
		Raw:         msg.Data(),
		Subject:     ev,
		Header:      h,
		EventID:     h.Get(header.MsgID),
		Origin:      ev.Origin,
		Sequence:    meta.Sequence.Stream,
		StoredAt:    meta.Timestamp,
		Deliveries:  int(min(meta.NumDelivered, 1<<30)),
		Redelivered: meta.NumDelivered > 1,
		Attempt:     1,
	}
	m.OriginSeq = OriginSequence(h, m.Sequence)
	m.restore()
	// What no relay stored is no event: the server can be made to store an API answer, which has no such headers.
	if m.EventID == "" || h.Get(header.Relay) == "" {
		return nil, fault.New(op, fault.Invalid, "no_relay", "the message at sequence %d was stored by no relay", m.Sequence)
	}
	if m.IngestedAt, err = time.Parse(time.RFC3339Nano, h.Get(header.IngestedAt)); err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err)
	}
	return m, nil
}

// restore gives a repaired copy back what it was before. Only what stays in a region can be one.
func (m *Message) restore() {
	r, ok := header.ParseRepair(m.Header.Get(header.Repaired))
	if !ok || m.Subject.Scope != subject.Regional {
		return
	}
	original, err := subject.Parse(r.Subject)
	if err != nil {
		return
	}
	m.Subject, m.Origin, m.OriginSeq, m.Repaired = original, original.Origin, r.Seq, true
}

// OriginSequence is the sequence of a stored event at its origin: what a stream that sourced it says, or else its own.
func OriginSequence(h nats.Header, own uint64) uint64 {
	if seq, ok := sourceSequence(h.Get(header.StreamSource)); ok {
		return seq
	}
	return own
}

// sourceSequence reads the server's header on a sourced message,
// "<stream> <sequence> <filter> <transform> <subject> [<identity>]", of which older servers wrote only
// the first two fields.
func sourceSequence(s string) (uint64, bool) {
	_, rest, ok := strings.Cut(s, " ")
	if !ok {
		return 0, false
	}
	field, _, _ := strings.Cut(rest, " ")
	seq, err := strconv.ParseUint(field, 10, 64)
	return seq, err == nil && seq > 0
}
