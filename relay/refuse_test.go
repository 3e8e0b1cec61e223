package relay_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/event"
)

// refusal is a bad request and what must be said about it.
type refusal struct {
	name    string
	post    post
	status  int
	code    string
	says    string // a part of the detail
	pointer string
}

func setHeader(name string, values ...string) func(*http.Request) {
	return func(req *http.Request) { req.Header[name] = values }
}

func twice(name string) func(*http.Request) {
	return func(req *http.Request) { req.Header[name] = append(req.Header[name], req.Header[name]...) }
}

// badRequests are wrong as a whole: in size, type or headers.
func badRequests() []refusal {
	big := ev("payload", `{"x":"`+strings.Repeat("y", 10<<20)+`"}`)
	return []refusal{
		{"empty body", post{body: ""}, 400, event.CodeSyntax, "line 1", ""},
		{"10 MB body", post{body: big}, 413, "too_large", "524288", ""},
		{"10 MB body of unknown length", post{body: big, sendBody: io.MultiReader(strings.NewReader(big))}, 413, "too_large", "524288", ""},
		{"content type missing", post{body: ev(), before: func(q *http.Request) { q.Header.Del("Content-Type") }}, 415, "content_type", "application/json", ""},
		{"content type", post{body: ev(), before: setHeader("Content-Type", "text/plain")}, 415, "content_type", "application/json", ""},
		{"content type parameter", post{body: ev(), before: setHeader("Content-Type", "application/json; charset=latin1")}, 415, "content_type", "utf-8", ""},
		{"content type twice", post{body: ev(), before: setHeader("Content-Type", "application/json", "application/json")}, 400, "header_repeated", "Content-Type", ""},
		{"compressed body", post{body: ev(), before: setHeader("Content-Encoding", "gzip")}, 415, "content_encoding", "Content-Encoding", ""},
		{"content encoding twice", post{body: ev(), before: setHeader("Content-Encoding", "identity", "gzip")}, 400, "header_repeated", "Content-Encoding", ""},
		{"kid missing", post{body: ev(), after: func(q *http.Request) { q.Header.Del(signature.KeyID) }}, 401, "signature_missing", signature.KeyID, ""},
		{"timestamp missing", post{body: ev(), after: func(q *http.Request) { q.Header.Del(signature.Timestamp) }}, 401, "signature_missing", signature.Timestamp, ""},
		{"request id missing", post{body: ev(), after: func(q *http.Request) { q.Header.Del(signature.RequestID) }}, 401, "signature_missing", signature.RequestID, ""},
		{"signature missing", post{body: ev(), after: func(q *http.Request) { q.Header.Del(signature.Signature) }}, 401, "signature_missing", signature.Signature, ""},
		{"signature empty", post{body: ev(), after: setHeader(signature.Signature, "")}, 401, "signature_missing", signature.Signature, ""},
		{"kid twice", post{body: ev(), after: twice(signature.KeyID)}, 400, "header_repeated", signature.KeyID, ""},
		{"timestamp twice", post{body: ev(), after: twice(signature.Timestamp)}, 400, "header_repeated", signature.Timestamp, ""},
		{"request id twice", post{body: ev(), after: twice(signature.RequestID)}, 400, "header_repeated", signature.RequestID, ""},
		{"signature twice", post{body: ev(), after: twice(signature.Signature)}, 400, "header_repeated", signature.Signature, ""},
		{"NATS header", post{body: ev(), after: setHeader("Nats-Msg-Id", "x")}, 400, "header_forbidden", "Nats-", ""},
		{"NATS header in other letters", post{body: ev(), after: setHeader("nATS-Expected-Stream", "x")}, 400, "header_forbidden", "Nats-", ""},
	}
}

// badSignatures are of the wrong time, key, owner or place.
func badSignatures() []refusal {
	flip := func(req *http.Request) {
		mac := []byte(req.Header.Get(signature.Signature))
		if last := &mac[len(mac)-1]; *last == '0' {
			*last = '1'
		} else {
			*last = '0'
		}
		req.Header.Set(signature.Signature, string(mac))
	}
	upper := func(req *http.Request) {
		req.Header.Set(signature.Signature, "v1="+strings.ToUpper(req.Header.Get(signature.Signature)[3:]))
	}
	return []refusal{
		{"kid malformed", post{body: ev(), after: setHeader(signature.KeyID, "../acme")}, 401, "invalid_key_id", signature.KeyID, ""},
		{"timestamp malformed", post{body: ev(), after: setHeader(signature.Timestamp, "1e9")}, 401, "invalid_timestamp", signature.Timestamp, ""},
		{"request id malformed", post{body: ev(), after: setHeader(signature.RequestID, "a b")}, 401, "invalid_request_id", signature.RequestID, ""},
		{"301 s behind", post{body: ev(), at: -301 * time.Second}, 401, "timestamp_skew", "301 s behind", ""},
		{"302 s ahead", post{body: ev(), at: 302 * time.Second}, 401, "timestamp_skew", "ahead", ""},
		{"a day behind, unsigned", post{body: ev(), at: -25 * time.Hour, after: setHeader(signature.Signature, "v1=00")}, 401, "timestamp_skew", "90000 s", ""},
		{"301 s behind and unsigned", post{body: ev(), at: -301 * time.Second, after: flip}, 401, "signature_invalid", signature.Signature, ""},
		{"wrong MAC", post{body: ev(), after: flip}, 401, "signature_invalid", "compare", ""},
		{"MAC in upper case", post{body: ev(), after: upper}, 401, "signature_invalid", "compare", ""},
		{"body changed", post{body: ev(), sendBody: strings.NewReader(ev())}, 401, "signature_invalid", "compare", ""},
		{"query added", post{body: ev(), after: func(q *http.Request) { q.URL.RawQuery = "results=all" }}, 401, "signature_invalid", "compare", ""},
		{"request id changed", post{body: ev(), after: setHeader(signature.RequestID, "another")}, 401, "signature_invalid", "compare", ""},
		{"unknown kid", post{body: ev(), kid: "acme-99"}, 401, "key_unknown", signature.KeyID, ""},
		{"revoked kid", post{body: ev(), kid: "acme-revoked"}, 401, "key_revoked", "revoked", ""},
		{"expired kid", post{body: ev(), kid: "acme-expired"}, 401, "key_expired", "grace", ""},
		{"pending kid", post{body: ev(), kid: "acme-pending"}, 401, "key_pending", "not active", ""},
		{"kid without the scheme", post{body: ev(), kid: "acme-noalg"}, 401, "algorithm_not_allowed", "weft-v1", ""},
		{"kid of a removed tenant", post{body: ev(), kid: "gone-1"}, 401, "tenant_inactive", "tenant", ""},
		{"key that cannot be opened", post{body: ev(), kid: "acme-foreign"}, 503, "key_unavailable", "secret", ""},
		{"one's kid, other's certificate", post{body: ev(), kid: "acme-1", who: globex}, 403, "identity_mismatch", "another tenant", ""},
		{"other producer", post{body: ev(), kid: "acme-1", who: pki.Principal{Role: pki.RoleTenant, Tenant: "acme", Producer: "batch"}}, 403, "identity_mismatch", "another producer", ""},
		{"a hub's certificate", post{body: ev(), kid: "acme-1", who: pki.Principal{Role: pki.RoleHub, Region: "eu"}}, 403, "identity_mismatch", "not a tenant's", ""},
		{"other host", post{body: ev(), host: "relay.example.com"}, 421, "host_unknown", "not a name", ""},
		{"other port", post{body: ev(), host: "127.0.0.1:1"}, 421, "host_unknown", "not a name", ""},
		{"unknown path", post{body: ev(), before: func(q *http.Request) { q.URL.Path = "/v1/event" }}, 404, "not_found", "/v1/events", ""},
		{"escaped path", post{body: ev(), before: func(q *http.Request) { q.URL.RawPath, q.URL.Path = "/v1/%65vents", "/v1/events" }}, 404, "not_found", "/v1/events", ""},
		{"GET", post{body: ev(), before: func(q *http.Request) { q.Method = "GET" }}, 405, "method_not_allowed", "POST", ""},
		{"unknown query", post{body: ev(), query: "?result=all"}, 400, "invalid_query", "results=all", ""},
		{"query twice", post{body: ev(), query: "?results=all&results=all"}, 400, "invalid_query", "results=all", ""},
	}
}

// badEvents are single events that are refused.
func badEvents() []refusal {
	one := func(name, body string, status int, code, says, pointer string) refusal {
		return refusal{name, post{body: body}, status, code, says, pointer}
	}
	deep := strings.Repeat(`{"a":`, 80) + "1" + strings.Repeat("}", 80)
	return []refusal{
		one("malformed", `{"event_id":"e",`, 400, event.CodeSyntax, "line 1", ""),
		one("duplicate key", `{"event_id":"e-dup","event_id":"e-dup"}`, 400, event.CodeDuplicateKey, "twice", ""),
		one("duplicate key inside", ev("payload", `{"a":1,"a":2}`), 400, event.CodeDuplicateKey, "twice", "/payload/a"),
		one("two events glued", ev()+ev(), 400, event.CodeTrailingData, "more data", ""),
		one("invalid UTF-8", ev("payload", "{\"a\":\"\xff\"}"), 400, event.CodeInvalidUTF8, "UTF-8", ""),
		one("too deep", ev("payload", deep), 400, event.CodeDepth, "64", ""),
		one("number beyond float64", ev("payload", `{"a":1e400}`), 400, event.CodeNumberRange, "number", "/payload/a"),
		one("a string", `"event"`, 422, event.CodeNotObject, "object", ""),
		one("id with spaces", ev("event_id", `"a b"`), 422, event.CodeEventID, "", "/event_id"),
		one("id with >", ev("event_id", `"a>"`), 422, event.CodeEventID, "", "/event_id"),
		one("id with ~", ev("event_id", `"a~b"`), 422, event.CodeEventID, "", "/event_id"),
		one("id missing", ev("event_id", ""), 422, event.CodeMissingField, "", "/event_id"),
		one("type that injects", ev("event_type", `"a.>"`), 422, event.CodeEventType, "", "/event_type"),
		one("type with empty token", ev("event_type", `"a..b"`), 422, event.CodeEventType, "", "/event_type"),
		one("type with line break", ev("event_type", `"a\r\nPUB x 0"`), 422, event.CodeEventType, "", "/event_type"),
		one("year 9999", ev("occurred_at", `"9999-12-31T23:59:59Z"`), 422, "occurred_at_future", "ahead", "/occurred_at"),
		one("year 1999", ev("occurred_at", `"1999-12-31T23:59:59Z"`), 422, "occurred_at_too_old", "168h", "/occurred_at"),
		one("no time", ev("occurred_at", `"yesterday"`), 422, event.CodeOccurredAt, "", "/occurred_at"),
		one("no user", ev("key", `{}`), 422, event.CodeMissingField, "", "/key/user_id"),
		one("payload is a list", ev("payload", `[]`), 422, event.CodeWrongType, "object", "/payload"),
		one("empty array", ` [ ] `, 400, event.CodeEmptyBatch, "no event", ""),
		one("array with broken event", "["+ev()+`,{"event_id":}]`, 400, event.CodeSyntax, "line 1", ""),
		one("array glued", "["+ev()+"]["+ev()+"]", 400, event.CodeTrailingData, "more data", ""),
		one("array cut short", "["+ev()+",", 400, event.CodeSyntax, "line 1", ""),
		{"no lines", post{body: "\n \n", ndjson: true}, 400, event.CodeEmptyBatch, "no event", ""},
		{"topic the key may not send to", post{body: ev(), kid: "acme-scoped"}, 403, "topic_denied", "events", "/event_type"},
	}
}

// addBadKeys puts keys in every state that refuses.
func (r *rig) addBadKeys() {
	r.control.change(func(s *control.State) {
		add := func(kid, tenant string, f func(*keyring.Key)) {
			k := r.key(kid, tenant, "default")
			f(k)
			s.Keys[kid] = k
		}
		add("acme-revoked", "acme", func(k *keyring.Key) { k.State, k.Sealed = keyring.Revoked, "" })
		add("acme-expired", "acme", func(k *keyring.Key) { k.State, k.GraceUntil = keyring.Grace, time.Now().Add(-time.Second) })
		add("acme-pending", "acme", func(k *keyring.Key) { k.State = keyring.Pending })
		add("acme-noalg", "acme", func(k *keyring.Key) { k.Algorithms = []string{"body"} })
		add("acme-foreign", "acme", func(k *keyring.Key) {
			other, err := keyring.NewAgeSealer()
			r.must(err)
			k.Sealed, err = other.Seal(r.t.Context(), r.secrets[k.Kid])
			r.must(err)
		})
		add("acme-scoped", "acme", func(k *keyring.Key) { k.Topics = []string{"other"} })
		add("gone-1", "gone", func(*keyring.Key) {})
		s.Tenants["gone"] = &accounts.Tenant{Name: "gone", State: accounts.Removed}
	})
}

func TestBadInputIsRefusedAndNothingStored(t *testing.T) {
	r := newRig(t, func(o *relayOptions) { o.Rejects.LineBurst = 1000 })
	r.addBadKeys()
	for _, http1 := range []bool{false, true} {
		for _, c := range slices.Concat(badRequests(), badSignatures(), badEvents()) {
			t.Run(fmt.Sprintf("http1=%v/%s", http1, c.name), func(t *testing.T) {
				r.t = t
				var mac string
				after := c.post.after
				c.post.after = func(req *http.Request) {
					mac = strings.TrimPrefix(req.Header.Get(signature.Signature), "v1=")
					if after != nil {
						after(req)
					}
				}
				c.post.http1 = http1
				a := r.send(c.post)
				checkProblem(t, a, c)
				if wantProto := map[bool]string{false: "HTTP/2.0", true: "HTTP/1.1"}[http1]; a.protocol != wantProto {
					t.Errorf("over %s, want %s", a.protocol, wantProto)
				}
				if n := r.stored(); n != 0 {
					t.Errorf("%d messages are stored", n)
				}
				r.checkSilence(t, a, mac)
			})
		}
	}
	r.t = t
	if logs := r.logged(); !strings.Contains(logs, "signature_invalid") {
		t.Error("refusals are not logged")
	}
}

func checkProblem(t *testing.T, a answer, c refusal) {
	t.Helper()
	if a.status != c.status || a.Code != c.code {
		t.Errorf("%d %s, want %d %s: %s", a.status, a.Code, c.status, c.code, a.text)
	}
	if a.Detail == "" || !strings.Contains(a.Detail, c.says) {
		t.Errorf("detail %q does not say %q", a.Detail, c.says)
	}
	if c.pointer != "" && (len(a.Errors) != 1 || a.Errors[0].Pointer != c.pointer) {
		t.Errorf("errors %+v do not point at %s", a.Errors, c.pointer)
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	if a.Type != "urn:weft:problem:"+c.code || a.Title == "" || fmt.Sprint(a.Status) != fmt.Sprint(c.status) {
		t.Errorf("not a whole problem: %s", a.text)
	}
	if c.status == 405 && a.header.Get("Allow") != "POST" {
		t.Error("405 without Allow")
	}
	if c.status == 503 && a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

// checkSilence makes sure that no secret, no signature and no payload is told or logged.
func (r *rig) checkSilence(t *testing.T, a answer, mac string) {
	t.Helper()
	hidden := []string{marker}
	if len(mac) == 64 {
		hidden = append(hidden, mac)
	}
	for _, s := range r.secrets {
		hidden = append(hidden, string(s), hex.EncodeToString(s), base64.StdEncoding.EncodeToString(s))
	}
	logs := r.logged()
	for _, s := range hidden {
		if strings.Contains(a.text, s) || strings.Contains(logs, s) {
			t.Errorf("%.20q… is in the answer or in the log", s)
		}
	}
}

// Requests without a certificate, or with one of another authority, get no answer at all.
func TestStrangersAreNotLetIn(t *testing.T) {
	r := newRig(t)
	other, err := pki.NewAuthority("other")
	r.must(err)
	mine := r.ca
	r.ca = other
	stranger := r.pair(pki.Spec{CommonName: "x", URIs: []string{acme.URI()}, Client: true})
	r.ca = mine
	for name, change := range map[string]func(*http.Transport){
		"no certificate":    func(t *http.Transport) { t.TLSClientConfig.Certificates = nil },
		"other authority's": func(t *http.Transport) { t.TLSClientConfig.Certificates[0] = stranger },
		"TLS 1.1":           func(t *http.Transport) { t.TLSClientConfig.MinVersion, t.TLSClientConfig.MaxVersion = 0x0301, 0x0302 },
	} {
		c := r.client(acme, true)
		delete(r.clients, fmt.Sprint(acme.URI(), true))
		change(c.Transport.(*http.Transport))
		res, err := c.Post("https://"+r.relay.Addr()+"/v1/events", "application/json", strings.NewReader(ev()))
		if err == nil {
			_ = res.Body.Close()
			t.Errorf("%s: answered %d", name, res.StatusCode)
		}
		c.CloseIdleConnections()
	}
	if n := r.stored(); n != 0 {
		t.Errorf("%d messages are stored", n)
	}
}

// A body that comes too slowly is given up.
func TestSlowBody(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		r := newRig(t, func(o *relayOptions) { o.Limits.ReadTimeout = 300 * time.Millisecond })
		reader, writer := io.Pipe()
		body := ev()
		go func() { _, _ = io.WriteString(writer, body[:20]) }()
		a := r.send(post{http1: http1, body: body, sendBody: reader})
		_ = writer.Close()
		if a.status != http.StatusRequestTimeout || a.Code != "read_timeout" {
			t.Errorf("http1=%v: %d %s", http1, a.status, a.text)
		}
	}
}
