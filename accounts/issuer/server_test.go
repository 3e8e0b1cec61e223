package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/streams/subject"
)

// world is one region's server with a tenant's account and CONTROL.
type world struct {
	server  *server.Server
	op      *issuer.Operator
	tenant  *issuer.AccountKeys
	control *issuer.AccountKeys
}

var eu1 = subject.Origin{Region: "eu", Epoch: 1}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{op: must[*issuer.Operator](t)(issuer.NewOperator("weft"))}
	account := func(spec issuer.AccountSpec) *issuer.AccountKeys {
		return must[*issuer.AccountKeys](t)(issuer.NewAccount(w.op, spec))
	}
	system := account(issuer.AccountSpec{Name: "SYSTEM", System: true})
	w.tenant = account(issuer.AccountSpec{Name: "acme", Limits: accounts.Limits{DiskBytes: 64 << 20, Streams: 2}})
	w.control = account(issuer.AccountSpec{Name: "CONTROL"})
	resolver := &server.MemAccResolver{}
	for _, a := range []*issuer.AccountKeys{system, w.tenant, w.control} {
		if err := resolver.Store(a.Public, a.JWT); err != nil {
			t.Fatal(err)
		}
	}
	claims := must[*jwt.OperatorClaims](t)(jwt.DecodeOperatorClaims(w.op.JWT()))
	s := must[*server.Server](t)(server.NewServer(&server.Options{
		ServerName: "eu-0", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, StoreDir: t.TempDir(),
		JetStream: true, JetStreamDomain: "eu", JetStreamMaxStore: 2 << 30, TrustedOperators: []*jwt.OperatorClaims{claims},
		AccountResolver: resolver, SystemAccount: system.Public,
	}))
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	w.server = s
	return w
}

// client is a connection that reports permission violations.
type client struct {
	*nats.Conn
	js     jetstream.JetStream
	errors chan error
}

func (w *world) connect(t *testing.T, token string, seed []byte, opts ...nats.Option) (*client, error) {
	t.Helper()
	c := &client{errors: make(chan error, 64)}
	opts = append([]nats.Option{
		nats.UserJWTAndSeed(token, string(seed)), nats.MaxReconnects(0),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case c.errors <- err:
			default:
			}
		}),
	}, opts...)
	var err error
	if c.Conn, err = nats.Connect(w.server.ClientURL(), opts...); err != nil {
		return nil, err
	}
	t.Cleanup(c.Close)
	c.js, err = jetstream.New(c.Conn, jetstream.WithDefaultTimeout(time.Second))
	return c, err
}

// user connects a user of an account with the given permissions.
func (w *world) user(t *testing.T, a *issuer.AccountKeys, p grant.Permissions, opts ...nats.Option) *client {
	t.Helper()
	token, seed, err := issuer.User(issuer.UserSpec{Name: "test", Account: a.Public, SigningSeed: a.SigningSeed, Permissions: p})
	if err != nil {
		t.Fatal(err)
	}
	return must[*client](t)(w.connect(t, token, seed, opts...))
}

// publishDenied publishes and waits for the server's verdict: the error that it sends before it answers a
// flush's ping.
func (c *client) publishDenied(t *testing.T, to, reply string) bool {
	t.Helper()
	return c.denied(t, func() error { return c.PublishMsg(&nats.Msg{Subject: to, Reply: reply}) })
}

func (c *client) subscribeDenied(t *testing.T, to string) bool {
	t.Helper()
	return c.denied(t, func() error {
		sub, err := c.SubscribeSync(to)
		if err == nil {
			t.Cleanup(func() { _ = sub.Unsubscribe() })
		}
		return err
	})
}

func (c *client) denied(t *testing.T, do func() error) bool {
	t.Helper()
	for len(c.errors) > 0 {
		<-c.errors
	}
	if err := do(); err != nil {
		t.Fatal(err)
	}
	if err := c.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if c.LastError() == nil {
		return false
	}
	select { // the error is handed to the handler in another goroutine
	case err := <-c.errors:
		return errors.Is(err, nats.ErrPermissionViolation)
	case <-time.After(200 * time.Millisecond):
		return false
	}
}

// events makes the tenant's stream with n events for each topic and returns the hub's own client.
func (w *world) events(t *testing.T, n int, topics ...string) *client {
	t.Helper()
	hub := w.user(t, w.tenant, grant.Service(eu1), nats.CustomInboxPrefix(subject.InboxPrefix("eu")))
	must[jetstream.Stream](t)(hub.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: subject.EventsStream, Subjects: []string{subject.OfOrigin(eu1)}, MaxBytes: 16 << 20, AllowDirect: true, Duplicates: time.Minute,
	}))
	relay := w.user(t, w.tenant, grant.Relay("eu", "r1"), nats.CustomInboxPrefix(grant.RelayInbox("eu", "r1")))
	for i := range n {
		for _, topic := range topics {
			ack, err := relay.js.Publish(t.Context(), fmt.Sprintf("evt.eu_1.g.%d.%s.some.type", i%64, topic), []byte("{}"), jetstream.WithMsgID(fmt.Sprint(topic, i)))
			if err != nil || ack.Domain != "eu" {
				t.Fatalf("the relay cannot publish: %+v %v", ack, err)
			}
		}
	}
	return hub
}

func TestUserWithoutPermissionsGetsNone(t *testing.T) {
	w := start(t)
	forgot := func(signer []byte) (string, []byte) {
		account := must[nkeys.KeyPair](t)(nkeys.FromSeed(signer))
		user := must[nkeys.KeyPair](t)(nkeys.CreateUser())
		claims := jwt.NewUserClaims(must[string](t)(user.PublicKey()))
		claims.IssuerAccount = w.tenant.Public
		return must[string](t)(claims.Encode(account)), must[[]byte](t)(user.Seed())
	}
	token, seed := forgot(w.tenant.SigningSeed)
	bare := must[*client](t)(w.connect(t, token, seed))
	for name, c := range map[string]*client{"a claim without permissions": bare, "an empty grant": w.user(t, w.tenant, grant.Permissions{})} {
		if !c.publishDenied(t, "anything", "") || !c.subscribeDenied(t, "anything") || !c.subscribeDenied(t, ">") {
			t.Errorf("%s may publish or subscribe", name)
		}
	}
	if c := w.user(t, w.tenant, grant.Permissions{Publish: []string{"a"}}); c.publishDenied(t, "a", "") || !c.publishDenied(t, "b", "") || !c.subscribeDenied(t, "a") {
		t.Error("a grant to publish alone is not just that")
	}
	if c := w.user(t, w.tenant, grant.Permissions{Subscribe: []string{"a"}}); !c.publishDenied(t, "a", "") || c.subscribeDenied(t, "a") || !c.subscribeDenied(t, "b") {
		t.Error("a grant to subscribe alone is not just that")
	}
	token, seed = forgot(w.tenant.Seed)
	if _, err := w.connect(t, token, seed); err == nil {
		t.Error("a user signed by the account's identity key instead of its signing key came in")
	}
	token, seed = forgot(w.control.SigningSeed)
	if _, err := w.connect(t, token, seed); err == nil {
		t.Error("a user signed by another account's key came in")
	}
}

func TestLeafUserIsNoClient(t *testing.T) {
	w := start(t)
	p := grant.Leaf(subject.Origin{Region: "us", Epoch: 1}, eu1, grant.EventsFamily())
	token, seed, err := issuer.User(issuer.UserSpec{Name: "leaf", Account: w.tenant.Public, SigningSeed: w.tenant.SigningSeed, Permissions: p})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.connect(t, token, seed); err == nil {
		t.Error("a link's user came in as a client")
	}
}

func TestUserExpires(t *testing.T) {
	w := start(t)
	token, seed, err := issuer.User(issuer.UserSpec{Name: "short", Account: w.tenant.Public, SigningSeed: w.tenant.SigningSeed,
		Permissions: grant.Relay("eu", "r1"), TTL: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	must[*client](t)(w.connect(t, token, seed, nats.ClosedHandler(func(*nats.Conn) { close(gone) })))
	select {
	case <-gone:
	case <-time.After(15 * time.Second):
		t.Error("still connected after its end")
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // the claim's end is a whole second, and belongs to its life
		c, err := w.connect(t, token, seed)
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatal("came in after its end")
		}
	}
}

func TestOwnKeyAndCredsFile(t *testing.T) {
	w := start(t)
	own := must[nkeys.KeyPair](t)(nkeys.CreateUser())
	token, seed, err := issuer.User(issuer.UserSpec{Name: "own", Account: w.tenant.Public, SigningSeed: w.tenant.SigningSeed,
		Permissions: grant.Owner(), UserPublic: must[string](t)(own.PublicKey())})
	if err != nil || seed != nil {
		t.Fatalf("seed of %d bytes, %v", len(seed), err)
	}
	ownSeed := must[[]byte](t)(own.Seed())
	must[*client](t)(w.connect(t, token, ownSeed))
	path := filepath.Join(t.TempDir(), "deep", "owner.creds")
	if err := issuer.WriteCreds(path, token, ownSeed); err != nil {
		t.Fatal(err)
	}
	c, err := nats.Connect(w.server.ClientURL(), nats.UserCredentials(path))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	c, err = nats.Connect("", nats.InProcessServer(w.server), nats.UserCredentials(path))
	if err != nil {
		t.Fatal("not in process:", err)
	}
	c.Close()
}

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

func TestLimitsHold(t *testing.T) {
	w := start(t)
	hub := w.user(t, w.tenant, grant.Service(eu1), nats.CustomInboxPrefix(subject.InboxPrefix("eu")))
	create := func(name string, bytes int64, storage jetstream.StorageType) error {
		_, err := hub.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"x." + name}, MaxBytes: bytes, Storage: storage})
		return err
	}
	if err := create("M", 1<<20, jetstream.MemoryStorage); err == nil {
		t.Error("a stream in memory")
	}
	if err := create("A", 60<<20, jetstream.FileStorage); err != nil {
		t.Fatal(err)
	}
	if err := create("B", 8<<20, jetstream.FileStorage); err == nil {
		t.Error("more disk than the limit")
	}
	if err := create("B", 1<<20, jetstream.FileStorage); err != nil {
		t.Fatal(err)
	}
	if err := create("C", 1<<20, jetstream.FileStorage); err == nil {
		t.Error("more streams than the limit")
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
