package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/streams/subject"
)

// TestConsumerStatus: a plain durable that has handled some, and one of four of a group, which has handled none; all events are
// of partition 7.
func TestConsumerStatus(t *testing.T) {
	r := newFakeRegion(t)
	r.fill(1, 5)
	plain, err := consumers.Subscribe(t.Context(), consumers.Options{URLs: []string{r.url}, Durable: "plain", Topics: []string{"bets"}})
	if err != nil {
		t.Fatal(err)
	}
	plain.Close()
	cons, err := r.js.Consumer(t.Context(), subject.EventsStream, "plain")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m, err := cons.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	owned, err := consumers.Subscribe(t.Context(), consumers.Options{
		URLs: []string{r.url}, Durable: "ledger-00", Partitions: group.Partitions(4, 0),
		Owner: &consumers.Owner{Epoch: 3, Labels: map[string]string{group.LabelGroup: "ledger", group.LabelOwner: "a.123"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	owned.Close()
	if _, err := r.js.CreateConsumer(t.Context(), subject.EventsStream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy}); err != nil { // of nobody's
		t.Fatal(err)
	}
	status := func(args ...string) result {
		t.Helper()
		return run(t.Context(), strings.NewReader(""), append([]string{"consumer", "status", "--url", r.url}, args...)...)
	}
	lines := func(args ...string) (ls []durableLine) {
		t.Helper()
		got := status(append(args, "-o", "json")...)
		got.expect(t, 0)
		if err := json.Unmarshal([]byte(got.out), &ls); err != nil {
			t.Fatal(err)
		}
		return ls
	}
	all := lines()
	if len(all) != 2 || all[0].Durable != "ledger-00" || all[1].Durable != "plain" {
		t.Fatalf("durables: %+v", all)
	}
	if l := all[0]; l.Group != "ledger" || l.Owner != "a.123" || l.Epoch != 3 || l.Lag != 5 || l.Oldest == nil || l.Age <= 0 || l.Region != "eu" || l.State != stateIdle {
		t.Errorf("the group's: %+v", l)
	}
	if l := all[1]; l.Lag != 2 || l.Epoch != 0 || l.Owner != "" {
		t.Errorf("the plain one: %+v", l)
	}
	parts := lines("ledger", "--partitions")
	if len(parts) != 16 {
		t.Fatalf("%d partitions", len(parts))
	}
	for _, l := range parts {
		if want := uint64(5); *l.Partition == 7 && (l.Lag != want || l.Oldest == nil) || *l.Partition != 7 && (l.Lag != 0 || l.Oldest != nil) {
			t.Errorf("partition %d: %+v", *l.Partition, l)
		}
	}
	got := status("ledger")
	got.expect(t, 0)
	if fields := strings.Fields(strings.Split(got.out, "\n")[1]); len(fields) != 9 || strings.Join(fields[:8], " ") != "eu ledger-00 0-15 idle a.123 3 5 0" {
		t.Errorf("table:\n%s", got.out)
	}
	status("nobody").expect(t, 1)
}

func TestMovedDurables(t *testing.T) {
	lines := []durableLine{
		{Durable: "l-00", Group: "l", Region: "eu", Epoch: 3, Owner: "a", State: stateRead}, {Durable: "l-00", Group: "l", Region: "us", Epoch: 4, Owner: "b", State: stateRead},
		{Durable: "plain", Region: "eu", State: stateRead}, {Durable: "plain", Region: "us", State: stateIdle},
	}
	markMoved(lines)
	if lines[0].State != stateMoved || lines[0].Owner != "" || lines[1].State != stateRead || lines[1].Owner != "b" || lines[2].State != stateRead || lines[3].State != stateIdle {
		t.Errorf("%+v", lines)
	}
}
