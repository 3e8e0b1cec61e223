// Package consumers is the way out of the mesh: it pulls a tenant's events from the EVENTS stream of
// the region it is connected to, through a durable that remembers the position.
//
//	opts := consumers.Options{URLs: urls, CredsFile: "consumer.creds", TLS: tlsConfig, Durable: "ledger"}
//	sub, err := consumers.Subscribe(ctx, opts)
//	if err != nil {
//		return err
//	}
//	return sub.Run(ctx, func(ctx context.Context, m *consumers.Message) error { return book(m.Raw) })
//
// # What is promised
//
// Delivery is at least once: an event is acknowledged after the handler returned nil, and never
// before. Whoever cannot bear an event twice compares event ids.
//
// One handler call at a time, in the order of the stream. That is the order in which each region
// accepted a user's events, as long as one process runs the durable and nothing fails. Three things
// let later events overtake: a handler that returns an error (the failed event is put back for
// 1 s × attempt, at most 30 s, and the others go on), a process that dies (what it had fetched comes
// again after AckWait), and a second process on the same durable (the two share the events). The chain
// that parks a failed key, keeps order over restarts and moves hopeless events aside is not part of
// this package yet: a handler that fails on an event for ever gets it again for ever.
//
// A subscription survives restarts of the server, cut links and renewed credential files. Run ends
// when its context ends, when the connection is closed by its owner, or when the durable is deleted.
//
// # Concurrency
//
// A Subscription belongs to one Run; Close may be called from anywhere. The handler is called from
// Run's own goroutine. Any NATS client may read the same durable instead of this package.
package consumers
