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
	"sync/atomic"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

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
	start    time.Time
	ahead    *atomic.Int64 // by which the clock is beyond start
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
	b.start, b.ahead = time.Now(), new(atomic.Int64)
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
	o.Now = b.now
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

// now stands still until the test moves it.
func (b *bench) now() time.Time { return b.start.Add(time.Duration(b.ahead.Load())) }

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
	for _, c := range []struct {
		after time.Duration
		want  string
	}{{0, ""}, {time.Hour - 2*time.Second, ""}, {time.Hour, token.CodeExpired}, {0, ""}, {2 * time.Hour, token.CodeExpired}} {
		b.ahead.Store(int64(c.after))
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
