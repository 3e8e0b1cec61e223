// Package files is the sink that writes events as Parquet files for a warehouse: one table in a local directory or an
// S3 bucket, partitioned by the hour in which the events occurred.
//
// Each event is in the table exactly once: an event is acknowledged after the commit that adds its file has survived a
// power loss, and one that comes again is recognised, also by the next process and by a second one that writes to the
// same table at the same time. Compared are the last events of the table (Options.Remember and Options.Horizon), which
// is far more than can be delivered again; a producer's copy of an event that is older than them is a new event.
// Derived events (id~stage) are events of their own here.
//
// # The table
//
//	dt=2026-03-04/hour=05/part-….parquet    the events, written once and never changed
//	_delta_log/00000000000000000000.json    a version of the table: which files it added
//	_weft/open/….json                       a commit that is being made: which files it will add
//	_weft/table.json                        what the table was made for
//
// The log is Delta Lake's, so that tools that know it read the table as it is. Others must take the list of files from
// it (DuckDB does so in one statement, see deploy/docs/sinks.md): a file that no version names is no part of the table.
//
// A commit is the creation of the next object of the log, on the condition that there is none: a hard link to a synced
// file, or a write with If-None-Match. Of two writers one is first; the other reads what the first has added, drops
// what it would add twice, and goes behind it. Nothing depends on clocks or on one process noticing that another is
// dead.
//
// Files that no version names are removed: by their writer when it knows that its commit failed, or else by the next
// process that opens the table. That one commits a fence first, behind which no file may be added that was written
// before it; a writer that was only slow then begins anew.
//
// # Memory
//
// A batch is held as it was delivered, with one encoded file at a time. What is remembered of the last events takes
// about 60 bytes each. Neither grows with the table.
//
// A Sink may be used from several goroutines; it writes one batch at a time.
package files
