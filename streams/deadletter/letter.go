package deadletter

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// Letter is what is recorded of an event that a consumer gave up, or that a relay took though its type has no schema.
// It stands in a header of the event itself, whose bytes and headers stay what they were.
type Letter struct {
	Cause    string    `json:"cause"`    // class of the last failure: failure, delayed, permanent or panic; of a relay: UnknownType or Derivation
	Consumer string    `json:"consumer"` // its durable; subject.RelayDurable of a relay
	Region   string    `json:"region"`   // where the consumer read the event, or the relay took it
	ParkedAt time.Time `json:"parked_at"`

	Attempts   int       `json:"attempts"` // failed calls of the process that gave it up
	FirstAt    time.Time `json:"first_at"`
	FirstError string    `json:"first_error"`
	LastAt     time.Time `json:"last_at"`
	LastError  string    `json:"last_error"`

	EventID   string `json:"event_id"`
	Subject   string `json:"subject"`    // of the event as its origin stored it
	Origin    string `json:"origin"`     // region and epoch that accepted the event
	OriginSeq uint64 `json:"origin_seq"` // in the origin's EVENTS; 0 of an event that is not there
	TraceID   string `json:"trace_id,omitempty"`

	// Requeued says who last had it handled again. In a letter whose subject has another cause than
	// subject.CauseRequeued it was given up once more since.
	Requeued *Requeue `json:"requeued,omitempty"`
}

// Derivation is the cause of an event that is stored, and that no mapping carries over into the other major version that
// lives: the letter is about the copy.
const Derivation = "derivation"

// UnknownType is the cause of an event whose type has no schema, where the tenant's rules keep such.
const UnknownType = "unknown_type"

// Requeue is a person's word that an event is to be handled again by the consumer that gave it up.
type Requeue struct {
	At    time.Time `json:"at"`
	By    string    `json:"by"`  // who says so
	Why   string    `json:"why"` // what has changed since it was given up
	Times int       `json:"times"`
}

// RequeuedPending is how many requeued events a consumer has at a time.
const RequeuedPending = 16

// Message is the letter as it is stored: the event's bytes, its headers without those that are the server's, and the
// letter. A second Message of the same giving up is stored once.
func (l *Letter) Message(original nats.Header, raw []byte) (*nats.Msg, error) {
	return l.message(l.Cause, "", original, raw)
}

// Requeue is the letter as it is stored to be handled again. A second one of the same number of Times is stored once.
func (l *Letter) Requeue(r Requeue, original nats.Header, raw []byte) (*nats.Msg, error) {
	c := *l
	r.At, r.Times, r.By, r.Why = r.At.UTC(), 1, short(r.By), short(r.Why)
	if l.Requeued != nil {
		r.Times = l.Requeued.Times + 1
	}
	c.Requeued = &r
	return c.message(subject.CauseRequeued, "."+strconv.Itoa(r.Times), original, raw)
}

func (l *Letter) message(cause, idEnd string, original nats.Header, raw []byte) (*nats.Msg, error) {
	event, err := subject.Parse(l.Subject)
	if err != nil {
		return nil, err
	}
	text, err := l.Text()
	if err != nil {
		return nil, err
	}
	msg := nats.NewMsg(subject.DeadLetter{Region: l.Region, Cause: cause, Topic: event.Topic, Durable: l.Consumer}.String())
	for name, values := range original {
		if !strings.HasPrefix(strings.ToLower(name), "nats-") {
			msg.Header[name] = values
		}
	}
	// Of this giving up, and not of the event: one that is given up again later is another letter.
	msg.Header.Set(header.MsgID, strings.Join([]string{l.Consumer, l.Origin, strconv.FormatUint(l.OriginSeq, 10), strconv.FormatInt(l.FirstAt.UnixNano(), 36)}, ".")+idEnd)
	msg.Header.Set(header.DeadLetter, text)
	msg.Data = raw
	return msg, nil
}

// Text is the letter as a header holds it.
func (l *Letter) Text() (string, error) {
	c := *l
	c.FirstError, c.LastError = short(c.FirstError), short(c.LastError)
	c.ParkedAt, c.FirstAt, c.LastAt = c.ParkedAt.UTC(), c.FirstAt.UTC(), c.LastAt.UTC()
	text, err := json.Marshal(&c)
	return string(text), err
}

// LetterOf reads the letter of a stored message.
func LetterOf(h nats.Header) (*Letter, error) {
	l := &Letter{}
	if err := json.Unmarshal([]byte(h.Get(header.DeadLetter)), l); err != nil {
		return nil, &fault.Error{Op: "deadletter.letter", Kind: fault.Invalid, Code: "invalid_letter", Detail: "not a dead letter", Err: err}
	}
	return l, nil
}

// short bounds the text of an error, which stands in a header.
func short(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= maxDetail {
		return s
	}
	n := maxDetail
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
