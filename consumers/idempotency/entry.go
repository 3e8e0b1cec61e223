package idempotency

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Entry is what a store knows an event by.
type Entry struct {
	EventID string // of an event that the mesh derived the one of its original, see BaseID
	Digest  [32]byte

	Source       string // the producer that sent it, header.Source; required with a SourceSeq
	UserID       string
	SourceEpoch  uint64
	SourceSeq    uint64 // meaningful when HasSourceSeq
	HasSourceSeq bool

	Origin     subject.Origin // the region that accepted it, and its place in that region's stream
	OriginSeq  uint64
	OccurredAt time.Time // as the producer says
	IngestedAt time.Time // as the relay says
}

// Limits of an Entry in bytes, beside those of package event.
const (
	maxSource = 256
	maxID     = event.MaxIDLen
)

// BaseID is the id that identifies an event: what comes before "~" in an id that the mesh derived. A group
// therefore handles an event or what was derived from it, not both.
func BaseID(id string) string {
	base, _, _ := strings.Cut(id, "~")
	return base
}

// Read fills in what the event itself says: raw is its JSON. What only the delivery tells (Source, Origin,
// OriginSeq, IngestedAt) is the caller's to set, as is an EventID that differs from the one in raw. The error is
// an *event.Error: the event can never be applied.
func (e *Entry) Read(raw []byte) error {
	var ev event.Event
	if err := event.Decode(raw, &ev); err != nil {
		return err
	}
	sum, err := ev.Digest()
	if err != nil {
		return err
	}
	if e.EventID == "" {
		e.EventID = ev.ID
	}
	e.EventID = BaseID(e.EventID)
	e.Digest, e.UserID, e.OccurredAt = sum, ev.UserID, ev.OccurredAt
	e.SourceEpoch, e.SourceSeq, e.HasSourceSeq = ev.SourceEpoch, ev.SourceSeq, ev.HasSourceSeq
	return nil
}

// Place is a place in the count that a source keeps for a user.
type Place struct {
	Source, UserID string
	Epoch, Seq     uint64
}

// Place is the entry's own, false when its source does not count or is not known.
func (e *Entry) Place() (Place, bool) {
	return Place{e.Source, e.UserID, e.SourceEpoch, e.SourceSeq}, e.HasSourceSeq && e.Source != ""
}

// Validate says what no store accepts: a fault of kind Invalid.
func (e *Entry) Validate() error {
	problem := ""
	switch {
	case e.EventID == "" || len(e.EventID) > maxID || strings.Contains(e.EventID, "~"):
		problem = "an event id has 1 to 128 bytes and no ~"
	case len(e.Source) > maxSource || len(e.UserID) > event.MaxUserIDLen:
		problem = "source and user id have at most 256 bytes"
	case !clean(e.EventID) || !clean(e.Source) || !clean(e.UserID):
		problem = "event id, source and user id are UTF-8 without NUL"
	case e.OriginSeq > math.MaxInt64:
		problem = "the sequence is beyond 2^63-1"
	default:
		return nil
	}
	return fault.New("idempotency.apply", fault.Invalid, "invalid_entry", "%s", problem)
}

func clean(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
