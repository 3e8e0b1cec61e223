// Package embedded is the idempotency.Store for a group of one process whose effect is data of its own: marks and data
// are in one directory, and a transaction writes both.
//
// An effect writes through a Tx, keys and values of its own choosing; Store.Get and Store.Scan read them. The files
// are pebble's. A directory is locked by the process that opened it, and is one group's: the same event has its
// effect once in each directory.
//
// # What survives
//
// What Apply has returned survives kill -9 and power loss, if the disk keeps what it says that it synced. A disk that
// refuses a write ends the process, because nobody knows then what it holds.
//
// # Expiry and size
//
// Marks are in generations of a third of the horizon. Four closed ones are kept behind the open one, older ones go by
// one range deletion each. A generation is opened when events are applied, so standing still expires nothing. Where
// MaxMarks are held, events that are new are refused with a fault of kind Limited until a generation has gone; marks
// never go before their time.
//
// A Store is safe for concurrent use; batches are applied one after the other, so effects must not call Apply.
package embedded
