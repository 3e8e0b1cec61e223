package intake_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay/intake"
)

// edKey is the producer's private key in these tests; the mesh has its public half.
var edKey = ed25519.NewKeyFromSeed([]byte("a seed of 32 bytes for the tests"))

func edPublic() string { return string(edKey.Public().(ed25519.PublicKey)) }

// addKey puts a key of acme's into the state, with its secret in the open.
func (w *world) addKey(kid, sealed string, algorithms ...string) *keyring.Key {
	k := &keyring.Key{Kid: kid, Tenant: "acme", State: keyring.Active, Algorithms: algorithms, Sealed: sealed}
	w.state.Keys[kid] = k
	return k
}

// newSchemes is a world with one key for each scheme, of the scheme's name.
func newSchemes(t testing.TB) *world {
	w := newWorld(t)
	for _, s := range []string{keyring.WeftV1, keyring.StandardWebhooks, keyring.Body} {
		w.addKey(s, secret, s)
	}
	w.addKey(keyring.StandardWebhooksV1a, edPublic(), keyring.StandardWebhooksV1a)
	return w
}

// schemes are the names of all schemes.
var schemes = []string{keyring.WeftV1, keyring.StandardWebhooks, keyring.StandardWebhooksV1a, keyring.Body}

// request is an unsigned request on the connection of acme's producer.
func (w *world) request(body string) *http.Request {
	req, err := http.NewRequest(http.MethodPost, "https://relay/v1/events", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.RequestURI = "/v1/events"
	req.Header.Set("Content-Type", "application/json")
	req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{w.cert}}
	return req
}

// sign signs as the scheme says.
func (w *world) sign(req *http.Request, scheme, kid, id string, body []byte) {
	switch scheme {
	case keyring.StandardWebhooks:
		signature.SignHTTPWebhook(func(c []byte) string { return signature.SignWebhook([]byte(secret), c) }, req, kid, id, w.now, body)
	case keyring.StandardWebhooksV1a:
		signature.SignHTTPWebhook(func(c []byte) string { return signature.SignWebhookEd25519(edKey, c) }, req, kid, id, w.now, body)
	case keyring.Body:
		req.Header.Set(signature.KeyID, kid)
		req.Header.Set(signature.Signature, signature.SignBody([]byte(secret), body))
	default:
		signature.SignHTTP([]byte(secret), req, kid, id, w.now, body)
	}
}

// signed is a request of the scheme, changed after it was signed.
func (w *world) signed(scheme, kid string, change ...func(*http.Request)) *http.Request {
	body := w.event("e")
	req := w.request(body)
	w.sign(req, scheme, kid, "r-1", []byte(body))
	for _, f := range change {
		f(req)
	}
	return req
}

func set(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func (w *world) refused(t *testing.T, name string, req *http.Request, status int, code string) {
	t.Helper()
	if got := w.handler.Admit(req); got.Status != status || got.Code != code {
		t.Errorf("%s: %+v, want %d %s", name, got, status, code)
	}
}

func TestEverySchemeIsAccepted(t *testing.T) {
	w := newSchemes(t)
	id := fmt.Sprintf("r-1.%d", w.now.Unix())
	sum := sha256.Sum256([]byte(w.event("e")))
	for scheme, guard := range map[string]string{
		keyring.WeftV1:              "weft-v1 weft-v1 r-1",
		keyring.StandardWebhooks:    "standard-webhooks acme/ " + id,
		keyring.StandardWebhooksV1a: "standard-webhooks acme/ " + id,
		keyring.Body:                fmt.Sprintf("body body %x", sum),
	} {
		if got := w.handler.Admit(w.signed(scheme, scheme)); got != (intake.Admitted{Kid: scheme, Guard: guard}) {
			t.Errorf("%s: %+v", scheme, got)
		}
	}
	if want := map[string]int{"weft-v1 ok": 1, "standard-webhooks ok": 1, "standard-webhooks-v1a ok": 1, "body ok": 1}; !maps.Equal(w.signatures, want) {
		t.Errorf("counted %v", w.signatures)
	}
}

// A key is good for what it lists and for nothing else, whatever the request looks like.
func TestKeyDecidesTheScheme(t *testing.T) {
	w := newSchemes(t)
	for _, kid := range schemes {
		for _, scheme := range schemes {
			if kid == scheme {
				continue
			}
			code := "algorithm_not_allowed"
			if strings.HasPrefix(kid, "standard") && strings.HasPrefix(scheme, "standard") {
				code = "signature_invalid" // the same headers: only what they hold is not the key's
			}
			w.refused(t, scheme+" with the key for "+kid, w.signed(scheme, kid), 401, code)
		}
	}
}

// Everyone may know a public key: as the secret of an HMAC it must be worth nothing.
func TestPublicKeyIsNoSecret(t *testing.T) {
	w := newSchemes(t)
	public := []byte(edPublic())
	for _, list := range [][]string{
		{keyring.StandardWebhooksV1a},
		{keyring.StandardWebhooksV1a, keyring.WeftV1, keyring.StandardWebhooks, keyring.Body}, // a record that should not be
	} {
		w.addKey("public", string(public), list...)
		body := w.event("e")
		hmacs := map[string]func(*http.Request){
			"weft-v1": func(r *http.Request) { signature.SignHTTP(public, r, "public", "r", w.now, []byte(body)) },
			"standard-webhooks": func(r *http.Request) {
				signature.SignHTTPWebhook(func(c []byte) string { return signature.SignWebhook(public, c) }, r, "public", "r", w.now, []byte(body))
			},
			"body": func(r *http.Request) {
				r.Header.Set(signature.KeyID, "public")
				r.Header.Set(signature.Signature, signature.SignBody(public, []byte(body)))
			},
		}
		for name, sign := range hmacs {
			req := w.request(body)
			sign(req)
			if got := w.handler.Admit(req); got.Status != 401 {
				t.Errorf("%q: an HMAC %s under the public key: %+v", list, name, got)
			}
		}
	}
	// The other way: an HMAC secret of 32 bytes is not taken for a public key.
	w.addKey("secret", edPublic(), keyring.StandardWebhooks)
	w.refused(t, "an Ed25519 signature for a key of HMACs", w.signed(keyring.StandardWebhooksV1a, "secret"), 401, "signature_invalid")
}

func TestPublicKeyOfSmallOrderIsNotOpened(t *testing.T) {
	w := newSchemes(t)
	w.addKey("weak", "\x01"+strings.Repeat("\x00", 31), keyring.StandardWebhooksV1a)
	forged := "v1a," + base64.StdEncoding.EncodeToString(append([]byte{1}, make([]byte, 63)...))
	w.refused(t, "forged", w.signed(keyring.StandardWebhooksV1a, "weak", set(signature.WebhookSignature, forged)), 503, "key_unavailable")
}

func TestSchemesAreNotMixed(t *testing.T) {
	w := newSchemes(t)
	for name, req := range map[string]*http.Request{
		"webhook and X-Signature":    w.signed(keyring.StandardWebhooks, keyring.StandardWebhooks, set(signature.Signature, "v1=00")),
		"webhook and X-Timestamp":    w.signed(keyring.StandardWebhooks, keyring.StandardWebhooks, set(signature.Timestamp, "1")),
		"webhook and X-Request-Id":   w.signed(keyring.StandardWebhooksV1a, keyring.StandardWebhooksV1a, set(signature.RequestID, "r")),
		"webhook and an empty value": w.signed(keyring.StandardWebhooks, keyring.StandardWebhooks, set(signature.RequestID, "")),
		"weft-v1 and webhook-id":     w.signed(keyring.WeftV1, keyring.WeftV1, set(signature.WebhookID, "m")),
		"body and webhook-signature": w.signed(keyring.Body, keyring.Body, set(signature.WebhookSignature, "v1,x")),
	} {
		w.refused(t, name, req, 400, "schemes_mixed")
	}
}

// What a scheme does not sign is held to one value.
func TestUnsignedPartsArePinned(t *testing.T) {
	w := newSchemes(t)
	for _, scheme := range []string{keyring.StandardWebhooks, keyring.StandardWebhooksV1a, keyring.Body} {
		for name, c := range map[string]struct {
			change func(*http.Request)
			status int
			code   string
		}{
			"query":               {func(r *http.Request) { r.RequestURI += "?results=all" }, 400, "invalid_query"},
			"empty query":         {func(r *http.Request) { r.RequestURI += "?" }, 400, "invalid_query"},
			"path":                {func(r *http.Request) { r.RequestURI = "/v1/other" }, 404, "not_found"},
			"method":              {func(r *http.Request) { r.Method = "PUT" }, 405, "method_not_allowed"},
			"host":                {func(r *http.Request) { r.Host = "other" }, 421, "host_unknown"},
			"lines":               {set("Content-Type", "application/x-ndjson"), 415, "content_type"},
			"type in other case":  {set("Content-Type", "application/JSON"), 415, "content_type"},
			"parameter":           {set("Content-Type", "application/json;charset=utf-8"), 415, "content_type"},
			"encoding":            {set("Content-Encoding", "identity"), 415, "content_encoding"},
			"compressed":          {set("Content-Encoding", "gzip"), 415, "content_encoding"},
			"kid missing":         {func(r *http.Request) { r.Header.Del(signature.KeyID) }, 401, "signature_missing"},
			"kid twice":           {func(r *http.Request) { r.Header.Add(signature.KeyID, scheme) }, 400, "header_repeated"},
			"kid malformed":       {set(signature.KeyID, "../x"), 401, "invalid_key_id"},
			"body":                {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("{}")) }, 401, "signature_invalid"},
			"empty body":          {func(r *http.Request) { r.Body = http.NoBody }, 401, "signature_invalid"},
			"no certificate":      {func(r *http.Request) { r.TLS = nil }, 403, "identity_mismatch"},
			"charset of its type": {set("Content-Type", "application/json; charset=utf-8"), 0, ""},
		} {
			w.refused(t, scheme+" "+name, w.signed(scheme, scheme, c.change), c.status, c.code)
		}
	}
}

func TestWebhookHeaders(t *testing.T) {
	w := newSchemes(t)
	const kid = keyring.StandardWebhooks
	ok := w.signed(kid, kid).Header.Get(signature.WebhookSignature)
	for list, code := range map[string]string{
		ok: "", "v1,AAAA " + ok: "", ok + " v1a,AAAA": "", "v9,AAAA " + ok: "", "v1,A v1,A v1,A " + ok: "",
		"v1,A v1,A v1,A v1,A " + ok: "invalid_webhook_signature",
		" " + ok:                    "invalid_webhook_signature", ok + " ": "invalid_webhook_signature", "v1,A  " + ok: "invalid_webhook_signature",
		ok[3:]: "invalid_webhook_signature", "v1=" + ok[3:]: "invalid_webhook_signature", "V1" + ok[2:]: "invalid_webhook_signature", "," + ok: "invalid_webhook_signature",
		"v1a" + ok[2:]: "signature_invalid", "v2" + ok[2:]: "signature_invalid", ok[:len(ok)-1]: "signature_invalid", ok + "=": "signature_invalid",
	} {
		status := 0
		if code != "" {
			status = 401
		}
		w.refused(t, list, w.signed(kid, kid, set(signature.WebhookSignature, list)), status, code)
	}
	for name, c := range map[string]struct{ header, value, code string }{
		"dot in the id":     {signature.WebhookID, "r.1", "invalid_webhook_id"},
		"space in the id":   {signature.WebhookID, "r 1", "invalid_webhook_id"},
		"long id":           {signature.WebhookID, strings.Repeat("i", 129), "invalid_webhook_id"},
		"other id":          {signature.WebhookID, "r-2", "signature_invalid"},
		"no id":             {signature.WebhookID, "", "signature_missing"},
		"timestamp":         {signature.WebhookTimestamp, "1e9", "invalid_timestamp"},
		"refreshed":         {signature.WebhookTimestamp, fmt.Sprint(w.now.Unix() + 1), "signature_invalid"},
		"no timestamp":      {signature.WebhookTimestamp, "", "signature_missing"},
		"no signature":      {signature.WebhookSignature, "", "signature_missing"},
		"of another scheme": {signature.WebhookSignature, "v1=" + strings.Repeat("0", 64), "invalid_webhook_signature"},
	} {
		w.refused(t, name, w.signed(kid, kid, set(c.header, c.value)), 401, c.code)
	}
	late := w.signed(kid, kid)
	w.now = w.now.Add(301 * time.Second)
	w.refused(t, "301 s later", late, 401, "timestamp_skew")
}

// The scheme body has no time: only the replay guard and the streams stop a copy.
func TestBodySchemeHasNoTime(t *testing.T) {
	w := newSchemes(t)
	req := w.signed(keyring.Body, keyring.Body)
	w.now = w.now.Add(30 * time.Minute) // the certificate lives for an hour
	w.refused(t, "half an hour later", req, 0, "")
}

// A sender whose secret is replaced may be told of the new secret and of the new kid in any order.
func TestRotationOfWebhookSecrets(t *testing.T) {
	const old, next = "an old secret of thirty-two bytes", secret
	w := newSchemes(t)
	delete(w.state.Keys, keyring.StandardWebhooks)
	delete(w.state.Keys, keyring.StandardWebhooksV1a)
	first := w.addKey("first", old, keyring.StandardWebhooks)
	second := w.addKey("second", next, keyring.StandardWebhooks)
	second.CreatedAt = w.now
	w.handler.Follow(w.state)

	sign := func(kid string, secrets ...string) *http.Request {
		var list []string
		return w.signed(keyring.StandardWebhooks, kid, func(r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			for _, s := range secrets {
				list = append(list, signature.SignWebhook([]byte(s), signature.AppendWebhook(nil, "r-1", fmt.Sprint(w.now.Unix()), body)))
			}
			r.Header.Set(signature.WebhookSignature, strings.Join(list, " "))
		})
	}
	guards := map[string]bool{}
	for name, c := range map[string]struct {
		req    *http.Request
		signer string
	}{
		"old kid, old secret":   {sign("first", old), "first"},
		"old kid, new secret":   {sign("first", next), "second"},
		"new kid, old secret":   {sign("second", old), "first"},
		"new kid, new secret":   {sign("second", next), "second"},
		"old kid, both secrets": {sign("first", next, old), "first"},
		"new kid, both secrets": {sign("second", old, next), "second"},
	} {
		got := w.handler.Admit(c.req)
		if got.Kid != c.signer {
			t.Errorf("%s: %+v, want %s", name, got, c.signer)
		}
		guards[got.Guard] = true
	}
	if len(guards) != 1 {
		t.Errorf("a copy with another kid is another request to the guard: %v", guards)
	}

	for name, change := range map[string]func(k *keyring.Key){
		"revoked":        func(k *keyring.Key) { k.State, k.Sealed = keyring.Revoked, "" },
		"pending":        func(k *keyring.Key) { k.State = keyring.Pending },
		"grace is over":  func(k *keyring.Key) { k.State, k.GraceUntil = keyring.Grace, w.now.Add(-1) },
		"other tenant":   func(k *keyring.Key) { k.Tenant = "globex" },
		"other producer": func(k *keyring.Key) { k.Producer = "batch" },
		"other scheme":   func(k *keyring.Key) { k.Algorithms = []string{keyring.WeftV1} },
	} {
		changed := *first
		change(&changed)
		w.state.Keys["first"] = &changed
		for _, follow := range []bool{false, true} { // what the handler keeps may be old, what it decides is not
			if follow {
				w.handler.Follow(w.state)
			}
			w.refused(t, "signed by a key that is "+name, sign("second", old), 401, "signature_invalid")
		}
		w.state.Keys["first"] = first
		w.handler.Follow(w.state)
	}
	first.State, first.Sealed = keyring.Revoked, ""
	w.refused(t, "a revoked kid over a good signature", sign("first", next), 401, "key_revoked")
}

// Whoever proves nothing learns nothing about the keys of another tenant.
func TestForeignKeysAreLikeUnknownOnes(t *testing.T) {
	w := newSchemes(t)
	w.state.Tenants["gone"] = &accounts.Tenant{Name: "gone", State: accounts.Removed}
	for kid, change := range map[string]func(*keyring.Key){
		"good": func(*keyring.Key) {}, "pending": func(k *keyring.Key) { k.State = keyring.Pending },
		"revoked": func(k *keyring.Key) { k.State, k.Sealed = keyring.Revoked, "" }, "gone": func(k *keyring.Key) { k.Tenant = "gone" },
		"other": func(k *keyring.Key) { k.Algorithms = []string{keyring.Body} },
	} {
		change(w.addKey(kid, "another secret", keyring.WeftV1))
	}
	certificate := w.cert
	w.cert = w.issue(pki.Principal{Role: pki.RoleTenant, Tenant: "globex", Producer: "p"})
	unknown := w.serve(w.signed(keyring.WeftV1, "nobody"))
	for _, kid := range []string{"good", "pending", "revoked", "gone", "other"} {
		if got := w.serve(w.signed(keyring.WeftV1, kid)); got.Code != 401 || got.Body.String() != unknown.Body.String() || !reflect.DeepEqual(got.Header(), unknown.Header()) {
			t.Errorf("%s: %d %s, an unknown kid: %s", kid, got.Code, got.Body, unknown.Body)
		}
	}
	w.refused(t, "another's key and secret", w.signed(keyring.WeftV1, keyring.WeftV1), 403, "identity_mismatch")
	w.cert = certificate
	w.refused(t, "one's own key", w.signed(keyring.WeftV1, "revoked"), 401, "key_revoked")
}
