package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/partition"
)

// routes puts topics in force for acme.
func (r *rig) routes(topics []accounts.Topic, rules ...accounts.Rule) {
	for i := range topics {
		if topics[i].Retention == 0 {
			topics[i].Retention = accounts.Duration(7 * 24 * time.Hour)
		}
	}
	r.control.change(func(s *control.State) {
		s.Routes["acme"] = &accounts.Routes{Tenant: "acme", Topics: topics, Rules: rules, Default: topics[0].Name}
	})
}

// userOf finds a user whose home is the region.
func userOf(region string) string {
	for i := 0; ; i++ {
		user := fmt.Sprintf("user-%d", i)
		if partition.Home(user, []partition.Region{{Name: "eu", Weight: 1}, {Name: "us", Weight: 1}}) == region {
			return user
		}
	}
}

// playHome is the home region us at the other end of a link.
func (r *rig) playHome() {
	seq := 100
	_, err := r.conn.Subscribe("evt.us_1.>", func(m *nats.Msg) {
		seq++
		_ = m.Respond(fmt.Appendf(nil, `{"stream":"EVENTS","domain":"us","seq":%d}`, seq))
	})
	r.must(err)
	r.must(r.conn.Flush())
}

// manyTopics is a topic of every kind; the first is the default.
func (r *rig) manyTopics() {
	r.routes([]accounts.Topic{
		{Name: "local", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local},
		{Name: "money", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Forward},
		{Name: "here", Class: accounts.Standard, Scope: accounts.ScopeRegional, Home: accounts.Local},
		{Name: "short", Class: accounts.Optional, Scope: accounts.ScopeGlobal, Home: accounts.Local, Retention: accounts.Duration(time.Hour)},
		{Name: "game", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local, Key: "/payload/game"},
		{Name: "closed", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local, Producers: []string{"other"}},
	}, accounts.Rule{Type: "money.>", Topic: "money"}, accounts.Rule{Type: "here.*", Topic: "here"}, accounts.Rule{Type: "short", Topic: "short"},
		accounts.Rule{Type: "game.>", Topic: "game"}, accounts.Rule{Type: "closed", Topic: "closed"})
}

func TestRouting(t *testing.T) {
	r := newRig(t)
	r.manyTopics()
	eu, us := `{"user_id":"`+userOf("eu")+`"}`, `{"user_id":"`+userOf("us")+`"}`
	r.playHome()
	for _, c := range []struct {
		name, body          string
		status              int
		result, region, hdr string // hdr: "name=value" of the stored message
		subject             string
	}{
		{"home is here", ev("event_type", `"money.in"`, "key", eu), 202, "stored", "eu", header.Home + "=", ".g."},
		{"home is elsewhere", ev("event_type", `"money.in"`, "key", us), 202, "forwarded", "us", "", ""},
		{"accepted locally", ev("event_type", `"other"`, "key", us), 202, "stored", "eu", header.Home + "=us", ".g."},
		{"regional stays", ev("event_type", `"here.x"`, "key", us), 202, "stored", "eu", header.Home + "=", ".l."},
		{"short-lived", ev("event_type", `"short"`, "key", eu), 202, "stored", "eu", header.TTL + "=3600", ".short."},
		{"may be dropped", ev("event_type", `"short"`, "key", eu), 202, "stored", "eu", header.Class + "=optional", ".short."},
		{"may not be dropped", ev("event_type", `"other"`, "key", eu), 202, "stored", "eu", header.Class + "=", ".local."},
		{"other key", ev("event_type", `"game.x"`, "payload", `{"game":7}`), 202, "stored", "eu", "", fmt.Sprintf(".%d.game.", partition.Of("7"))},
	} {
		a := r.send(post{body: c.body})
		if a.status != c.status || a.Status != c.result || a.Region != c.region {
			t.Errorf("%s: %d %s", c.name, a.status, a.text)
			continue
		}
		if c.region != "eu" {
			continue
		}
		m := r.message(a.Seq)
		name, value, _ := strings.Cut(c.hdr, "=")
		if name != "" && m.Header.Get(name) != value || !strings.Contains(m.Subject, c.subject) {
			t.Errorf("%s: stored as %s with %v", c.name, m.Subject, m.Header)
		}
	}
}

func TestRoutesThatRefuse(t *testing.T) {
	r := newRig(t)
	r.manyTopics()
	if a := r.send(post{body: ev("event_type", `"game.x"`)}); a.status != 422 || a.Code != "routing_key_missing" || a.Errors[0].Pointer != "/payload/game" {
		t.Errorf("no key: %d %s", a.status, a.text)
	}
	if a := r.send(post{body: ev("event_type", `"closed"`)}); a.status != 403 || a.Code != "topic_denied" {
		t.Errorf("other producer's topic: %d %s", a.status, a.text)
	}
	if a := r.send(post{body: ev("event_type", `"short"`, "occurred_at", `"`+time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339)+`"`)}); a.Code != "occurred_at_too_old" {
		t.Errorf("older than the topic keeps: %d %s", a.status, a.text)
	}
}

func TestHomeUnreachable(t *testing.T) {
	r := newRig(t)
	r.manyTopics()
	eu, us := `{"user_id":"`+userOf("eu")+`"}`, `{"user_id":"`+userOf("us")+`"}`
	before := r.stored()
	a := r.send(post{body: ev("event_type", `"money.in"`, "key", us)})
	if a.status != 503 || a.Code != "home_unreachable" || a.header.Get("Retry-After") == "" || r.stored() != before {
		t.Errorf("home unreachable: %d %s", a.status, a.text)
	}
	// a batch of which something is stored is answered 200, the rest is told
	a = r.send(post{body: "[" + ev("event_type", `"money.in"`, "key", us) + "," + ev("event_type", `"money.in"`, "key", eu) + "]"})
	if a.status != 200 || a.Stored != 1 || a.Unavailable != 1 || a.Results[0].Code != "home_unreachable" || a.header.Get("Retry-After") == "" {
		t.Errorf("half of it unreachable: %d %s", a.status, a.text)
	}
	// one of which nothing is stored is a problem, and the results are in it
	a = r.send(post{body: "[" + ev("event_type", `"money.in"`, "key", us) + "," + ev("event_id", `"x x"`) + "]"})
	if a.status != 503 || a.Code != "home_unreachable" || a.Unavailable != 1 || a.Rejected != 1 || len(a.Results) != 2 {
		t.Errorf("all of it unreachable: %d %s", a.status, a.text)
	}
}

func TestResidency(t *testing.T) {
	r := newRig(t)
	r.routes([]accounts.Topic{{Name: "money", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Forward}})
	r.control.change(func(s *control.State) {
		s.Tenants["acme"] = &accounts.Tenant{Name: "acme", State: accounts.Active, Regions: []string{"eu"}}
		s.Tenants["globex"] = &accounts.Tenant{Name: "globex", State: accounts.Active, Regions: []string{"us"}}
	})
	if a := r.send(post{body: ev("key", `{"user_id":"`+userOf("us")+`"}`)}); a.status != 202 || a.Status != "stored" {
		t.Errorf("a tenant of eu alone: %d %s", a.status, a.text)
	}
	if a := r.send(post{body: ev(), who: globex}); a.status != 403 || a.Code != "residency" {
		t.Errorf("a tenant of us alone: %d %s", a.status, a.text)
	}
}

func TestCriticalTopics(t *testing.T) {
	r := newRig(t)
	r.routes([]accounts.Topic{{Name: "kyc", Class: accounts.Critical, Scope: accounts.ScopeGlobal, Home: accounts.Local},
		{Name: "rest", Class: accounts.Standard, Scope: accounts.ScopeGlobal, Home: accounts.Local}}, accounts.Rule{Type: "rest", Topic: "rest"})
	region := func(ack string, relaxed bool) {
		r.control.change(func(s *control.State) {
			s.Regions["eu"] = &accounts.RegionInfo{Name: "eu", Epoch: 1, Weight: 1, Ack: ack, RelaxedCritical: relaxed}
		})
	}
	expect := func(name, kind string, status int, code string) {
		t.Helper()
		if a := r.send(post{body: ev("event_type", `"`+kind+`"`)}); a.status != status || a.Code != code {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	expect("acks before fsync", "kyc", 503, "durability")
	expect("acks before fsync, standard topic", "rest", 202, "")
	region(accounts.AckStored, true)
	expect("relaxed", "kyc", 202, "")
	region(accounts.AckStoredFsync, false)
	expect("acks after fsync", "kyc", 202, "")
	if a := r.send(post{body: ev("event_type", `"kyc"`)}); a.Ack != accounts.AckStoredFsync {
		t.Errorf("ack %q", a.Ack)
	}
	r.control.age.Store(int64(10*time.Minute + time.Second))
	expect("no heartbeat", "kyc", 503, "control_stale")
	expect("no heartbeat, standard topic", "rest", 202, "")
}
