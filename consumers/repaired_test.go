package consumers_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// A repaired copy is delivered as the event that it is a copy of; a header that is damaged, or on an event that
// is no copy, changes nothing.
func TestRepairedCopiesAreDeliveredAsTheirOriginals(t *testing.T) {
	r := newRegion(t)
	us := subject.Origin{Region: "us", Epoch: 3}
	original := subject.Event{Origin: us, Scope: subject.Global, Partition: 5, Topic: "bets", Type: "bet.placed"}
	repaired := header.Repair{From: "ap", Subject: original.String(), Seq: 4711}.String()
	for _, e := range []struct {
		id, value string
		scope     subject.Scope
	}{{"copy", repaired, subject.Regional}, {"damaged", "ap evt", subject.Regional}, {"replicated", repaired, subject.Global}} {
		msg := nats.NewMsg(subject.Event{Origin: eu, Scope: e.scope, Partition: 5, Topic: "bets", Type: "bet.placed"}.String())
		msg.Header.Set(header.MsgID, e.id)
		msg.Header.Set(header.Relay, "test")
		msg.Header.Set(header.IngestedAt, ingestedAt.Format(time.RFC3339Nano))
		msg.Header.Set(header.Repaired, e.value)
		if _, err := r.js.PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	sub := r.subscribe(r.options("d"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	got := map[string]consumers.Message{}
	if err := sub.Run(ctx, func(_ context.Context, m *consumers.Message) error {
		if got[m.EventID] = *m; len(got) == 3 {
			stop()
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if m := got["copy"]; !m.Repaired || m.Subject != original || m.Origin != us || m.OriginSeq != 4711 || m.Sequence != 1 {
		t.Errorf("the copy is delivered as %+v", m)
	}
	for _, id := range []string{"damaged", "replicated"} {
		if m := got[id]; m.Repaired || m.Origin != eu || m.OriginSeq != m.Sequence {
			t.Errorf("%s is delivered as %+v", id, m)
		}
	}
}
