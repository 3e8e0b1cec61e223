package consumers_test

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
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// issued is a server in operator mode with a tenant, and the file of a consumer's credentials.
type issued struct {
	t       *testing.T
	srv     *server.Server
	op      *issuer.Operator
	account *issuer.AccountKeys
	file    string
}

func newIssued(t *testing.T) *issued {
	t.Helper()
	i := &issued{t: t, file: filepath.Join(t.TempDir(), "consumer.creds")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	i.op, err = issuer.NewOperator("weft")
	must(err)
	system, err := issuer.NewAccount(i.op, issuer.AccountSpec{Name: "SYS", System: true})
	must(err)
	i.account, err = issuer.NewAccount(i.op, issuer.AccountSpec{Name: "acme", Limits: accounts.Limits{DiskBytes: 64 << 20}})
	must(err)
	operator, err := jwt.DecodeOperatorClaims(i.op.JWT())
	must(err)
	resolver := &server.MemAccResolver{}
	must(resolver.Store(system.Public, system.JWT))
	must(resolver.Store(i.account.Public, i.account.JWT))
	i.srv, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
		TrustedOperators: []*jwt.OperatorClaims{operator}, SystemAccount: system.Public, AccountResolver: resolver,
	})
	must(err)
	i.srv.Start()
	t.Cleanup(func() { i.srv.Shutdown(); i.srv.WaitForShutdown() })
	if !i.srv.ReadyForConnections(patience) {
		t.Fatal("server not ready")
	}
	return i
}

// user makes credentials in a file and returns the user's public key.
func (i *issued) user(file string, p grant.Permissions, ttl time.Duration) (public string) {
	i.t.Helper()
	token, seed, err := issuer.User(issuer.UserSpec{Name: "test", Account: i.account.Public, SigningSeed: i.account.SigningSeed, Permissions: p, TTL: ttl})
	if err == nil {
		err = issuer.WriteCreds(file, token, seed)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		i.t.Fatal(err)
	}
	return claims.Subject
}

// consumer writes the consumer's credentials anew.
func (i *issued) consumer(ttl time.Duration) (public string) {
	return i.user(i.file, grant.Consumer([]string{"mine"}, []string{"bets"}), ttl)
}

// region is the tenant's stream, with a publisher.
func (i *issued) region() *region {
	i.t.Helper()
	file := filepath.Join(i.t.TempDir(), "hub.creds")
	i.user(file, grant.Permissions{Publish: []string{">"}, Subscribe: []string{">"}}, 0)
	nc, err := nats.Connect(i.srv.ClientURL(), nats.UserCredentials(file))
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		i.t.Fatal(err)
	}
	cfg := streams.EventsConfig(streams.EventsSpec{Self: eu})
	cfg.MaxBytes = 16 << 20
	if _, err := js.CreateStream(i.t.Context(), cfg); err != nil {
		i.t.Fatal(err)
	}
	return &region{t: i.t, nc: nc, js: js}
}

// revoke takes a user's credentials away, as the account's next claim says it.
func (i *issued) revoke(public string) {
	i.t.Helper()
	claims, err := jwt.DecodeAccountClaims(i.account.JWT)
	if err != nil {
		i.t.Fatal(err)
	}
	claims.Revoke(public)
	key, err := nkeys.FromSeed(i.op.SigningSeed())
	if err != nil {
		i.t.Fatal(err)
	}
	token, err := claims.Encode(key)
	if err != nil {
		i.t.Fatal(err)
	}
	if claims, err = jwt.DecodeAccountClaims(token); err != nil {
		i.t.Fatal(err)
	}
	if err := i.srv.AccountResolver().Store(i.account.Public, token); err != nil {
		i.t.Fatal(err)
	}
	account, err := i.srv.LookupAccount(i.account.Public)
	if err != nil {
		i.t.Fatal(err)
	}
	i.srv.UpdateAccountClaims(account, claims)
}

// Credentials that expire, and credentials that are revoked, stop a subscription and do not end it: it says why, and
// goes on without a loss when the file holds good ones.
func TestRunOutlivesItsCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		ttl  time.Duration
		end  func(i *issued, public string)
		want error
	}{
		"expired": {2 * time.Second, func(*issued, string) {}, nats.ErrAuthExpired},
		"revoked": {0, func(i *issued, public string) { i.revoke(public) }, nats.ErrAuthRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssued(t)
			r := i.region()
			public := i.consumer(c.ttl)
			sub := r.subscribe(consumers.Options{URLs: []string{i.srv.ClientURL()}, CredsFile: i.file, Durable: "mine", Topics: []string{"bets"}})
			run := run(t, sub, nil)
			r.publish("bets", 1, 1)
			run.count(1)
			c.end(i, public)
			streamtest.Eventually(t, patience, func() (bool, string) {
				st := sub.State()
				refused := errors.Is(st.Connection, c.want) || errors.Is(st.Connection, nats.ErrAuthorization)
				return !st.Connected && refused, fmt.Sprintf("%+v", st)
			})
			r.publish("bets", 2, 3)
			i.consumer(0)
			run.wants(ids("bets", 1, 3)...)
			if st := sub.State(); !st.Connected {
				t.Errorf("%+v", st)
			}
		})
	}
}
