// Package nats is the sink that copies events to a stream of another NATS deployment, or of another account: the same
// bytes, the same ids, the same order for each key.
//
// Each event is in the target stream exactly once, as far as the sink remembers: what comes again is compared with the
// last events of the target (Options.Remember), which is far more than can be delivered again. A producer's copy that is
// older than them is a new event there.
//
// # How
//
// The target is the record. When it opens the sink reads the ids at the end of the target stream, and every message
// that it publishes says behind which sequence it belongs, and in a batch also behind which id
// (Nats-Expected-Last-Sequence, Nats-Expected-Last-Msg-Id). So a message that was delayed on its way, sent by a process
// that was stopped and woke, or published by two processes at once is stored at its place or not at all. When the target
// ends with another message than expected the sink reads what has been added, drops what it would add twice, and goes on
// behind it. The target's own deduplication (Nats-Msg-Id is the event id) is not needed for this, and does no harm.
//
// A batch has one event of each key at most and is published in one go; of a batch that fails in the middle the target
// has the first part, and the rest comes again before anything newer of its keys.
//
// The target should have this sink as its only writer: others are noticed and make it slow, nothing more. Where streams
// are to be merged, let another stream source them.
//
// # What a copy has
//
// The subject is the event's own, after Options.Prefix. The headers are the event's, without those that begin with
// Nats-, and Weft-Position, which is where the event was accepted. Events that were given a time to live are kept as
// long as the target says.
//
// A Sink may be used from several goroutines; it publishes one batch at a time.
package nats
