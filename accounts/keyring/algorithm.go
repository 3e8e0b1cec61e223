package keyring

import (
	"crypto/ed25519"
	"encoding/hex"
	"slices"

	"github.com/weft-mesh/weft/streams/fault"
)

// The signature schemes, as a key's Algorithms name them.
const (
	WeftV1              = "weft-v1"               // HMAC-SHA256 over everything that changes a request's meaning
	StandardWebhooks    = "standard-webhooks"     // HMAC-SHA256 over id, timestamp and body
	StandardWebhooksV1a = "standard-webhooks-v1a" // Ed25519 over the same
	Body                = "body"                  // HMAC-SHA256 over the body alone, for legacy partners
)

// CheckAlgorithms returns nil if list can be the Algorithms of a key. StandardWebhooksV1a stands alone: the
// secret of such a key is a public key, which must never be taken for the secret of an HMAC.
func CheckAlgorithms(list []string) error {
	const op = "key.algorithms"
	known := []string{WeftV1, StandardWebhooks, StandardWebhooksV1a, Body}
	if len(list) == 0 {
		return fault.New(op, fault.Invalid, "algorithms", "a key needs at least one of the algorithms %q", known)
	}
	for i, a := range list {
		switch {
		case !slices.Contains(known, a):
			return fault.New(op, fault.Invalid, "algorithms", "%q is none of the algorithms %q", a, known)
		case slices.Contains(list[:i], a):
			return fault.New(op, fault.Invalid, "algorithms", "%q is there twice", a)
		}
	}
	if !unambiguous(list) {
		return fault.New(op, fault.Invalid, "algorithms", "%q is of another kind than the others: it needs a key of its own", StandardWebhooksV1a)
	}
	return nil
}

// unambiguous says that the list tells what the key's secret is.
func unambiguous(list []string) bool {
	return len(list) <= 1 || !slices.Contains(list, StandardWebhooksV1a)
}

// CheckSecret returns nil if secret can be what a key with these algorithms holds: an Ed25519 public key
// that only its owner can sign for, or the bytes of an HMAC key.
func CheckSecret(algorithms []string, secret []byte) error {
	const op = "key.secret"
	if !slices.Contains(algorithms, StandardWebhooksV1a) {
		if len(secret) == 0 {
			return fault.New(op, fault.Invalid, "secret_empty", "the secret of the key is empty")
		}
		return nil
	}
	if len(secret) != ed25519.PublicKeySize {
		return fault.New(op, fault.Invalid, "public_key", "the key is %d bytes long, an Ed25519 public key has %d", len(secret), ed25519.PublicKeySize)
	}
	point := slices.Clone(secret)
	point[ed25519.PublicKeySize-1] &= 0x7f // the sign of x
	if slices.Contains(smallOrder, hex.EncodeToString(point)) {
		return fault.New(op, fault.Invalid, "public_key", "the public key is a point of small order: anyone could sign for it")
	}
	return nil
}

// smallOrder are all encodings, the sign of x aside, of points of Ed25519 whose order divides 8 (RFC 8032 lets
// verifiers take them).
var smallOrder = []string{
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
}
