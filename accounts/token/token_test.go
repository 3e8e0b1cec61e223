package token_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/streams/fault"
)

// withKid replaces the kid of a token; its signature does not hold any more.
func withKid(raw, kid string) string {
	_, rest, _ := strings.Cut(raw, ".")
	return b64(fmt.Sprintf(`{"alg":"ES256","typ":"at+jwt","kid":%q}`, kid)) + "." + rest
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// bench is a verifier with an issuer whose keys the test has.
type bench struct {
	verifier *token.Verifier
	file     string
	now      func() time.Time
	rsa      *rsa.PrivateKey
	ec       *ecdsa.PrivateKey
	p384     *ecdsa.PrivateKey
	ed       ed25519.PrivateKey
	weak     *rsa.PrivateKey
}

const issuerName = "https://idp.example.com"

var keysOnce = sync.OnceValue(func() *bench {
	b := &bench{}
	var err error
	must := func() {
		if err != nil {
			panic(err)
		}
	}
	b.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must()
	b.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must()
	b.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must()
	_, b.ed, err = ed25519.GenerateKey(rand.Reader)
	must()
	b.weak, err = rsa.GenerateKey(rand.Reader, 1024)
	must()
	return b
})

func publicJWK(key crypto.PublicKey, kid string) map[string]any {
	k, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		panic(err)
	}
	raw, _ := json.Marshal(k.Marshal())
	out := map[string]any{}
	_ = json.Unmarshal(raw, &out)
	delete(out, "alg")
	return out
}

func newBench(t testing.TB, change func(*token.Issuer, *token.Options)) *bench {
	t.Helper()
	b := *keysOnce()
	b.file = filepath.Join(t.TempDir(), "jwks.json")
	now := time.Now()
	b.now = func() time.Time { return now }
	enc, pinned, ops := publicJWK(b.rsa.Public(), "enc"), publicJWK(b.rsa.Public(), "pinned"), publicJWK(b.rsa.Public(), "ops")
	enc["use"], pinned["alg"], ops["key_ops"] = "enc", "RS512", []string{"encrypt"}
	chained := publicJWK(b.rsa.Public(), "chained")
	chained["x5u"], chained["x5c"] = "https://127.0.0.1:1/chain", []string{"bm90IGEgY2VydGlmaWNhdGU="}
	secret := map[string]any{"kty": "oct", "kid": "oct", "k": b64("a shared secret, which must never be one of the keys")}
	twice := publicJWK(b.ec.Public(), "twice")
	other := publicJWK(b.rsa.Public(), "twice")
	b.publish(t, publicJWK(b.rsa.Public(), "rsa"), publicJWK(b.ec.Public(), "ec"), publicJWK(b.p384.Public(), "p384"), publicJWK(b.ed.Public(), "ed"),
		publicJWK(b.weak.Public(), "weak"), enc, pinned, ops, chained, secret, twice, other, map[string]any{"kty": "EC", "kid": "broken", "crv": "P-256", "x": "AA", "y": "AA"})
	o, i := token.DefaultOptions(), token.DefaultIssuer()
	o.Now = func() time.Time { return b.now() }
	i.Name, i.Audience, i.JWKSFile = issuerName, "weft", b.file
	i.Algorithms, i.Tenants = []string{"RS256", "ES256", "ES384", "EdDSA"}, map[string]string{"acme": "acme", "0f3": "globex"}
	if change != nil {
		change(&i, &o)
	}
	o.Issuers = []token.Issuer{i}
	var err error
	if b.verifier, err = token.New(o); err != nil {
		t.Fatal(err)
	}
	b.verifier.Start()
	t.Cleanup(b.verifier.Stop)
	return &b
}

func (b *bench) publish(t testing.TB, keys ...map[string]any) {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"keys": keys})
	if err == nil {
		err = os.WriteFile(b.file, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// claims are those of a good token, with changes; nil takes a claim away.
func (b *bench) claims(change map[string]any) jwt.MapClaims {
	now := b.now()
	c := jwt.MapClaims{"iss": issuerName, "aud": "weft", "tenant": "acme", "scope": "events:write:bets other", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for k, v := range change {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

// sign makes a token; head replaces members of its header, nil takes one away.
func (b *bench) sign(alg, kid string, key any, c jwt.MapClaims, head map[string]any) string {
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), c)
	t.Header["kid"] = kid
	for k, v := range head {
		if t.Header[k] = v; v == nil {
			delete(t.Header, k)
		}
	}
	raw, err := t.SignedString(key)
	if err != nil {
		panic(err)
	}
	return raw
}

func (b *bench) good(change map[string]any) string {
	return b.sign("ES256", "ec", b.ec, b.claims(change), nil)
}

// raw makes a token of texts, signed well.
func (b *bench) raw(head, body string) string {
	signed := b64(head) + "." + b64(body)
	mac, err := jwt.SigningMethodES256.Sign(signed, b.ec)
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac)
}

func (b *bench) verify(t testing.TB, raw string) (*token.Grant, string) {
	t.Helper()
	g, err := b.verifier.Verify(t.Context(), raw, token.Bearer{Tenant: "acme"})
	if err == nil {
		return g, ""
	}
	if g != nil {
		t.Errorf("a grant beside an error: %v", err)
	}
	return nil, fault.CodeOf(err)
}

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

func TestScopes(t *testing.T) {
	b := newBench(t, nil)
	for _, c := range []struct {
		claims map[string]any
		may    string
		not    string
	}{
		{map[string]any{"scope": "events:write:bets events:write:users"}, "bets users", "events *"},
		{map[string]any{"scope": "events:write:*"}, "bets users events", ""},
		{map[string]any{"scope": nil, "scp": []string{"events:write:bets", "x"}}, "bets", "users"},
		{map[string]any{"scope": []string{"events:write:bets"}}, "bets", "users"},
		{map[string]any{"scope": "events:write:b*"}, "", "bets"},
		{map[string]any{"scope": "events:write: events:write"}, "", "bets"},
		{map[string]any{"scope": "EVENTS:WRITE:bets"}, "", "bets"},
		{map[string]any{"scope": "events:read:bets"}, "", "bets"},
		{map[string]any{"scope": nil}, "", "bets"},
		{map[string]any{"scope": 7}, "", "bets"},
	} {
		g, code := b.verify(t, b.good(c.claims))
		if code != "" {
			t.Fatalf("%v: %s", c.claims, code)
		}
		for _, topic := range strings.Fields(c.may) {
			if !g.MaySend(topic) {
				t.Errorf("%v: may not send to %s", c.claims, topic)
			}
		}
		for _, topic := range strings.Fields(c.not) {
			if g.MaySend(topic) {
				t.Errorf("%v: may send to %s", c.claims, topic)
			}
		}
	}
}

func TestBinding(t *testing.T) {
	mine, other := &x509.Certificate{Raw: []byte("mine")}, &x509.Certificate{Raw: []byte("other")}
	for _, require := range []bool{false, true} {
		b := newBench(t, func(i *token.Issuer, _ *token.Options) { i.RequireBinding = require })
		bound := b.good(map[string]any{"cnf": map[string]string{"x5t#S256": token.Thumbprint(mine)}})
		for _, c := range []struct {
			raw  string
			cert *x509.Certificate
			good bool
		}{
			{bound, mine, true}, {bound, other, false}, {bound, nil, false}, {bound, mine, true},
			{b.good(nil), mine, !require}, {b.good(nil), nil, !require},
		} {
			_, err := b.verifier.Verify(t.Context(), c.raw, token.Bearer{Tenant: "acme", Certificate: c.cert})
			if (err == nil) != c.good || err != nil && (fault.CodeOf(err) != token.CodeBinding || fault.KindOf(err) != fault.Denied) {
				t.Errorf("require %v: %v", require, err)
			}
		}
	}
}

// What is remembered ends with the token's life, to the second.
func TestRememberedTokenExpires(t *testing.T) {
	b := newBench(t, nil)
	raw := b.good(nil)
	start := b.now()
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{0, ""}, {time.Hour - 2*time.Second, ""}, {time.Hour, token.CodeExpired}, {0, ""}, {2 * time.Hour, token.CodeExpired}} {
		b.now = func() time.Time { return start.Add(c.after) }
		if _, code := b.verify(t, raw); code != c.want {
			t.Errorf("after %s: %q, want %q", c.after, code, c.want)
		}
	}
}

// One tenant's tokens, however many, leave another's where they are.
func TestTenantsDoNotPushOutEachOther(t *testing.T) {
	b := newBench(t, func(_ *token.Issuer, o *token.Options) { o.Kept = 4 })
	theirs := b.good(map[string]any{"tenant": "0f3"})
	verify := func(raw, tenant string) {
		t.Helper()
		if _, err := b.verifier.Verify(t.Context(), raw, token.Bearer{Tenant: tenant}); err != nil {
			t.Fatal(err)
		}
	}
	verify(theirs, "globex")
	for i := range 20 {
		verify(b.good(map[string]any{"jti": i}), "acme")
	}
	if n := testing.AllocsPerRun(20, func() { verify(theirs, "globex") }); n > 3 {
		t.Errorf("a token that should be remembered took %.0f allocations", n)
	}
	if own, others := b.verifier.Remembered("acme"), b.verifier.Remembered("globex"); own != 4 || others != 1 {
		t.Errorf("%d and %d are remembered, want 4 and 1", own, others)
	}
	b.verifier.Retain(func(tenant string) bool { return tenant == "acme" })
	if own, others := b.verifier.Remembered("acme"), b.verifier.Remembered("globex"); own != 4 || others != 0 {
		t.Errorf("afterwards %d and %d, want 4 and 0", own, others)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*token.Issuer){
		"issuer":       func(i *token.Issuer) { i.Name = "" },
		"audience":     func(i *token.Issuer) { i.Audience = "" },
		"jwks_url":     func(i *token.Issuer) { i.JWKSFile = "" },
		"algorithms":   func(i *token.Issuer) { i.Algorithms = []string{"HS256"} },
		"tenants":      func(i *token.Issuer) { i.Tenants = map[string]string{"a": "Not A Name"} },
		"tenant_claim": func(i *token.Issuer) { i.TenantClaim = "" },
		"required_for": func(i *token.Issuer) { i.RequiredFor = []string{"globex"} },
		"max_lifetime": func(i *token.Issuer) { i.MaxLifetime = 0 },
		"outage":       func(i *token.Issuer) { i.Outage = time.Second },
		"throttle":     func(i *token.Issuer) { i.Throttle = 0 },
	} {
		i := token.DefaultIssuer()
		i.Name, i.Audience, i.JWKSFile, i.Algorithms, i.Tenants = issuerName, "weft", "f", []string{"RS256"}, map[string]string{"acme": "acme"}
		if err := i.Validate(); err != nil {
			t.Fatalf("before the change: %v", err)
		}
		change(&i)
		if err := i.Validate(); err == nil || !strings.Contains(fmt.Sprint(codes(err)), want) {
			t.Errorf("%s: %v", want, err)
		}
		o := token.DefaultOptions()
		o.Issuers = []token.Issuer{i}
		if _, err := token.New(o); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: New: %v", want, err)
		}
	}
	for _, address := range []string{"http://a/j", "https://", "https://u:p@a/j", "https://a/j#f", "file:///j", "a"} {
		i := token.DefaultIssuer()
		i.Name, i.Audience, i.JWKSURL, i.Algorithms, i.Tenants = issuerName, "weft", address, []string{"RS256"}, map[string]string{"acme": "acme"}
		if i.Validate() == nil {
			t.Errorf("%s is accepted", address)
		}
	}
}

func codes(err error) (out []string) {
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		out = append(out, fault.CodeOf(one))
	}
	return out
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

func BenchmarkVerify(b *testing.B) {
	w := newBench(b, nil)
	for _, c := range []struct{ alg, kid string }{{"ES256", "ec"}, {"RS256", "rsa"}} {
		key := map[string]any{"ES256": w.ec, "RS256": w.rsa}[c.alg]
		raw := w.sign(c.alg, c.kid, key, w.claims(nil), nil)
		b.Run(c.alg+"/remembered", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, code := w.verify(b, raw); code != "" {
					b.Fatal(code)
				}
			}
		})
		b.Run(c.alg+"/first", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.verifier.Retain(func(string) bool { return false })
				if _, code := w.verify(b, raw); code != "" {
					b.Fatal(code)
				}
			}
		})
	}
}
