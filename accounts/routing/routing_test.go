package routing_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/routing"
)

func routes(rules ...accounts.Rule) accounts.Routes {
	r := accounts.DefaultRoutes("acme")
	names := map[string]bool{"events": true}
	for _, rule := range rules {
		if !names[rule.Topic] {
			names[rule.Topic] = true
			t := r.Topics[0]
			t.Name = rule.Topic
			r.Topics = append(r.Topics, t)
		}
	}
	r.Rules = rules
	return r
}

func TestMatch(t *testing.T) {
	table, err := routing.Compile(routes(
		accounts.Rule{Type: "bet.placed", Topic: "bets"},
		accounts.Rule{Type: "bet.*", Topic: "bets_other"},
		accounts.Rule{Type: "wallet.*.failed", Topic: "alarms"},
		accounts.Rule{Type: "wallet.deposit.>", Topic: "deposits"},
		accounts.Rule{Type: "wallet.>", Topic: "wallet"},
		accounts.Rule{Type: "wallet", Topic: "wallet_itself"},
		accounts.Rule{Type: "*.*.*.audit", Topic: "audit"},
	))
	if err != nil {
		t.Fatal(err)
	}
	for eventType, want := range map[string]string{
		"bet.placed":             "bets",
		"bet.settled":            "bets_other",
		"bet.placed.late":        "events",
		"bet":                    "events",
		"bets.placed":            "events",
		"wallet.deposit.failed":  "alarms",
		"wallet.deposit.done":    "deposits",
		"wallet.deposit.a.b":     "deposits",
		"wallet.deposit":         "wallet",
		"wallet.withdrawal.done": "wallet",
		"wallet":                 "wallet_itself",
		"a.b.c.audit":            "audit",
		"a.b.audit":              "events",
		"":                       "events",
	} {
		if got := table.Match(eventType).Name; got != want {
			t.Errorf("%q goes to %s, want %s", eventType, got, want)
		}
	}
	if table.Topic("bets") == nil || table.Topic("none") != nil {
		t.Error("Topic does not find topics by name")
	}
}

func TestEarlierPatternBeatsExactRule(t *testing.T) {
	// the exact rule is reachable only because "*" does not cover two tokens
	table, err := routing.Compile(routes(
		accounts.Rule{Type: "a.*.c", Topic: "first"},
		accounts.Rule{Type: "x.y", Topic: "exact"},
		accounts.Rule{Type: "a.>", Topic: "rest"},
	))
	if err != nil {
		t.Fatal(err)
	}
	for eventType, want := range map[string]string{"a.b.c": "first", "x.y": "exact", "a.b": "rest"} {
		if got := table.Match(eventType).Name; got != want {
			t.Errorf("%q goes to %s, want %s", eventType, got, want)
		}
	}
}

func TestCompileRefusesBadRoutes(t *testing.T) {
	if table, err := routing.Compile(accounts.Routes{Tenant: "acme"}); err == nil || table != nil {
		t.Errorf("%v, %v", table, err)
	}
}

func TestTableKeepsItsOwnCopy(t *testing.T) {
	r := routes(accounts.Rule{Type: "bet", Topic: "bets"})
	table, err := routing.Compile(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Topics[1].Class = accounts.Critical
	if table.Match("bet").Class != accounts.Standard {
		t.Error("a later change of the routes shows in the table")
	}
}

// naive is the definition: the first rule that matches wins.
func naive(r accounts.Routes, eventType string) string {
	have := strings.Split(eventType, ".")
rules:
	for _, rule := range r.Rules {
		want := strings.Split(rule.Type, ".")
		for i, w := range want {
			if w == ">" && i < len(have) {
				return rule.Topic
			}
			if i >= len(have) || w != "*" && w != have[i] {
				continue rules
			}
		}
		if len(want) == len(have) {
			return rule.Topic
		}
	}
	return r.Default
}

func TestMatchIsFirstMatch(t *testing.T) {
	matched := 0
	rapid.Check(t, func(rt *rapid.T) {
		pattern := rapid.StringMatching(`[abc*](\.[abc*]){0,3}(\.>)?`)
		var rules []accounts.Rule
		for i, p := range rapid.SliceOfNDistinct(pattern, 0, 12, rapid.ID).Draw(rt, "patterns") {
			next := append(rules, accounts.Rule{Type: p, Topic: fmt.Sprintf("t%d", i)})
			if routes(next...).Validate() == nil { // a rule that never gets there is refused
				rules = next
			}
		}
		r := routes(rules...)
		table, err := routing.Compile(r)
		if err != nil {
			rt.Fatal(err)
		}
		for _, eventType := range rapid.SliceOfN(rapid.StringMatching(`[abcd](\.[abcd]){0,4}`), 1, 30).Draw(rt, "types") {
			want := naive(r, eventType)
			if got := table.Match(eventType).Name; got != want {
				rt.Fatalf("%q goes to %s, want %s by %v", eventType, got, want, rules)
			}
			if want != r.Default {
				matched++
			}
		}
	})
	if matched == 0 {
		t.Error("no rule ever matched: the property says nothing")
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	table, err := routing.Compile(routes(
		accounts.Rule{Type: "a.*.c", Topic: "first"}, accounts.Rule{Type: "x.y", Topic: "exact"}, accounts.Rule{Type: "a.>", Topic: "rest"},
	))
	if err != nil {
		t.Fatal(err)
	}
	for _, eventType := range []string{"a.b.c", "x.y", "a.b", "none.of.them"} {
		if n := testing.AllocsPerRun(100, func() { table.Match(eventType) }); n != 0 {
			t.Errorf("%q: %v allocations", eventType, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	rules := []accounts.Rule{}
	for i := range 20 {
		rules = append(rules, accounts.Rule{Type: fmt.Sprintf("group%d.*.done", i), Topic: "t"}, accounts.Rule{Type: fmt.Sprintf("exact%d.x", i), Topic: "t"})
	}
	table, err := routing.Compile(routes(rules...))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		table.Match("exact19.x")
	}
}
