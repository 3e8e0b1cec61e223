package grant_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/streams/subject"
)

var (
	eu1 = subject.Origin{Region: "eu", Epoch: 1}
	us1 = subject.Origin{Region: "us", Epoch: 1}
	us2 = subject.Origin{Region: "us", Epoch: 2}
)

func TestLeafExact(t *testing.T) {
	for _, tc := range []struct {
		name                string
		solicitor, acceptor subject.Origin
		families            []grant.Family
		publish, subscribe  []string
	}{
		{
			"events, first epochs", us1, eu1, []grant.Family{grant.EventsFamily()},
			[]string{
				"evt.eu_1.>", "evt.eu_2.>",
				"$JS.eu.API.CONSUMER.CREATE.EVENTS.*.evt.eu_1.g.>", "$JS.eu.API.CONSUMER.CREATE.EVENTS.*.evt.eu_2.g.>",
				"$JS.eu.API.CONSUMER.CREATE.EVENTS.*.evt.us_1.g.>",
				"$JS.eu.API.CONSUMER.weft", "$JS.FC.EVENTS.>", "$JSC.R.>", "_SRC.eu.us.>", "_INB.eu.>", "weft.eu.digest", "weft.eu.remote", "weft.eu.held",
			},
			[]string{
				"evt.us_1.>", "evt.us_2.>",
				"$JS.us.API.CONSUMER.CREATE.EVENTS.*.evt.us_1.g.>", "$JS.us.API.CONSUMER.CREATE.EVENTS.*.evt.us_2.g.>",
				"$JS.us.API.CONSUMER.CREATE.EVENTS.*.evt.eu_1.g.>",
				"$JS.us.API.CONSUMER.weft", "$JS.FC.EVENTS.>", "$JSC.R.>", "_SRC.us.eu.>", "_INB.us.>", "weft.us.digest", "weft.us.remote", "weft.us.held",
			},
		},
		{
			"control, solicitor in its second epoch", us2, eu1, []grant.Family{grant.ControlFamily()},
			[]string{
				"ctl.eu_1.>", "ctl.eu_2.>",
				"$JS.eu.API.CONSUMER.CREATE.CONTROL.*.ctl.eu_1.>", "$JS.eu.API.CONSUMER.CREATE.CONTROL.*.ctl.eu_2.>",
				"$JS.eu.API.CONSUMER.CREATE.CONTROL.*.ctl.us_1.>", "$JS.eu.API.CONSUMER.CREATE.CONTROL.*.ctl.us_2.>",
				"$JS.eu.API.CONSUMER.weft", "$JS.FC.CONTROL.>", "$JSC.R.>", "_SRC.eu.us.>", "_INB.eu.>", "weft.eu.position", "weft.eu.known", "weft.eu.rejoin.us", "weft.eu.repair.us", "weft.eu.renewal.us",
			},
			[]string{
				"ctl.us_2.>", "ctl.us_3.>",
				"$JS.us.API.CONSUMER.CREATE.CONTROL.*.ctl.us_1.>", "$JS.us.API.CONSUMER.CREATE.CONTROL.*.ctl.us_2.>",
				"$JS.us.API.CONSUMER.CREATE.CONTROL.*.ctl.us_3.>", "$JS.us.API.CONSUMER.CREATE.CONTROL.*.ctl.eu_1.>",
				"$JS.us.API.CONSUMER.weft", "$JS.FC.CONTROL.>", "$JSC.R.>", "_SRC.us.eu.>", "_INB.us.>", "weft.us.position", "weft.us.known", "weft.us.rejoin.eu", "weft.us.repair.eu", "weft.us.renewal.eu",
			},
		},
		{
			"the control account's streams", us1, eu1, []grant.Family{grant.ControlFamily(), grant.GuardFamily()},
			[]string{ // and no grd.eu_1: the groups of a region's relays are written in that region alone
				"ctl.eu_1.>", "ctl.eu_2.>",
				"$JS.eu.API.CONSUMER.CREATE.CONTROL.*.ctl.eu_1.>", "$JS.eu.API.CONSUMER.CREATE.CONTROL.*.ctl.eu_2.>",
				"$JS.eu.API.CONSUMER.CREATE.CONTROL.*.ctl.us_1.>",
				"$JS.eu.API.CONSUMER.CREATE.GUARD.*.grd.eu_1.*", "$JS.eu.API.CONSUMER.CREATE.GUARD.*.grd.eu_2.*",
				"$JS.eu.API.CONSUMER.CREATE.GUARD.*.grd.us_1.*",
				"$JS.eu.API.CONSUMER.weft", "$JS.FC.CONTROL.>", "$JS.FC.GUARD.>", "$JSC.R.>", "_SRC.eu.us.>", "_INB.eu.>",
				"weft.eu.position", "weft.eu.known", "weft.eu.rejoin.us", "weft.eu.repair.us", "weft.eu.renewal.us",
			},
			[]string{
				"ctl.us_1.>", "ctl.us_2.>",
				"$JS.us.API.CONSUMER.CREATE.CONTROL.*.ctl.us_1.>", "$JS.us.API.CONSUMER.CREATE.CONTROL.*.ctl.us_2.>",
				"$JS.us.API.CONSUMER.CREATE.CONTROL.*.ctl.eu_1.>",
				"$JS.us.API.CONSUMER.CREATE.GUARD.*.grd.us_1.*", "$JS.us.API.CONSUMER.CREATE.GUARD.*.grd.us_2.*",
				"$JS.us.API.CONSUMER.CREATE.GUARD.*.grd.eu_1.*",
				"$JS.us.API.CONSUMER.weft", "$JS.FC.CONTROL.>", "$JS.FC.GUARD.>", "$JSC.R.>", "_SRC.us.eu.>", "_INB.us.>",
				"weft.us.position", "weft.us.known", "weft.us.rejoin.eu", "weft.us.repair.eu", "weft.us.renewal.eu",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := grant.Leaf(tc.solicitor, tc.acceptor, tc.families...)
			if !slices.Equal(p.Publish, tc.publish) {
				t.Errorf("publish\n got %q\nwant %q", p.Publish, tc.publish)
			}
			if !slices.Equal(p.Subscribe, tc.subscribe) {
				t.Errorf("subscribe\n got %q\nwant %q", p.Subscribe, tc.subscribe)
			}
			if !p.Leaf {
				t.Error("not for a link")
			}
		})
	}
}

// clients are the roles of clients, as seen from region eu.
func clients() map[string]grant.Permissions {
	return map[string]grant.Permissions{
		"owner":    grant.Owner(),
		"relay":    grant.Relay("eu", "relay-1"),
		"control":  grant.ControlReader("eu"),
		"consumer": grant.Consumer([]string{"crm", "risk"}, []string{"bets", "kyc"}),
		"service":  grant.Service(eu1),
		"system":   grant.System("eu"),
	}
}

// collides names the first subject of a list that has something in common with s.
func collides(list []string, s string) string {
	for _, have := range list {
		if server.SubjectsCollide(have, s) {
			return have
		}
	}
	return ""
}

func TestEverySubjectIsValid(t *testing.T) {
	roles := clients()
	roles["leaf"] = grant.Leaf(us1, eu1, grant.EventsFamily())
	for name, p := range roles {
		for _, s := range slices.Concat(p.Publish, p.Subscribe) {
			if !server.IsValidSubject(s) {
				t.Errorf("%s: %q is no subject", name, s)
			}
			if s == ">" || s == "*" {
				t.Errorf("%s: may do anything", name)
			}
		}
		if seen := slices.Compact(slices.Sorted(slices.Values(p.Publish))); len(seen) != len(p.Publish) {
			t.Errorf("%s: a subject is listed twice", name)
		}
	}
}

// TestNoClientReachesWhatTravelsBetweenRegions holds what the links rely on.
func TestNoClientReachesWhatTravelsBetweenRegions(t *testing.T) {
	for name, p := range clients() {
		for _, s := range []string{"$JS.us.API.>", "$JS.ap.API.>", "_SRC.>", "$JSC.>", "$JS.FC.>", "$JS.M.>", "$JS.S.>", "$LDS.>", "_R_.>", "_GR_.>", "$NRG.>"} {
			if have := collides(p.Publish, s); have != "" {
				t.Errorf("%s may publish %s, which reaches %s", name, have, s)
			}
			if have := collides(p.Subscribe, s); have != "" {
				t.Errorf("%s may subscribe to %s, which reaches %s", name, have, s)
			}
		}
		if have := collides(p.Publish, "$JS.eu.API.>"); have != "" && name != "service" {
			t.Errorf("%s may publish %s, the API under its domain's name", name, have)
		}
	}
}

func TestWhoMayPublishWhat(t *testing.T) {
	for _, tc := range []struct {
		subject string
		allowed []string
	}{
		{"evt.eu_1.g.5.bets.bet.placed", []string{"relay"}},
		{"evt.us_1.g.5.bets.bet", []string{"relay"}},
		{"evt.eu_1.l.5.bets.bet.placed", []string{"relay", "service"}}, // repaired copies
		{"evt.eu_2.l.5.bets.bet.placed", []string{"relay", "service"}},
		{"evt.eu_3.l.5.bets.bet.placed", []string{"relay"}},
		{"evt.us_1.l.5.bets.bet.placed", []string{"relay"}},
		{"evt.eu_1.g.hb", []string{"service"}},
		{"evt.us_1.g.hb", nil},
		{"ctl.eu_1.tenant.acme", []string{"service"}},
		{"ctl.eu_2.tenant.acme", []string{"service"}},
		{"ctl.us_1.tenant.acme", nil},
		{"weft.us.digest", []string{"relay"}},
		{"weft.us.remote", []string{"relay"}},
		{"weft.eu.remote", []string{"relay"}},
		{"weft.us.held", []string{"service"}},
		{"weft.eu.credential", []string{"control"}},
		{"weft.eu.relays", []string{"control"}},
		{"weft.us.relays", nil},
		{"weft.us.credential", nil},
		{"weft.us.position", []string{"service"}},
		{"weft.us.rejoin.eu", []string{"service"}},
		{"weft.us.repair.eu", []string{"service"}},
		{"weft.us.repair.ap", nil},
		{"weft.us.renewal.eu", []string{"service"}},
		{"weft.eu.renewal.eu", []string{"control", "service"}},
		{"weft.us.renewal.ap", nil},
		{"weft.us.rejoin.ap", nil}, // no region speaks for another
		{"$JS.API.STREAM.CREATE.X", []string{"service"}},
		{"$JS.API.STREAM.UPDATE.EVENTS", []string{"service"}},
		{"$JS.API.STREAM.DELETE.EVENTS", []string{"service"}},
		{"$JS.API.STREAM.PURGE.EVENTS", []string{"service"}},
		{"$JS.API.STREAM.MSG.DELETE.EVENTS", []string{"service"}},
		{"$JS.API.STREAM.SNAPSHOT.EVENTS", []string{"service"}},
		{"$JS.API.STREAM.RESTORE.EVENTS", []string{"service"}},
		{"$JS.API.STREAM.TEMPLATE.CREATE.X", []string{"service"}},
		{"$JS.API.STREAM.MSG.GET.EVENTS", []string{"owner", "service"}},
		{"$JS.API.DIRECT.GET.EVENTS", []string{"owner", "service"}},
		{"$JS.API.DIRECT.GET.EVENTS.evt.eu_1.g.1.a.b", []string{"owner", "service"}},
		{"$JS.API.STREAM.MSG.GET.CONTROL", []string{"service"}},
		{"$JS.API.STREAM.INFO.EVENTS", []string{"consumer", "owner", "service"}},
		{"$JS.API.STREAM.INFO.CONTROL", []string{"control", "service"}},
		{"$JS.API.CONSUMER.CREATE.EVENTS", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.EVENTS.any", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.EVENTS.crm", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.EVENTS.crm.evt.*.*.*.bets.>", []string{"consumer", "owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.EVENTS.crm.evt.*.*.*.money.>", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.EVENTS.crm.evt.>", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.EVENTS.other.evt.*.*.*.bets.>", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.DURABLE.CREATE.EVENTS.crm", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.MSG.NEXT.EVENTS.crm", []string{"consumer", "owner", "service"}},
		{"$JS.API.CONSUMER.MSG.NEXT.EVENTS.other", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.DELETE.EVENTS.crm", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.CONTROL.x.y", []string{"control", "service"}},
		{"$JS.ACK.EVENTS.crm.1.2.3.4.5", []string{"consumer", "owner", "service"}},
		{"$JS.ACK.eu.hash.EVENTS.crm.1.2.3.4.5.6", []string{"consumer", "owner", "service"}},
		{"$JS.ACK.EVENTS.other.1.2.3.4.5", []string{"owner", "service"}},
		{"$JS.ACK.REJECTS.crm.1.2.3.4.5", []string{"owner", "service"}},
		{"$JS.API.STREAM.INFO.REJECTS", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.REJECTS.x.rej.*.*.syntax", []string{"owner", "service"}},
		{"$JS.API.STREAM.PURGE.REJECTS", []string{"service"}},
		{"$JS.API.STREAM.MSG.DELETE.REJECTS", []string{"service"}},
		{"$JS.API.STREAM.MSG.DELETE.DLQ", []string{"owner", "service"}},
		{"$JS.API.STREAM.PURGE.DLQ", []string{"service"}},
		{"$JS.API.STREAM.MSG.GET.DLQ", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.DLQ.x.dlq.*.panic.*.*", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.CREATE.DLQ.crm.dlq.*.requeued.*.crm", []string{"owner", "service"}},
		{"$JS.API.CONSUMER.MSG.NEXT.DLQ.crm", []string{"consumer", "owner", "service"}},
		{"$JS.API.CONSUMER.MSG.NEXT.DLQ.other", []string{"owner", "service"}},
		{"dlq.eu.panic.bets.crm", []string{"consumer", "owner"}},
		{"dlq.eu.panic.bets.other", []string{"owner"}},
		{"rej.eu.signature.signature_invalid", []string{"relay"}},
		{"rej.us.signature.signature_invalid", nil}, // no relay speaks for another region
		{"dlq.eu.unknown_type.bets.weft-relay", []string{"owner", "relay"}},
		{"dlq.us.unknown_type.bets.weft-relay", []string{"owner"}},
		{"_INB.eu.relay-1.x", []string{"service"}},
		{"_INBOX.x", nil},
		{"$SYS.REQ.CLAIMS.UPDATE", []string{"system"}},
		{"anything", nil},
	} {
		// a server matches what is published token by token: a wildcard in it is a token like any other
		literal := strings.NewReplacer(".*", ".star", ".>", ".rest").Replace(tc.subject)
		var got []string
		for name, p := range clients() {
			if collides(p.Publish, literal) != "" {
				got = append(got, name)
			}
		}
		if slices.Sort(got); !slices.Equal(got, tc.allowed) {
			t.Errorf("%s: %q may publish it, want %q", tc.subject, got, tc.allowed)
		}
	}
}

func TestNobodyListensToEventsOrOthersInboxes(t *testing.T) {
	for name, p := range clients() {
		for _, s := range []string{"evt.>", "ctl.>", "$JS.API.>"} {
			if have := collides(p.Subscribe, s); have != "" {
				t.Errorf("%s may subscribe to %s, which hears %s", name, have, s)
			}
		}
	}
	for _, tc := range []struct {
		name string
		p    grant.Permissions
		s    string
	}{
		{"consumer hears another consumer", grant.Consumer([]string{"crm"}, nil), grant.ConsumerInbox("risk") + ".x"},
		{"consumer hears the shared inbox", grant.Consumer([]string{"crm"}, nil), "_INBOX.abc123"},
		{"relay hears another relay", grant.Relay("eu", "a"), grant.RelayInbox("eu", "b") + ".x"},
		{"relay hears another region", grant.Relay("eu", "a"), "_INB.us.>"},
		{"service hears another region", grant.Service(eu1), "_INB.us.>"},
	} {
		if have := collides(tc.p.Subscribe, tc.s); have != "" {
			t.Errorf("%s: %s", tc.name, have)
		}
	}
}

func TestNamesCannotWidenAGrant(t *testing.T) {
	for _, bad := range []string{"", "*", ">", "a.b", "a.>", "a b", "a\n", "é"} {
		if p := grant.Relay("eu", bad); len(p.Publish)+len(p.Subscribe) != 0 {
			t.Errorf("relay %q: %+v", bad, p)
		}
		if p := grant.Consumer([]string{bad}, []string{"bets"}); len(p.Subscribe) != 0 || collides(p.Publish, "$JS.API.CONSUMER.>") != "" {
			t.Errorf("durable %q: %+v", bad, p)
		}
		if p := grant.Consumer([]string{"crm"}, []string{bad}); collides(p.Publish, "$JS.API.CONSUMER.CREATE.>") != "" {
			t.Errorf("topic %q: %+v", bad, p)
		}
	}
}

// A topic of another major version is granted by its own name, and not with the topic that it comes from.
func TestConsumerOfAnotherMajorVersion(t *testing.T) {
	const create = "$JS.API.CONSUMER.CREATE.EVENTS.crm.evt.*.*.*."
	for topic, want := range map[string]string{"bets": create + "bets.>", "bets~2": create + "bets~2.>", "bets~x": ""} {
		got := ""
		for _, s := range grant.Consumer([]string{"crm"}, []string{topic}).Publish {
			if strings.HasPrefix(s, create) {
				got += s
			}
		}
		if got != want {
			t.Errorf("of %s: %q", topic, got)
		}
	}
}
