package app

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/schema"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// activate registers a first version of a type that takes everything, and lets it hold.
func (p *pair) activate(tenant, kind string) {
	p.t.Helper()
	h := p.hubs["eu"]
	_, err := h.RegisterSchema(p.t.Context(), tenant, hub.SchemaSpec{Subject: kind, Version: schema.Version{Major: 1}, Language: schema.JSONSchema, Text: []byte(`{"type":"object"}`)}, false, "test")
	must(p.t, err)
	_, err = h.StepSchema(p.t.Context(), tenant, kind, "1.0.0", hub.SchemaStepSpec{Status: schema.Active}, false, "test")
	must(p.t, err)
}

func eventOf(id, kind, user string) []byte {
	return fmt.Appendf(nil, `{"event_id":%q,"event_type":%q,"schema_version":"1.0.0","occurred_at":%q,"key":{"user_id":%q},"payload":{"stake":100}}`,
		id, kind, time.Now().UTC().Format(time.RFC3339), user)
}

// one sends one event once.
func one(t *testing.T, c *client.Client, body []byte) client.Result {
	t.Helper()
	res, err := c.Send(t.Context(), [][]byte{body})
	if len(res) == 0 {
		t.Fatal(err)
	}
	return res[0]
}

// A version is retired between an event and its retry. At the relay that took the event, at one of the other region and
// where it was forwarded to its key's home the retry is told that it is stored; another tenant that has the id is not.
func TestRetriesAfterARetirement(t *testing.T) {
	p := newPair(t, time.Second)
	routes := p.hubs["eu"].State().RoutesOf("acme")
	home := routes.Topics[0]
	home.Name, home.Home = "home", accounts.Forward
	routes.Topics, routes.Rules = append(slices.Clone(routes.Topics), home), append(slices.Clone(routes.Rules), accounts.Rule{Type: "home.>", Topic: "home"})
	_, err := p.hubs["eu"].SetRoutes(t.Context(), "acme", routes, "test")
	must(t, err)
	other, err := p.hubs["eu"].AddTenant(t.Context(), hub.TenantSpec{Name: "globex"}, "test")
	must(t, err)
	kinds := []string{"plain.x", "home.x"}
	for _, tenant := range []string{"acme", "globex"} {
		for _, kind := range kinds {
			p.activate(tenant, kind)
		}
	}
	us := p.startRelay("us", "r1")
	acme, there := p.client, p.newClient(us.Addr(), p.tls, p.bundle)
	p.connect(p.relay.Addr(), filepath.Join(p.dir, "pki", "ca.pem"), other)
	globex := p.client
	away := ""
	for i := 0; away == ""; i++ {
		user := fmt.Sprintf("u-%d", i)
		if partition.Home(user, []partition.Region{{Name: "eu", Weight: 1}, {Name: "us", Weight: 1}}) == "us" {
			away = user
		}
	}
	events := map[string][]byte{"here": eventOf("here", "plain.x", "u"), "away": eventOf("away", "home.x", away)}
	want := map[string]client.Status{"here": client.Stored, "away": client.Forwarded}
	for id, body := range events {
		streamtest.Eventually(t, 20*time.Second, func() (bool, string) { // the relay learns of routes and schemas beside its requests
			r := one(t, acme, eventOf(fmt.Sprintf("%s-%d", id, time.Now().UnixNano()), map[string]string{"here": "plain.x", "away": "home.x"}[id], away))
			return r.Status == want[id], fmt.Sprintf("%+v", r)
		})
		if r := one(t, acme, body); r.Status != want[id] {
			t.Fatalf("%s: %+v", id, r)
		}
	}
	for _, tenant := range []string{"acme", "globex"} {
		for _, kind := range kinds {
			_, err := p.hubs["eu"].StepSchema(t.Context(), tenant, kind, "1.0.0", hub.SchemaStepSpec{Status: schema.Deprecated}, false, "test")
			must(t, err)
			_, err = p.hubs["eu"].StepSchema(t.Context(), tenant, kind, "1.0.0", hub.SchemaStepSpec{Status: schema.Retired}, false, "test")
			must(t, err)
		}
	}
	n := 0
	for _, c := range []*client.Client{acme, there, globex} {
		for _, kind := range kinds {
			streamtest.Eventually(t, 20*time.Second, func() (bool, string) {
				n++
				r := one(t, c, eventOf(fmt.Sprintf("new-%d", n), kind, away))
				return r.Code == "schema_version_retired", fmt.Sprintf("%s: %+v", kind, r)
			})
		}
	}
	for id, body := range events {
		for region, c := range map[string]*client.Client{"eu": acme, "us": there} {
			if r := one(t, c, body); r.Status != client.Duplicate || r.Code != "" {
				t.Errorf("%s in %s: %+v", id, region, r)
			}
		}
		if r := one(t, globex, body); r.Code != "schema_version_retired" {
			t.Errorf("another tenant is told of %s: %+v", id, r)
		}
	}
	batch, err := there.Send(t.Context(), [][]byte{events["here"], eventOf("away", "home.x", away+"x"), eventOf("never", "plain.x", "u"), events["away"]})
	if err != nil && len(batch) == 0 {
		t.Fatal(err)
	}
	for i, want := range []string{"duplicate", "event_id_conflict", "schema_version_retired", "duplicate"} {
		if got := batch[i].Code; got != want && string(batch[i].Status) != want {
			t.Errorf("%d of a batch: %+v, want %s", i, batch[i], want)
		}
	}
}
