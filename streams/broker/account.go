package broker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// accountTimeout bounds how long a change of accounts waits for another change to end.
const accountTimeout = 10 * time.Second

// neverSync keeps the servers of a region from handing each other account JWTs: each is told by its own
// hub, and a neighbour that has not yet heard of a removal would bring the account back.
const neverSync = 100 * 365 * 24 * time.Hour

// unknownWait bounds how long a connection of an unknown account is kept waiting while the other servers of
// the region are asked; the server's own two seconds are a cheap nuisance for anybody. A cluster needs the
// question: a server that is to hold a replica may hear of the account by it first. (The resolver's Fetch
// cannot be replaced: a reload refuses resolvers that are not the server's own types.)
func unknownWait(o Options) time.Duration {
	if o.Cluster == nil {
		return time.Millisecond // there is nobody to ask
	}
	return 250 * time.Millisecond
}

// newResolver opens the directory and puts the preloaded accounts into it. One is made for each life of a
// server, which closes it at its end.
func newResolver(o Options) (*server.DirAccResolver, error) {
	const op = "broker.accounts"
	r, err := server.NewDirAccResolver(o.accountsDir(), 0, neverSync, server.NoDelete, server.FetchTimeout(unknownWait(o)))
	if err != nil {
		return nil, storeFault(op, o.accountsDir(), err)
	}
	for account, token := range o.Accounts {
		err := checkAccount(o.OperatorJWT, account, token)
		if err == nil {
			err = save(r, account, token)
		}
		if err != nil {
			r.Close()
			return nil, fault.Wrap(op, fault.Invalid, err)
		}
	}
	return r, nil
}

// checkAccount refuses a JWT that the server would store and then reject at every connect.
func checkAccount(operatorJWT, account, token string) error {
	const op = "broker.account"
	if !nkeys.IsValidPublicAccountKey(account) {
		return fault.New(op, fault.Invalid, "invalid_account", "%.8q is no public account key", account)
	}
	claims, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return &fault.Error{Op: op, Kind: fault.Invalid, Code: "invalid_account", Detail: "the account JWT is damaged", Err: err}
	}
	if claims.Subject != account {
		return fault.New(op, fault.Invalid, "invalid_account", "the JWT is for account %s, not for %s", claims.Subject, account)
	}
	operator, err := jwt.DecodeOperatorClaims(operatorJWT)
	if err != nil {
		return fault.Wrap(op, fault.Invalid, err)
	}
	if claims.Issuer != operator.Subject && !slices.Contains(operator.SigningKeys, claims.Issuer) {
		return fault.New(op, fault.Denied, "untrusted_account", "the JWT of account %s is not signed by this mesh's operator", account)
	}
	return nil
}

// StoreAccount adds an account or replaces its JWT, on disk and in the running server: limits hold at once,
// also for connections that exist. A JWT issued before the present one changes nothing.
func (b *Broker) StoreAccount(account, token string) error {
	const op = "broker.account.store"
	if err := checkAccount(b.opts.OperatorJWT, account, token); err != nil {
		return err
	}
	r, release, err := b.change(op)
	if err != nil {
		return err
	}
	defer release()
	b.gone.Delete(account)
	if err := save(r.resolver, account, token); err != nil {
		return storeFault(op, b.opts.accountsDir(), err)
	}
	if err := load(r.server, account); err != nil {
		return err
	}
	if _, own := b.opts.Accounts[account]; !own && b.opts.held.Load() {
		b.told(account, r.holdLinks(account))
	}
	return nil
}

// eachTenant does something with every account of the resolver that is not one of Options.Accounts.
func (b *Broker) eachTenant(r *running, do func(*running, string) error) {
	files, err := os.ReadDir(b.opts.accountsDir())
	if err != nil {
		b.log.Error("accounts not read", zap.Error(err))
	}
	for _, f := range files {
		account, ok := strings.CutSuffix(f.Name(), ".jwt")
		if _, own := b.opts.Accounts[account]; ok && !own {
			b.told(account, do(r, account))
		}
	}
}

func (b *Broker) told(account string, err error) {
	if err != nil {
		b.log.Error("links of an account neither held nor let in", zap.String("account", account), zap.Error(err))
	}
}

// holdLinks refuses links of an account in the server's memory and ends those that are up.
func (r *running) holdLinks(account string) error {
	return r.withClaims(account, func(c *jwt.AccountClaims) { c.Limits.LeafNodeConn = 0 })
}

// letLinks gives an account the limits of its JWT again.
func (r *running) letLinks(account string) error {
	return r.withClaims(account, func(*jwt.AccountClaims) {})
}

// withClaims applies an account's JWT to the running server with a change that stays in its memory. The server
// keeps it until the JWT changes, reloads included.
func (r *running) withClaims(account string, edit func(*jwt.AccountClaims)) error {
	acc, err := r.server.LookupAccount(account)
	if err != nil {
		return err
	}
	token, err := r.resolver.LoadAcc(account)
	if err != nil {
		return err
	}
	claims, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return err
	}
	edit(claims)
	r.server.UpdateAccountClaims(acc, claims)
	if claims.Limits.LeafNodeConn == 0 {
		closeLeaves(r.server, account)
	}
	return nil
}

// load brings an account into the server's memory before anybody uses it. In a cluster a neighbour's interest
// leaves an empty account there, which the first client fills in while a link may read it, unlocked.
func load(s *server.Server, account string) error {
	_, err := s.LookupAccount(account)
	return fault.Wrap("broker.account.load", fault.Unavailable, err)
}

// save puts a JWT into the resolver unless a younger one is there. The resolver's own Store takes two JWTs
// of the same name and second for one and keeps the first: their ids do not cover the limits.
func save(r *server.DirAccResolver, account, token string) error {
	next, err := jwt.DecodeAccountClaims(token)
	if err != nil {
		return err
	}
	if old, err := r.LoadAcc(account); err == nil {
		if have, err := jwt.DecodeAccountClaims(old); err == nil && have.IssuedAt > next.IssuedAt {
			return nil
		}
	}
	return r.SaveAcc(account, token)
}

// RemoveAccount takes an account out of the resolver, ends its connections and stops its streams, whose
// data stay on disk. Removing an account that is not there does nothing and costs next to nothing. Links of the
// account have to be taken out with SetLinks first. In a cluster a neighbour that still has the account can
// bring it back until it has been told too, so call again once all have been.
func (b *Broker) RemoveAccount(account string) error {
	const op = "broker.account.remove"
	if !nkeys.IsValidPublicAccountKey(account) {
		return fault.New(op, fault.Invalid, "invalid_account", "%.8q is no public account key", account)
	}
	if account == b.opts.SystemAccount {
		return fault.New(op, fault.Denied, "system_account", "the system account cannot be removed")
	}
	r, release, err := b.change(op)
	if err != nil {
		return err
	}
	defer release()
	path := filepath.Join(b.opts.accountsDir(), account+".jwt")
	if err := os.Rename(path, path+".removed"); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return storeFault(op, b.opts.accountsDir(), err)
	}
	if err := r.resolver.Reload(); err != nil {
		return storeFault(op, b.opts.accountsDir(), err)
	}
	b.shutOut(r.server, account)
	return nil
}

// shutOut gives an account in the server's memory claims under which nobody may connect and nothing be
// stored, and which have expired, so that every later use asks the resolver and is refused.
func (b *Broker) shutOut(s *server.Server, account string) {
	acc, err := s.LookupAccount(account)
	if err != nil {
		return // never loaded in this life of the server
	}
	claims := jwt.NewAccountClaims(account)
	claims.Expires = 1
	b.gone.Store(account, nil)
	claims.Limits.Conn, claims.Limits.LeafNodeConn = 0, 0
	s.UpdateAccountClaims(acc, claims)
	closeLeaves(s, account)
	b.log.Info("account removed", zap.String("account", account))
}

// closeLeaves ends every link that is up for an account.
func closeLeaves(s *server.Server, account string) {
	lz, err := s.Leafz(&server.LeafzOptions{Account: account})
	if err != nil {
		return
	}
	for _, l := range lz.Leafs {
		_ = s.DisconnectClientByID(l.ID) // gone already: as wanted
	}
}

// change takes the right to change the running server.
func (b *Broker) change(op string) (*running, func(), error) {
	ctx, cancel := context.WithTimeout(context.Background(), accountTimeout)
	defer cancel()
	if err := b.acquire(ctx, op); err != nil {
		return nil, nil, err
	}
	r := b.run.Load()
	if r == nil {
		b.release()
		return nil, nil, errStopped(op)
	}
	return r, b.release, nil
}
