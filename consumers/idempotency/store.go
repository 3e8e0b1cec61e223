package idempotency

import (
	"context"
	"math"

	"github.com/weft-mesh/weft/streams/fault"
)

// Outcome is what became of an event.
type Outcome uint8

// The outcomes.
const (
	Applied   Outcome = iota // its effect and its mark are committed, by this call
	Duplicate                // it was applied before with the same content; nothing was done
	Conflict                 // its id or its place was used by an event with other content; nothing was done: raise an alarm
	Failed                   // its effect returned an error; nothing of it is kept and it may come again
)

var outcomeNames = [...]string{"applied", "duplicate", "conflict", "failed"}

// String is the outcome's name as metrics show it.
func (o Outcome) String() string { return outcomeNames[o] }

// Result is the outcome of one entry.
type Result struct {
	Outcome Outcome
	Prior   string // of a Duplicate or Conflict: the id of the event that was applied
	Err     error  // of a Failed one: what is invalid, or what its effect returned
}

// Fence lets an owner commit only for as long as nobody took over from it: the epoch of a durable rises with each
// owner, and a store refuses one that is lower than the highest it has seen.
type Fence struct {
	Durable string
	Epoch   uint64 // from 1
}

// Batch is what is applied in one transaction.
type Batch struct {
	Entries []Entry

	// Fence is checked in the transaction; the zero value is none. A batch without entries raises it, and when that
	// returned no owner of a lower epoch can commit any more.
	Fence Fence
}

// Effect does what the entries at these indexes of the batch call for, through tx alone. It is called again,
// for fewer at a time, when it fails or when the transaction must be repeated, so it keeps no count of its own.
// What it writes is kept exactly if the entries' outcome is Applied. The slice is not to be kept.
type Effect[T any] func(ctx context.Context, tx T, fresh []int) error

// Each makes an Effect of one that handles a single entry.
func Each[T any](one func(ctx context.Context, tx T, i int) error) Effect[T] {
	return func(ctx context.Context, tx T, fresh []int) error {
		for _, i := range fresh {
			if err := one(ctx, tx, i); err != nil {
				return err
			}
		}
		return nil
	}
}

// Store keeps the marks. T is the transaction that an effect writes to.
type Store[T any] interface {
	// Apply runs the effect for the entries that are new, in their order (second copies within the batch last), and
	// commits it with their marks. Without an error there is one result for each entry, and what they say has survived
	// a power loss. One entry that is invalid or whose effect fails does not keep the others from being applied.
	//
	// With an error nothing is known: none of the batch is applied, or (the answer to the commit was lost) all that
	// could be. The caller repeats it with the same entries until there is no error; what had been applied is
	// then a Duplicate. A fault of kind Conflict and code CodeStale is final: another owner has taken over.
	Apply(ctx context.Context, b Batch, effect Effect[T]) ([]Result, error)

	// Last returns the highest place applied of a source's user, as far as the horizon reaches; false if none.
	// Its Source and UserID are those asked for.
	Last(ctx context.Context, source, userID string) (Place, bool, error)

	// Shared says whether processes on other machines and in other regions can open the same marks. A group of
	// more than one member, or one that moves between regions, must not start with a store that is not.
	Shared() bool
}

// CodeStale is the code of the fault with which a fence refuses.
const CodeStale = "stale_epoch"

// Stale is the fault of a batch whose fence has been passed by seen.
func Stale(f Fence, seen uint64) error {
	return fault.New("idempotency.apply", fault.Conflict, CodeStale,
		"durable %q is owned under epoch %d, this owner's is %d: stop handling it", f.Durable, seen, f.Epoch)
}

// Validate says which fence no store accepts: a fault of kind Invalid. Entries are judged one by one.
func (b *Batch) Validate() error {
	if f := b.Fence; (f.Durable == "") != (f.Epoch == 0) || f.Epoch > math.MaxInt64 {
		return fault.New("idempotency.apply", fault.Invalid, "invalid_fence", "a fence has a durable and an epoch from 1 to 2^63-1")
	}
	return nil
}
