// Package postgres is the sink that keeps events in a PostgreSQL database: one row of the table event_log for each
// event, with the bytes that its producer sent.
//
// Each event is there exactly once, however often it is delivered and whatever is killed when: the row is what tells
// that the event was seen, see package idempotency/postgres, whose event_log it is. An event with the id, or the place
// in its source's count, of another one but with other content is not written and goes to the dead letters.
//
// How long copies are recognised is Options.Horizon, how long rows are kept is Options.Retention: old days are dropped
// as a whole. Rows are written by COPY, a batch in a transaction; while one is committed the next one gathers.
//
// A Sink is safe for concurrent use.
package postgres
