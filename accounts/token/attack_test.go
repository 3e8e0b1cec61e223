package token_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/streams/fault"
)

// The attacks that the literature knows (RFC 8725, and the CVEs named), each refused with its own code.
func TestAttacks(t *testing.T) {
	b := newBench(t, nil)
	pem, err := x509.MarshalPKIXPublicKey(b.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := b.good(nil)
	parts := strings.Split(good, ".")
	body, _ := json.Marshal(b.claims(nil))
	now := b.now()
	for name, c := range map[string]struct{ raw, want string }{
		"a good one":                    {good, ""},
		"RS256":                         {b.sign("RS256", "rsa", b.rsa, b.claims(nil), nil), ""},
		"EdDSA":                         {b.sign("EdDSA", "ed", b.ed, b.claims(nil), nil), ""},
		"P-384":                         {b.sign("ES384", "p384", b.p384, b.claims(nil), nil), ""},
		"megabyte of dots":              {strings.Repeat(".", 1<<20), token.CodeTooLong},   // CVE-2025-30204
		"dots within the limit":         {strings.Repeat(".", 8<<10), token.CodeMalformed}, // CVE-2025-27144
		"megabyte of token":             {parts[0] + "." + strings.Repeat("A", 1<<20) + ".", token.CodeTooLong},
		"nested arrays":                 {b64(strings.Repeat("[", 3000)) + ".e30.AA", token.CodeMalformed},
		"empty":                         {"", token.CodeMalformed},
		"two parts":                     {parts[0] + "." + parts[1], token.CodeMalformed},
		"four parts":                    {good + ".", token.CodeMalformed},
		"five parts, a JWE":             {good + ".x.y", token.CodeMalformed},
		"alg none":                      {b64(`{"alg":"none","kid":"ec"}`) + "." + b64(string(body)) + ".", token.CodeAlgorithm},
		"alg nOnE":                      {b64(`{"alg":"nOnE","kid":"ec"}`) + "." + b64(string(body)) + ".", token.CodeAlgorithm},
		"no alg":                        {b.raw(`{"kid":"ec"}`, string(body)), token.CodeAlgorithm},
		"alg as a list":                 {b.raw(`{"alg":["ES256"],"kid":"ec"}`, string(body)), token.CodeMalformed},
		"public key as HMAC secret":     {b.sign("HS256", "rsa", pem, b.claims(nil), nil), token.CodeAlgorithm}, // CVE-2015-9235
		"HMAC with a key of the set":    {b.sign("HS256", "oct", []byte("a shared secret, which must never be one of the keys"), b.claims(nil), nil), token.CodeAlgorithm},
		"oct key with a good alg":       {b.sign("ES256", "oct", b.ec, b.claims(nil), nil), token.CodeKeyUnknown},
		"alg that is not configured":    {b.sign("RS512", "rsa", b.rsa, b.claims(nil), nil), token.CodeAlgorithm},
		"PS256 where RS256 is":          {b.sign("PS256", "rsa", b.rsa, b.claims(nil), nil), token.CodeAlgorithm},
		"alg of another key":            {b.sign("ES256", "rsa", b.ec, b.claims(nil), nil), token.CodeAlgorithm},
		"ES256 with a P-384 key":        {b.sign("ES256", "p384", b.ec, b.claims(nil), nil), token.CodeAlgorithm},
		"key pinned to another alg":     {b.sign("RS256", "pinned", b.rsa, b.claims(nil), nil), token.CodeAlgorithm},
		"key for encryption":            {b.sign("RS256", "enc", b.rsa, b.claims(nil), nil), token.CodeKeyUnknown},
		"key without verify":            {b.sign("RS256", "ops", b.rsa, b.claims(nil), nil), token.CodeKeyUnknown},
		"key of 1024 bits":              {b.sign("RS256", "weak", b.weak, b.claims(nil), nil), token.CodeKeyUnknown},
		"kid that two keys have":        {b.sign("ES256", "twice", b.ec, b.claims(nil), nil), token.CodeKeyUnknown},
		"certificates are not followed": {b.sign("RS256", "chained", b.rsa, b.claims(nil), nil), ""},
		"zero signature":                {parts[0] + "." + parts[1] + "." + b64(strings.Repeat("\x00", 64)), token.CodeSignature}, // CVE-2022-21449
		"no signature":                  {parts[0] + "." + parts[1] + ".", token.CodeSignature},
		"stranger's signature":          {b.sign("ES256", "ec", stranger, b.claims(nil), nil), token.CodeSignature},
		"other claims":                  {parts[0] + "." + b64(strings.Replace(string(body), "acme", "evil", 1)) + "." + parts[2], token.CodeSignature},
		"other header":                  {b64(`{"kid":"ec","alg":"ES256"}`) + "." + parts[1] + "." + parts[2], token.CodeSignature},
		"own key in jwk":                {b.sign("ES256", "mine", stranger, b.claims(nil), map[string]any{"jwk": publicJWK(stranger.Public(), "mine")}), token.CodeKeyUnknown},
		"own keys at jku":               {b.sign("ES256", "mine", stranger, b.claims(nil), map[string]any{"jku": "https://evil.example.com/jwks"}), token.CodeKeyUnknown},
		"own chain at x5u":              {b.sign("ES256", "ec", stranger, b.claims(nil), map[string]any{"x5u": "https://evil.example.com/x", "x5c": []string{"AA"}}), token.CodeSignature},
		"kid as a path":                 {b.sign("ES256", "../../../../dev/null", stranger, b.claims(nil), nil), token.CodeKeyUnknown},
		"kid as a query":                {b.sign("ES256", "x' UNION SELECT 'k", stranger, b.claims(nil), nil), token.CodeKeyUnknown},
		"kid as an address":             {b.sign("ES256", "https://evil.example.com/k", stranger, b.claims(nil), nil), token.CodeKeyUnknown},
		"no kid":                        {b.sign("ES256", "", b.ec, b.claims(nil), nil), token.CodeMalformed},
		"long kid":                      {b.sign("ES256", strings.Repeat("k", 300), b.ec, b.claims(nil), nil), token.CodeMalformed},
		"critical header":               {b.sign("ES256", "ec", b.ec, b.claims(nil), map[string]any{"crit": []string{"b64"}, "b64": false}), token.CodeMalformed},
		"header with a name twice":      {b.raw(`{"alg":"ES256","kid":"ec","kid":"ec"}`, string(body)), token.CodeMalformed},
		"header in capitals":            {b.raw(`{"ALG":"ES256","kid":"ec"}`, string(body)), token.CodeAlgorithm},
		"claim twice":                   {b.raw(`{"alg":"ES256","kid":"ec"}`, `{"tenant":"evil",`+string(body)[1:]), token.CodeMalformed},
		"expiry in capitals":            {b.raw(`{"alg":"ES256","kid":"ec"}`, strings.Replace(string(body), `"exp"`, `"EXP"`, 1)), token.CodeClaims},
		"claims null":                   {b.raw(`{"alg":"ES256","kid":"ec"}`, `null`), token.CodeMalformed},
		"claims a list":                 {b.raw(`{"alg":"ES256","kid":"ec"}`, `[]`), token.CodeMalformed},
		"two claims objects":            {b.raw(`{"alg":"ES256","kid":"ec"}`, string(body)+"{}"), token.CodeMalformed},
		"padding":                       {parts[0] + "=." + parts[1] + "." + parts[2], token.CodeMalformed},
		"loose base64":                  {good[:len(good)-1] + loose(good[len(good)-1]), token.CodeMalformed},
		"ID token of a logout":          {b.sign("ES256", "ec", b.ec, b.claims(nil), map[string]any{"typ": "logout+jwt"}), token.CodeType},
		"DPoP proof":                    {b.sign("ES256", "ec", b.ec, b.claims(nil), map[string]any{"typ": "dpop+jwt"}), token.CodeType},
		"typ in capitals":               {b.sign("ES256", "ec", b.ec, b.claims(nil), map[string]any{"typ": "application/AT+JWT"}), ""},
		"another issuer":                {b.good(map[string]any{"iss": "https://evil.example.com"}), token.CodeIssuer},
		"issuer with a slash more":      {b.good(map[string]any{"iss": issuerName + "/"}), token.CodeIssuer},
		"issuers as a list":             {b.good(map[string]any{"iss": []string{issuerName}}), token.CodeIssuer},
		"another audience":              {b.good(map[string]any{"aud": "billing"}), token.CodeAudience},
		"audience as a part":            {b.good(map[string]any{"aud": "weft-admin"}), token.CodeAudience},
		"no audience":                   {b.good(map[string]any{"aud": nil}), token.CodeAudience},
		"one of two audiences":          {b.good(map[string]any{"aud": []string{"billing", "weft"}}), ""},
		"expired":                       {b.good(map[string]any{"iat": now.Add(-time.Hour).Unix(), "exp": now.Add(-time.Second).Unix()}), token.CodeExpired},
		"expires now":                   {b.good(map[string]any{"exp": now.Unix()}), token.CodeExpired},
		"far expiry":                    {b.good(map[string]any{"exp": now.Add(10 * 365 * 24 * time.Hour).Unix()}), token.CodeLifetime},
		"expiry beyond all dates":       {b.good(map[string]any{"exp": 1e300}), token.CodeClaims},
		"expiry as a text":              {b.good(map[string]any{"exp": fmt.Sprint(now.Unix() + 60)}), token.CodeClaims},
		"expiry with a fraction":        {b.good(map[string]any{"exp": float64(now.Unix()) + 60.5}), ""},
		"negative expiry":               {b.good(map[string]any{"exp": -1}), token.CodeClaims},
		"no expiry":                     {b.good(map[string]any{"exp": nil}), token.CodeClaims},
		"null expiry":                   {b.raw(`{"alg":"ES256","kid":"ec"}`, strings.Replace(string(body), fmt.Sprint(now.Add(time.Hour).Unix()), "null", 1)), token.CodeClaims},
		"no issue time":                 {b.good(map[string]any{"iat": nil}), token.CodeClaims},
		"issued in the future":          {b.good(map[string]any{"iat": now.Add(time.Minute).Unix()}), token.CodeNotYet},
		"issued by a clock ahead":       {b.good(map[string]any{"iat": now.Add(20 * time.Second).Unix()}), ""},
		"not before":                    {b.good(map[string]any{"nbf": now.Add(time.Minute).Unix()}), token.CodeNotYet},
		"future issue hides a far exp":  {b.good(map[string]any{"iat": now.Add(240 * time.Hour).Unix(), "exp": now.Add(241 * time.Hour).Unix()}), token.CodeNotYet},
		"another tenant":                {b.good(map[string]any{"tenant": "0f3"}), token.CodeTenant},
		"tenant by its own name":        {b.good(map[string]any{"tenant": "globex"}), token.CodeTenant}, // the issuer's name for it is 0f3
		"tenant it may not speak for":   {b.good(map[string]any{"tenant": "initech"}), token.CodeTenant},
		"no tenant":                     {b.good(map[string]any{"tenant": nil}), token.CodeTenant},
		"tenants as a list":             {b.good(map[string]any{"tenant": []string{"acme"}}), token.CodeTenant},
		"bound to a DPoP key":           {b.good(map[string]any{"cnf": map[string]string{"jkt": "x"}}), token.CodeBinding},
		"bound to nothing":              {b.good(map[string]any{"cnf": map[string]string{"x5t#S256": ""}}), token.CodeBinding},
		"bound by a text":               {b.good(map[string]any{"cnf": "x"}), token.CodeBinding},
		"bound, and no certificate":     {b.good(map[string]any{"cnf": map[string]string{"x5t#S256": "x"}}), token.CodeBinding},
	} {
		for range 2 { // the second time it may be remembered
			if _, code := b.verify(t, c.raw); code != c.want {
				t.Errorf("%s: %q, want %q", name, code, c.want)
			}
		}
	}
}

// loose is a last character that decodes to the same bytes where the decoder is not strict.
func loose(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)^1])
}

// Whatever is changed about a good token, it is not good any more, and nothing breaks.
func TestEveryChangeIsSeen(t *testing.T) {
	b := newBench(t, nil)
	raw := b.good(nil)
	rapid.Check(t, func(rt *rapid.T) {
		changed := []byte(raw)
		switch rapid.IntRange(0, 3).Draw(rt, "kind") {
		case 0:
			at := rapid.IntRange(0, len(raw)-1).Draw(rt, "at")
			changed[at] = rapid.Byte().Draw(rt, "byte")
		case 1:
			changed = changed[:rapid.IntRange(0, len(raw)-1).Draw(rt, "length")]
		case 2:
			at := rapid.IntRange(0, len(raw)).Draw(rt, "at")
			changed = []byte(raw[:at] + rapid.String().Draw(rt, "insert") + raw[at:])
		case 3:
			changed = append(changed, rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(rt, "tail")...)
		}
		if string(changed) == raw {
			return
		}
		if _, code := b.verify(t, string(changed)); code == "" {
			rt.Fatalf("%q is accepted", changed)
		}
	})
}

// TestOneSpelling: what a base64 decoder skips or ignores is no part of a token.
func TestOneSpelling(t *testing.T) {
	b := newBench(t, nil)
	raw := b.good(nil)
	if _, code := b.verify(t, raw); code != "" {
		t.Fatal(code)
	}
	for _, more := range []string{"\n", "\r", "\r\n", "=", "=="} {
		dot := strings.LastIndexByte(raw, '.')
		for _, changed := range []string{raw + more, raw[:dot] + more + raw[dot:], raw[:dot+5] + more + raw[dot+5:], more + raw} {
			if _, code := b.verify(t, changed); code != token.CodeMalformed {
				t.Errorf("%q: %q", changed, code)
			}
		}
	}
}

// No text that is not signed by the issuer is accepted, and none makes the parser panic.
func FuzzVerify(f *testing.F) {
	b := newBench(f, nil)
	good := b.good(nil)
	f.Add(good)
	f.Add(strings.Repeat(".", 100))
	f.Add(withKid(good, "ec"))
	f.Add(b64(`{"alg":"none","kid":"ec"}`) + "." + b64(`{"iss":"`+issuerName+`"}`) + ".")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := b.verifier.Verify(t.Context(), raw, token.Bearer{Tenant: "acme"})
		switch kind := fault.KindOf(err); {
		case err == nil && raw != good:
			t.Fatalf("%q is accepted", raw)
		case err != nil && kind != fault.Unauthenticated && kind != fault.Denied && kind != fault.Unavailable:
			t.Fatalf("%q: %v", raw, err)
		}
	})
}
