// Package idempotency makes the effect of an event happen once: a Store keeps a mark for each event that was
// applied, and commits the mark and the effect in one transaction.
//
// Consumers use it between the stream, which delivers at least once, and what an event does. Two stores exist:
// package embedded, for a group of one process whose effect lives in the store itself, and package postgres, for
// groups of many processes and regions whose effect lives in the same database. Package storetest is what both
// are held to.
//
// # What is compared
//
// An event is one that was applied when its id was seen, or its place in the count of its source (source, epoch,
// user, number). Then its content decides, by event.Digest: the same content is a Duplicate and does nothing,
// another is a Conflict. A conflict is never applied and never forgotten quietly: somebody counted twice, or
// lies. When an event occurred, and who sent it when, are not compared: a repeated event may differ in them.
//
// # How long
//
// Marks are kept for a horizon after the event was applied, 24 hours unless said otherwise. Only time in which the
// store is used counts: a group that stands still for a week knows afterwards what it had done right before.
//
// # What this cannot do
//
// The transaction covers what is written through it. A call to somebody else's system is none of it, see
// deploy/docs/exactly-once.md for what to do about those.
//
// Stores are safe for concurrent use; values of this package are not shared by it.
package idempotency
