package signature_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/signature"
)

var update = flag.Bool("update", false, "write the vectors in deploy/docs/vectors anew")

const vectorDir = "../../deploy/docs/vectors/"

// syncVectors compares want with the published file, or writes it.
func syncVectors[V any](t *testing.T, scheme string, notes []string, want []V) {
	t.Helper()
	type file struct {
		Scheme  string   `json:"scheme"`
		Notes   []string `json:"notes"`
		Vectors []V      `json:"vectors"`
	}
	path := vectorDir + scheme + ".json"
	if *update {
		text, err := json.MarshalIndent(file{scheme, notes, want}, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got file
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, file{scheme, notes, want}) {
		t.Errorf("%s is not what the specification's words give: a change of the scheme needs a new version", path)
	}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// webhookVector is one case of standard-webhooks.json, standard-webhooks-v1a.json or body.json.
type webhookVector struct {
	Comment   string `json:"comment"`
	Secret    string `json:"secret_base64,omitempty"`
	Private   string `json:"private_key_base64,omitempty"` // the seed
	Public    string `json:"public_key_base64,omitempty"`
	ID        string `json:"webhook_id,omitempty"`
	Timestamp string `json:"webhook_timestamp,omitempty"`
	Body      string `json:"body_base64"`
	Signed    string `json:"signed_base64,omitempty"`
	Signature string `json:"signature"`
	Valid     bool   `json:"valid"`
}

// raw signs content by the specification's words, with the standard library alone.
func (v *webhookVector) raw(content []byte) []byte {
	if v.Private != "" {
		seed, _ := base64.StdEncoding.DecodeString(v.Private)
		return ed25519.Sign(ed25519.NewKeyFromSeed(seed), content)
	}
	secret, _ := base64.StdEncoding.DecodeString(v.Secret)
	m := hmac.New(sha256.New, secret)
	m.Write(content)
	return m.Sum(nil)
}

func (v *webhookVector) sign(scheme string) {
	body, _ := base64.StdEncoding.DecodeString(v.Body)
	content := []byte(v.ID + "." + v.Timestamp + "." + string(body))
	switch scheme {
	case "body":
		v.Signature = hex.EncodeToString(v.raw(body))
	case "standard-webhooks":
		v.Signature = "v1," + b64(v.raw(content))
	default:
		v.Signature = "v1a," + b64(v.raw(content))
	}
	if scheme != "body" {
		v.Signed = b64(content)
	}
	v.Valid = true
}

func goodWebhooks(scheme string) []webhookVector {
	list := []webhookVector{
		{Comment: "one event", ID: "msg-0", Body: b64([]byte(`{"event_id":"e-1"}`))},
		{Comment: "a batch", ID: "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", Timestamp: "1674087231", Body: b64([]byte(`[{"event_id":"e-1"},{"event_id":"e-2"}]`))},
		{Comment: "the longest id, of every kind of character", ID: "!~/:" + strings.Repeat("x", 124), Timestamp: "999999999999", Body: b64([]byte("[]"))},
		{Comment: "a body that is no text", ID: "msg-3", Body: b64([]byte{0, 0xff, '\n', '.', 0x80})},
		{Comment: "an empty body", ID: "msg-4"},
	}
	for i := range list {
		v := &list[i]
		if v.Timestamp == "" {
			v.Timestamp = "1767323045"
		}
		switch scheme {
		case "body":
			v.ID, v.Timestamp = "", ""
			v.Secret = b64([]byte("0123456789abcdef0123456789abcdef"))
		case "standard-webhooks":
			v.Secret = b64([]byte("0123456789abcdef0123456789abcdef"))
		default:
			seed := []byte("0123456789abcdef0123456789abcdef")
			v.Private = b64(seed)
			v.Public = b64(ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey))
		}
		v.sign(scheme)
	}
	return list
}

// webhookMutations are g with one thing changed and the old signature; some are not refused, by the rules of lists.
func webhookMutations(scheme string, g webhookVector) []webhookVector {
	var out []webhookVector
	add := func(valid bool, what string, change func(*webhookVector)) {
		v := g
		change(&v)
		v.Comment, v.Valid, v.Signed = g.Comment+": "+what, valid, ""
		out = append(out, v)
	}
	flip := func(s *string) {
		b, _ := base64.StdEncoding.DecodeString(*s)
		b[0] ^= 1
		*s = b64(b)
	}
	if g.Secret != "" {
		add(false, "secret with a bit flipped", func(v *webhookVector) { flip(&v.Secret) })
		add(false, "empty secret", func(v *webhookVector) { v.Secret = "" })
	} else {
		add(false, "another public key", func(v *webhookVector) {
			v.Private = ""
			v.Public = b64(ed25519.NewKeyFromSeed([]byte("another seed of thirty-two bytes")).Public().(ed25519.PublicKey))
		})
		add(false, "an HMAC with the public key as its secret", func(v *webhookVector) {
			h := *v
			h.Private, h.Secret = "", v.Public
			h.sign("standard-webhooks")
			v.Signature = h.Signature
		})
	}
	body, _ := base64.StdEncoding.DecodeString(g.Body)
	add(false, "body longer", func(v *webhookVector) { v.Body = b64(append(bytes.Clone(body), ' ')) })
	if len(body) > 0 {
		add(false, "body with a bit flipped", func(v *webhookVector) { flip(&v.Body) })
		add(false, "body shorter", func(v *webhookVector) { v.Body = b64(body[1:]) })
	}
	add(false, "signature empty", func(v *webhookVector) { v.Signature = "" })
	add(false, "signature cut", func(v *webhookVector) { v.Signature = v.Signature[:len(v.Signature)-4] })
	add(false, "signature longer", func(v *webhookVector) { v.Signature += "AAAA" })
	add(false, "signature in upper case", func(v *webhookVector) { v.Signature = strings.ToUpper(v.Signature) })
	if scheme == "body" {
		add(false, "with a prefix", func(v *webhookVector) { v.Signature = "sha256=" + v.Signature })
		add(false, "signature in base64", func(v *webhookVector) { b, _ := hex.DecodeString(v.Signature); v.Signature = b64(b) })
		add(false, "twice", func(v *webhookVector) { v.Signature += " " + v.Signature })
		return out
	}
	version, value, _ := strings.Cut(g.Signature, ",")
	add(false, "webhook-id", func(v *webhookVector) { v.ID = "other" })
	add(false, "webhook-timestamp", func(v *webhookVector) { v.Timestamp = "1767323046" })
	add(false, "webhook-timestamp with a leading zero", func(v *webhookVector) { v.Timestamp = "0" + v.Timestamp })
	add(false, "a dot moved from the separator into the id", func(v *webhookVector) { v.ID, v.Timestamp = v.ID+"."+v.Timestamp, "" })
	add(false, "of another version", func(v *webhookVector) { v.Signature = "v2," + value })
	add(false, "version in upper case", func(v *webhookVector) { v.Signature = "V" + v.Signature[1:] })
	add(false, "without version", func(v *webhookVector) { v.Signature = value })
	add(false, "with = for a comma", func(v *webhookVector) { v.Signature = version + "=" + value })
	add(false, "without padding", func(v *webhookVector) { v.Signature = strings.TrimRight(v.Signature, "=") })
	add(false, "in base64 that is not canonical", func(v *webhookVector) { // the unused bits of the last character are set
		end := strings.TrimRight(v.Signature, "=")
		last := strings.IndexByte(alphabet, end[len(end)-1])
		v.Signature = end[:len(end)-1] + alphabet[last+1:last+2] + v.Signature[len(end):]
	})
	add(false, "space in front", func(v *webhookVector) { v.Signature = " " + v.Signature })
	add(false, "commas between signatures", func(v *webhookVector) { v.Signature += "," + v.Signature })
	add(false, "more than four signatures", func(v *webhookVector) { v.Signature = strings.Repeat("v1,AAAA ", 4) + v.Signature })
	add(true, "the second of a list", func(v *webhookVector) { v.Signature = "v1,AAAA " + v.Signature })
	add(true, "before one of a version to come", func(v *webhookVector) { v.Signature += " v9,AAAA" })
	return out
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// verify is what the package says to a vector.
func (v *webhookVector) verify(t *testing.T, scheme string) bool {
	t.Helper()
	body := unb64(t, v.Body)
	if scheme == "body" {
		return signature.VerifyBody(unb64(t, v.Secret), body, v.Signature)
	}
	if signature.ValidateWebhook(v.ID, v.Timestamp, v.Signature) != nil {
		return false
	}
	content := signature.AppendWebhook(nil, v.ID, v.Timestamp, body)
	if v.Valid && v.Signed != "" && !bytes.Equal(content, unb64(t, v.Signed)) {
		t.Errorf("%s: what is signed is %q", v.Comment, content)
	}
	if scheme == "standard-webhooks" {
		return signature.VerifyWebhook(unb64(t, v.Secret), content, v.Signature)
	}
	return signature.VerifyWebhookEd25519(unb64(t, v.Public), content, v.Signature)
}

func TestWebhookVectors(t *testing.T) {
	for _, scheme := range []string{"standard-webhooks", "standard-webhooks-v1a", "body"} {
		var want []webhookVector
		for _, g := range goodWebhooks(scheme) {
			want = append(append(want, g), webhookMutations(scheme, g)...)
		}
		syncVectors(t, scheme, []string{
			"signed_base64 is what is signed, where the signature is over more than the body; present in unchanged vectors",
			"every other vector differs from a good one in one thing; valid says whether it must be accepted",
		}, want)
		for _, v := range want {
			if got := v.verify(t, scheme); got != v.Valid {
				t.Errorf("%s: %s: %v", scheme, v.Comment, got)
			}
			if v.Signed == "" || !v.Valid {
				continue
			}
			content := unb64(t, v.Signed)
			sign := func() string { return signature.SignWebhook(unb64(t, v.Secret), content) }
			if v.Private != "" {
				sign = func() string {
					return signature.SignWebhookEd25519(ed25519.NewKeyFromSeed(unb64(t, v.Private)), content)
				}
			}
			if got := sign(); got != v.Signature {
				t.Errorf("%s: %s: signed %s", scheme, v.Comment, got)
			}
		}
	}
}

// The example of the Standard Webhooks specification and its reference libraries.
func TestWebhookSpecificationExample(t *testing.T) {
	secret := unb64(t, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	content := signature.AppendWebhook(nil, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := signature.SignWebhook(secret, content); got != want || !signature.VerifyWebhook(secret, content, want) {
		t.Errorf("%s, want %s", got, want)
	}
}

// No two requests share what is signed, of one scheme or of two.
func TestSignedStringsAreUnique(t *testing.T) {
	type webhook struct{ id, timestamp, body string }
	draw := func(rt *rapid.T, name string) webhook {
		text := rapid.StringMatching(`[1a.\n]{0,4}`)
		return webhook{text.Draw(rt, name+" id"), rapid.StringMatching(`[1.]{0,3}`).Draw(rt, name+" timestamp"), text.Draw(rt, name+" body")}
	}
	valid := func(w webhook) bool { return signature.ValidateWebhook(w.id, w.timestamp, "v1,AAAA") == nil }
	content := func(w webhook) string {
		return string(signature.AppendWebhook(nil, w.id, w.timestamp, []byte(w.body)))
	}
	rapid.Check(t, func(rt *rapid.T) {
		a, b := draw(rt, "a"), draw(rt, "b")
		if a != b && valid(a) && valid(b) && content(a) == content(b) {
			rt.Fatalf("%+v and %+v are signed as %q", a, b, content(a))
		}
		r := drawRequest(rt, "r")
		if valid(a) && r.Validate() == nil && content(a) == string(r.Append(nil)) {
			rt.Fatalf("%+v and %+v are signed as %q", a, r, content(a))
		}
		if valid(a) && json.Valid([]byte(content(a))) {
			rt.Fatalf("what %+v signs is a body too: %q", a, content(a))
		}
	})
	r := signature.Request{Kid: "k", Timestamp: "1", RequestID: "r", Method: "POST", Host: "h", Target: "/"}
	if json.Valid(r.Append(nil)) {
		t.Error("what weft-v1 signs is a body too")
	}
}

// FuzzWebhook gives the three headers any text: what is accepted splits in one way, and only the right signature
// passes.
func FuzzWebhook(f *testing.F) {
	secret, key := []byte("secret"), ed25519.NewKeyFromSeed(make([]byte, 32))
	f.Add("msg", "1", "v1,AAAA", []byte("{}"))
	f.Add("m.1", "1", "v1,AAAA v1a,BBBB", []byte("1.x"))
	f.Fuzz(func(t *testing.T, id, timestamp, list string, body []byte) {
		content := signature.AppendWebhook(nil, id, timestamp, body)
		mac, sig := signature.SignWebhook(secret, content), signature.SignWebhookEd25519(key, content)
		wellFormed := signature.ValidateWebhook(id, timestamp, list) == nil
		if wellFormed {
			i, ts, rest := cutTwice(string(content))
			if i != id || ts != timestamp || rest != string(body) {
				t.Fatalf("%q reads back as %q, %q, %q", content, i, ts, rest)
			}
			if _, err := strconv.ParseInt(timestamp, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		holds := func(one string) bool {
			parts := strings.Split(list, " ")
			return len(parts) <= signature.MaxWebhookSignatures && contains(parts, one)
		}
		if signature.VerifyWebhook(secret, content, list) && !holds(mac) {
			t.Fatalf("%q passes without %q", list, mac)
		}
		if signature.VerifyWebhookEd25519(key.Public().(ed25519.PublicKey), content, list) && !holds(sig) {
			t.Fatalf("%q passes without %q", list, sig)
		}
		if signature.ValidateWebhook("m", "1", list) == nil && strings.Count(list, " ") < signature.MaxWebhookSignatures-1 {
			for _, both := range []string{list + " " + mac, mac + " " + list} {
				if !signature.VerifyWebhook(secret, content, both) {
					t.Fatalf("%q does not pass", both)
				}
			}
		}
	})
}

func cutTwice(s string) (a, b, rest string) {
	a, rest, _ = strings.Cut(s, ".")
	b, rest, _ = strings.Cut(rest, ".")
	return a, b, rest
}

func contains(list []string, one string) bool {
	for _, s := range list {
		if s == one {
			return true
		}
	}
	return false
}

// FuzzVerifyBody gives VerifyBody any header: only the one right text passes.
func FuzzVerifyBody(f *testing.F) {
	secret := []byte("secret")
	f.Add("00", []byte("{}"))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		want := signature.SignBody(secret, body)
		if signature.VerifyBody(secret, body, header) != (header == want) || !signature.VerifyBody(secret, body, want) || signature.VerifyBody(nil, body, want) {
			t.Fatalf("%q", header)
		}
	})
}
