package token_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/accounts/token/issuertest"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestMain(m *testing.M) {
	issuertest.Serve()
	goleak.VerifyTestMain(m)
}

// real is a verifier before a real issuer, with a clock that the test can move.
type real struct {
	t        *testing.T
	issuer   *issuertest.Process
	verifier *token.Verifier
	ahead    atomic.Int64
	logs     *observer.ObservedLogs
}

func newReal(t *testing.T, change func(*token.Issuer, *token.Options)) *real {
	t.Helper()
	p, err := issuertest.Start(t.TempDir(), "ES256")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	core, logs := observer.New(zapcore.DebugLevel)
	r := &real{t: t, issuer: p, logs: logs}
	o, i := token.DefaultOptions(), p.Issuer("ES256")
	o.Logger, o.Now = zap.New(core), func() time.Time { return time.Now().Add(time.Duration(r.ahead.Load())) }
	i.MaxLifetime = 24 * time.Hour
	if change != nil {
		change(&i, &o)
	}
	o.Issuers = []token.Issuer{i}
	if r.verifier, err = token.New(o); err != nil {
		t.Fatal(err)
	}
	r.verifier.Start()
	t.Cleanup(r.verifier.Stop)
	return r
}

func (r *real) token() string {
	r.t.Helper()
	raw, err := r.issuer.Token(r.t.Context(), "acme", "events:write:bets", nil, 20*time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

// verify returns the code of the refusal, "" when the token is good.
func (r *real) verify(raw string) string {
	_, err := r.verifier.Verify(r.t.Context(), raw, token.Bearer{Tenant: "acme"})
	if err == nil {
		return ""
	}
	return fault.CodeOf(err)
}

// becomes polls until the token's code is the wanted one.
func (r *real) becomes(raw, want string) {
	r.t.Helper()
	poll(r.t, func() string {
		if got := r.verify(raw); got != want {
			return fmt.Sprintf("code %q, want %q", got, want)
		}
		return ""
	})
}

// poll calls f until it is content, for ten seconds at most.
func poll(t *testing.T, f func() string) {
	t.Helper()
	end := time.After(10 * time.Second)
	for {
		why := f()
		if why == "" {
			return
		}
		select {
		case <-end:
			t.Fatal(why)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (r *real) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func TestTokenOfARealIssuer(t *testing.T) {
	r := newReal(t, nil)
	raw := r.token()
	grant, err := r.verifier.Verify(t.Context(), raw, token.Bearer{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	if !grant.MaySend("bets") || grant.MaySend("events") {
		t.Error("the scopes are not those of the token")
	}
	if _, err := r.verifier.Verify(t.Context(), raw, token.Bearer{Tenant: "globex"}); fault.CodeOf(err) != token.CodeTenant || fault.KindOf(err) != fault.Denied {
		t.Errorf("for another tenant: %v", err)
	}
}

// The first token of a new key is good at once or after the throttle; a key that is withdrawn takes its
// tokens with it, those that were verified before too.
func TestRotation(t *testing.T) {
	r := newReal(t, func(i *token.Issuer, _ *token.Options) { i.Refresh, i.Throttle = time.Second, 100*time.Millisecond })
	old := r.token()
	r.becomes(old, "")
	r.must(r.issuer.Rotate(true))
	fresh := r.token()
	r.becomes(fresh, "")
	if code := r.verify(old); code != "" {
		t.Errorf("a key that is still published: %s", code)
	}
	r.must(r.issuer.Rotate(false))
	r.becomes(old, token.CodeKeyUnknown)
	r.becomes(fresh, token.CodeKeyUnknown)
	r.becomes(r.token(), "")
}

// Known keys hold through an outage, up to its limit and not beyond; a kid that they do not have is no reason
// for a final refusal.
func TestOutage(t *testing.T) {
	r := newReal(t, func(i *token.Issuer, _ *token.Options) { i.Refresh, i.Outage = time.Second, 2*time.Hour })
	raw := r.token()
	r.becomes(raw, "")
	r.must(r.issuer.Rotate(true))
	unseen := r.token()
	r.issuer.Kill()

	r.ahead.Store(int64(90 * time.Minute))
	if code := r.verify(raw); code != "" {
		t.Errorf("within the limit: %s", code)
	}
	if code := r.verify(unseen); code != token.CodeKeyPending && code != "" { // "": it was read in the second before
		t.Errorf("an unknown kid within the limit: %s", code)
	}
	r.ahead.Store(int64(3 * time.Hour))
	for _, one := range []string{raw, unseen} {
		if code := r.verify(one); code != token.CodeUnreachable {
			t.Errorf("beyond the limit: %q", code)
		}
	}
	if _, err := r.verifier.Verify(t.Context(), raw, token.Bearer{Tenant: "acme"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("beyond the limit: %v", err)
	}
	poll(t, func() string {
		if s := r.verifier.Status()[0]; s.Reachable || s.Failures == 0 {
			return fmt.Sprintf("status %+v", s)
		}
		if n := r.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != 1 {
			return fmt.Sprintf("logged %d times as an error", n)
		}
		return ""
	})
	r.must(r.issuer.Restart())
	r.becomes(raw, "")
	r.becomes(unseen, "")
	if n := r.logs.FilterLevelExact(zapcore.WarnLevel).Len(); n != 1 {
		t.Errorf("one outage is a warning %d times", n)
	}
}

// An issuer that is not there at the start makes nobody wait long, and is taken up when it comes.
func TestIssuerComesLater(t *testing.T) {
	r := newReal(t, nil)
	raw := r.token()
	r.issuer.Kill()
	o, i := token.DefaultOptions(), r.issuer.Issuer("ES256")
	i.MaxLifetime, o.Wait = 24*time.Hour, 100*time.Millisecond
	o.Issuers = []token.Issuer{i}
	v, err := token.New(o)
	r.must(err)
	v.Start()
	defer v.Stop()
	r.verifier = v
	if code := r.verify(raw); code != token.CodeUnreachable {
		t.Errorf("without any key: %q", code)
	}
	r.must(r.issuer.Restart())
	r.becomes(raw, "")
}

// However many key ids are made up, and by however many at once, the issuer is asked once for each throttle.
func TestFloodOfKids(t *testing.T) {
	const throttle = time.Second
	r := newReal(t, func(i *token.Issuer, _ *token.Options) { i.Throttle = throttle })
	r.becomes(r.token(), "")
	good := r.token()
	begin := time.Now()
	var wg sync.WaitGroup
	var refused, accepted atomic.Int64
	for worker := range 32 {
		wg.Go(func() {
			for n := range 100 {
				switch code := r.verify(withKid(good, fmt.Sprint("made-up-", worker, "-", n))); code {
				case token.CodeKeyUnknown, token.CodeKeyPending:
					refused.Add(1)
				default:
					t.Errorf("code %q", code)
				}
				if r.verify(good) == "" {
					accepted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	reads, err := r.issuer.Reads()
	r.must(err)
	if most := 2 + int(time.Since(begin)/throttle); reads > most {
		t.Errorf("the key set was read %d times, want at most %d", reads, most)
	}
	if refused.Load() != 3200 || accepted.Load() != 3200 {
		t.Errorf("%d refused, %d of another's good tokens accepted", refused.Load(), accepted.Load())
	}
}

// Keys come from whom the configured authorities vouch for, or not at all.
func TestImpostorHasNoKeys(t *testing.T) {
	r := newReal(t, func(i *token.Issuer, o *token.Options) { i.RootCAs, o.Wait = x509.NewCertPool(), 300*time.Millisecond })
	raw := r.token()
	poll(t, func() string {
		if r.verifier.Status()[0].Failures == 0 {
			return "no read failed"
		}
		return ""
	})
	if code := r.verify(raw); code != token.CodeUnreachable {
		t.Errorf("code %q", code)
	}
	if n, err := r.issuer.Reads(); err != nil || n != 0 {
		t.Errorf("%d key sets were taken from an impostor, %v", n, err)
	}
}

// While an issuer is slow, no more than a bounded number of requests is held for it; the others are told to
// come again, and tokens of known keys pass.
func TestSlowIssuerHoldsFew(t *testing.T) {
	const all, most = 400, 128
	r := newReal(t, func(i *token.Issuer, o *token.Options) { o.Wait, o.Fetch = 3*time.Second, time.Minute })
	good := r.token()
	r.becomes(good, "")
	r.must(r.issuer.Mode(issuertest.Slow))
	r.ahead.Store(int64(time.Second)) // beyond the throttle
	begin, answers := time.Now(), make(chan time.Duration, all)
	for n := range all {
		go func() {
			if code := r.verify(withKid(good, fmt.Sprint("made-up-", n))); code != token.CodeKeyPending {
				t.Errorf("code %q", code)
			}
			answers <- time.Since(begin)
		}()
	}
	held := 0
	for n := range all {
		took := <-answers
		if took > 2*time.Second {
			held++
		}
		if n == 0 {
			if code := r.verify(good); code != "" {
				t.Errorf("a known key while others wait: %s", code)
			}
		}
	}
	if held == 0 || held > most {
		t.Errorf("%d of %d requests were held, want 1 to %d", held, all, most)
	}
}

// What is no key set changes nothing; an empty set is the issuer's word.
func TestBadAnswers(t *testing.T) {
	r := newReal(t, func(i *token.Issuer, o *token.Options) {
		i.Refresh, i.Throttle, o.Fetch, o.Wait = time.Second, 100*time.Millisecond, 300*time.Millisecond, 50*time.Millisecond
	})
	raw := r.token()
	r.becomes(raw, "")
	for _, mode := range []string{issuertest.Slow, issuertest.Huge, issuertest.HTML, issuertest.Failing, issuertest.Redirect} {
		r.must(r.issuer.Mode(mode))
		before := r.verifier.Status()[0].Failures
		poll(t, func() string {
			begin := time.Now()
			if code := r.verify(withKid(raw, "another")); code != token.CodeKeyPending {
				return fmt.Sprintf("%s: code %q", mode, code)
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("%s: a request was held for %s", mode, took)
			}
			if r.verifier.Status()[0].Failures == before {
				return mode + ": no read failed"
			}
			return ""
		})
		if code := r.verify(raw); code != "" {
			t.Errorf("%s: a known key is refused: %s", mode, code)
		}
	}
	r.must(r.issuer.Mode(issuertest.Empty))
	r.becomes(raw, token.CodeKeyUnknown)
	r.must(r.issuer.Mode(issuertest.Well))
	r.becomes(raw, "")
}

// Whoever is refused finds the code in the documentation.
func TestCodesAreDocumented(t *testing.T) {
	source, err := os.ReadFile("verify.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../deploy/docs/tokens.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code\w+ += "(\w+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 16 {
		t.Fatalf("%d codes are found, there are more", len(codes))
	}
	for _, c := range codes {
		if !strings.Contains(string(doc), "| `"+string(c[1])+"` |") {
			t.Errorf("tokens.md says nothing about %s", c[1])
		}
	}
}

func TestStopDoesNotWaitForASlowIssuer(t *testing.T) {
	r := newReal(t, func(i *token.Issuer, o *token.Options) { i.Throttle, o.Fetch = 100*time.Millisecond, time.Hour })
	raw := r.token()
	r.becomes(raw, "")
	r.must(r.issuer.Mode(issuertest.Slow))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil { // one of these begins a read
		if _, err := r.verifier.Verify(ctx, withKid(raw, "another"), token.Bearer{Tenant: "acme"}); err == nil {
			t.Fatal("accepted")
		}
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Fatal(ctx.Err())
	}
	begin := time.Now()
	r.verifier.Stop()
	r.verifier.Stop()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("stopped after %s", took)
	}
}

// Nothing that the package says or logs holds a part of a token.
func TestNothingTellsTokens(t *testing.T) {
	r := newReal(t, nil)
	raw := r.token()
	r.becomes(raw, "")
	var said []string
	for _, one := range []string{raw, withKid(raw, "kid-that-is-told"), raw + "x", raw + ".x", strings.Replace(raw, ".", "", 1), "!" + raw} {
		if _, err := r.verifier.Verify(t.Context(), one, token.Bearer{Tenant: "globex"}); err != nil {
			said = append(said, err.Error())
		}
	}
	for _, e := range r.logs.All() {
		said = append(said, e.Message, fmt.Sprint(e.ContextMap()))
	}
	parts := append(strings.Split(raw, "."), "kid-that-is-told")
	for _, line := range said {
		for _, part := range parts {
			if strings.Contains(line, part) {
				t.Errorf("%q tells %q", line, part)
			}
		}
	}
	if len(said) < 6 {
		t.Errorf("only %d lines were looked at", len(said))
	}
}
