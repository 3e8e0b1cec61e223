package signature

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// The headers of Standard Webhooks, in net/http's canonical form.
const (
	WebhookID        = "Webhook-Id"
	WebhookTimestamp = "Webhook-Timestamp"
	WebhookSignature = "Webhook-Signature"
)

// MaxWebhookSignatures is how many signatures webhook-signature may list: a sender whose secret is being
// replaced lists two.
const MaxWebhookSignatures = 4

const (
	maxWebhookID = 128
	hmacPrefix   = "v1,"
	edPrefix     = "v1a,"
	hmacLength   = len(hmacPrefix) + 44 // base64 of 32 bytes
	edLength     = len(edPrefix) + 88   // base64 of 64 bytes
)

// AppendWebhook appends what Standard Webhooks signs: <id>.<timestamp>.<body>. A dot in id or timestamp
// would let two requests share one signed string: ValidateWebhook refuses it.
func AppendWebhook(dst []byte, id, timestamp string, body []byte) []byte {
	dst = append(append(dst, id...), '.')
	dst = append(append(dst, timestamp...), '.')
	return append(dst, body...)
}

// ValidateWebhook checks the grammar of the three headers: an id of 1 to 128 visible ASCII characters
// without a dot, decimal unix seconds, and 1 to 4 signatures <version>,<base64> with single spaces between.
func ValidateWebhook(id, timestamp, list string) error {
	const op = "signature"
	switch {
	case !validWebhookID(id):
		return fault.New(op, fault.Unauthenticated, "invalid_webhook_id", "%s: not 1 to %d visible ASCII characters without a dot", WebhookID, maxWebhookID)
	case !validTimestamp(timestamp):
		return fault.New(op, fault.Unauthenticated, "invalid_timestamp", "%s: not a decimal number of unix seconds", WebhookTimestamp)
	case !validWebhookList(list):
		return fault.New(op, fault.Unauthenticated, "invalid_webhook_signature",
			"%s: not 1 to %d signatures of the form v1,<base64> or v1a,<base64> with a space between", WebhookSignature, MaxWebhookSignatures)
	}
	return nil
}

func validWebhookID(s string) bool {
	if s == "" || len(s) > maxWebhookID {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '.' {
			return false
		}
	}
	return true
}

func validWebhookList(s string) bool {
	for range MaxWebhookSignatures {
		one, rest, more := strings.Cut(s, " ")
		version, value, ok := strings.Cut(one, ",")
		if !ok || !validVersion(version) || !validBase64(value) {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
	return false
}

// validVersion accepts versions that are not known too: those of a later specification are passed over.
func validVersion(s string) bool {
	if len(s) < 2 || len(s) > 8 || s[0] != 'v' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

func validBase64(s string) bool {
	const most = 256
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '+' && c != '/' && c != '=' {
			return false
		}
	}
	return true
}

// SignWebhook returns the v1 signature of content, which AppendWebhook makes: "v1," and the HMAC-SHA256 in
// base64.
func SignWebhook(secret, content []byte) string {
	m := webhookMAC(secret, content)
	return string(m[:])
}

func webhookMAC(secret, content []byte) (out [hmacLength]byte) {
	m := mac(secret, content)
	copy(out[:], hmacPrefix)
	base64.StdEncoding.Encode(out[len(hmacPrefix):], m[:])
	return out
}

// VerifyWebhook says whether list holds the v1 signature of content under secret. All that it lists is
// compared, in constant time. An empty secret verifies nothing.
func VerifyWebhook(secret, content []byte, list string) bool {
	if len(secret) == 0 || !validWebhookList(list) {
		return false
	}
	want := webhookMAC(secret, content)
	found := 0
	for one := range strings.SplitSeq(list, " ") {
		if len(one) == hmacLength {
			var got [hmacLength]byte
			copy(got[:], one)
			found |= subtle.ConstantTimeCompare(want[:], got[:])
		}
	}
	return found == 1
}

// SignWebhookEd25519 returns the v1a signature of content: "v1a," and the Ed25519 signature (RFC 8032) in
// base64.
func SignWebhookEd25519(key ed25519.PrivateKey, content []byte) string {
	return edPrefix + base64.StdEncoding.EncodeToString(ed25519.Sign(key, content))
}

// VerifyWebhookEd25519 says whether list holds a v1a signature of content that the public key verifies.
func VerifyWebhookEd25519(key ed25519.PublicKey, content []byte, list string) bool {
	if len(key) != ed25519.PublicKeySize || !validWebhookList(list) {
		return false
	}
	for one := range strings.SplitSeq(list, " ") {
		if len(one) != edLength || !strings.HasPrefix(one, edPrefix) {
			continue
		}
		var sig [ed25519.SignatureSize + 2]byte // room for what a shorter padding would give
		// strict: one signature has one spelling
		n, err := base64.StdEncoding.Strict().Decode(sig[:], []byte(one[len(edPrefix):]))
		if err == nil && n == ed25519.SignatureSize && ed25519.Verify(key, content, sig[:n]) {
			return true
		}
	}
	return false
}

// SignHTTPWebhook sets the headers of req that Standard Webhooks asks for, and the one that names the key.
// Sign is SignWebhook or SignWebhookEd25519 under the caller's key; id must be new for each attempt.
func SignHTTPWebhook(sign func(content []byte) string, req *http.Request, kid, id string, now time.Time, body []byte) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set(KeyID, kid)
	req.Header.Set(WebhookID, id)
	req.Header.Set(WebhookTimestamp, timestamp)
	req.Header.Set(WebhookSignature, sign(AppendWebhook(nil, id, timestamp, body)))
}
