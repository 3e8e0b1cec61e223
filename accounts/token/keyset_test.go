package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"slices"
	"strings"
	"testing"
)

const p256 = `{"kty":"EC","kid":"k","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}` // RFC 7515, A.3

func TestParseKeys(t *testing.T) {
	for name, c := range map[string]struct {
		doc  string
		keys int // -1: refused
	}{
		"one key":             {`{"keys":[` + p256 + `]}`, 1},
		"no key":              {`{"keys":[]}`, 0},
		"other members":       {`{"issuer":"x","keys":[` + strings.Replace(p256, "{", `{"x5t":"abc","exp":1,`, 1) + `]}`, 1},
		"a kind that is new":  {`{"keys":[{"kty":"AKP","kid":"pq","pub":"AA"},` + p256 + `]}`, 1},
		"no kid":              {`{"keys":[` + strings.Replace(p256, `"kid":"k",`, "", 1) + `]}`, 0},
		"off the curve":       {`{"keys":[` + strings.Replace(p256, "f83O", "f84O", 1) + `]}`, 0},
		"private key beside":  {`{"keys":[` + strings.Replace(p256, "{", `{"d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",`, 1) + `]}`, 1},
		"a shared secret":     {`{"keys":[{"kty":"oct","kid":"k","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`, 0},
		"exponent of one":     {`{"keys":[{"kty":"RSA","kid":"k","e":"AQ","n":"` + strings.Repeat("7", 344) + `"}]}`, 0},
		"modulus without end": {`{"keys":[{"kty":"RSA","kid":"k","e":"AQAB","n":"` + strings.Repeat("7", 100000) + `"}]}`, 0},
		"kid twice":           {`{"keys":[` + p256 + `,` + p256 + `]}`, 0},
		"kid three times":     {`{"keys":[` + p256 + `,` + p256 + `,` + p256 + `]}`, 0},
		"too many":            {`{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`, -1},
		"no member keys":      {`{}`, -1},
		"keys null":           {`{"keys":null}`, -1},
		"keys twice":          {`{"keys":[],"keys":[]}`, -1},
		"a list":              {`[]`, -1},
		"a page":              {`<html>`, -1},
		"nothing":             {``, -1},
		"two documents":       {`{"keys":[]}{"keys":[]}`, -1},
	} {
		keys, err := parseKeys([]byte(c.doc))
		if got := len(keys); err != nil && c.keys >= 0 || err == nil && got != c.keys {
			t.Errorf("%s: %d keys, %v, want %d", name, got, err, c.keys)
		}
	}
}

// Whatever an issuer publishes, only public keys come out, with algorithms of their own kind.
func FuzzParseKeys(f *testing.F) {
	f.Add(`{"keys":[` + p256 + `]}`)
	f.Add(`{"keys":[{"kty":"RSA","kid":"k","e":"AQAB","n":"` + strings.Repeat("7", 344) + `"},{"kty":"OKP","crv":"Ed25519","kid":"e","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		keys, err := parseKeys([]byte(doc))
		if err != nil && keys != nil {
			t.Fatal("keys beside an error")
		}
		for kid, k := range keys {
			fits := ""
			switch k.public.(type) {
			case *rsa.PublicKey:
				fits = "RP"
			case *ecdsa.PublicKey:
				fits = "E"
			case ed25519.PublicKey:
				fits = "E"
			default:
				t.Fatalf("key %q is a %T", kid, k.public)
			}
			for _, a := range k.algorithms {
				if !slices.Contains(Algorithms(), a) || !strings.Contains(fits, a[:1]) {
					t.Fatalf("a %T may be used with %s", k.public, a)
				}
			}
			if len(k.algorithms) == 0 || !k.same(k) {
				t.Fatalf("key %q is of no use", kid)
			}
		}
	})
}
