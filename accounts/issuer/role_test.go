package issuer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestOwner(t *testing.T) {
	w := start(t)
	w.events(t, 3, "bets", "kyc")
	owner := w.user(t, w.tenant, grant.Owner())
	ctx := t.Context()
	for range 2 { // as a second program that finds its durable
		cons, err := owner.js.CreateOrUpdateConsumer(ctx, "EVENTS", jetstream.ConsumerConfig{Durable: "all", AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		msg, err := cons.Next(jetstream.FetchMaxWait(2 * time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if err := msg.DoubleAck(ctx); err != nil {
			t.Fatal("ack:", err)
		}
	}
	stream := must[jetstream.Stream](t)(owner.js.Stream(ctx, "EVENTS"))
	if _, err := stream.GetMsg(ctx, 1); err != nil {
		t.Error("get:", err)
	}
	if _, err := stream.GetLastMsgForSubject(ctx, "evt.eu_1.g.0.bets.some.type"); err != nil {
		t.Error("get by subject:", err)
	}
	names := owner.js.StreamNames(ctx)
	if name := <-names.Name(); name != "EVENTS" {
		t.Errorf("sees stream %q: %v", name, names.Err())
	}
	consumers := stream.ListConsumers(ctx)
	if info := <-consumers.Info(); info == nil || info.Name != "all" {
		t.Errorf("sees consumer %+v: %v", info, consumers.Err())
	}
	memory, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "memory", MemoryStorage: true, FilterSubject: "evt.*.*.*.kyc.>"})
	if err != nil {
		t.Error("a consumer whose state is in memory:", err)
	} else if n := memory.CachedInfo().NumPending; n != 3 {
		t.Errorf("the filter leaves %d messages", n)
	}
	if err := stream.DeleteConsumer(ctx, "memory"); err != nil {
		t.Error("delete consumer:", err)
	}
	for _, s := range []string{
		"evt.eu_1.g.0.bets.x", "evt.us_1.g.0.bets.x", "anything", "$JS.API.STREAM.PURGE.EVENTS", "$JS.API.STREAM.DELETE.EVENTS", "$JS.API.STREAM.UPDATE.EVENTS",
		"$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.MSG.DELETE.EVENTS", "$JS.eu.API.STREAM.DELETE.EVENTS", "$JS.us.API.CONSUMER.CREATE.EVENTS.x", "_SRC.us.eu.x", "$JSC.R.x", "$JS.FC.EVENTS.x", "_INBOX.x",
	} {
		if !owner.publishDenied(t, s, "") {
			t.Errorf("may publish %s", s)
		}
	}
	for _, s := range []string{">", "evt.>", "$JS.>", "*.>"} {
		if !owner.subscribeDenied(t, s) {
			t.Errorf("may subscribe to %s", s)
		}
	}
}

func TestConsumerIsBoundToItsDurableAndTopic(t *testing.T) {
	w := start(t)
	w.events(t, 3, "bets", "kyc")
	c := w.user(t, w.tenant, grant.Consumer([]string{"crm"}, []string{"bets"}), nats.CustomInboxPrefix(grant.ConsumerInbox("crm")))
	ctx := t.Context()
	create := func(cfg jetstream.ConsumerConfig) (jetstream.Consumer, error) {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		cfg.AckPolicy = jetstream.AckExplicitPolicy
		return c.js.CreateOrUpdateConsumer(ctx, "EVENTS", cfg)
	}
	cons, err := create(jetstream.ConsumerConfig{Durable: "crm", FilterSubject: subject.Topic("bets")})
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for msg := range must[jetstream.MessageBatch](t)(cons.Fetch(10, jetstream.FetchMaxWait(time.Second))).Messages() {
		if !strings.Contains(msg.Subject(), ".bets.") {
			t.Errorf("was sent %s", msg.Subject())
		}
		if err := msg.DoubleAck(ctx); err != nil {
			t.Error("ack:", err)
		}
		got++
	}
	if got != 3 {
		t.Errorf("%d events", got)
	}
	for name, cfg := range map[string]jetstream.ConsumerConfig{
		"another topic":  {Durable: "crm", FilterSubject: subject.Topic("kyc")},
		"everything":     {Durable: "crm", FilterSubject: "evt.>"},
		"no filter":      {Durable: "crm"},
		"several topics": {Durable: "crm", FilterSubjects: []string{subject.Topic("bets"), subject.Topic("kyc")}},
		"other durable":  {Durable: "risk", FilterSubject: subject.Topic("bets")},
	} {
		if _, err := create(cfg); err == nil {
			t.Errorf("may create a consumer with %s", name)
		}
	}
	// the name and filter of the subject hold against those of the body
	lie := `{"stream_name":"EVENTS","config":{"durable_name":"crm","filter_subject":"evt.*.*.*.kyc.>","ack_policy":"explicit"}}`
	answer, err := c.Request("$JS.API.CONSUMER.CREATE.EVENTS.crm."+subject.Topic("bets"), []byte(lie), time.Second)
	if err != nil || !strings.Contains(string(answer.Data), `"error"`) {
		t.Errorf("a filter in the body that is not the subject's: %v %s", err, answer.Data)
	}
	for _, s := range []string{"$JS.API.STREAM.MSG.GET.EVENTS", "$JS.API.DIRECT.GET.EVENTS", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.risk", "$JS.API.CONSUMER.DELETE.EVENTS.crm", "evt.eu_1.g.0.bets.x"} {
		if !c.publishDenied(t, s, "") {
			t.Errorf("may publish %s", s)
		}
	}
	for _, s := range []string{"_INBOX.>", "_INBOX.risk.>", "_INB.>", "evt.>"} {
		if !c.subscribeDenied(t, s) {
			t.Errorf("may subscribe to %s", s)
		}
	}
}

func TestRelayAndDigestService(t *testing.T) {
	w := start(t)
	hub := w.events(t, 1, "bets")
	_, err := hub.Subscribe(subject.Digest("eu"), func(m *nats.Msg) { _ = m.Respond([]byte("sum")) })
	if err != nil {
		t.Fatal(err)
	}
	if err := hub.Flush(); err != nil {
		t.Fatal(err)
	}
	relay := w.user(t, w.tenant, grant.Relay("eu", "r2"), nats.CustomInboxPrefix(grant.RelayInbox("eu", "r2")))
	if m, err := relay.Request(subject.Digest("eu"), nil, 2*time.Second); err != nil || string(m.Data) != "sum" {
		t.Error("digest:", err)
	}
	if _, err := hub.js.Publish(t.Context(), subject.Marker(eu1), nil); err != nil {
		t.Error("marker:", err)
	}
	for _, s := range []string{"evt.eu_1.g.hb", "evt.eu_1.g.5.bets", "$JS.API.STREAM.INFO.EVENTS", "$JS.API.STREAM.DELETE.EVENTS", "ctl.eu_1.tenant.x", "_INB.eu.r1.x"} {
		if !relay.publishDenied(t, s, "") {
			t.Errorf("relay may publish %s", s)
		}
	}
	for _, s := range []string{"_INB.eu.r1.>", "_INB.eu.>", "evt.>", ">"} {
		if !relay.subscribeDenied(t, s) {
			t.Errorf("relay may subscribe to %s", s)
		}
	}
}

func TestControlReader(t *testing.T) {
	w := start(t)
	inbox := nats.CustomInboxPrefix(subject.InboxPrefix("eu"))
	hub := w.user(t, w.control, grant.Service(eu1), inbox)
	ctx := t.Context()
	must[jetstream.Stream](t)(hub.js.CreateStream(ctx, jetstream.StreamConfig{Name: subject.ControlStream, Subjects: []string{subject.ControlOf(eu1)}, MaxBytes: 1 << 20}))
	if _, err := hub.js.Publish(ctx, "ctl.eu_1.tenant.acme", []byte("record")); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.Subscribe(subject.Credential("eu"), func(m *nats.Msg) { _ = m.Respond([]byte("token")) }); err != nil {
		t.Fatal(err)
	}
	if err := hub.Flush(); err != nil {
		t.Fatal(err)
	}
	reader := w.user(t, w.control, grant.ControlReader("eu"), inbox)
	must[jetstream.Stream](t)(reader.js.Stream(ctx, subject.ControlStream))
	cons := must[jetstream.Consumer](t)(reader.js.OrderedConsumer(ctx, subject.ControlStream, jetstream.OrderedConsumerConfig{}))
	it := must[jetstream.MessagesContext](t)(cons.Messages())
	defer it.Stop()
	msg, err := it.Next(jetstream.NextMaxWait(2 * time.Second))
	if err != nil || string(msg.Data()) != "record" {
		t.Fatal("reading the log:", err)
	}
	if m, err := reader.Request(subject.Credential("eu"), nil, 2*time.Second); err != nil || string(m.Data) != "token" {
		t.Error("credential:", err)
	}
	for _, s := range []string{"ctl.eu_1.tenant.acme", "$JS.API.STREAM.PURGE.CONTROL", "$JS.API.STREAM.DELETE.CONTROL", "$JS.API.STREAM.MSG.GET.CONTROL", "weft.us.credential"} {
		if !reader.publishDenied(t, s, "") {
			t.Errorf("may publish %s", s)
		}
	}
}

// TestReplySubjects records what a list of subjects cannot enforce (see package grant): the server answers
// on any reply subject. If this fails because it no longer does, the documentation can say so.
func TestReplySubjects(t *testing.T) {
	w := start(t)
	hub := w.events(t, 1, "bets")
	owner := w.user(t, w.tenant, grant.Owner())
	if owner.publishDenied(t, "$JS.API.STREAM.INFO.EVENTS", "evt.eu_1.g.0.bets.forged") {
		t.Fatal("the server refuses the reply subject: the warning in package grant is out of date")
	}
	stream := must[jetstream.Stream](t)(hub.js.Stream(t.Context(), "EVENTS"))
	for deadline := time.Now().Add(3 * time.Second); ; {
		info := must[*jetstream.StreamInfo](t)(stream.Info(t.Context()))
		if info.State.Msgs == 2 {
			msg := must[*jetstream.RawStreamMsg](t)(stream.GetMsg(t.Context(), 2))
			t.Logf("stored %s with headers %v", msg.Subject, msg.Header)
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the answer was not stored: the warning in package grant is out of date")
		}
	}
}
