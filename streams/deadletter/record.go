// Package deadletter is what is recorded of something that did not get where it was meant to: why, by whom and when.
//
// Relays write a Record for each refusal into the tenant's stream REJECTS, never with its content. Consumers put an
// event that they give up into the tenant's stream DLQ, with a Letter. The command line reads both. The
// table of reasons holds every code that a relay answers with. Everything here is pure and safe for concurrent
// use.
package deadletter

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// Proof says how the tenant of a refused request is known.
type Proof string

// The proofs.
const (
	BySignature   Proof = "signature"   // the request's signature is valid
	ByCertificate Proof = "certificate" // it names a key of the tenant whose certificate the connection has, and is not valid
)

// Record is one refusal. Nothing in it is content: texts are the mesh's own words, names that the mesh gave, or
// ids whose grammar was checked. What stood in the body is there as its length and SHA-256, so that whoever has
// the body can show that it is the one.
type Record struct {
	Cause      Cause     `json:"cause"`
	Code       string    `json:"code"`
	Status     int       `json:"status"`            // HTTP, as it would be for this alone
	Detail     string    `json:"detail,omitempty"`  // one line for a person
	Pointer    string    `json:"pointer,omitempty"` // RFC 6901 into the event; what is not a name of the envelope is "*"
	ReceivedAt time.Time `json:"received_at"`       // the relay's clock
	Region     string    `json:"region"`
	Relay      string    `json:"relay"`

	Proof     Proof  `json:"proof,omitempty"`
	Kid       string `json:"kid,omitempty"`
	Producer  string `json:"producer,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	TraceID   string `json:"trace_id,omitempty"` // W3C Trace Context, 32 hex digits
	Peer      string `json:"peer,omitempty"`     // the network that it came from, see Network
	Skew      *int64 `json:"skew_s,omitempty"`   // the sender's clock minus the relay's, seconds

	Index     *int   `json:"index,omitempty"` // of the event in its batch; absent when the whole request was refused
	EventID   string `json:"event_id,omitempty"`
	EventType string `json:"event_type,omitempty"`
	Topic     string `json:"topic,omitempty"`
	Bytes     int    `json:"bytes,omitempty"`  // of the body, or of the event
	SHA256    string `json:"sha256,omitempty"` // of the same, hex

	// Count is how many refusals of this code the record stands for: more than one where the events of one
	// request were summed, none in a record that only tells of Suppressed.
	Count int `json:"count"`
	// Suppressed is how many more there were since the last record of this code, which were not recorded because
	// there were too many.
	Suppressed int `json:"suppressed,omitempty"`
}

// maxDetail bounds Detail, in bytes.
const maxDetail = 400

// Encode is the record as it is stored: JSON.
func (r *Record) Encode() ([]byte, error) {
	c := *r
	c.ReceivedAt = c.ReceivedAt.UTC()
	c.Detail = c.Detail[:min(len(c.Detail), maxDetail)]
	return json.Marshal(&c)
}

// Decode reads a stored record.
func Decode(raw []byte) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, &fault.Error{Op: "deadletter.decode", Kind: fault.Invalid, Code: "invalid_record", Detail: "not a record of a refusal", Err: err}
	}
	return r, nil
}

// Network is the network of a peer's address, /24 of IPv4 and /48 of IPv6: enough to tell one's own site from
// another's, and no person's address. It is "" for what is no address.
func Network(hostPort string) string {
	at, err := netip.ParseAddrPort(hostPort)
	if err != nil {
		return ""
	}
	addr := at.Addr().Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.String()
}

// Pointer is a JSON pointer into an event without what the producer may have named itself: members of the
// envelope and places in arrays stay, every other name becomes "*".
func Pointer(p string) string {
	if p == "" {
		return ""
	}
	tokens := strings.Split(p, "/")
	for i, token := range tokens[1:] {
		if !ours(token) {
			tokens[i+1] = "*"
		}
	}
	return strings.Join(tokens, "/")
}

// ours says whether a name is the envelope's own, or short enough a number to be a place in an array.
func ours(token string) bool {
	switch token {
	case "event_id", "event_type", "schema_version", "occurred_at", "ingested_at", "key", "user_id", "payload",
		"ctx", "session_id", "platform", "geo", "device_fp", "source_seq", "source_epoch", "sig", "algo", "kid", "ts", "mac":
		return true
	}
	return len(token) <= 3 && token != "" && strings.Trim(token, "0123456789") == ""
}
