package relay_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// schemeKey gives acme a key of the scheme's name, and returns what its owner signs with.
func (r *rig) schemeKey(scheme string) keyring.Secret {
	private := r.key(scheme, "acme", "default") // of random bytes
	secret := r.secrets[scheme]
	private.Algorithms = []string{scheme}
	if scheme == keyring.StandardWebhooksV1a {
		sealed, err := r.sealer.Seal(r.t.Context(), ed25519.NewKeyFromSeed(secret).Public().(ed25519.PublicKey))
		r.must(err)
		private.Sealed = sealed
	}
	r.control.change(func(s *control.State) { s.Keys[scheme] = private })
	return secret
}

// The reference client sends under every scheme, one event and several, and the relay counts by scheme.
func TestClientSendsUnderEveryScheme(t *testing.T) {
	r := newRig(t)
	for _, scheme := range []string{keyring.WeftV1, keyring.StandardWebhooks, keyring.StandardWebhooksV1a, keyring.Body} {
		secret := r.schemeKey(scheme)
		c := r.producer(func(o *client.Options) { o.Kid, o.Secret, o.Scheme = scheme, secret, scheme })
		for n := range 3 { // an empty call, one event, a batch
			var events [][]byte
			for range n {
				events = append(events, []byte(ev()))
			}
			before := r.stored()
			results, err := c.Send(t.Context(), events)
			if err != nil || r.stored() != before+uint64(n) {
				t.Errorf("%s: %d events: %+v, %v, %d stored", scheme, n, results, err, r.stored()-before)
			}
		}
		if got := r.counter("weft_relay_signatures_total", prometheus.Labels{"scheme": scheme, "code": "ok"}); got != 2 {
			t.Errorf("%s: %v signatures counted", scheme, got)
		}
		wrong := r.producer(func(o *client.Options) {
			o.Kid, o.Secret, o.Scheme = scheme, keyring.Secret(bytes.Repeat([]byte{1}, 32)), scheme
		})
		if _, err := wrong.Send(t.Context(), [][]byte{[]byte(ev())}); fault.CodeOf(err) != "signature_invalid" {
			t.Errorf("%s with another secret: %v", scheme, err)
		}
	}
}

// A webhook comes once, whichever key of the producer a copy names: the kid is not signed.
func TestCopyOfWebhookUnderAnotherKid(t *testing.T) {
	r := newRig(t)
	secret := r.schemeKey(keyring.StandardWebhooks)
	r.schemeKey(keyring.StandardWebhooksV1a)
	body, now := ev(), time.Now()
	send := func(kid string) answer {
		return r.send(post{body: body, after: func(q *http.Request) {
			q.Header = http.Header{"Content-Type": {"application/json"}}
			signature.SignHTTPWebhook(func(c []byte) string { return signature.SignWebhook(secret, c) }, q, kid, "msg-1", now, []byte(body))
		}})
	}
	if a := send(keyring.StandardWebhooks); a.status != http.StatusAccepted {
		t.Fatalf("%d %s", a.status, a.text)
	}
	for _, kid := range []string{keyring.StandardWebhooks, keyring.StandardWebhooksV1a} {
		var a answer
		streamtest.Eventually(t, 10*time.Second, func() (bool, string) { // the relay learns of keys beside its requests
			a = send(kid)
			return a.Code != "signature_invalid", a.text
		})
		if a.status != http.StatusUnauthorized || a.Code != "replayed" {
			t.Errorf("a copy that names %s: %d %s", kid, a.status, a.text)
		}
	}
}

// counter is the value of one counter.
func (r *rig) counter(name string, labels prometheus.Labels) float64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	r.must(err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got := prometheus.Labels{}
			for _, l := range m.GetLabel() {
				got[l.GetName()] = l.GetValue()
			}
			if f.GetName() == name && fmt.Sprint(got) == fmt.Sprint(labels) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
