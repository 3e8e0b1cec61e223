// Package uplink carries a relay's events to JetStream: one connection for each active tenant, core
// publish with an inbox of its own, one PubAck for every event.
//
// It is used by the relay alone. A Pool and its Uplinks are safe for concurrent use. What is in flight
// is bounded by a window for each tenant, and the window is the only queue: a request that finds it full
// is shed at once. Nothing is sent twice and nothing is buffered for later: what is not acknowledged in
// time is reported as unavailable, and the producer retries it with the same event id.
package uplink

import "github.com/weft-mesh/weft/streams/subject"

// Message is one event on its way to a stream.
type Message struct {
	Subject string // where it is stored, made by package subject
	Region  string // the region of the subject's origin: the domain that must acknowledge
	ID      string // the event id
	Home    string // Weft-Home, or ""
	TTL     string // Nats-TTL, or ""
	Class   string // Weft-Class, or ""
	Remote  bool   // it counts as stored once another region has it too
	Schema  string // Weft-Schema, or ""
	Letter  string // Weft-Dead-Letter of an event for the dead letters of the relay's region; "" of every other
	Data    []byte // the producer's bytes; read until Publish returns

	// Of a copy in another major version: Weft-Derived-From, Weft-Derived-Digest and Weft-Mapping.
	DerivedFrom, DerivedDigest, Mapping string
}

// stream is what has to acknowledge it.
func (m *Message) stream() string {
	if m.Letter != "" {
		return subject.DeadLettersStream
	}
	return subject.EventsStream
}

// Stamp is what the relay adds to every event of one request.
type Stamp struct {
	IngestedAt  string
	Relay       string
	Kid         string
	Source      string
	TraceParent string // or ""
}

// Status is what is known about an event after Publish.
type Status uint8

// The statuses.
const (
	Unavailable Status = iota // not acknowledged as stored: the same event may be sent again
	Stored                    // acknowledged by the expected stream of the expected domain
	Duplicate                 // the same event with the same content was stored before
	Rejected                  // it will not be stored however often it is sent
	Absent                    // of a probe: nothing says that the event is stored; without a Code, its stream does not know the id
	Unasked                   // of a probe: not sent, because there are too many
)

// Codes of results that are not Stored.
const (
	CodeOverloaded        = "overloaded"         // the tenant's window or the stream's queue is full
	CodeStreamFull        = "stream_full"        // the stream or its account is at its size limit
	CodeStreamUnreachable = "stream_unreachable" // no stream of the own region answers
	CodeHomeUnreachable   = "home_unreachable"   // no stream of the key's home region answers
	CodeWrongStream       = "wrong_stream"       // another stream or domain than the expected one answered
	CodeAckTimeout        = "ack_timeout"        // no acknowledgement in time: stored or not, nobody knows
	CodeAckLost           = "ack_lost"           // the connection broke before the acknowledgement
	CodeStreamError       = "stream_error"       // the stream refused for a reason of its own
	CodeDigestUnavailable = "digest_unavailable" // a duplicate, but its original could not be compared
	CodeEventIDConflict   = "event_id_conflict"  // the event id is taken by other content
	CodeTooLarge          = "too_large"          // more than one message may carry
	CodeRemoteUnconfirmed = "remote_unconfirmed" // stored, but no other region has confirmed that it has it too
)

// Result is the outcome of one Message. Detail is one line for a person and carries nothing of the
// event's content.
type Result struct {
	Status Status
	Code   string
	Detail string
	Seq    uint64 // the sequence in the stream of Message.Region, for Stored and Duplicate

	copies copies // of a Duplicate whose Message is Remote
}

// copies is what is known about where the original of a duplicate is stored.
type copies uint8

const (
	awaited   copies = iota // the other regions are given it: they confirm by their position
	elsewhere               // it came from another region
	unshared                // it is regional, or of another origin: no position says anything about it
)

func unavailable(code, detail string) Result {
	return Result{Status: Unavailable, Code: code, Detail: detail}
}

var (
	shed       = unavailable(CodeOverloaded, "as many events as this tenant may have in flight await their acknowledgement")
	notSent    = unavailable(CodeOverloaded, "not sent: earlier events of the request were not acknowledged in time")
	ackTimeout = unavailable(CodeAckTimeout, "the stream did not acknowledge in time; the event may be stored: retry with the same event_id")
	ackLost    = unavailable(CodeAckLost, "the connection to the stream broke before its acknowledgement; the event may be stored: retry with the same event_id")
	crowded    = unavailable(CodeOverloaded, "as many events as may do so await the confirmation of another region; the event is not stored")
	inDoubt    = unavailable(CodeOverloaded, "another copy of this event is being stored at this moment")
	notLinked  = unavailable(CodeStreamUnreachable, "the relay has no connection to the streams of its region")

	unconfirmed = unavailable(CodeRemoteUnconfirmed,
		"the event is stored in its region, but no other region has confirmed in time that it has it too: send it again with the same event_id")
	unconfirmable = unavailable(CodeRemoteUnconfirmed,
		"an event with this event_id was stored before in a way that stays in one region, so no other region can confirm it")
)
