package intake_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/keyring"
)

const oldSecret = "a secret from before, not in use"

// differ is a handler and an oracle with the same keys.
type differ struct {
	*world
	oracle
	admitted, refused int
}

func newDiffer(t testing.TB) *differ {
	d := &differ{world: newWorld(t)}
	delete(d.state.Keys, "k")
	d.oracle = oracle{now: d.world.now, hosts: []string{"relay"}, tenant: "acme", producer: "p"}
	for i, k := range []oracleKey{
		{kid: "weft", secret: secret, schemes: []string{"weft-v1"}, good: true},
		{kid: "hmacs", secret: secret, schemes: []string{"weft-v1", "standard-webhooks", "body"}, good: true},
		{kid: "old", producer: "p", secret: oldSecret, schemes: []string{"standard-webhooks"}, good: true},
		{kid: "new", producer: "p", secret: secret, schemes: []string{"standard-webhooks"}, good: true},
		{kid: "ended", producer: "p", secret: "ended", schemes: []string{"standard-webhooks", "weft-v1", "body"}},
		{kid: "public", producer: "p", secret: edPublic(), schemes: []string{"standard-webhooks-v1a"}, good: true},
		{kid: "newest", producer: "p", secret: "the newest", schemes: []string{"standard-webhooks"}, good: true},
		{kid: "mixed", secret: edPublic(), schemes: []string{"standard-webhooks-v1a", "weft-v1", "standard-webhooks", "body"}, good: true},
		{kid: "body", secret: secret, schemes: []string{"body"}, good: true},
		{kid: "batch", producer: "batch", secret: secret, schemes: []string{"weft-v1", "standard-webhooks", "body"}, good: true},
		{kid: "globex", tenant: "globex", secret: secret, schemes: []string{"weft-v1", "standard-webhooks", "body"}, good: true},
	} {
		if k.tenant == "" {
			k.tenant = "acme"
		}
		state := keyring.Active
		if !k.good {
			state = keyring.Pending
		}
		d.keys = append(d.keys, k)
		d.state.Keys[k.kid] = &keyring.Key{Kid: k.kid, Tenant: k.tenant, Producer: k.producer, State: state, Algorithms: k.schemes, Sealed: k.secret,
			CreatedAt: d.world.now.Add(time.Duration(i) * time.Second)}
	}
	globex := *d.state.Tenants["acme"]
	globex.Name = "globex"
	d.state.Tenants["globex"] = &globex
	d.handler.Follow(d.state)
	return d
}

// compare gives both verifiers the bytes of a request.
func (d *differ) compare(t interface{ Fatalf(string, ...any) }, wire []byte) {
	a, b := d.parse(wire), d.parse(wire)
	if a == nil || !sendable(a) {
		return
	}
	got, want := d.handler.Admit(a), d.admits(b)
	if got.Kid != want {
		t.Fatalf("the relay: %+v; the other verifier: %q\n%q", got, want, wire)
	}
	if want == "" {
		d.refused++
	} else {
		d.admitted++
	}
}

// sendable says that the server hands the request to a handler: http.ReadRequest checks less than it.
func sendable(r *http.Request) bool {
	for _, vs := range r.Header {
		for _, v := range vs {
			for i := range len(v) {
				if v[i] < ' ' && v[i] != '\t' || v[i] == 0x7f {
					return false
				}
			}
		}
	}
	return r.ProtoMajor == 1
}

// headers are a request's in their order, with repetitions.
type headers [][2]string

func (h *headers) add(name, value string) { *h = append(*h, [2]string{name, value}) }

// draw makes a request that is signed in one of the ways, over what it is or over what it was before a change or two.
func (d *differ) draw(t *rapid.T) []byte {
	pick := func(name string, common int, values ...string) string {
		if rapid.IntRange(0, 9).Draw(t, name+"?") < common {
			return values[0]
		}
		return rapid.SampledFrom(values).Draw(t, name)
	}
	kids := []string{"weft", "hmacs", "old", "new", "ended", "public", "newest", "mixed", "body", "batch", "globex", "unknown", "a b", ""}
	kid := rapid.SampledFrom(kids).Draw(t, "kid")
	secret := pick("secret", 5, secret, oldSecret, "ended", "the newest", edPublic(), "wrong")
	now := d.world.now.Unix()
	stamp := pick("time", 8, fmt.Sprint(now), fmt.Sprint(now-300), fmt.Sprint(now-301), fmt.Sprint(now+300), fmt.Sprint(now+301), "0"+fmt.Sprint(now), "+1", "1e9", "99999999999999", "")
	id := pick("id", 7, "id-1", "id.1", "id 1", "é", strings.Repeat("i", 65), strings.Repeat("i", 129), "!~", "")
	contentType := pick("type", 8, "application/json", "application/x-ndjson", "application/JSON", "application/json; charset=utf-8", "application/json;charset=\"UTF-8\"", "application/json;", "application/j\u017fon", "application/json\u00a0", "text/plain", "")
	encoding := pick("encoding", 8, "", "identity", "IDENTITY", "gzip")
	target := pick("target", 8, "/v1/events", "/v1/events?results=all", "/v1/events?", "/v1/events?x", "/v1/%65vents", "/")
	host := pick("host", 8, "relay", "RELAY", "relay:443", "other")
	method := pick("method", 9, "POST", "PUT", "post")
	body := pick("body", 5, `{"event_id":"e"}`, "", "[]", "weft-v1\n", "1.1.{}")

	var h headers
	h.add("X-Key-Id", kid)
	if contentType != "" {
		h.add("Content-Type", contentType)
	}
	if encoding != "" {
		h.add("Content-Encoding", encoding)
	}
	content := id + "." + stamp + "." + body
	v1 := "v1," + base64.StdEncoding.EncodeToString(hmacOf(secret, content))
	v1a := "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(edKey, []byte(content)))
	switch rapid.SampledFrom([]string{"weft", "webhook", "webhook", "body"}).Draw(t, "form") {
	case "weft":
		h.add("X-Timestamp", stamp)
		h.add("X-Request-Id", id)
		h.add("X-Signature", weftSignature(secret, []string{kid, stamp, id, method, host, target, contentType, encoding}, []byte(body)))
	case "webhook":
		h.add("webhook-id", id)
		h.add("webhook-timestamp", stamp)
		h.add("webhook-signature", pick("list", 3, v1, v1a, v1+" "+v1a, v1a+" "+v1, "v1,AAAA "+v1, "v9,AA== "+v1a, v1+"  "+v1a, v1+" ", strings.TrimRight(v1, "="), v1a+"=",
			v1+" v1,a v1,b v1,c", v1+" v1,a v1,b v1,c v1,d", "v1="+v1[3:], v1[:len(v1)-2]+"/="))
	default:
		h.add("X-Signature", pick("hex", 8, hex.EncodeToString(hmacOf(secret, body)), strings.ToUpper(hex.EncodeToString(hmacOf(secret, body))), "v1="+hex.EncodeToString(hmacOf(secret, body)), "00"))
	}
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "changes") {
		names := []string{"X-Key-Id", "X-Timestamp", "X-Request-Id", "X-Signature", "Webhook-Id", "webhook-timestamp", "WEBHOOK-SIGNATURE", "Content-Type", "Content-Encoding", "Nats-Msg-Id", "Accept"}
		name := rapid.SampledFrom(names).Draw(t, "name")
		switch n := rapid.IntRange(0, len(h)-1).Draw(t, "which"); rapid.SampledFrom([]string{"add", "drop", "twice", "empty", "kid", "body"}).Draw(t, "change") {
		case "add":
			h.add(name, pick("value", 2, "x", "", "identity", "v1,AAAA", stamp))
		case "drop":
			h = append(h[:n:n], h[n+1:]...)
		case "twice":
			h = append(h, h[n])
		case "empty":
			h[n][1] = ""
		case "kid":
			h[0][1] = rapid.SampledFrom(kids).Draw(t, "other kid")
		case "body":
			body += " "
		}
		if len(h) == 0 {
			h.add("Accept", "*/*")
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", method, target, host, len(body))
	for _, f := range h {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	return append(append(b.Bytes(), "\r\n"...), body...)
}

func TestTwoVerifiersAgree(t *testing.T) {
	d := newDiffer(t)
	for range 10 { // rapid draws a hundred in each; -rapid.checks says how many
		rapid.Check(t, func(rt *rapid.T) { d.compare(rt, d.draw(rt)) })
	}
	t.Logf("%d admitted, %d refused", d.admitted, d.refused)
	if d.admitted < 10 || d.refused < 10 {
		t.Error("the requests are too much alike")
	}
}

// FuzzTwoVerifiers lets the fuzzer choose what is drawn.
func FuzzTwoVerifiers(f *testing.F) {
	d := newDiffer(f)
	f.Fuzz(rapid.MakeFuzz(func(rt *rapid.T) { d.compare(rt, d.draw(rt)) }))
}

// FuzzRequest lets the fuzzer choose the bytes on the wire.
func FuzzRequest(f *testing.F) {
	d := newDiffer(f)
	for _, form := range []string{"weft-v1", "standard-webhooks", "standard-webhooks-v1a", "body"} {
		kid := map[string]string{"weft-v1": "weft", "standard-webhooks": "new", "standard-webhooks-v1a": "public", "body": "body"}[form]
		wire := d.wire(d.signed(form, kid))
		if d.compare(f, wire); d.admitted == 0 {
			f.Fatalf("the seed for %s is refused", form)
		}
		d.admitted = 0
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) { d.compare(t, wire) })
}
