// Package signature makes and checks the signatures of requests: weft-v1, an HMAC-SHA256 over everything in a
// request that changes its meaning, Standard Webhooks, and for legacy partners an HMAC over the body alone.
//
// Producers and the command line sign, relays verify. All functions are pure and safe for concurrent use.
// Which scheme a key may be used with is the key's to say (keyring.Key), never the request's.
//
// The signed string of weft-v1 is ten lines joined by "\n", without a final one:
//
//	weft-v1
//	<kid>
//	<timestamp, unix seconds>
//	<request id>
//	<METHOD>
//	<host as sent, lower case>
//	<path?query as sent>
//	<content type as sent>
//	<content encoding as sent, empty if none>
//	<hex SHA-256 of the body as sent>
//
// The signature is "v1=" and the MAC in lower-case hex. deploy/docs/signing.md describes every scheme, and
// deploy/docs/vectors holds vectors for implementations in other languages.
package signature

import (
	"encoding/hex"
	"strings"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// The headers of a request signed with weft-v1; each is present exactly once. KeyID names the key under
// every scheme.
const (
	KeyID     = "X-Key-Id"
	Timestamp = "X-Timestamp"
	RequestID = "X-Request-Id"
	Signature = "X-Signature"
)

// Request is what a signature covers. The strings are as they stand in the request.
type Request struct {
	Kid             string
	Timestamp       string // unix seconds, decimal
	RequestID       string
	Method          string
	Host            string // lower-cased when signed
	Target          string // path?query
	ContentType     string
	ContentEncoding string
	BodySHA256      [32]byte
}

// Append appends the signed string to dst.
func (r *Request) Append(dst []byte) []byte {
	dst = append(dst, keyring.WeftV1...)
	for _, s := range [...]string{r.Kid, r.Timestamp, r.RequestID, r.Method} {
		dst = append(append(dst, '\n'), s...)
	}
	dst = append(dst, '\n')
	for i := range len(r.Host) {
		c := r.Host[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	for _, s := range [...]string{r.Target, r.ContentType, r.ContentEncoding} {
		dst = append(append(dst, '\n'), s...)
	}
	return hex.AppendEncode(append(dst, '\n'), r.BodySHA256[:])
}

// Validate checks the grammar of the fields. A request that fails it has no signature: a line break in a
// field would let two different requests share one signed string.
func (r *Request) Validate() error {
	const op = "signature"
	if !keyring.ValidKid(r.Kid) {
		return fault.New(op, fault.Unauthenticated, "invalid_key_id", "%s: not [A-Za-z0-9_-]{1,64}", KeyID)
	}
	if !validTimestamp(r.Timestamp) {
		return fault.New(op, fault.Unauthenticated, "invalid_timestamp", "%s: not a decimal number of unix seconds", Timestamp)
	}
	if !keyring.ValidKid(r.RequestID) { // the same grammar
		return fault.New(op, fault.Unauthenticated, "invalid_request_id", "%s: not [A-Za-z0-9_-]{1,64}", RequestID)
	}
	if !validMethod(r.Method) {
		return fault.New(op, fault.Invalid, "invalid_method", "the method is not an upper-case word")
	}
	for _, f := range [...]struct{ name, value string }{
		{"host", r.Host}, {"path", r.Target}, {"Content-Type", r.ContentType}, {"Content-Encoding", r.ContentEncoding},
	} {
		if strings.ContainsAny(f.value, "\r\n\x00") {
			return fault.New(op, fault.Invalid, "invalid_"+strings.ToLower(strings.ReplaceAll(f.name, "-", "_")), "%s: holds a line break or NUL", f.name)
		}
	}
	return nil
}

// valid is Validate without the words.
func (r *Request) valid() bool {
	return keyring.ValidKid(r.Kid) && validTimestamp(r.Timestamp) && keyring.ValidKid(r.RequestID) && validMethod(r.Method) &&
		clean(r.Host) && clean(r.Target) && clean(r.ContentType) && clean(r.ContentEncoding)
}

func clean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c == '\n' || c == '\r' || c == 0 {
			return false
		}
	}
	return true
}

// validTimestamp accepts the one way to write a time: no sign, no leading zero, at most 12 digits (the
// year 33658), so that it always fits an int64.
func validTimestamp(s string) bool {
	if s == "" || len(s) > 12 || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func validMethod(s string) bool {
	if s == "" || len(s) > 16 {
		return false
	}
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}
