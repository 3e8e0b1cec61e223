package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"
)

const (
	prefix = "v1="
	length = len(prefix) + 2*sha256.Size
)

// Sign returns the value of the signature header. The request must pass Validate, or no one will accept
// the result.
func Sign(secret []byte, r *Request) string {
	mac := sum(secret, r)
	return string(mac[:])
}

// Verify says whether header is the request's signature under secret: exactly "v1=" and 64 lower-case hex
// digits, compared in constant time. An empty secret verifies nothing.
func Verify(secret []byte, r *Request, header string) bool {
	if len(secret) == 0 || len(header) != length || !r.valid() {
		return false
	}
	mac := sum(secret, r)
	var got [length]byte
	copy(got[:], header)
	return subtle.ConstantTimeCompare(mac[:], got[:]) == 1
}

func sum(secret []byte, r *Request) (out [length]byte) {
	var line [512]byte
	m := mac(secret, r.Append(line[:0]))
	copy(out[:], prefix)
	hex.Encode(out[len(prefix):], m[:])
	return out
}

// mac is HMAC-SHA256 (RFC 2104).
func mac(secret, message []byte) (out [sha256.Size]byte) {
	m := hmac.New(sha256.New, secret)
	m.Write(message)
	m.Sum(out[:0])
	return out
}

// SignHTTP sets the four headers of req for a body that the caller sends as it is. Content-Type and
// Content-Encoding must be set before. requestID must be new for each attempt.
func SignHTTP(secret []byte, req *http.Request, kid, requestID string, now time.Time, body []byte) {
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	r := Request{
		Kid: kid, Timestamp: strconv.FormatInt(now.Unix(), 10), RequestID: requestID,
		Method: req.Method, Host: host, Target: req.URL.RequestURI(),
		ContentType: req.Header.Get("Content-Type"), ContentEncoding: req.Header.Get("Content-Encoding"),
		BodySHA256: sha256.Sum256(body),
	}
	if r.Method == "" {
		r.Method = http.MethodGet // as net/http sends it
	}
	req.Header.Set(KeyID, r.Kid)
	req.Header.Set(Timestamp, r.Timestamp)
	req.Header.Set(RequestID, r.RequestID)
	req.Header.Set(Signature, Sign(secret, &r))
}
