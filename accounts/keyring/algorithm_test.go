package keyring_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestCheckAlgorithms(t *testing.T) {
	for list, says := range map[string]string{
		"weft-v1": "", "body": "", "standard-webhooks": "", "standard-webhooks-v1a": "",
		"weft-v1 standard-webhooks body": "",
		"":                               "at least one",
		"none":                           "none of",
		"WEFT-V1":                        "none of",
		"weft-v1 weft-v1":                "twice",
		"weft-v1 standard-webhooks-v1a":  "of its own",
		"standard-webhooks-v1a standard-webhooks":     "of its own",
		"standard-webhooks-v1a standard-webhooks-v1a": "twice",
	} {
		err := keyring.CheckAlgorithms(strings.Fields(list))
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", list, err, says)
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: kind %v", list, fault.KindOf(err))
		}
	}
}

// A record that says both that its secret is public and that it is not is good for neither.
func TestAmbiguousKeyAllowsNothing(t *testing.T) {
	k := keyring.Key{Algorithms: []string{keyring.StandardWebhooksV1a, keyring.WeftV1}}
	if k.Allows(keyring.WeftV1) || k.Allows(keyring.StandardWebhooksV1a) {
		t.Error("a mixed list allows something")
	}
	k.Algorithms = []string{keyring.StandardWebhooksV1a}
	if !k.Allows(keyring.StandardWebhooksV1a) || k.Allows(keyring.WeftV1) || k.Allows(keyring.StandardWebhooks) || k.Allows(keyring.Body) {
		t.Error("a public key is good for something else, or not for what it is for")
	}
}

// Each of the points refused as public keys is one for which a stranger finds a signature: S = 0 and R of small order.
func TestPointsOfSmallOrderAreRefused(t *testing.T) {
	v1a := []string{keyring.StandardWebhooksV1a}
	identity := append([]byte{1}, make([]byte, 31)...)
	forgeable := func(point []byte) bool {
		forged := append(bytes.Clone(identity), make([]byte, 32)...)
		for n := range uint32(256) {
			if ed25519.Verify(point, binary.BigEndian.AppendUint32(nil, n), forged) {
				return true
			}
		}
		return false
	}
	for _, text := range []string{
		"00", "01", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ec" + strings.Repeat("ff", 30) + "7f", "ed" + strings.Repeat("ff", 30) + "7f", "ee" + strings.Repeat("ff", 30) + "7f",
	} {
		point, err := hex.DecodeString(text + strings.Repeat("00", 32-len(text)/2))
		if err != nil {
			t.Fatal(err)
		}
		forged := 0
		for _, sign := range []byte{0, 0x80} {
			p := bytes.Clone(point)
			p[31] |= sign
			if err := keyring.CheckSecret(v1a, p); fault.CodeOf(err) != "public_key" {
				t.Errorf("%x: %v", p, err)
			}
			if forgeable(p) {
				forged++
			}
		}
		if forged == 0 {
			t.Errorf("%x: no forgery, so it need not be refused", point)
		}
	}
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := keyring.CheckSecret(v1a, public); err != nil || forgeable(public) {
		t.Errorf("a good key: %v", err)
	}
	if keyring.CheckSecret(v1a, public[:31]) == nil || keyring.CheckSecret([]string{keyring.WeftV1}, nil) == nil || keyring.CheckSecret([]string{keyring.WeftV1}, public) != nil {
		t.Error("lengths are not checked")
	}
}
