package intake_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// oracle decides whether a request is admitted: a second verifier, written from the words of deploy/docs/signing.md with the
// standard library alone. It is slow and plain on purpose.
type oracle struct {
	now              time.Time
	hosts            []string
	keys             []oracleKey // the newest last
	tenant, producer string      // of the client certificate
}

type oracleKey struct {
	kid, tenant, producer string
	schemes               []string
	secret                string
	good                  bool // active or in its grace period
}

var (
	idGrammar      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	timeGrammar    = regexp.MustCompile(`^[1-9][0-9]{0,11}$`)
	webhookGrammar = regexp.MustCompile(`^[!-\-/-~]{1,128}$`) // visible ASCII without the dot
	listGrammar    = regexp.MustCompile(`^v[0-9a-z]{1,7},[A-Za-z0-9+/=]{1,256}( v[0-9a-z]{1,7},[A-Za-z0-9+/=]{1,256}){0,3}$`)
	targetGrammar  = regexp.MustCompile(`^/v1/events(\?(results=all)?)?$`)
	typeGrammar    = regexp.MustCompile(`^[ \t]*application/(json|x-ndjson)[ \t]*(;[ \t]*charset="*utf-8"*[ \t]*)?$`)
)

// lower lower-cases ASCII letters alone.
func lower(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}

// admits returns the kid of the key that signed, empty if the request is refused.
func (o *oracle) admits(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) > 512<<10 || r.Method != "POST" || !slices.Contains(o.hosts, lower(r.Host)) {
		return ""
	}
	for name := range r.Header {
		if strings.HasPrefix(lower(name), "nats-") {
			return ""
		}
	}
	kid, ok := one(r, "X-Key-Id")
	if !ok || !idGrammar.MatchString(kid) {
		return ""
	}
	named := slices.IndexFunc(o.keys, func(k oracleKey) bool { return k.kid == kid })
	if named < 0 || !o.keys[named].good {
		return ""
	}
	contentType, encoding := strings.Join(r.Header["Content-Type"], "\x00"), strings.Join(r.Header["Content-Encoding"], "\x00")
	if !typeGrammar.MatchString(lower(contentType)) || encoding != "" && lower(encoding) != "identity" || len(r.Header["Content-Encoding"]) > 1 {
		return ""
	}
	signer := ""
	switch key := o.keys[named]; o.form(r) {
	case "weft-v1":
		signer = o.weft(r, key, body)
	case "webhook":
		signer = o.webhook(r, key, body)
	case "body":
		signer = o.body(r, key, body)
	}
	for _, k := range o.keys {
		if k.kid == signer && k.tenant == o.tenant && (k.producer == "" || k.producer == o.producer) {
			return signer
		}
	}
	return ""
}

// one is the value of a header that is there exactly once and not empty.
func one(r *http.Request, name string) (string, bool) {
	v := r.Header[http.CanonicalHeaderKey(name)]
	return strings.Join(v, ""), len(v) == 1 && v[0] != ""
}

func (o *oracle) form(r *http.Request) string {
	any := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { _, ok := r.Header[http.CanonicalHeaderKey(n)]; return ok })
	}
	webhook := any("webhook-id", "webhook-timestamp", "webhook-signature")
	switch own := any("X-Timestamp", "X-Request-Id"); {
	case webhook && (own || any("X-Signature")):
		return "mixed"
	case webhook:
		return "webhook"
	case own:
		return "weft-v1"
	default:
		return "body"
	}
}

func (o *oracle) inTime(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && timeGrammar.MatchString(s) && n >= o.now.Unix()-300 && n <= o.now.Unix()+300
}

func hmacOf(secret, text string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

func (o *oracle) weft(r *http.Request, k oracleKey, body []byte) string {
	timestamp, ok1 := one(r, "X-Timestamp")
	id, ok2 := one(r, "X-Request-Id")
	signature, ok3 := one(r, "X-Signature")
	if !ok1 || !ok2 || !ok3 || !idGrammar.MatchString(id) || !o.inTime(timestamp) || !targetGrammar.MatchString(r.RequestURI) || !only(k, "weft-v1") {
		return ""
	}
	if signature != weftSignature(k.secret, []string{k.kid, timestamp, id, r.Method, r.Host, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("Content-Encoding")}, body) {
		return ""
	}
	return k.kid
}

// weftSignature takes kid, timestamp, request id, method, host, target, type and encoding.
func weftSignature(secret string, fields []string, body []byte) string {
	fields = slices.Clone(fields)
	fields[4] = lower(fields[4])
	hash := sha256.Sum256(body)
	text := "weft-v1\n" + strings.Join(fields, "\n") + "\n" + hex.EncodeToString(hash[:])
	return "v1=" + hex.EncodeToString(hmacOf(secret, text))
}

// only says that the key lists the scheme, and that its list does not leave open what its secret is.
func only(k oracleKey, scheme string) bool {
	return slices.Contains(k.schemes, scheme) && (len(k.schemes) == 1 || !slices.Contains(k.schemes, "standard-webhooks-v1a"))
}

// pinned says that what the other schemes do not sign is as it must be.
func pinned(r *http.Request) bool {
	t := r.Header.Get("Content-Type")
	return r.RequestURI == "/v1/events" && (t == "application/json" || t == "application/json; charset=utf-8") && r.Header.Get("Content-Encoding") == ""
}

func (o *oracle) webhook(r *http.Request, named oracleKey, body []byte) string {
	id, ok1 := one(r, "webhook-id")
	timestamp, ok2 := one(r, "webhook-timestamp")
	list, ok3 := one(r, "webhook-signature")
	if !ok1 || !ok2 || !ok3 || !pinned(r) || !webhookGrammar.MatchString(id) || !o.inTime(timestamp) || !listGrammar.MatchString(list) {
		return ""
	}
	if !only(named, "standard-webhooks") && !only(named, "standard-webhooks-v1a") {
		return ""
	}
	candidates := []oracleKey{named}
	for _, k := range slices.Backward(o.keys) {
		other := k.kid != named.kid && k.tenant == named.tenant && k.producer == named.producer && k.good
		if other && (only(k, "standard-webhooks") || only(k, "standard-webhooks-v1a")) && len(candidates) < 3 {
			candidates = append(candidates, k)
		}
	}
	content := id + "." + timestamp + "." + string(body)
	for _, k := range candidates {
		for _, s := range strings.Split(list, " ") {
			if only(k, "standard-webhooks") && s == "v1,"+base64.StdEncoding.EncodeToString(hmacOf(k.secret, content)) {
				return k.kid
			}
			raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "v1a,"))
			if only(k, "standard-webhooks-v1a") && err == nil && s == "v1a,"+base64.StdEncoding.EncodeToString(raw) && len(raw) == 64 &&
				ed25519.Verify([]byte(k.secret), []byte(content), raw) {
				return k.kid
			}
		}
	}
	return ""
}

func (o *oracle) body(r *http.Request, k oracleKey, body []byte) string {
	signature, ok := one(r, "X-Signature")
	if !ok || !pinned(r) || !only(k, "body") || signature != hex.EncodeToString(hmacOf(k.secret, string(body))) {
		return ""
	}
	return k.kid
}
