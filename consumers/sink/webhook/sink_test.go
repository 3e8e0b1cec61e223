package webhook_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/consumers/sink/webhook"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
)

func TestARequest(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		e := serve(t, nil)
		if http2 {
			e = serveHTTP2(t)
		}
		o := e.options(t)
		o.Secrets = []signature.WebhookKey{key(t, "whsec_", 1), key(t, "whsec_", 2), key(t, "whsk_", 3)}
		o.Token = keyring.Secret("user-token")
		s := open(t, o)
		m := event("e.1:a~b")
		m.Header.Set(header.TraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		begin := time.Now().Unix()
		if err := s.Handle(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		got := e.requests()[0]
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Authorization": "Bearer user-token", "Webhook-Id": "e/1:a~b",
			"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Key-Id": "",
		} {
			if is := got.header.Get(name); is != want {
				t.Errorf("%s is %q, want %q", name, is, want)
			}
		}
		if string(got.body) != payload {
			t.Errorf("the body is %q", got.body)
		}
		verify(t, got, begin)
	}
}

// verify checks a request as its receiver does: each of the three keys has signed it.
func verify(t *testing.T, got request, begin int64) {
	t.Helper()
	id, at, list := got.header.Get(signature.WebhookID), got.header.Get(signature.WebhookTimestamp), got.header.Get(signature.WebhookSignature)
	if err := signature.ValidateWebhook(id, at, list); err != nil {
		t.Error(err)
	}
	if n, err := strconv.ParseInt(at, 10, 64); err != nil || n < begin || n > time.Now().Unix() {
		t.Errorf("time %q", at)
	}
	content := signature.AppendWebhook(nil, id, at, got.body)
	public := ed25519.NewKeyFromSeed(secret(3)).Public().(ed25519.PublicKey)
	if !signature.VerifyWebhook(secret(1), content, list) || !signature.VerifyWebhook(secret(2), content, list) || !signature.VerifyWebhookEd25519(public, content, list) {
		t.Errorf("not all keys have signed: %s", list)
	}
	if signature.VerifyWebhook(secret(4), content, list) {
		t.Error("a stranger's secret has signed")
	}
}

func TestRotate(t *testing.T) {
	e := serve(t, nil)
	s := open(t, e.options(t))
	signed := func(n byte) bool {
		if err := handle(t, s, "e"); err != nil {
			t.Fatal(err)
		}
		all := e.requests()
		got := all[len(all)-1]
		content := signature.AppendWebhook(nil, got.header.Get(signature.WebhookID), got.header.Get(signature.WebhookTimestamp), got.body)
		return signature.VerifyWebhook(secret(n), content, got.header.Get(signature.WebhookSignature))
	}
	for _, step := range []struct {
		keys     []signature.WebhookKey
		old, new bool
	}{{nil, true, false}, {[]signature.WebhookKey{key(t, "whsec_", 2), key(t, "whsec_", 1)}, true, true}, {[]signature.WebhookKey{key(t, "whsec_", 2)}, false, true}} {
		if step.keys != nil {
			if err := s.Rotate(step.keys); err != nil {
				t.Fatal(err)
			}
		}
		if old, next := signed(1), signed(2); old != step.old || next != step.new {
			t.Errorf("with %d keys: old %v, new %v", len(step.keys), old, next)
		}
	}
	if err := s.Rotate(nil); fault.CodeOf(err) != "invalid_options" || !signed(2) {
		t.Errorf("no secrets are taken: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	status := 0
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte("DE02120300000000202051 is no account of t0k3n"))
	})
	s := open(t, e.options(t))
	for _, c := range []struct {
		statuses []int
		class    retry.Class
		code     string
	}{
		{[]int{200, 201, 202, 204, 299}, 0, ""},
		{[]int{300, 301, 304, 308}, retry.Outage, "endpoint_moved"},
		{[]int{400, 402, 406, 409, 411, 413, 415, 418, 422, 428, 431, 451}, retry.Hopeless, "event_refused"},
		{[]int{401, 403, 407}, retry.Outage, "endpoint_denies"},
		{[]int{404, 405, 421}, retry.Outage, "endpoint_missing"},
		{[]int{408, 425, 429}, retry.Outage, "endpoint_busy"},
		{[]int{500}, retry.Failure, "endpoint_failed"},
		{[]int{501, 502, 503, 504, 507, 599, 600, 999}, retry.Outage, "endpoint_unavailable"},
	} {
		for _, status = range c.statuses {
			err := handle(t, s, "e")
			if c.code == "" {
				if err != nil {
					t.Errorf("%d: %v", status, err)
				}
				continue
			}
			if retry.Classify(err) != c.class || fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), strconv.Itoa(status)) {
				t.Errorf("%d: %v (%s, %s), want %s, %s", status, err, retry.Classify(err), fault.CodeOf(err), c.class, c.code)
				continue
			}
			tells(t, strconv.Itoa(status), err.Error())
		}
	}
}

// While the endpoint wants to be left alone no event is sent, whoever it is for.
func TestRetryAfterHoldsEveryEvent(t *testing.T) {
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	s := open(t, e.options(t))
	if err := handle(t, s, "e-1"); retry.Classify(err) != retry.Outage || fault.CodeOf(err) != "endpoint_busy" {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Handle(ctx, event("e-2")); !errors.Is(err, context.DeadlineExceeded) || len(e.requests()) != 1 {
		t.Errorf("%v after %d requests", err, len(e.requests()))
	}
	if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "left alone for another") {
		t.Errorf("ready: %v", err)
	}
}

func TestRetryAfterIsBelievedUpToALimit(t *testing.T) {
	first := true
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if first {
			first = false
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	o := e.options(t)
	o.MostTold = time.Millisecond
	s := open(t, o)
	if err := handle(t, s, "e"); err == nil {
		t.Fatal("503 is taken")
	}
	if err := handle(t, s, "e"); err != nil {
		t.Error(err)
	}
}

func TestGone(t *testing.T) {
	status := http.StatusGone
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	o := e.options(t)
	o.StateFile = filepath.Join(t.TempDir(), "gone.json")
	s := open(t, o)
	if err := handle(t, s, "e.1"); fault.CodeOf(err) != "endpoint_gone" || retry.Classify(err) != retry.Outage {
		t.Fatal(err)
	}
	record, err := os.ReadFile(o.StateFile)
	if err != nil || !strings.Contains(string(record), `"event_id": "e.1"`) || !strings.Contains(string(record), e.URL) {
		t.Errorf("on record: %s, %v", record, err)
	}
	tells(t, "the record", string(record))

	again := open(t, o) // as after a restart
	for name, s := range map[string]*webhook.Sink{"same": s, "restarted": again} {
		if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "remove "+o.StateFile) {
			t.Errorf("%s: ready: %v", name, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := s.Handle(ctx, event("e-2")); !errors.Is(err, context.DeadlineExceeded) || len(e.requests()) != 1 {
			t.Errorf("%s: %v after %d requests", name, err, len(e.requests()))
		}
		cancel()
	}

	status = http.StatusOK
	other := o
	other.URL += "/2"
	if err := handle(t, open(t, other), "e"); err != nil {
		t.Errorf("another URL: %v", err)
	}
	if err := os.Remove(o.StateFile); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(handle(t, s, "e-3"), handle(t, again, "e-3"), s.Ready()); err != nil {
		t.Errorf("after the record was removed: %v", err)
	}
}

// A record that cannot be written holds in this process all the same.
func TestGoneWithoutAFile(t *testing.T) {
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	for _, file := range []string{"", "/dev/null/gone.json"} {
		o := e.options(t)
		o.StateFile = file
		if file != "" {
			if _, err := webhook.Open(t.Context(), o); fault.CodeOf(err) != "state_file" {
				t.Errorf("%s: %v", file, err)
			}
			continue
		}
		s := open(t, o)
		if err := handle(t, s, "e"); fault.CodeOf(err) != "endpoint_gone" {
			t.Fatal(err)
		}
		if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "start again") {
			t.Errorf("ready: %v", err)
		}
	}
	o := e.options(t)
	o.StateFile = filepath.Join(t.TempDir(), "gone.json")
	if err := os.WriteFile(o.StateFile, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := webhook.Open(t.Context(), o); fault.CodeOf(err) != "state_file" {
		t.Errorf("a damaged record: %v", err)
	}
}

// A stop does not break off what was begun: the endpoint would get it twice.
func TestARequestOutlivesAStop(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	e := serve(t, func(http.ResponseWriter, *http.Request) { stop() })
	if err := open(t, e.options(t)).Handle(ctx, event("e")); err != nil {
		t.Error(err)
	}
}

func TestNothingListens(t *testing.T) {
	e := serve(t, nil)
	o := e.options(t)
	e.Close()
	err := handle(t, open(t, o), "e")
	if fault.CodeOf(err) != "endpoint_unreachable" || retry.Classify(err) != retry.Outage {
		t.Errorf("%v (%s)", err, fault.CodeOf(err))
	}
	tells(t, "the error", err.Error())
	o.URL = "https://hooks.example.com/t0k3n"
	o.Resolver = serveNames(t, nil).resolver()
	err = handle(t, open(t, o), "e")
	if fault.CodeOf(err) != "endpoint_unknown" || retry.Classify(err) != retry.Outage {
		t.Errorf("%v (%s)", err, fault.CodeOf(err))
	}
	tells(t, "the error", err.Error())
}

func TestLogsAndOptionsHideSecrets(t *testing.T) {
	var out strings.Builder
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&out), zap.DebugLevel))
	status := http.StatusTooManyRequests
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("t0k3n DE02"))
	})
	o := e.options(t)
	o.Token, o.Logger, o.MostTold = keyring.Secret("user-token"), log, time.Millisecond
	o.Secrets = append(o.Secrets, key(t, "whsk_", 3))
	s := open(t, o)
	for _, status = range []int{429, 500, 410} {
		if err := handle(t, s, "e"); err == nil {
			t.Errorf("%d is taken", status)
		}
	}
	log.Info("options", zap.Any("secrets", o.Secrets), zap.Stringers("keys", o.Secrets), zap.Any("token", o.Token))
	for _, told := range []string{"410 Gone", "left alone", o.Secrets[1].Public()} {
		if !strings.Contains(out.String(), told) {
			t.Errorf("%s is not told: %s", told, out.String())
		}
	}
	tells(t, "the log", out.String())
}

func TestMetrics(t *testing.T) {
	status := http.StatusOK
	e := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(status)
	})
	o := e.options(t)
	registry := prometheus.NewRegistry()
	o.Registerer = registry
	s := open(t, o)
	for _, status = range []int{200, 400, 429} {
		_ = handle(t, s, "e")
	}
	for name, want := range map[string]float64{
		"weft_sink_events_total/delivered": 1, "weft_sink_events_total/refused": 1, "weft_sink_failures_total/permanent": 1, "weft_sink_failures_total/outage": 1,
		"weft_sink_webhook_answers_total/2xx": 1, "weft_sink_webhook_answers_total/4xx": 2, "weft_sink_webhook_held/": 1, "weft_sink_webhook_gone/": 0,
	} {
		if got := value(t, registry, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if _, err := webhook.Open(t.Context(), o); fault.KindOf(err) != fault.Conflict {
		t.Errorf("a second sink of one registry: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if left, err := registry.Gather(); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	open(t, o)
}

// value is a counter or gauge by name/label value.
func value(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	family, label, _ := strings.Cut(name, "/")
	for _, f := range families {
		for _, m := range f.GetMetric() {
			matches := label == ""
			for _, l := range m.GetLabel() {
				matches = matches || l.GetValue() == label
			}
			if f.GetName() == family && matches {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Errorf("no %s", name)
	return 0
}
