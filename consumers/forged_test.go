package consumers_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// A message that no relay stored, such as an API answer that somebody had delivered into the stream, is not
// handed to the handler and does not come again.
func TestWhatNoRelayStoredIsSkipped(t *testing.T) {
	r := newRegion(t)
	forged := nats.NewMsg(subject.Event{Origin: eu, Scope: subject.Global, Topic: "bets", Type: "bet.placed"}.String())
	forged.Header.Set(header.MsgID, "forged")
	forged.Data = []byte(`{"event_id":"forged"}`)
	if _, err := r.js.PublishMsg(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	r.publish("bets", 1, 1)
	sub := r.subscribe(r.options("d"))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var got []string
	if err := sub.Run(ctx, func(_ context.Context, m *consumers.Message) error {
		got = append(got, m.EventID)
		stop()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != "bets-1" {
		t.Errorf("handled %v, want the relay's event alone", got)
	}
}
