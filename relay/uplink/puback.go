package uplink

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// puback is one PubAck. The slices alias the message.
type puback struct {
	stream, domain []byte
	seq            uint64
	duplicate      bool
	noResponders   bool
	errCode        int // JetStream's error code, 0 for none, -1 for an answer that is not a PubAck
}

const statusNoResponders = "503"

// readAck reads a PubAck. The flat form that the server writes for a success is read by hand; anything
// else, errors above all, goes through encoding/json.
func readAck(m *nats.Msg) puback {
	if len(m.Data) == 0 && len(m.Header) > 0 && m.Header.Get("Status") == statusNoResponders {
		return puback{noResponders: true}
	}
	if a, ok := scanAck(m.Data); ok {
		return a
	}
	var v struct {
		Stream    string `json:"stream"`
		Domain    string `json:"domain"`
		Seq       uint64 `json:"seq"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code    int `json:"code"`
			ErrCode int `json:"err_code"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &v); err != nil {
		return puback{errCode: -1}
	}
	a := puback{stream: []byte(v.Stream), domain: []byte(v.Domain), seq: v.Seq, duplicate: v.Duplicate}
	switch {
	case v.Error == nil && a.seq > 0:
	case v.Error == nil || v.Error.Code == 0 && v.Error.ErrCode == 0:
		a.errCode = -1
	case v.Error.ErrCode == 0:
		a.errCode = v.Error.Code
	default:
		a.errCode = v.Error.ErrCode
	}
	return a
}

// scanAck reads a flat object of plain strings, unsigned integers and booleans. It refuses whatever it
// does not know, so that only the fallback decides about odd shapes.
func scanAck(b []byte) (a puback, ok bool) {
	s := scanner{b: b}
	if !s.byte('{') {
		return a, false
	}
	for {
		key, good := s.plain()
		if !good || !s.byte(':') {
			return a, false
		}
		switch string(key) {
		case "stream":
			a.stream, good = s.plain()
		case "domain":
			a.domain, good = s.plain()
		case "seq":
			a.seq, good = s.uint()
		case "duplicate":
			a.duplicate, good = s.bool()
		default:
			return a, false
		}
		if !good {
			return a, false
		}
		if s.byte(',') {
			continue
		}
		return a, s.byte('}') && s.end() && a.seq > 0
	}
}

type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\r' || s.b[s.i] == '\t') {
		s.i++
	}
}

func (s *scanner) byte(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// plain reads a string without escapes.
func (s *scanner) plain() ([]byte, bool) {
	if !s.byte('"') {
		return nil, false
	}
	from := s.i
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[from : s.i-1], true
		case c == '\\' || c < ' ' || c > '~':
			return nil, false
		}
	}
	return nil, false
}

// maxDigits keeps a decimal inside 64 bits without a check for overflow.
const maxDigits = 19

func (s *scanner) uint() (n uint64, ok bool) {
	s.space()
	from := s.i
	for ; s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9'; s.i++ {
		n = n*10 + uint64(s.b[s.i]-'0')
	}
	digits := s.i - from
	return n, digits > 0 && digits <= maxDigits && (digits == 1 || s.b[from] != '0')
}

func (s *scanner) bool() (v, ok bool) {
	s.space()
	for _, lit := range [...]string{"true", "false"} {
		if rest := s.b[s.i:]; len(rest) >= len(lit) && string(rest[:len(lit)]) == lit {
			s.i += len(lit)
			return lit == "true", true
		}
	}
	return false, false
}

// JetStream's error codes that mean something of their own to a producer.
const (
	errAccountResources = 10002
	errInsufficient     = 10023
	errMemoryResources  = 10028
	errStorageResources = 10047
	errMessageTooLarge  = 10054
	errRollupFailed     = 10111 // of a probe: its id is not known
	errStoreFailed      = 10077 // above all "maximum bytes exceeded"
	errMaxStreamBytes   = 10122
	errDuplicateInDoubt = 10158 // another copy of the same id is being stored right now
	errTooManyRequests  = 10167
)

// judge turns a PubAck into the result of the message that it answers. self is the relay's region.
func (a *puback) judge(m *Message, self string) Result {
	switch {
	case a.noResponders && m.Region != self:
		return unavailable(CodeHomeUnreachable, "no stream of the key's home region answers; the event is not stored")
	case a.noResponders:
		return unavailable(CodeStreamUnreachable, "no stream of this region answers; the event is not stored")
	case a.errCode != 0:
		return a.refusal()
	case string(a.stream) != m.stream() || string(a.domain) != m.Region:
		return unavailable(CodeWrongStream, "acknowledged by stream "+quote(a.stream)+" of domain "+quote(a.domain)+
			", expected "+m.stream()+" of "+m.Region)
	case a.duplicate && m.Letter == "": // the id of a letter stands for its content too
		return Result{Status: Duplicate, Seq: a.seq}
	}
	return Result{Status: Stored, Seq: a.seq}
}

func (a *puback) refusal() Result {
	switch a.errCode {
	case errTooManyRequests, errInsufficient, errMemoryResources:
		return unavailable(CodeOverloaded, "the stream's queue is full")
	case errDuplicateInDoubt:
		return inDoubt
	case errRollupFailed:
		return Result{Status: Absent}
	case errStoreFailed, errStorageResources, errAccountResources, errMaxStreamBytes:
		return unavailable(CodeStreamFull, "the stream takes no more: it or its account is at the size limit")
	case errMessageTooLarge:
		return Result{Status: Rejected, Code: CodeTooLarge, Detail: "the event is larger than the stream's limit for one message"}
	case -1:
		return unavailable(CodeStreamError, "the answer is not an acknowledgement of a stream")
	}
	return unavailable(CodeStreamError, fmt.Sprintf("the stream refused the event with JetStream error %d", a.errCode))
}

// quote keeps a foreign name short and printable.
func quote(b []byte) string {
	const longest = 40
	if len(b) > longest {
		b = b[:longest]
	}
	return strconv.QuoteToASCII(string(b))
}
