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
// The events of one key (Options.Key, by default the user) are handled one at a time, in the order of the
// stream: the order in which each region accepted them. With Options.Workers the events of different keys
// are handled at the same time; with one worker, the default, all of them in the order of the stream.
//
// An event that the handler fails on rests, and what comes later of its key waits behind it; other keys
// go on. How long it rests, and when it is given up and put into the tenant's stream DLQ (or where
// Options.Park says), is Options.Retry's to say. Attempts are failed calls, never deliveries: a consumer that is restarted gives nothing up for it.
// When nearly every call fails a breaker opens (Options.Breaker): nothing is handled and nothing fetched until a try goes
// well. What rests is kept alive at the server and counts as fetched, so when as many events wait as Options.Batch
// allows, nothing more is fetched until one of them is handled or parked.
//
// With Options.Reorder the events of each source and user come in the order of their source_seq, whatever region
// accepted them: one that is behind a gap is held for up to a window, nothing else waits. Message.Order tells of gaps
// and of what came too late.
//
// What was given up can be handed to the handler again (weft dlq requeue): Message.Requeued says by whom and why.
//
// Two things let later events of a key overtake: a process that dies (what it had fetched comes again after
// AckWait), and a second process on the same durable (the two share the events).
//
// A subscription survives restarts of the server, cut links and renewed credential files. Run ends
// when its context ends, when the connection is closed by its owner, or when the durable is deleted.
//
// # Batches
//
// RunBatches hands events over in batches, for effects that cost less together: never two of a key in one, so the order
// of keys holds whatever fails. Package once applies them in a transaction with their marks.
//
// # Concurrency
//
// A Subscription belongs to one Run; Close may be called from anywhere. The handler is called from
// Run's own goroutine, and with several workers from those of the others too. Any NATS client may read the same durable instead of this package.
package consumers
