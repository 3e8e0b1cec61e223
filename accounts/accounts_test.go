package accounts_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestValidName(t *testing.T) {
	for s, want := range map[string]bool{
		"acme": true, "a": true, "a-1": true, "x" + strings.Repeat("9", 31): true,
		"": false, "1a": false, "-a": false, "Acme": false, "a_b": false, "a.b": false, "a b": false, "é": false, "a\n": false, "x" + strings.Repeat("9", 32): false,
	} {
		if got := accounts.ValidName(s); got != want {
			t.Errorf("ValidName(%q) = %v", s, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"168h": 168 * time.Hour, "7d": 168 * time.Hour, "1m30s": 90 * time.Second, "0s": 0, "1h0m5s": time.Hour + 5*time.Second, "-2h": -2 * time.Hour, "250ms": 250 * time.Millisecond,
	} {
		got, err := accounts.ParseDuration(text)
		if err != nil || got.Std() != want {
			t.Errorf("ParseDuration(%q) = %v, %v", text, got, err)
		}
	}
	for d, want := range map[time.Duration]string{
		168 * time.Hour: "168h", 90 * time.Second: "1m30s", 0: "0s", time.Hour + 5*time.Second: "1h0m5s", 10 * time.Minute: "10m", 20 * time.Second: "20s", 70 * time.Minute: "1h10m",
	} {
		if got := accounts.Duration(d).String(); got != want {
			t.Errorf("%v prints as %s, want %s", d, got, want)
		}
	}
	for _, bad := range []string{"", "7", "d", "1.5d", "week", "999999999d", "7d1h", " 1h"} {
		if d, err := accounts.ParseDuration(bad); err == nil {
			t.Errorf("ParseDuration(%q) = %v", bad, d)
		}
	}
	var v struct{ D accounts.Duration }
	for _, bad := range []string{`{"D":5}`, `{"D":"5"}`, `{"D":{}}`, `{"D":"x"}`} {
		if err := json.Unmarshal([]byte(bad), &v); err == nil || !strings.Contains(err.Error(), "is not a duration such as") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		d := accounts.Duration(rapid.Int64().Draw(rt, "d"))
		text, err := json.Marshal(d)
		if err != nil {
			rt.Fatal(err)
		}
		var back accounts.Duration
		if err := json.Unmarshal(text, &back); err != nil || back != d {
			rt.Fatalf("%d became %s became %d (%v)", d, text, back, err)
		}
	})
}

func TestLimitsOrDefault(t *testing.T) {
	if got := (accounts.Limits{}).OrDefault(); got != accounts.DefaultLimits() {
		t.Errorf("%+v", got)
	}
	l := accounts.Limits{DiskBytes: 5, Streams: accounts.Unlimited}
	want := accounts.DefaultLimits()
	want.DiskBytes, want.Streams = 5, accounts.Unlimited
	if got := l.OrDefault(); got != want {
		t.Errorf("%+v", got)
	}
	v := reflect.ValueOf(accounts.DefaultLimits())
	for i := range v.NumField() {
		if v.Field(i).Int() == 0 {
			t.Errorf("%s has no default", v.Type().Field(i).Name)
		}
	}
}

func TestTenantRegions(t *testing.T) {
	all, some := accounts.Tenant{}, accounts.Tenant{Regions: []string{"eu", "us"}}
	if !all.In("eu") || !some.In("us") || some.In("ap") {
		t.Error("residency")
	}
}

func TestTopicDefaults(t *testing.T) {
	topic := accounts.Topic{Retention: accounts.Duration(time.Hour)}
	if topic.KeyPointer() != "/key/user_id" || topic.EventAge() != time.Hour {
		t.Error(topic.KeyPointer(), topic.EventAge())
	}
	topic.Key, topic.MaxEventAge = "/ctx/session_id", accounts.Duration(time.Minute)
	if topic.KeyPointer() != "/ctx/session_id" || topic.EventAge() != time.Minute {
		t.Error(topic.KeyPointer(), topic.EventAge())
	}
}

// TestJSONNames holds the names under which the control log stores these records.
func TestJSONNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		value any
		want  string
	}{
		{accounts.Tenant{Name: "acme", State: accounts.Active, Account: "A", JWT: "j", SigningSeed: "s", Limits: accounts.Limits{1, 2, 3, 4, 5, 6, 7}, Regions: []string{"eu"}, CreatedAt: at},
			`{"name":"acme","state":"active","account":"A","jwt":"j","signing_seed":"s","limits":{"disk_bytes":1,"max_payload":2,"streams":3,"consumers":4,"connections":5,"subscriptions":6,"leaf_connections":7},"regions":["eu"],"created_at":"2026-01-02T03:04:05Z"}`},
		{accounts.Routes{Tenant: "acme", Topics: []accounts.Topic{{Name: "bets", Class: "critical", Scope: "g", Retention: accounts.Duration(168 * time.Hour), Home: "forward", Ack: "remote", Key: "/k", MaxEventAge: accounts.Duration(time.Hour), Producers: []string{"p"}, Consumers: []string{"c"}}},
			Rules: []accounts.Rule{{Type: "bet.*", Topic: "bets"}}, Default: "bets"},
			`{"tenant":"acme","topics":[{"name":"bets","class":"critical","scope":"g","retention":"168h","home":"forward","ack":"remote","key":"/k","max_event_age":"1h","producers":["p"],"consumers":["c"]}],"rules":[{"type":"bet.*","topic":"bets"}],"default":"bets"}`},
		{accounts.RegionInfo{Name: "eu", Epoch: 2, Weight: 1.5, Replicas: 3, Ack: "stored", RelaxedCritical: true},
			`{"name":"eu","epoch":2,"weight":1.5,"replicas":3,"ack":"stored","relaxed_critical":true}`},
		{accounts.TenantStatus{Tenant: "acme", Region: "eu", Ready: true, Problem: "p", Stored: true},
			`{"tenant":"acme","region":"eu","ready":true,"problem":"p","stored":true}`},
	} {
		got, err := json.Marshal(tc.value)
		if err != nil || string(got) != tc.want {
			t.Errorf("%T: %v\n got %s\nwant %s", tc.value, err, got, tc.want)
		}
		back := reflect.New(reflect.TypeOf(tc.value))
		if err := json.Unmarshal(got, back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), tc.value) {
			t.Errorf("%T does not come back: %v", tc.value, err)
		}
	}
}

func TestRoutesValidate(t *testing.T) {
	if err := accounts.DefaultRoutes("acme").Validate(); err != nil {
		t.Fatal(err)
	}
	rule := func(p string) func(*accounts.Routes) {
		return func(r *accounts.Routes) { r.Rules = []accounts.Rule{{Type: p, Topic: "events"}} }
	}
	two := func(a, b string) func(*accounts.Routes) {
		return func(r *accounts.Routes) {
			r.Rules = []accounts.Rule{{Type: a, Topic: "events"}, {Type: b, Topic: "events"}}
		}
	}
	for _, tc := range []struct {
		change func(*accounts.Routes)
		want   string // "" means valid
	}{
		{rule("bet.*.x_1.>"), ""},
		{rule(">"), ""},
		{two("bet.placed", "bet.*"), ""},
		{two("bet.*", "bet.>"), ""},
		{two("bet.*.a", "bet.b.*"), ""},
		{func(r *accounts.Routes) { r.Topics[0].Key = "/a~0b/c~1d/0" }, ""},
		{func(r *accounts.Routes) { r.Tenant = "Acme" }, `tenant: "Acme" is not [a-z][a-z0-9-]{0,31}`},
		{func(r *accounts.Routes) { r.Topics = nil }, `topics: at least one is needed`},
		{func(r *accounts.Routes) { r.Topics = make([]accounts.Topic, 257) }, `topics: 257 are more than the 256 allowed`},
		{func(r *accounts.Routes) { r.Rules = make([]accounts.Rule, 1025) }, `rules: 1025 are more than the 1024 allowed`},
		{func(r *accounts.Routes) { r.Topics[0].Name = "Bets" }, `topics[0] "Bets": name: not [a-z0-9_-]{1,64}`},
		{func(r *accounts.Routes) { r.Topics[0].Name = "bets~2" }, `topics[0] "bets~2": name: not [a-z0-9_-]{1,64}`},
		{func(r *accounts.Routes) { r.Topics = append(r.Topics, r.Topics[0]) }, `topics[1] "events": name: topics[0] has it already`},
		{func(r *accounts.Routes) { r.Topics[0].Class = "urgent" }, `topics[0] "events": class: "urgent" is none of critical, standard, optional`},
		{func(r *accounts.Routes) { r.Topics[0].Scope = "" }, `topics[0] "events": scope: "" is neither g (global) nor l (regional)`},
		{func(r *accounts.Routes) { r.Topics[0].Retention = 0 }, `topics[0] "events": retention: 0s is not more than 0 and at most 87600h`},
		{func(r *accounts.Routes) { r.Topics[0].Home = "away" }, `topics[0] "events": home: "away" is neither forward nor local`},
		{func(r *accounts.Routes) { r.Topics[0].Home, r.Topics[0].Scope = "forward", "l" }, `topics[0] "events": home: a regional topic never leaves its region, so its home must be local`},
		{func(r *accounts.Routes) { r.Topics[0].Ack = accounts.AckRemote }, ""},
		{func(r *accounts.Routes) { r.Topics[0].Ack = accounts.AckStored }, `topics[0] "events": ack: "stored" is not remote; leave it out for what the region gives`},
		{func(r *accounts.Routes) { r.Topics[0].Ack, r.Topics[0].Scope = "remote", "l" }, `topics[0] "events": ack: a regional topic never leaves its region, so no other region can confirm its events`},
		{func(r *accounts.Routes) { r.Topics[0].MaxEventAge = -1 }, `topics[0] "events": max_event_age: -1ns is negative`},
		{func(r *accounts.Routes) { r.Topics[0].Key = "key" }, `topics[0] "events": key: "key" does not begin with /`},
		{func(r *accounts.Routes) { r.Topics[0].Key = "/a~2" }, `topics[0] "events": key: "/a~2": ~ is followed by neither 0 nor 1`},
		{func(r *accounts.Routes) { r.Topics[0].Key = "/a~" }, `topics[0] "events": key: "/a~": ~ is followed by neither 0 nor 1`},
		{func(r *accounts.Routes) { r.Topics[0].Key = "/" + strings.Repeat("a", 256) }, `topics[0] "events": key: longer than 256 bytes`},
		{func(r *accounts.Routes) { r.Topics[0].Producers = []string{"ok", "No"} }, `topics[0] "events": producers[1]: "No" is not [a-z][a-z0-9-]{0,31}`},
		{func(r *accounts.Routes) { r.Topics[0].Consumers = []string{""} }, `topics[0] "events": consumers[0]: "" is not [a-z][a-z0-9-]{0,31}`},
		{func(r *accounts.Routes) { r.Default = "none" }, `default: there is no topic "none"`},
		{func(r *accounts.Routes) { r.Rules = []accounts.Rule{{Type: "a", Topic: "none"}} }, `rules[0]: topic: there is no topic "none"`},
		{rule(""), `rules[0]: type: "" is not 1 to 128 bytes long`},
		{rule("a..b"), `rules[0]: type: "a..b": a token is empty`},
		{rule("a.>.b"), `rules[0]: type: "a.>.b": > stands before the end`},
		{rule("a.b*"), `rules[0]: type: "a.b*": token "b*" is neither [a-z0-9_]+ nor * nor >`},
		{rule("A"), `rules[0]: type: "A": token "A" is neither [a-z0-9_]+ nor * nor >`},
		{two("bet.placed", "bet.placed"), `rules[1]: type: "bet.placed" never gets there, rules[0] ("bet.placed") matches all of it before`},
		{two("bet.*", "bet.placed"), `rules[1]: type: "bet.placed" never gets there, rules[0] ("bet.*") matches all of it before`},
		{two("bet.>", "bet.*.x.>"), `rules[1]: type: "bet.*.x.>" never gets there, rules[0] ("bet.>") matches all of it before`},
	} {
		r := accounts.DefaultRoutes("acme")
		tc.change(&r)
		err := r.Validate()
		if tc.want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if f, ok := err.(*fault.Error); !ok || f.Kind != fault.Invalid || f.Code != "invalid_routes" || f.Detail != tc.want { //nolint:errorlint // exactly this type
			t.Errorf("got  %v\nwant %s", err, tc.want)
		}
	}
}

func TestRemoteAcksNeedASecondRegion(t *testing.T) {
	r := accounts.DefaultRoutes("acme")
	if err := r.ValidateIn(1); err != nil {
		t.Error(err)
	}
	r.Topics[0].Ack = accounts.AckRemote
	if err := r.ValidateIn(2); err != nil {
		t.Error(err)
	}
	if err := r.ValidateIn(1); fault.CodeOf(err) != "invalid_routes" || !strings.Contains(err.Error(), `topics[0] "events": ack: the tenant lives in one region`) {
		t.Error(err)
	}
	r.Default = "none"
	if err := r.ValidateIn(2); fault.CodeOf(err) != "invalid_routes" {
		t.Error(err)
	}
}
