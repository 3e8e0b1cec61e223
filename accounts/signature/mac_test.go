package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestRFC4231 checks the MAC under the scheme against answers of the RFC: its cases 1, 2, 3 and 6.
func TestRFC4231(t *testing.T) {
	rep := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	for i, tc := range []struct {
		key, data []byte
		mac       string
	}{
		{rep(0x0b, 20), []byte("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{[]byte("Jefe"), []byte("what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{rep(0xaa, 20), rep(0xdd, 50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
		{rep(0xaa, 131), []byte("Test Using Larger Than Block-Size Key - Hash Key First"), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	} {
		m := mac(tc.key, tc.data)
		if got := hex.EncodeToString(m[:]); got != tc.mac {
			t.Errorf("case %d: %s", i, got)
		}
	}
}

// wycheproof reads one of Wycheproof's files from $WEFT_VECTORS/vectors.
func wycheproof(t *testing.T, name string, into any) {
	t.Helper()
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS is not set")
	}
	text, err := os.ReadFile(filepath.Join(dir, "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWycheproofHMAC runs Wycheproof's HMAC-SHA256 vectors: on the MAC, and where the tag is whole on the header of a
// webhook and of a body. A truncated tag must never pass there.
func TestWycheproofHMAC(t *testing.T) {
	var f struct {
		TestGroups []struct {
			TagSize int
			Tests   []struct {
				TcID                  int
				Key, Msg, Tag, Result string
			}
		}
	}
	wycheproof(t, "wycheproof_hmac_sha256.json", &f)
	ran := 0
	for _, g := range f.TestGroups {
		for _, tc := range g.Tests {
			key, msg, tag := unhex(t, tc.Key), unhex(t, tc.Msg), unhex(t, tc.Tag)
			m := mac(key, msg)
			valid := tc.Result == "valid"
			if ok := bytes.Equal(m[:g.TagSize/8], tag); ok != valid {
				t.Errorf("test %d: %v, want %s", tc.TcID, ok, tc.Result)
			}
			whole := valid && len(tag) == len(m)
			if ok := VerifyWebhook(key, msg, "v1,"+base64.StdEncoding.EncodeToString(tag)); ok != whole {
				t.Errorf("test %d: a webhook's header: %v", tc.TcID, ok)
			}
			if ok := VerifyBody(key, msg, tc.Tag); ok != whole {
				t.Errorf("test %d: a body's header: %v", tc.TcID, ok)
			}
			ran++
		}
	}
	if ran == 0 {
		t.Error("no vectors in the file")
	}
	t.Logf("%d vectors", ran)
}

// TestWycheproofEd25519 runs Wycheproof's Ed25519 vectors through the header of a webhook.
func TestWycheproofEd25519(t *testing.T) {
	var f struct {
		TestGroups []struct {
			PublicKey struct{ Pk string }
			Tests     []struct {
				TcID             int
				Msg, Sig, Result string
			}
		}
	}
	wycheproof(t, "wycheproof_ed25519.json", &f)
	ran := 0
	for _, g := range f.TestGroups {
		key := unhex(t, g.PublicKey.Pk)
		for _, tc := range g.Tests {
			ok := VerifyWebhookEd25519(key, unhex(t, tc.Msg), "v1a,"+base64.StdEncoding.EncodeToString(unhex(t, tc.Sig)))
			if ok != (tc.Result == "valid") {
				t.Errorf("test %d: %v, want %s", tc.TcID, ok, tc.Result)
			}
			ran++
		}
	}
	if ran == 0 {
		t.Error("no vectors in the file")
	}
	t.Logf("%d vectors", ran)
}
