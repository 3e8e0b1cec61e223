// Package group spreads a tenant's events over several processes: the partitions of its stream are divided among 1, 4, 16
// or 64 durables, and each durable has one owner among the members of the group.
//
//	store, err := postgres.Open(ctx, postgres.Options{DB: pool, Schema: "weft_ledger"})
//	…
//	m, err := group.Join(ctx, group.Options{Group: "ledger", Width: 16, Store: store, Subscription: consumers.Options{URLs: urls}})
//	…
//	err = m.Run(ctx, func(c *group.Claim) consumers.Handler {
//		return func(ctx context.Context, m *consumers.Message) error { return book(ctx, store, c.Fence(), m) }
//	})
//
// # What is promised
//
// Every event of the group's topics is handled by the owner of its partition, at least once, the events of one key in the order
// of the stream. When a member dies others own what was its own after Options.TTL, and go on after the last event before which
// all are acknowledged; a member that leaves hands over at once. Members that come and go move no more durables than they have to.
//
// An owner that lost its durable without knowing (its process was stopped, its machine froze) is refused three times: it stops
// by its own clock at half the TTL without contact; the server serves no pull request under an old epoch; and a transaction with
// an old fence does not commit. Only the last one is a proof, so effects go through an idempotency.Store with Claim.Fence, or
// through the one that Fenced makes.
//
// A group is active in one region. Members in others stand by, and take over when the registry says so: by command, or by
// themselves after Options.Failover. They go on from the group's position, which is kept by origin and sequence at the origin,
// so it means the same everywhere: nothing is left out, and what is handled a second time are events since the last beat, which the
// idempotency index knows. Events that stay in a region (scope l) are handled while the group is active there.
//
// # What it needs
//
// A registry that all members share, in practice the group's PostgreSQL schema (idempotency/postgres). A group of one process
// whose effects live in a store of its own says Options.Solo. Credentials are the tenant owner's: the durables have many filters
// and finding a position reads single messages.
//
// # Concurrency
//
// A Member belongs to one Run. Handlers of different durables are called at the same time; those of one as consumers.Subscription
// does.
package group
