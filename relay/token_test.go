package relay_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/accounts/token/issuertest"
	"github.com/weft-mesh/weft/relay"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// tokenRig is a relay that takes the tokens of a real issuer and demands one of globex.
type tokenRig struct {
	*rig
	issuer *issuertest.Process
}

func newTokenRig(t *testing.T, change ...func(*token.Issuer)) *tokenRig {
	t.Helper()
	p, err := issuertest.Start(t.TempDir(), "RS256")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	i := p.Issuer("RS256")
	i.Tenants["initech"], i.RequiredFor = "initech", []string{"globex"}
	for _, f := range change {
		f(&i)
	}
	r := &tokenRig{rig: newRig(t, func(o *relay.Options) { o.Issuers = []token.Issuer{i} }), issuer: p}
	r.control.change(func(s *control.State) {
		s.Tenants["initech"] = &accounts.Tenant{Name: "initech", State: accounts.Active}
		s.Keys["initech-1"] = r.key("initech-1", "initech", "default")
		routes := accounts.DefaultRoutes("acme")
		routes.Topics = append(routes.Topics, routes.Topics[0])
		routes.Topics[1].Name = "bets"
		routes.Rules = append([]accounts.Rule{{Type: "bet.>", Topic: "bets"}}, routes.Rules...)
		s.Routes["acme"] = &routes
	})
	return r
}

// token fetches a token of a tenant, bound to the certificate of bound unless that is nobody.
func (r *tokenRig) token(tenant, scope string, bound pki.Principal) string {
	r.t.Helper()
	var cert *tls.Certificate
	if bound.Role != "" {
		cert = &r.client(bound, false).Transport.(*http.Transport).TLSClientConfig.Certificates[0]
	}
	raw, err := r.issuer.Token(r.t.Context(), tenant, scope, cert, time.Hour)
	r.must(err)
	return raw
}

// plainEvent is of topic events.
func plainEvent() string { return ev("event_type", `"user.created"`) }

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	streamtest.Eventually(t, 10*time.Second, func() (bool, string) { return f(), "there was never " + what })
}

// gauge is the value of a gauge without or with one set of labels.
func (r *rig) gauge(name string) float64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	r.must(err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	r.t.Fatalf("there is no metric %s", name)
	return 0
}

func bearing(raw string) func(*http.Request) { return setHeader("Authorization", "Bearer "+raw) }

// The three identities of a request must be one: key, certificate and token.
func TestKeyCertificateAndTokenAgree(t *testing.T) {
	r := newTokenRig(t)
	tenants := []pki.Principal{acme, globex, {Role: pki.RoleTenant, Tenant: "initech", Producer: "default"}}
	for _, key := range tenants {
		for _, cert := range tenants {
			for _, bearer := range tenants {
				want, code := 403, "identity_mismatch"
				switch {
				case key == cert && cert == bearer:
					want, code = 202, ""
				case key == cert:
					code = "token_tenant"
				}
				// the token is bound to the certificate that is shown, so that only the tenants can disagree
				raw := r.token(bearer.Tenant, "events:write:*", cert)
				a := r.send(post{who: cert, kid: key.Tenant + "-1", body: plainEvent(), before: bearing(raw)})
				if a.status != want || a.Code != code {
					t.Errorf("key of %s, certificate of %s, token of %s: %d %s, want %d %s", key.Tenant, cert.Tenant, bearer.Tenant, a.status, a.Code, want, code)
				}
			}
		}
	}
	if n := r.stored(); n != 3 {
		t.Errorf("%d events are stored, want 3", n)
	}
}

func TestTokensAtTheRelay(t *testing.T) {
	r := newTokenRig(t)
	all := r.token("acme", "events:write:*", acme)
	batch := pki.Principal{Role: pki.RoleTenant, Tenant: "acme", Producer: "batch"}
	parts := strings.Split(all, ".")
	for _, c := range []struct {
		name   string
		post   post
		status int
		code   string
	}{
		{"no token where none is needed", post{}, 202, ""},
		{"a bound token", post{before: bearing(all)}, 202, ""},
		{"an unbound token", post{before: bearing(r.token("acme", "events:write:*", pki.Principal{}))}, 202, ""},
		{"http1", post{before: bearing(r.token("acme", "events:write:*", pki.Principal{})), http1: true}, 202, ""},
		{"no token where one is needed", post{who: globex}, 401, "token_missing"},
		{"a token where one is needed", post{who: globex, before: bearing(r.token("globex", "events:write:*", globex))}, 202, ""},
		{"bound to another certificate", post{before: bearing(r.token("acme", "events:write:*", batch))}, 403, "token_binding"},
		{"no scope", post{before: bearing(r.token("acme", "events:read", acme))}, 403, "scope_missing"},
		{"another topic's scope", post{before: bearing(r.token("acme", "events:write:bets", acme))}, 403, "scope_missing"},
		{"the topic's scope", post{before: bearing(r.token("acme", "events:write:events", acme))}, 202, ""},
		{"no signature", post{before: bearing(all), after: func(q *http.Request) { q.Header.Del("X-Signature") }}, 401, "signature_missing"},
		{"a signature that is wrong", post{before: bearing(all), after: func(q *http.Request) { q.Header.Set("X-Request-Id", "another") }}, 401, "signature_invalid"},
		{"signature cut off", post{before: bearing(parts[0] + "." + parts[1] + ".")}, 401, "token_signature"},
		{"alg none", post{before: bearing("eyJhbGciOiJub25lIiwia2lkIjoieCJ9." + parts[1] + ".")}, 401, "token_algorithm"},
		{"Basic", post{before: setHeader("Authorization", "Basic YTpi")}, 401, "token_malformed"},
		{"two in one", post{before: bearing(all + ", Bearer " + all)}, 401, "token_malformed"},
		{"no token behind Bearer", post{before: setHeader("Authorization", "Bearer ")}, 401, "token_malformed"},
		{"twice", post{before: func(q *http.Request) { q.Header["Authorization"] = []string{"Bearer " + all, "Bearer " + all} }}, 400, "header_repeated"},
		{"too long", post{before: bearing(strings.Repeat(".", 9<<10))}, 401, "token_too_long"},
	} {
		c.post.body = plainEvent()
		a := r.send(c.post)
		if a.status != c.status || a.Code != c.code {
			t.Errorf("%s: %d %s (%s), want %d %s", c.name, a.status, a.Code, a.Detail, c.status, c.code)
		}
		ofToken := strings.HasPrefix(c.code, "token_") && c.status == 401 || c.code == "scope_missing"
		if has := strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer"); has != ofToken {
			t.Errorf("%s: WWW-Authenticate %q", c.name, a.header.Get("WWW-Authenticate"))
		}
	}
	for _, part := range parts {
		if strings.Contains(r.logged(), part) {
			t.Errorf("the log tells a part of a token: %s", part)
		}
	}
}

// A scope decides by topic, so a batch is stored in part.
func TestScopesInABatch(t *testing.T) {
	r := newTokenRig(t)
	raw := r.token("acme", "events:write:bets", acme)
	body := "[" + ev() + "," + plainEvent() + "," + ev() + "]"
	a := r.send(post{body: body, before: bearing(raw)})
	if a.status != 200 || a.Stored != 2 || a.Rejected != 1 || a.Results[0].Index != 1 || a.Results[0].Code != "scope_missing" || a.Results[0].Pointer != "/event_type" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestTokenWithoutAnIssuer(t *testing.T) {
	r := newRig(t)
	a := r.send(post{body: plainEvent(), before: bearing("a.b.c")})
	if a.status != 401 || a.Code != "token_unsupported" || r.stored() != 0 {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// When a producer's certificate is renewed, its next token is bound to the new one, while its connections still
// stand on the old: the client notices and opens others.
func TestCertificateIsRenewed(t *testing.T) {
	r := newTokenRig(t)
	first, second := r.pair(clientSpec(acme)), r.pair(clientSpec(acme))
	var current atomic.Pointer[tls.Certificate]
	current.Store(&first)
	for _, lanes := range []int{1, 4} {
		c := r.producer(func(o *client.Options) {
			o.Concurrency, o.MaxRetries, o.BatchEvents = lanes, 3, 5
			o.TLS = &tls.Config{RootCAs: r.roots(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current.Load(), nil }}
			o.Token = func(ctx context.Context) (string, error) {
				return r.issuer.Token(ctx, "acme", "events:write:*", current.Load(), time.Hour)
			}
		})
		for _, cert := range []*tls.Certificate{&first, &second, &first} {
			current.Store(cert)
			events := make([][]byte, 20)
			for i := range events {
				events[i] = []byte(ev("key", fmt.Sprintf(`{"user_id":"u-%d"}`, i)))
			}
			got, err := c.Send(t.Context(), events)
			if err != nil {
				t.Fatalf("%d lanes: %v", lanes, err)
			}
			for _, one := range got {
				if one.Status != client.Stored {
					t.Errorf("%d lanes: %+v", lanes, one)
				}
			}
		}
	}
	if n := r.counted("weft_relay_key_errors_total"); n < 4 {
		t.Errorf("%v requests were refused: the connections did not stand on the old certificate, so nothing was tried", n)
	}
}

// A token that stays wrong is no reason to go on for long.
func TestWrongTokenEndsASend(t *testing.T) {
	r := newTokenRig(t)
	raw := r.token("acme", "events:write:*", globex)
	asked := 0
	c := r.producer(func(o *client.Options) {
		o.Token = func(context.Context) (string, error) { asked++; return raw, nil }
	})
	if _, err := c.Send(t.Context(), [][]byte{[]byte(ev())}); fault.KindOf(err) != fault.Denied || fault.CodeOf(err) != token.CodeBinding || asked != 2 {
		t.Errorf("%v after %d attempts", err, asked)
	}
}

// A relay whose issuer is gone is ready, serves who has no token, and says 503 to who has one.
func TestIssuerIsGone(t *testing.T) {
	r := newTokenRig(t, func(i *token.Issuer) { i.Refresh, i.Outage = time.Second, time.Second })
	raw := r.token("acme", "events:write:*", acme)
	if a := r.send(post{body: plainEvent(), before: bearing(raw)}); a.status != 202 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	r.issuer.Kill()
	var last answer
	eventually(t, "503 issuer_unreachable", func() bool {
		last = r.send(post{body: plainEvent(), before: bearing(raw)})
		return last.status == 503 && last.Code == "issuer_unreachable"
	})
	if last.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if a := r.send(post{body: plainEvent()}); a.status != 202 {
		t.Errorf("without a token: %d %s", a.status, a.text)
	}
	if reasons := r.relay.Ready(); len(reasons) > 0 {
		t.Errorf("not ready: %v", reasons)
	}
	eventually(t, "weft_relay_token_issuer_reachable 0", func() bool { return r.gauge("weft_relay_token_issuer_reachable") == 0 })
	r.must(r.issuer.Restart())
	eventually(t, "202", func() bool { return r.send(post{body: plainEvent(), before: bearing(raw)}).status == 202 })
}
