// Package event is weft's envelope and its strict decoder: the one way in which every hop reads events, so
// that no two of them ever understand the same bytes differently.
//
// Relays decode what clients send, consumers and the hub what is stored. All functions are pure and safe for
// concurrent use. A decoded Event aliases the bytes it was read from: whoever keeps it keeps them unchanged.
package event

import (
	"fmt"
	"time"
)

// Limits of the envelope's grammar.
const (
	MaxDepth     = 64  // nesting of the whole event
	MaxIDLen     = 128 // bytes of event_id
	MaxTypeLen   = 128 // bytes of event_type
	MaxUserIDLen = 256 // bytes of key.user_id
)

// Event is what weft reads of an envelope. Everything else in it is kept in Raw and ignored.
type Event struct {
	ID            string
	Type          string
	SchemaVersion string
	OccurredAt    time.Time // UTC
	UserID        string
	SourceSeq     uint64
	HasSourceSeq  bool
	SourceEpoch   uint64
	Raw           []byte // the producer's bytes
}

// Limits bound a request.
type Limits struct {
	MaxEventBytes int // of one event
	MaxEvents     int // of one batch
}

// DefaultLimits are 512 KiB an event and 10,000 events a batch.
func DefaultLimits() Limits { return Limits{MaxEventBytes: 512 << 10, MaxEvents: 10_000} }

// The codes of Error.
const (
	CodeSyntax        = "syntax"
	CodeDuplicateKey  = "duplicate_key"
	CodeInvalidUTF8   = "invalid_utf8"
	CodeDepth         = "depth"
	CodeNumberRange   = "number_range"
	CodeTrailingData  = "trailing_data"
	CodeTooLarge      = "too_large"
	CodeNotObject     = "not_object"
	CodeMissingField  = "missing_field"
	CodeWrongType     = "wrong_type"
	CodeEventID       = "invalid_event_id"
	CodeEventType     = "invalid_event_type"
	CodeSchemaVersion = "invalid_schema_version"
	CodeOccurredAt    = "invalid_occurred_at"
	CodeUserID        = "invalid_user_id"
	CodeSourceSeq     = "invalid_source_seq"
	CodeEmptyBatch    = "empty_batch"
	CodeTooManyEvents = "too_many_events"
)

// Error says what is wrong with the bytes and where. It never carries a payload's value.
type Error struct {
	Code    string
	Detail  string // one line
	Pointer string // JSON pointer (RFC 6901) into the event, or into the array when the array is broken
	Index   int    // of the event in its batch
	Syntax  bool   // the bytes are not one strict JSON value; else they are, and the content is wrong
}

// Error is code, pointer and detail.
func (e *Error) Error() string {
	if e.Pointer == "" {
		return fmt.Sprintf("%s: %s", e.Code, e.Detail)
	}
	return fmt.Sprintf("%s at %s: %s", e.Code, e.Pointer, e.Detail)
}

// Result is one event of a batch, or what is wrong with it. A refused event keeps the fields read so far.
type Result struct {
	Event Event
	Err   *Error
}
