package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/fault"
)

// The algorithms of an event's own signature, as its sig.algo says. Whoever can check an HMAC can forge it: Ed25519
// is for events that somebody else than their producer must be able to believe.
const (
	EventEd25519 = "ed25519"
	EventHMAC    = "hmac-sha256"
)

const (
	opEvent      = "signature.event"
	eventVersion = "weft-event-v1"
)

// EventKey checks events' own signatures, or makes them. A key has one algorithm, whatever an event says.
type EventKey struct {
	algo    string
	secret  []byte            // of an HMAC
	public  ed25519.PublicKey // of Ed25519
	private ed25519.PrivateKey
}

// EventHMACKey makes and checks HMACs.
func EventHMACKey(secret []byte) (EventKey, error) {
	err := keyring.CheckSecret([]string{keyring.WeftV1}, secret)
	return EventKey{algo: EventHMAC, secret: secret}, err
}

// EventPublicKey checks Ed25519 signatures. Points for which anyone can sign are refused.
func EventPublicKey(key ed25519.PublicKey) (EventKey, error) {
	err := keyring.CheckSecret([]string{keyring.StandardWebhooksV1a}, key)
	return EventKey{algo: EventEd25519, public: key}, err
}

// EventPrivateKey makes Ed25519 signatures, and checks them.
func EventPrivateKey(key ed25519.PrivateKey) EventKey {
	return EventKey{algo: EventEd25519, private: key, public: key.Public().(ed25519.PublicKey)}
}

// AppendEvent appends what an event's own signature is over: four lines, each ended by a line feed (weft-event-v1,
// algorithm, kid, unix seconds), and the event's bytes with the member sig cut out, see event.CutSig.
func AppendEvent(dst []byte, sig *event.Sig, before, after []byte) []byte {
	dst = append(append(dst, eventVersion+"\n"...), sig.Algo...)
	dst = append(append(append(dst, '\n'), sig.Kid...), '\n')
	dst = append(strconv.AppendInt(dst, sig.TS, 10), '\n')
	return append(append(dst, before...), after...)
}

// SignEvent returns the event with the member sig at its end. The event must have none; its other bytes stay what they
// are.
func SignEvent(key EventKey, kid string, at time.Time, raw []byte) ([]byte, error) {
	s, err := event.CutSig(raw)
	switch {
	case err != nil:
		return nil, &fault.Error{Op: opEvent, Kind: fault.Invalid, Code: "invalid_event", Detail: "not an event", Err: err}
	case s.HasSig:
		return nil, fault.New(opEvent, fault.Conflict, "sig_present", "the event is signed already")
	case !keyring.ValidKid(kid):
		return nil, fault.New(opEvent, fault.Invalid, "invalid_kid", "a kid is [A-Za-z0-9_-]{1,64}")
	case key.algo == EventEd25519 && key.private == nil:
		return nil, fault.New(opEvent, fault.Invalid, "public_key", "a public key cannot sign")
	}
	sig := event.Sig{Algo: key.algo, Kid: kid, TS: at.Unix()}
	content := AppendEvent(nil, &sig, s.Before, nil)
	if key.private != nil {
		sig.MAC = base64.StdEncoding.EncodeToString(ed25519.Sign(key.private, content))
	} else {
		m := mac(key.secret, content)
		sig.MAC = base64.StdEncoding.EncodeToString(m[:])
	}
	text, err := json.Marshal(&sig)
	if err != nil {
		return nil, fault.Wrap(opEvent, fault.Internal, err)
	}
	open := s.Before[:len(s.Before)-1] // without the brace
	signed := slices.Clone(open)
	if len(bytes.TrimSpace(open)) > 1 {
		signed = append(signed, ',')
	}
	return append(append(append(signed, `"sig":`...), text...), '}'), nil
}

// VerifyEvent says what an event's own signature is and returns nil if it is right under the key that keys has for its
// kid. Otherwise the error is what keys returned, or a fault of kind Unauthenticated: sig_missing, sig_malformed,
// sig_algorithm (the key is of another) or sig_wrong. When it was made is the caller's to judge.
func VerifyEvent(raw []byte, keys func(kid string) (EventKey, error)) (event.Sig, error) {
	refuse := func(code, detail string) error { return fault.New(opEvent, fault.Unauthenticated, code, "%s", detail) }
	s, err := event.CutSig(raw)
	switch {
	case err != nil:
		return event.Sig{}, &fault.Error{Op: opEvent, Kind: fault.Unauthenticated, Code: "sig_malformed", Detail: "no readable signature", Err: err}
	case !s.HasSig:
		return event.Sig{}, refuse("sig_missing", "the event has no signature of its own")
	case !keyring.ValidKid(s.Sig.Kid):
		return event.Sig{}, refuse("sig_malformed", "its kid is not [A-Za-z0-9_-]{1,64}")
	}
	key, err := keys(s.Sig.Kid)
	if err != nil {
		return s.Sig, err
	}
	if key.algo == "" || s.Sig.Algo != key.algo {
		return s.Sig, refuse("sig_algorithm", "the key is of another algorithm than the signature")
	}
	if !key.verifies(AppendEvent(nil, &s.Sig, s.Before, s.After), s.Sig.MAC) {
		return s.Sig, refuse("sig_wrong", "the signature is not that of these bytes under this key")
	}
	return s.Sig, nil
}

// verifies compares in constant time. One signature has one spelling.
func (k *EventKey) verifies(content []byte, text string) bool {
	if len(text) != base64.StdEncoding.EncodedLen(k.size()) {
		return false
	}
	got, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil || len(got) != k.size():
		return false
	case k.algo == EventEd25519:
		return ed25519.Verify(k.public, content, got)
	}
	want := mac(k.secret, content)
	return subtle.ConstantTimeCompare(want[:], got) == 1
}

// size is that of a signature, in bytes.
func (k *EventKey) size() int {
	if k.algo == EventEd25519 {
		return ed25519.SignatureSize
	}
	return 32
}
