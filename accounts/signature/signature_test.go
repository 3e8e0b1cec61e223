package signature_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/fault"
)

// vector is one case of weft-v1.json.
type vector struct {
	Comment         string `json:"comment"`
	Secret          string `json:"secret_base64"`
	Kid             string `json:"kid"`
	Timestamp       string `json:"timestamp"`
	RequestID       string `json:"request_id"`
	Method          string `json:"method"`
	Host            string `json:"host"`
	Target          string `json:"target"`
	ContentType     string `json:"content_type"`
	ContentEncoding string `json:"content_encoding"`
	Body            string `json:"body_base64"`
	Canonical       string `json:"canonical"`
	Signature       string `json:"signature"`
	Valid           bool   `json:"valid"`
}

func (v vector) parts(t testing.TB) (secret []byte, r *signature.Request) {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	body, err := base64.StdEncoding.DecodeString(v.Body)
	if err != nil {
		t.Fatal(err)
	}
	return secret, &signature.Request{
		Kid: v.Kid, Timestamp: v.Timestamp, RequestID: v.RequestID, Method: v.Method, Host: v.Host, Target: v.Target,
		ContentType: v.ContentType, ContentEncoding: v.ContentEncoding, BodySHA256: sha256.Sum256(body),
	}
}

// good are the requests from which the vectors are made; their signatures are computed here with the
// standard library alone, so that the file does not merely repeat the package.
func good() []vector {
	secret := b64([]byte("0123456789abcdef0123456789abcdef"))
	list := []vector{
		{Comment: "one event", ContentType: "application/json", Body: b64([]byte(`{"event_id":"e-1"}`))},
		{Comment: "batch with a query and a gzip body", Target: "/v1/events?results=all", ContentType: "application/x-ndjson", ContentEncoding: "gzip", Body: b64([]byte{0x1f, 0x8b, 0, 0xff, '\n', 0})},
		{Comment: "empty body, no content type", Method: "GET", Target: "/v1/events"},
		{Comment: "host in upper case and with a port", Host: "Relay.EU.Example.COM:8443", ContentType: "application/json; charset=utf-8", Body: b64([]byte("[]"))},
		{Comment: "encoded path is signed as sent", Target: "/v1/events/%7Euser?a=%20b&c=d+e", ContentType: "application/cloudevents+json", Body: b64([]byte("{}"))},
		{Comment: "bytes that are no UTF-8 in the content type", ContentType: "application/json; x=\u00ff", Body: b64([]byte("x"))},
		{Comment: "longest ids", Kid: strings.Repeat("K", 64), RequestID: strings.Repeat("r", 64), Timestamp: "999999999999", ContentType: "application/json", Body: b64([]byte("x"))},
		{Comment: "a key of 100 bytes, longer than the hash's block", Secret: b64(bytes.Repeat([]byte{0xaa}, 100)), ContentType: "application/json", Body: b64([]byte("x"))},
	}
	for i := range list {
		v := &list[i]
		def := func(p *string, s string) {
			if *p == "" {
				*p = s
			}
		}
		def(&v.Secret, secret)
		def(&v.Kid, "acme-1")
		def(&v.Timestamp, "1767323045")
		def(&v.RequestID, fmt.Sprintf("req-%d", i))
		def(&v.Method, "POST")
		def(&v.Host, "relay.eu.example.com")
		def(&v.Target, "/v1/events")
		v.sign()
	}
	return list
}

// sign fills in the canonical string and the signature by the specification's words.
func (v *vector) sign() {
	secret, _ := base64.StdEncoding.DecodeString(v.Secret)
	body, _ := base64.StdEncoding.DecodeString(v.Body)
	sum := sha256.Sum256(body)
	v.Canonical = strings.Join([]string{"weft-v1", v.Kid, v.Timestamp, v.RequestID, v.Method, strings.ToLower(v.Host), v.Target,
		v.ContentType, v.ContentEncoding, hex.EncodeToString(sum[:])}, "\n")
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(v.Canonical))
	v.Signature = "v1=" + hex.EncodeToString(m.Sum(nil))
	v.Valid = true
}

// mutations are g with one thing changed and the old signature.
func mutations(g vector) []vector {
	body, _ := base64.StdEncoding.DecodeString(g.Body)
	secret, _ := base64.StdEncoding.DecodeString(g.Secret)
	var out []vector
	add := func(what string, change func(*vector)) {
		v := g
		change(&v)
		v.Comment, v.Canonical, v.Valid = g.Comment+": "+what, "", false
		out = append(out, v)
	}
	add("other secret", func(v *vector) { v.Secret = b64(append([]byte{1}, secret...)) })
	add("secret with a bit flipped", func(v *vector) { s := bytes.Clone(secret); s[0] ^= 1; v.Secret = b64(s) })
	add("empty secret", func(v *vector) { v.Secret = "" })
	add("kid", func(v *vector) { v.Kid = "other" })
	add("timestamp", func(v *vector) { v.Timestamp = "1767323046" })
	add("timestamp with a leading zero", func(v *vector) { v.Timestamp = "0" + v.Timestamp[1:] })
	add("request id", func(v *vector) { v.RequestID = "other" })
	add("method", func(v *vector) { v.Method = "PUT" })
	add("method in lower case", func(v *vector) { v.Method = strings.ToLower(v.Method) })
	add("kid in another case", func(v *vector) { v.Kid = "A" + v.Kid[1:] })
	add("timestamp empty", func(v *vector) { v.Timestamp = "" })
	add("timestamp in milliseconds", func(v *vector) { v.Timestamp += "000" })
	add("timestamp with a sign", func(v *vector) { v.Timestamp = "+" + v.Timestamp })
	add("request id empty", func(v *vector) { v.RequestID = "" })
	add("kid and request id exchanged", func(v *vector) { v.Kid, v.RequestID = v.RequestID, v.Kid })
	add("host", func(v *vector) { v.Host = "relay.us.example.com" })
	add("host with a port", func(v *vector) { v.Host += ":1" })
	add("path", func(v *vector) { v.Target = "/v2/events" })
	add("query added", func(v *vector) { v.Target += "?" })
	add("content type", func(v *vector) { v.ContentType = "text/plain" })
	add("content type in another case", func(v *vector) { v.ContentType = "A" + v.ContentType })
	add("content encoding", func(v *vector) { v.ContentEncoding += "br" })
	if g.ContentType != g.ContentEncoding {
		add("content type and encoding exchanged", func(v *vector) { v.ContentType, v.ContentEncoding = v.ContentEncoding, v.ContentType })
	}
	add("query in another order", func(v *vector) { v.Target += "&x=1" })
	add("path encoded", func(v *vector) { v.Target = "/%76" + v.Target[2:] })
	add("body empty or not", func(v *vector) { v.Body = map[bool]string{true: b64([]byte("{}")), false: ""}[v.Body == ""] })
	add("body longer", func(v *vector) { v.Body = b64(append(bytes.Clone(body), 0)) })
	add("a line moved from one field to the next", func(v *vector) { v.Target, v.ContentType = v.Target+"\n"+v.ContentType, v.ContentEncoding })
	add("signature empty", func(v *vector) { v.Signature = "" })
	add("signature without prefix", func(v *vector) { v.Signature = v.Signature[3:] })
	add("signature in upper case", func(v *vector) { v.Signature = "v1=" + strings.ToUpper(v.Signature[3:]) })
	add("prefix in upper case", func(v *vector) { v.Signature = "V1=" + v.Signature[3:] })
	add("prefix of another version", func(v *vector) { v.Signature = "v2=" + v.Signature[3:] })
	add("signature cut", func(v *vector) { v.Signature = v.Signature[:len(v.Signature)-2] })
	add("signature longer", func(v *vector) { v.Signature += "00" })
	add("signature with a space", func(v *vector) { v.Signature = " " + v.Signature })
	add("two signatures", func(v *vector) { v.Signature += "," + v.Signature })
	add("signature in base64", func(v *vector) { raw, _ := hex.DecodeString(v.Signature[3:]); v.Signature = "v1=" + b64(raw) })
	return out
}

func TestVectors(t *testing.T) {
	var want []vector
	for _, g := range good() {
		want = append(append(want, g), mutations(g)...)
	}
	syncVectors(t, keyring.WeftV1, []string{
		"canonical is the signed string, present where valid is true",
		"every vector with valid false differs from a good one in one thing and must be refused",
	}, want)
	for _, v := range want {
		secret, r := v.parts(t)
		if v.Valid {
			if s := string(r.Append(nil)); s != v.Canonical {
				t.Errorf("%s: canonical string\n got %q\nwant %q", v.Comment, s, v.Canonical)
			}
			if s := signature.Sign(secret, r); s != v.Signature {
				t.Errorf("%s: Sign = %s, want %s", v.Comment, s, v.Signature)
			}
		}
		if ok := signature.Verify(secret, r, v.Signature); ok != v.Valid {
			t.Errorf("%s: Verify = %v", v.Comment, ok)
		}
	}
}

func TestEveryBitOfTheSignatureCounts(t *testing.T) {
	for _, v := range good() {
		secret, r := v.parts(t)
		for i := range len(v.Signature) * 8 {
			changed := []byte(v.Signature)
			changed[i/8] ^= 1 << (i % 8)
			if signature.Verify(secret, r, string(changed)) {
				t.Fatalf("%s: bit %d flipped is accepted: %q", v.Comment, i, changed)
			}
		}
	}
}

func TestEveryBitOfTheRequestCounts(t *testing.T) {
	for _, v := range good() {
		secret, base := v.parts(t)
		fields := map[string]func(*signature.Request) *string{
			"kid": func(r *signature.Request) *string { return &r.Kid }, "timestamp": func(r *signature.Request) *string { return &r.Timestamp },
			"request id": func(r *signature.Request) *string { return &r.RequestID }, "method": func(r *signature.Request) *string { return &r.Method },
			"host": func(r *signature.Request) *string { return &r.Host }, "target": func(r *signature.Request) *string { return &r.Target },
			"content type": func(r *signature.Request) *string { return &r.ContentType }, "content encoding": func(r *signature.Request) *string { return &r.ContentEncoding },
		}
		for name, field := range fields {
			for i := range len(*field(base)) * 8 {
				r := *base
				b := []byte(*field(&r))
				b[i/8] ^= 1 << (i % 8)
				*field(&r) = string(b)
				if name == "host" && strings.EqualFold(r.Host, base.Host) {
					continue // the case of the host is not signed
				}
				if signature.Verify(secret, &r, v.Signature) {
					t.Fatalf("%s: bit %d of %s flipped is accepted", v.Comment, i, name)
				}
			}
		}
		for i := range 256 {
			r := *base
			r.BodySHA256[i/8] ^= 1 << (i % 8)
			if signature.Verify(secret, &r, v.Signature) {
				t.Fatalf("%s: bit %d of the body's hash flipped is accepted", v.Comment, i)
			}
		}
	}
}

func TestValidate(t *testing.T) {
	_, base := good()[0].parts(t)
	if err := base.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, code string
		change     func(*signature.Request)
	}{
		{"no kid", "invalid_key_id", func(r *signature.Request) { r.Kid = "" }},
		{"kid with a space", "invalid_key_id", func(r *signature.Request) { r.Kid = "a b" }},
		{"no timestamp", "invalid_timestamp", func(r *signature.Request) { r.Timestamp = "" }},
		{"timestamp with a sign", "invalid_timestamp", func(r *signature.Request) { r.Timestamp = "+1" }},
		{"timestamp of 13 digits", "invalid_timestamp", func(r *signature.Request) { r.Timestamp = "1767323045000" }},
		{"timestamp with a fraction", "invalid_timestamp", func(r *signature.Request) { r.Timestamp = "1.5" }},
		{"timestamp in other digits", "invalid_timestamp", func(r *signature.Request) { r.Timestamp = "١" }},
		{"no request id", "invalid_request_id", func(r *signature.Request) { r.RequestID = "" }},
		{"request id of 65", "invalid_request_id", func(r *signature.Request) { r.RequestID = strings.Repeat("r", 65) }},
		{"no method", "invalid_method", func(r *signature.Request) { r.Method = "" }},
		{"method with a line break", "invalid_method", func(r *signature.Request) { r.Method = "GET\n" }},
		{"host with LF", "invalid_host", func(r *signature.Request) { r.Host = "a\nb" }},
		{"path with CR", "invalid_path", func(r *signature.Request) { r.Target = "/\r" }},
		{"content type with NUL", "invalid_content_type", func(r *signature.Request) { r.ContentType = "a\x00" }},
		{"content encoding with LF", "invalid_content_encoding", func(r *signature.Request) { r.ContentEncoding = "\n" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := *base
			tc.change(&r)
			if err := r.Validate(); fault.CodeOf(err) != tc.code {
				t.Errorf("got %v, want %s", err, tc.code)
			}
			if secret := []byte("secret"); signature.Verify(secret, &r, signature.Sign(secret, &r)) {
				t.Error("verified although the request is not valid")
			}
		})
	}
}

// TestSignHTTP signs with the client's own view of a request and verifies what a server received.
func TestSignHTTP(t *testing.T) {
	secret, body := []byte("0123456789abcdef"), []byte(`{"a":1}`)
	verified := make(chan bool, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		r := signature.Request{
			Kid: req.Header.Get(signature.KeyID), Timestamp: req.Header.Get(signature.Timestamp), RequestID: req.Header.Get(signature.RequestID),
			Method: req.Method, Host: req.Host, Target: req.RequestURI, ContentType: req.Header.Get("Content-Type"),
			ContentEncoding: req.Header.Get("Content-Encoding"), BodySHA256: sha256.Sum256(body),
		}
		verified <- r.Timestamp == "1767323045" && r.Kid == "acme-1" && r.RequestID == "r-1" && signature.Verify(secret, &r, req.Header.Get(signature.Signature))
	}))
	defer server.Close()
	for name, change := range map[string]func(*http.Request){
		"plain":         func(*http.Request) {},
		"query":         func(r *http.Request) { r.URL.RawQuery = "results=all&x=%20" },
		"encoded path":  func(r *http.Request) { r.URL.RawPath, r.URL.Path = "/v1/a%2Fb", "/v1/a/b" },
		"no path":       func(r *http.Request) { r.URL.Path = "" },
		"other host":    func(r *http.Request) { r.Host = "Relay.EU.example.com" },
		"encoded body":  func(r *http.Request) { r.Header.Set("Content-Encoding", "zstd") },
		"signed before": func(r *http.Request) { r.Header.Set(signature.Signature, "v1=old") },
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, server.URL+"/v1/events", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			change(req)
			signature.SignHTTP(secret, req, "acme-1", "r-1", time.Unix(1767323045, 0), body)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if !<-verified {
				t.Error("the server does not verify what SignHTTP signed")
			}
		})
	}
}

func drawRequest(t *rapid.T, name string) signature.Request {
	text := rapid.StringMatching(`[ab\n=1]{0,4}`)
	r := signature.Request{
		Kid: text.Draw(t, name+" kid"), Timestamp: text.Draw(t, name+" ts"), RequestID: text.Draw(t, name+" id"), Method: text.Draw(t, name+" method"),
		Host: text.Draw(t, name+" host"), Target: text.Draw(t, name+" target"), ContentType: text.Draw(t, name+" type"), ContentEncoding: text.Draw(t, name+" enc"),
	}
	r.BodySHA256[0] = rapid.Byte().Draw(t, name+" body")
	return r
}

func TestCanonicalStringIsUnique(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, b := drawRequest(rt, "a"), drawRequest(rt, "b")
		if a != b && a.Validate() == nil && b.Validate() == nil && bytes.Equal(a.Append(nil), b.Append(nil)) {
			rt.Fatalf("one canonical string for %+v and %+v", a, b)
		}
	})
}

// FuzzCanonical reads the signed string back: if that always gives the request, no two share one.
func FuzzCanonical(f *testing.F) {
	f.Add("acme-1", "1767323045", "r-1", "POST", "relay", "/v1/events?x", "application/json", "", []byte("body"))
	f.Add("k", "1", "r", "GET", "a\nb", "/", "\r\n", "\x00", []byte(nil))
	f.Fuzz(func(t *testing.T, kid, ts, id, method, host, target, ctype, cenc string, body []byte) {
		r := signature.Request{Kid: kid, Timestamp: ts, RequestID: id, Method: method, Host: host, Target: target,
			ContentType: ctype, ContentEncoding: cenc, BodySHA256: sha256.Sum256(body)}
		canonical := r.Append(nil)
		secret := []byte("s")
		sig := signature.Sign(secret, &r)
		if r.Validate() != nil {
			if signature.Verify(secret, &r, sig) {
				t.Fatal("an invalid request verified")
			}
			return
		}
		if !signature.Verify(secret, &r, sig) || signature.Verify([]byte("t"), &r, sig) {
			t.Fatal("a signature does not belong to exactly its secret")
		}
		l := strings.Split(string(canonical), "\n")
		if len(l) != 10 || l[0] != keyring.WeftV1 {
			t.Fatalf("%d lines: %q", len(l), canonical)
		}
		back := signature.Request{Kid: l[1], Timestamp: l[2], RequestID: l[3], Method: l[4], Host: l[5], Target: l[6], ContentType: l[7], ContentEncoding: l[8]}
		if n, err := hex.Decode(back.BodySHA256[:], []byte(l[9])); err != nil || n != 32 {
			t.Fatalf("%q is no hash", l[9])
		}
		if len(back.Host) != len(r.Host) || !strings.EqualFold(back.Host, r.Host) {
			t.Fatalf("host %q became %q", r.Host, back.Host)
		}
		r.Host = back.Host // the one thing that is not signed as sent
		if back != r {
			t.Fatalf("%+v became %+v", r, back)
		}
	})
}

// FuzzVerify gives Verify any header: only the one right text passes.
func FuzzVerify(f *testing.F) {
	v := good()[0]
	f.Add(v.Signature)
	f.Add("v1=")
	secret, r := v.parts(f)
	f.Fuzz(func(t *testing.T, header string) {
		if signature.Verify(secret, r, header) != (header == v.Signature) {
			t.Fatalf("%q", header)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	secret, body := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte("x"), 50<<10)
	_, r := good()[0].parts(b)
	r.BodySHA256 = sha256.Sum256(body)
	sig := signature.Sign(secret, r)
	b.Run("50KB with the body's hash", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			r.BodySHA256 = sha256.Sum256(body)
			if !signature.Verify(secret, r, sig) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("signature alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !signature.Verify(secret, r, sig) {
				b.Fatal("refused")
			}
		}
	})
}
