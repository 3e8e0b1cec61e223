package app

import (
	"bytes"
	"cmp"
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/consumers/idempotency/postgres"
	"github.com/weft-mesh/weft/streams/fault"
)

// runMember runs the sink on the durables that this process owns as a member of a group.
func runMember(ctx context.Context, c *config.Consumer, sink consumerSink, o consumers.Options, running *atomic.Pointer[func() error]) error {
	store, closeStore, err := groupStore(ctx, c, o.Logger)
	if err != nil {
		return err
	}
	defer closeStore()
	m, err := insist(ctx, o.Logger, func() (*group.Member, error) {
		return group.Join(ctx, group.Options{
			Group: c.Durable, Width: c.Group.Width, Store: store, TTL: c.Group.TTL, Failover: c.Group.Failover, Subscription: o,
		})
	})
	if err != nil {
		return err
	}
	ready := func() error {
		if err := m.Ready(); err != nil {
			return err
		}
		if s, ok := sink.(interface{ Ready() error }); ok {
			return s.Ready()
		}
		return nil
	}
	running.Store(&ready)
	o.Logger.Info("member ready", zap.String("group", c.Durable), zap.String("member", m.Name()), zap.String("sink", c.Sink.Kind))
	err = m.RunEach(ctx, func(ctx context.Context, _ *group.Claim, sub *consumers.Subscription) error {
		return sink.Run(ctx, sub)
	})
	o.Logger.Info("member stopped", zap.Error(err))
	return err
}

// groupStore opens the database by which the members of a group agree.
func groupStore(ctx context.Context, c *config.Consumer, log *zap.Logger) (*postgres.Store, func(), error) {
	url, err := readSinkFile(c.Group.URLFile)
	if err != nil {
		return nil, nil, err
	}
	pc, err := pgxpool.ParseConfig(string(bytes.TrimSpace(url)))
	if err != nil { // its text may show parts of the URL
		return nil, nil, fault.New("consumer.run", fault.Invalid, "invalid_url", "the URL in group.url_file cannot be read: postgres://user:password@host:port/database?sslmode=verify-full")
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, nil, fault.Wrap("consumer.run", fault.Unavailable, err)
	}
	store, err := insist(ctx, log, func() (*postgres.Store, error) {
		return postgres.Open(ctx, postgres.Options{DB: pool, Schema: cmp.Or(c.Group.Schema, group.DefaultSchema(c.Durable)), Logger: log})
	})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	return store, pool.Close, nil
}
