// Package sink is what all sinks have in common. A sink is a consumer that brings events to where somebody else works
// with them: a database, files, another stream, somebody's HTTP endpoint. Each is a package below this one, alike:
//
//	o := postgres.DefaultOptions()
//	o.URL = …
//	s, err := postgres.Open(ctx, o)         // checks and connects; a *fault.Error says what to mend
//	defer s.Close()
//	sub, err := consumers.Subscribe(ctx, s.Subscription(consumers.Options{URLs: urls, Durable: "warehouse"}))
//	err = s.Run(ctx, sub)                   // until ctx ends
//
// Subscription fills in what the sink needs of its subscription where the caller leaves it open: how events are kept in
// order, how many at a time. Run feeds the sink by its Handle or HandleBatch, which others may call instead.
//
// # What nil means
//
// When Handle or HandleBatch returns nil the event has reached where it was to go, and survives a power loss there as
// far as that place keeps what it confirms. Only then is it acknowledged: a sink holds nothing in memory alone that it
// said yes to.
//
// # What errors mean
//
// A target that does not answer, is full or is set up wrongly is a fault of kind Unavailable or Limited: the event is
// tried again for ever and the stream is the buffer, because no event is to blame. What can never be taken is marked
// retry.Permanent and goes to the dead letters at once. All else is tried as often as the subscription's policy says. Errors and logs hold
// no payloads, no user ids and no URLs with passwords in them.
//
// deploy/docs/adr/0021-sinks-are-alike.md says why.
//
// Metrics is safe for concurrent use.
package sink
