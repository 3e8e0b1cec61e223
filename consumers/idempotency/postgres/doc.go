// Package postgres is the idempotency.Store for groups of several members, and of several regions: its marks are
// rows of the database that the effects are written to.
//
// Each group has a schema of its own, so that an event has its effect once in each group. The table event_log in it
// is for everybody to read: what was applied, where it came from, and when.
//
// # How an event stays unique over partitions
//
// event_log is partitioned by day so that old days are dropped and not deleted. The day is not the event's, which its
// producer could choose anew at each try, but the generation that is open when the effect is committed. Transactions
// hold a shared advisory lock while they insert into the open generation, whose unique indexes decide between them;
// the next generation is opened under the exclusive lock, so that all older ones are complete and visible to whoever
// inserts into it and need only be looked up. deploy/docs/adr/0018-marks-are-unique-over-generations.md says more.
//
// # Expiry
//
// With a horizon of n days the n+1 generations before the open one are kept. A generation is opened at the first use
// on a day, by the clock of the database, so days without use expire nothing.
//
// An effect uses its transaction and does not end it. A Store is safe for concurrent use. It starts no goroutines.
package postgres
