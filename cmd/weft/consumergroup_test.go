package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/consumers/postgrestest"
	"github.com/weft-mesh/weft/streams/subject"
)

// TestConsumerGroup: members, position and region of a group whose members are played.
func TestConsumerGroup(t *testing.T) {
	url := postgrestest.Database(t)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	store, err := postgres.Open(t.Context(), postgres.Options{DB: pool, Schema: "weft_pay_out"})
	if err != nil {
		t.Fatal(err)
	}
	beat := func(member, region string, ttl time.Duration, held ...group.Held) {
		t.Helper()
		if _, err := store.Beat(t.Context(), group.Beat{Group: "pay-out", Width: 1, Member: member, Region: region, TTL: ttl, Held: held}); err != nil {
			t.Fatal(err)
		}
	}
	consumer := func(args ...string) result {
		t.Helper()
		return run(t.Context(), strings.NewReader(""), append([]string{"consumer"}, args...)...)
	}
	t.Setenv(envStore, url)
	if got := consumer("members", "pay-out"); got.code != 1 || !strings.Contains(got.stderr, "no member of a group was ever seen") {
		t.Errorf("nobody joined: %d %s", got.code, got.stderr)
	}
	beat("a", "eu", time.Hour)
	beat("b", "us", time.Hour)
	l, err := store.Claim(t.Context(), group.Claiming{Durable: "pay-out-00", Member: "a", Region: "eu", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	at := group.Position{Durable: "pay-out-00", Origin: subject.Origin{Region: "us", Epoch: 1}, Scope: subject.Global, Seq: 17, EventID: "e-17"}
	beat("a", "eu", time.Hour, group.Held{Durable: "pay-out-00", Epoch: l.Epoch, Moved: []group.Position{at}})

	got := consumer("members", "pay-out", "-o", "json")
	got.expect(t, 0)
	var members []memberLine
	if err := json.Unmarshal([]byte(got.out), &members); err != nil || len(members) != 2 || !members[0].Active || members[0].Durables != 1 || members[1].Active || !members[1].Lives {
		t.Errorf("members %+v, %v", members, err)
	}
	got = consumer("position", "pay-out")
	got.expect(t, 0)
	if !strings.Contains(got.out, "pay-out-00  us_1    g      17   e-17") {
		t.Errorf("position:\n%s", got.out)
	}
	got = consumer("position", "pay-out", "--forget", "us_1", "--yes")
	if got.code != 1 || !strings.Contains(got.stderr, "stop the group first") {
		t.Errorf("a running group forgets: %d %s", got.code, got.stderr)
	}
	got = consumer("switch", "pay-out", "mars")
	if got.code != 0 || !strings.Contains(got.out, "0 members in mars would take over; nothing is handled until one runs there") {
		t.Errorf("a region without members: %d %s", got.code, got.out)
	}
	for _, yes := range []bool{false, true} {
		args := []string{"switch", "pay-out", "us"}
		if yes {
			args = append(args, "--yes")
		}
		consumer(args...).expect(t, 0)
		if v, err := store.Look(t.Context()); err != nil || (v.Region == "us") != yes {
			t.Errorf("yes %v: active in %s, %v", yes, v.Region, err)
		}
	}
	beat("a", "eu", time.Hour, group.Held{Durable: "pay-out-00", Epoch: l.Epoch, Release: true})
	consumer("position", "pay-out", "--forget", "us_1").expect(t, 0)
	consumer("position", "pay-out", "--forget", "us_1", "--yes").expect(t, 0)
	if ps, err := store.Reached(t.Context()); err != nil || len(ps) != 0 {
		t.Errorf("left: %v, %v", ps, err)
	}
	for name, args := range map[string][]string{
		"no origin":  {"position", "pay-out", "--forget", "us"},
		"no region":  {"switch", "pay-out", "US!"},
		"no group":   {"members", "a.b"},
		"no URL":     {"members", "pay-out", "--store", "://"},
		"no schema":  {"members", "pay-out", "--schema", "a b"},
		"nobody's":   {"members", "pay-in"},
		"no regions": {"switch", "pay-out"},
	} {
		want := 2
		if name == "no schema" || name == "nobody's" {
			want = 1
		}
		if got := consumer(args...); got.code != want || strings.Contains(got.stderr, "weft@") {
			t.Errorf("%s: %d %s", name, got.code, got.stderr)
		}
	}
}
