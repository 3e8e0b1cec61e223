package keyring

import (
	"context"
	"encoding/base64"
	"strings"

	"github.com/weft-mesh/weft/streams/fault"
)

// Sealer encrypts secrets for storage in places that many can read, such as the control log, under a master
// key that it keeps or that a key management service keeps for it. It may hold several master keys at once:
// one seals, all open, which is what makes a change of the master key possible while everything runs.
//
// # Contract
//
// What Seal returned opens for every Sealer that holds the same master key, in this process and in others,
// until that key is retired. The text names its master key (see MasterOf) and its provider, so that none is
// mistaken for another's. Implementations are safe for concurrent use and wait no longer than ctx.
//
// Errors are faults of this closed set. Invalid: sealed_malformed (no sealed text of this provider),
// sealed_damaged (changed on its way). Denied: sealed_for_other (of a master key that this Sealer does not
// hold, or not yet), kms_denied (the service refuses the caller). Unavailable: kms_unavailable. A Sealer
// does not retry; the caller does after kms_unavailable and sealed_for_other, and keeps what it has opened.
// Every implementation passes the suite of package sealertest.
type Sealer interface {
	Opener
	// Seal returns plain encrypted under the first master key, as one line of text. Two calls give two texts.
	Seal(ctx context.Context, plain []byte) (string, error)
	// Masters names the master keys that are held now: the first seals, all of them open.
	Masters(ctx context.Context) ([]string, error)
}

// Opener is the half of a Sealer that verifiers need.
type Opener interface {
	// Open returns what was sealed, all of it or an error.
	Open(ctx context.Context, sealed string) (Secret, error)
}

// MasterOf is the id of the master key that a text was sealed with, such as "age:5f0e9c31a7d2b864"; "" when the
// text is not of the form that all Sealers share, provider:key:base64.
func MasterOf(sealed string) string {
	i := strings.LastIndexByte(sealed, ':')
	if i < 0 || !strings.Contains(sealed[:i], ":") {
		return ""
	}
	return sealed[:i]
}

// sealedText puts a master key's id before what was sealed with it.
func sealedText(master string, raw []byte) string {
	return master + ":" + base64.StdEncoding.EncodeToString(raw)
}

// parseSealed is the inverse of sealedText for one provider.
func parseSealed(op, provider, sealed string) (master string, raw []byte, err error) {
	master = MasterOf(sealed)
	if !strings.HasPrefix(master, provider+":") {
		return "", nil, fault.New(op, fault.Invalid, "sealed_malformed", "the sealed secret does not begin with %q and the id of a master key", provider+":")
	}
	text := sealed[len(master)+1:]
	raw, err = base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) == 0 || strings.ContainsAny(text, "\r\n") { // the decoder skips line breaks
		return "", nil, fault.New(op, fault.Invalid, "sealed_malformed", "the sealed secret is not base64")
	}
	return master, raw, nil
}

// forOther is the refusal of what another master key has sealed.
func forOther(op, master string) error {
	return fault.New(op, fault.Denied, "sealed_for_other", "the secret was sealed with master key %s, which is not held here", master)
}
