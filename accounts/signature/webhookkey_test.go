package signature_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestWebhookKey(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	private := ed25519.NewKeyFromSeed(seed)
	content := signature.AppendWebhook(nil, "msg", "1767323045", []byte("{}"))

	k, err := signature.ParseWebhookKey("whsec_" + b64(seed))
	if err != nil || !k.Valid() || k.Public() != "" || k.Sign(content) != signature.SignWebhook(seed, content) {
		t.Errorf("HMAC: %v, %q", err, k.Sign(content))
	}
	for _, raw := range [][]byte{seed, private} {
		k, err := signature.ParseWebhookKey("whsk_" + b64(raw))
		if err != nil || !k.Valid() || !signature.VerifyWebhookEd25519(private.Public().(ed25519.PublicKey), content, k.Sign(content)) {
			t.Errorf("Ed25519 of %d bytes: %v", len(raw), err)
		}
		if public := "whpk_" + b64(private.Public().(ed25519.PublicKey)); k.Public() != public {
			t.Errorf("public %s, want %s", k.Public(), public)
		}
	}
	if (signature.WebhookKey{}).Valid() {
		t.Error("no key is valid")
	}
}

func TestWebhookKeyIsRefused(t *testing.T) {
	long := strings.Repeat("sesame", 20)
	for _, text := range []string{"", b64([]byte(long[:32])), "WHSEC_" + b64([]byte(long[:32])), "whsec_", "whsec_" + b64([]byte(long[:23])), "whsec_" + b64([]byte(long[:65])),
		"whsec_" + long[:33] + "!", "whsec_" + b64([]byte(long[:32])) + "\n", "whsk_" + b64([]byte(long[:31])), "whsk_" + b64([]byte(long[:64])), "whpk_" + b64([]byte(long[:32]))} {
		k, err := signature.ParseWebhookKey(text)
		if fault.CodeOf(err) != "invalid_webhook_key" || k.Valid() {
			t.Errorf("%q: %v", text, err)
		}
		if err != nil && (strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), b64([]byte(long[:23]))[:8])) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

func TestWebhookKeyHides(t *testing.T) {
	k, err := signature.ParseWebhookKey("whsec_" + base64.StdEncoding.EncodeToString([]byte("sesamesesamesesamesesame")))
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(map[string]any{"k": k, "list": []signature.WebhookKey{k}})
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %x %v %+v", k, k, k, k, k, []signature.WebhookKey{k}, struct{ K signature.WebhookKey }{k}) + string(asJSON) + k.String()
	for _, s := range []string{"sesame", "736573", "c2VzYW1l", "115 101", "0x73"} {
		if strings.Contains(shown, s) {
			t.Errorf("%q is shown: %s", s, shown)
		}
	}
}

// FuzzParseWebhookKey takes any text: it is refused without being told, or it signs what is verified.
func FuzzParseWebhookKey(f *testing.F) {
	f.Add("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz")
	f.Add("whsk_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	f.Add("whsec_")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := signature.ParseWebhookKey(text)
		if err != nil {
			if k.Valid() || len(text) > 16 && strings.Contains(err.Error(), text[8:]) {
				t.Errorf("%v, valid %v", err, k.Valid())
			}
			return
		}
		if list := k.Sign([]byte("m.1.{}")); signature.ValidateWebhook("m", "1", list) != nil {
			t.Errorf("the signature is none: %s", list)
		}
	})
}
