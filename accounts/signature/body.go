package signature

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
)

// SignBody returns the signature of the scheme body: the HMAC-SHA256 of the body in lower-case hex. It covers
// neither time nor place: whoever sees such a request can send it again, anywhere.
func SignBody(secret, body []byte) string {
	m := bodyMAC(secret, body)
	return string(m[:])
}

// VerifyBody says whether header is the body's signature under secret, in constant time. An empty secret
// verifies nothing.
func VerifyBody(secret, body []byte, header string) bool {
	if len(secret) == 0 || len(header) != 2*sha256.Size {
		return false
	}
	want := bodyMAC(secret, body)
	var got [2 * sha256.Size]byte
	copy(got[:], header)
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1
}

func bodyMAC(secret, body []byte) (out [2 * sha256.Size]byte) {
	m := mac(secret, body)
	hex.Encode(out[:], m[:])
	return out
}
