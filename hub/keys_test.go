package hub

import (
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestViewOfAKey(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	k := &keyring.Key{Kid: "k", Tenant: "acme", State: keyring.Active, Sealed: "age:x:secret", CreatedAt: now.AddDate(0, 0, -45)}
	for name, c := range map[string]struct {
		at  time.Time
		due bool
	}{"before": {now.Add(-1), false}, "at": {now, true}, "after": {now.Add(1), true}} {
		if v := viewKey(k, "", c.at); v.Due != c.due || !v.DueAt.Equal(now) || v.Rotation != 45 || v.GraceDays != 7 {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if v := viewKey(k.Replaced(now), "", now.Add(1)); v.State != keyring.Revoked || v.Due {
		t.Errorf("after its grace period: %+v", v)
	}
}

// series are the values of a registry's gauges by name and label values.
func series(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				if l.GetName() == "tenant" || l.GetName() == "state" {
					name += " " + l.GetValue()
				}
			}
			out[name] = m.GetGauge().GetValue()
		}
	}
	return out
}

func TestKeyMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newKeyMetrics(reg, "eu", 0)
	m.set([]KeyView{
		{Tenant: "acme", State: keyring.Active, AgeSeconds: 5, Due: true}, {Tenant: "acme", State: keyring.Active, AgeSeconds: 9},
		{Tenant: "acme", State: keyring.Revoked, AgeSeconds: 99}, {Tenant: "globex", State: keyring.Pending},
	})
	want := map[string]float64{
		"weft_hub_key_age_seconds acme": 9, "weft_hub_keys_overdue acme": 1, "weft_hub_keys_overdue globex": 0,
		"weft_hub_keys active acme": 2, "weft_hub_keys revoked acme": 1, "weft_hub_keys pending globex": 1,
	}
	if got := series(t, reg); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	m.set(nil)
	if got := series(t, reg); len(got) != 0 {
		t.Errorf("series of tenants that are gone: %v", got)
	}
}

func TestKeysAreRefusedWhereTheyMustBe(t *testing.T) {
	m := newTestMesh(t, region("eu"))
	m.start()
	m.tenant("acme")
	m.tenant("globex")
	h := m.hubs["eu-0"]
	for name, c := range map[string]struct {
		spec KeySpec
		code string
	}{
		"kid of another tenant":     {KeySpec{Tenant: "acme", Kid: "globex-1"}, "kid_used"},
		"kid that is none":          {KeySpec{Tenant: "acme", Kid: "a.b"}, "invalid_kid"},
		"no such tenant":            {KeySpec{Tenant: "nobody"}, "no_such_tenant"},
		"topic that is not there":   {KeySpec{Tenant: "acme", Topics: []string{"bests"}}, "unknown_topic"},
		"scheme that is none":       {KeySpec{Tenant: "acme", Algorithms: []string{"md5"}}, "algorithms"},
		"public key that is none":   {KeySpec{Tenant: "acme", Algorithms: []string{keyring.StandardWebhooksV1a}, PublicKey: "AAAA"}, "public_key"},
		"public key missing":        {KeySpec{Tenant: "acme", Algorithms: []string{keyring.StandardWebhooksV1a}}, "no_public_key"},
		"public key for an HMAC":    {KeySpec{Tenant: "acme", PublicKey: "AAAA"}, "no_public_key"},
		"two times to be active at": {KeySpec{Tenant: "acme", Active: true, ActiveFrom: time.Now()}, "invalid_start"},
		"too many days":             {KeySpec{Tenant: "acme", GraceDays: 1000}, "invalid_days"},
	} {
		if _, err := h.AddKey(t.Context(), c.spec, "test"); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	k, err := h.AddKey(t.Context(), KeySpec{Tenant: "acme", Kid: "mine", Rotation: 90, GraceDays: 14}, "test")
	m.must(err)
	if k.State != keyring.Pending || len(k.Secret) != 44 || k.Rotation != 90 {
		t.Errorf("%+v", k.KeyView)
	}
	if _, err := h.RotateKey(t.Context(), "mine", RotateSpec{}, "test"); fault.CodeOf(err) != "key_pending" {
		t.Errorf("a pending key was rotated: %v", err)
	}
	_, err = h.ActivateKey(t.Context(), "mine", "test")
	m.must(err)
	next, err := h.RotateKey(t.Context(), "mine", RotateSpec{}, "test")
	m.must(err)
	if old := h.State().Keys["mine"]; next.GraceDays != 14 || old.State != keyring.Grace || time.Until(old.GraceUntil).Round(time.Hour) != 14*24*time.Hour {
		t.Errorf("replaced by %+v, good until %s", next.KeyView, old.GraceUntil)
	}
	_, err = h.RevokeKey(t.Context(), "mine", false, "test")
	m.must(err)
	if h.State().Keys["mine"].Sealed != "" {
		t.Error("a revoked key keeps its secret")
	}
	for name, err := range map[string]error{
		"activated": second(h.ActivateKey(t.Context(), "mine", "test")), "rotated": second(h.RotateKey(t.Context(), "mine", RotateSpec{}, "test")),
	} {
		if fault.CodeOf(err) != "key_revoked" {
			t.Errorf("a revoked key was %s: %v", name, err)
		}
	}
	if _, err := h.AddKey(t.Context(), KeySpec{Tenant: "acme", Kid: "mine"}, "test"); fault.CodeOf(err) != "kid_used" {
		t.Errorf("a kid was given twice: %v", err)
	}
	if err := h.state.Put(t.Context(), control.KindKey, "mine", keyring.Key{Kid: "mine", Tenant: "acme", State: keyring.Active}, "test"); fault.CodeOf(err) != "write_lost" {
		t.Errorf("a revoked key is active again: %v", err)
	}
}

// A key whose grace period ended a while ago is revoked and has no secret any more; one that ended just now is left to
// the clock.
func TestKeysAreBuried(t *testing.T) {
	m := newTestMesh(t, region("eu"))
	m.start()
	m.tenant("acme")
	h := m.hubs["eu-0"]
	for kid, ago := range map[string]time.Duration{"long": buryAfter + time.Second, "short": time.Second} {
		k := keyring.Key{Kid: kid, Tenant: "acme", State: keyring.Grace, Sealed: "x:y:z", GraceUntil: time.Now().Add(-ago)}
		m.must(h.state.Put(t.Context(), control.KindKey, kid, k, "test"))
	}
	h.buryKeys(t.Context())
	keys := h.State().Keys
	if k := keys["long"]; k.State != keyring.Revoked || k.Sealed != "" {
		t.Errorf("long after its end a key is %s, and has a secret: %t", k.State, k.Sealed != "")
	}
	if k := keys["short"]; k.State != keyring.Grace || k.Usable(time.Now()) == nil {
		t.Errorf("just after its end a key is %s", k.State)
	}
}

func second[T any](_ T, err error) error { return err }
