package issuer_test

import (
	"errors"
	"fmt"
	"path/filepath"
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
	w.tenant = account(issuer.AccountSpec{Name: "acme", Limits: accounts.Limits{DiskBytes: 64 << 20, Streams: 2}})
	w.control = account(issuer.AccountSpec{Name: "CONTROL"})
	return w.serve(t, "eu", server.LeafNodeOpts{})
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
