package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// The prefixes by which Standard Webhooks tells secrets of an HMAC from private keys of Ed25519.
const (
	secretPrefix  = "whsec_"
	privatePrefix = "whsk_"
)

// The sizes in bytes that Standard Webhooks gives a secret of an HMAC.
const (
	minWebhookSecret = 24
	maxWebhookSecret = 64
)

// WebhookKey signs what is sent to one endpoint. It should be known to nobody but that endpoint, and must never be a
// producer's key: what it signs could be sent back in. It prints as "[redacted]".
type WebhookKey struct {
	secret  keyring.Secret // v1; or
	private keyring.Secret // v1a
}

// ParseWebhookKey reads a secret as Standard Webhooks writes it: "whsec_" and the base64 of 24 to 64 bytes for HMACs, "whsk_"
// and the base64 of an Ed25519 private key (64 bytes, or its seed of 32) for v1a. No error shows any of it.
func ParseWebhookKey(text string) (WebhookKey, error) {
	invalid := func(format string, args ...any) (WebhookKey, error) {
		return WebhookKey{}, fault.New("signature", fault.Invalid, "invalid_webhook_key", format, args...)
	}
	encoded, mac := strings.CutPrefix(text, secretPrefix)
	if !mac {
		var private bool
		if encoded, private = strings.CutPrefix(text, privatePrefix); !private {
			return invalid("the secret begins with neither %s (HMAC) nor %s (Ed25519)", secretPrefix, privatePrefix)
		}
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	switch {
	case err != nil || strings.ContainsAny(encoded, "\r\n"): // which the decoder would skip
		return invalid("what follows the secret's prefix is not base64")
	case mac && (len(raw) < minWebhookSecret || len(raw) > maxWebhookSecret):
		return invalid("the secret has %d bytes, not %d to %d: make one with openssl rand -base64 32", len(raw), minWebhookSecret, maxWebhookSecret)
	case mac:
		return WebhookKey{secret: raw}, nil
	case len(raw) == ed25519.SeedSize:
		return WebhookKey{private: keyring.Secret(ed25519.NewKeyFromSeed(raw))}, nil
	case len(raw) != ed25519.PrivateKeySize || !bytes.Equal(ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]), raw):
		return invalid("the private key is none of Ed25519: 64 bytes, the seed and its public key, or the seed of 32")
	default:
		return WebhookKey{private: raw}, nil
	}
}

// Valid says whether the key can sign; the zero value cannot.
func (k WebhookKey) Valid() bool { return len(k.secret) > 0 || len(k.private) > 0 }

// Sign returns the signature of content, which AppendWebhook makes, as webhook-signature lists it.
func (k WebhookKey) Sign(content []byte) string {
	if len(k.private) > 0 {
		return SignWebhookEd25519(ed25519.PrivateKey(k.private), content)
	}
	return SignWebhook(k.secret, content)
}

// Public is the public half of a v1a key as Standard Webhooks writes it, which is what the endpoint needs; "" for HMACs.
func (k WebhookKey) Public() string {
	if len(k.private) == 0 {
		return ""
	}
	return "whpk_" + base64.StdEncoding.EncodeToString(k.private[ed25519.SeedSize:])
}

// String hides the value.
func (WebhookKey) String() string { return "[redacted]" }

// Format hides the value from every verb of fmt.
func (WebhookKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// MarshalJSON hides the value.
func (WebhookKey) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }
